# coding: utf-8
"""GlyphBert 汉字模型: 共享层 + 分解词嵌入 + 拼音嵌入"""
import math
from dataclasses import dataclass
from typing import Optional, Tuple, Union

import torch
from torch import nn
import torch.nn.functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

try:
    from transformers.pytorch_utils import find_pruneable_heads_and_indices, prune_linear_layer
except ImportError:  # 新版已删除, 剪枝功能不可用
    find_pruneable_heads_and_indices = None
    prune_linear_layer = None

from .configuration_glyphbert import GlyphBertConfig

logger = logging.get_logger(__name__)


@dataclass
class GlyphBertForPreTrainingOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    prediction_logits: torch.FloatTensor = None
    sop_logits: torch.FloatTensor = None


class GlyphBertEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.embedding_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.embedding_size)
        self.pinyin_embeddings = nn.Embedding(config.pinyin_size, config.embedding_size) if config.pinyin_size else None
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        # position_ids (1, len position emb) is contiguous in memory and exported when serialized
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)))

    def forward(self, input_ids, pinyin_ids=None, token_type_ids=None):
        n = input_ids.size(1)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = x + self.position_embeddings(self.position_ids[:, :n])
        if self.pinyin_embeddings is not None and pinyin_ids is not None:
            x = x + self.pinyin_embeddings(pinyin_ids)
        return self.dropout(self.LayerNorm(x))


class GlyphBertAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = config.hidden_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.pruned_heads = set()

    def prune_heads(self, heads):
        if len(heads) == 0:
            return
        if find_pruneable_heads_and_indices is None:
            raise NotImplementedError("head pruning needs an older transformers")
        heads, index = find_pruneable_heads_and_indices(heads, self.num_attention_heads, self.attention_head_size, self.pruned_heads)
        self.query = prune_linear_layer(self.query, index)
        self.key = prune_linear_layer(self.key, index)
        self.value = prune_linear_layer(self.value, index)
        self.dense = prune_linear_layer(self.dense, index, dim=1)
        self.num_attention_heads -= len(heads)
        self.all_head_size = self.attention_head_size * self.num_attention_heads
        self.pruned_heads = self.pruned_heads.union(heads)

    def heads(self, x):
        return x.view(x.size(0), x.size(1), self.num_attention_heads, self.attention_head_size).transpose(1, 2)

    def forward(self, x, mask):
        q, k, v = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        s = q @ k.transpose(-1, -2) / math.sqrt(self.attention_head_size) + mask
        o = (self.dropout(s.softmax(-1)) @ v).transpose(1, 2).flatten(2)
        return self.LayerNorm(x + self.dropout(self.dense(o)))


class GlyphBertLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = GlyphBertAttention(config)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x, mask):
        x = self.attention(x, mask)
        return self.full_layer_layer_norm(self.ffn_output(self.activation(self.ffn(x))) + x)


class GlyphBertPreTrainedModel(PreTrainedModel):
    config_class = GlyphBertConfig
    base_model_prefix = "glyphbert"

    def _init_weights(self, module):
        """初始化权重"""
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


class GlyphBertModel(GlyphBertPreTrainedModel):
    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.embeddings = GlyphBertEmbeddings(config)
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.groups = nn.ModuleList([GlyphBertLayer(config) for _ in range(config.num_hidden_groups)])
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, pinyin_ids=None, return_dict=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x = self.embedding_hidden_mapping_in(self.embeddings(input_ids, pinyin_ids, token_type_ids))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        per_group = self.config.num_hidden_layers / self.config.num_hidden_groups
        for i in range(self.config.num_hidden_layers):
            x = self.groups[int(i / per_group)](x, mask)
        pooled = torch.tanh(self.pooler(x[:, 0])) if self.pooler is not None else None
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled)


class GlyphBertMLMHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # 单独的偏置, 不与 decoder.bias 共享
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.decoder(self.LayerNorm(self.activation(self.dense(x)))) + self.bias


class GlyphBertForMaskedLM(GlyphBertPreTrainedModel):
    _tied_weights_keys = {"predictions.decoder.weight": "glyphbert.embeddings.word_embeddings.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.glyphbert = GlyphBertModel(config, add_pooling_layer=False)
        self.predictions = GlyphBertMLMHead(config)
        self.post_init()

    def get_output_embeddings(self):
        return self.predictions.decoder

    def set_output_embeddings(self, new_embeddings):
        self.predictions.decoder = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, pinyin_ids=None, labels=None, return_dict=None):
        x = self.glyphbert(input_ids, attention_mask, token_type_ids, pinyin_ids).last_hidden_state
        logits = self.predictions(x)
        loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.view(-1)) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits)


class GlyphBertForPreTraining(GlyphBertPreTrainedModel):
    _tied_weights_keys = {"predictions.decoder.weight": "glyphbert.embeddings.word_embeddings.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.glyphbert = GlyphBertModel(config)
        self.predictions = GlyphBertMLMHead(config)
        self.sop_classifier = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def get_output_embeddings(self):
        return self.predictions.decoder

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, pinyin_ids=None, labels=None, sentence_order_label=None):
        out = self.glyphbert(input_ids, attention_mask, token_type_ids, pinyin_ids)
        mlm, sop = self.predictions(out.last_hidden_state), self.sop_classifier(out.pooler_output)
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = F.cross_entropy(mlm.flatten(0, 1), labels.flatten()) + F.cross_entropy(sop, sentence_order_label.view(-1))
        return GlyphBertForPreTrainingOutput(loss=loss, prediction_logits=mlm, sop_logits=sop)


# 计算纠错分数, 用于拼写检查
@torch.no_grad()
def spelling_scores(model, input_ids, attention_mask=None, pinyin_ids=None, topk=5):
    logp = model(input_ids, attention_mask, pinyin_ids=pinyin_ids).logits.log_softmax(-1)
    own = logp.gather(-1, input_ids.unsqueeze(-1)).squeeze(-1)
    best = logp.topk(topk, dim=-1)
    return own, best.values, best.indices


def convert_old_checkpoint(state):
    """旧版权重名转换"""
    out = {}
    for k, v in state.items():
        k = k.replace("albert_layer_groups.0.albert_layers.0", "groups.0").replace("encoder.embedding_hidden_mapping_in", "embedding_hidden_mapping_in")
        out[k] = v
    return out
