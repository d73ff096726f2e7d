""" PyTorch Sienna model."""
import math
import warnings
from typing import List, Optional, Tuple, Union

import numpy as np
import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.pytorch_utils import apply_chunking_to_forward, find_pruneable_heads_and_indices, prune_linear_layer
from transformers.utils import logging

from .configuration_sienna import SiennaConfig

try:
    from tqdm.autonotebook import trange

    has_tqdm = True
except ImportError:
    has_tqdm = False

logger = logging.get_logger(__name__)


class SiennaEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        if config.position_embedding_type != "alibi":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.position_embedding_type = config.position_embedding_type
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)))
        self.register_buffer(
            "token_type_ids", torch.zeros(self.position_ids.size(), dtype=torch.long), persistent=False
        )

    def forward(self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None):
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        seq_length = inputs_embeds.shape[1]
        if position_ids is None:
            position_ids = self.position_ids[:, :seq_length]
        if token_type_ids is None:
            buffered = self.token_type_ids[:, :seq_length]
            token_type_ids = buffered.expand(inputs_embeds.shape[0], seq_length)
        embeddings = inputs_embeds + self.token_type_embeddings(token_type_ids)
        if self.position_embedding_type == "absolute":
            embeddings = embeddings + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embeddings))


class SiennaSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.hidden_size % config.num_attention_heads != 0 and not hasattr(config, "embedding_size"):
            raise ValueError("The hidden size is not a multiple of the number of attention heads")
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = int(config.hidden_size / config.num_attention_heads)
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def transpose_for_scores(self, x):
        return x.view(x.size()[:-1] + (self.num_attention_heads, self.attention_head_size)).permute(0, 2, 1, 3)

    def forward(self, hidden_states, attention_mask=None, head_mask=None, bias=None):
        query = self.transpose_for_scores(self.query(hidden_states))
        key = self.transpose_for_scores(self.key(hidden_states))
        value = self.transpose_for_scores(self.value(hidden_states))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.attention_head_size)
        if attention_mask is not None:
            scores = scores + attention_mask
        probs = self.dropout(nn.functional.softmax(scores + bias, dim=-1))
        if head_mask is not None:
            probs = probs * head_mask
        context = torch.matmul(probs, value).permute(0, 2, 1, 3).contiguous()
        return context.view(context.size()[:-2] + (self.all_head_size,)), probs


class SiennaSelfOutput(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, input_tensor):
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class SiennaAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self = SiennaSelfAttention(config)
        self.output = SiennaSelfOutput(config)
        self.pruned_heads = set()

    def prune_heads(self, heads):
        if len(heads) == 0:
            return
        heads, index = find_pruneable_heads_and_indices(
            heads, self.self.num_attention_heads, self.self.attention_head_size, self.pruned_heads
        )
        self.self.query = prune_linear_layer(self.self.query, index)
        self.self.key = prune_linear_layer(self.self.key, index)
        self.self.value = prune_linear_layer(self.self.value, index)
        self.output.dense = prune_linear_layer(self.output.dense, index, dim=1)
        self.self.num_attention_heads = self.self.num_attention_heads - len(heads)
        self.self.all_head_size = self.self.attention_head_size * self.self.num_attention_heads
        self.pruned_heads = self.pruned_heads.union(heads)

    def forward(self, hidden_states, attention_mask=None, head_mask=None, bias=None):
        context, probs = self.self(hidden_states, attention_mask, head_mask, bias)
        return self.output(context, hidden_states), probs


class SiennaGLUMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.gated_layers = nn.Linear(config.hidden_size, config.intermediate_size * 2, bias=False)
        if config.feed_forward_type == "reglu":
            self.act = nn.ReLU()
        elif config.feed_forward_type == "geglu":
            self.act = nn.GELU()
        else:
            raise ValueError(f"feed_forward_type {config.feed_forward_type} not supported")
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states):
        residual = hidden_states
        gated, plain = self.gated_layers(hidden_states).chunk(2, dim=-1)
        return self.layernorm(residual + self.wo(self.dropout(self.act(gated) * plain)))


class SiennaLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.seq_len_dim = 1
        self.attention = SiennaAttention(config)
        self.mlp = SiennaGLUMLP(config)

    def forward(self, hidden_states, attention_mask=None, head_mask=None, bias=None):
        attended, probs = self.attention(hidden_states, attention_mask, head_mask, bias)
        out = apply_chunking_to_forward(
            self.feed_forward_chunk, self.chunk_size_feed_forward, self.seq_len_dim, attended
        )
        return out, probs

    def feed_forward_chunk(self, attention_output):
        return self.mlp(attention_output)


class SiennaEncoder(nn.Module):
    def __init__(self, config: SiennaConfig):
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList([SiennaLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False
        self.num_attention_heads = config.num_attention_heads
        self.register_buffer(
            "alibi", self.rebuild_alibi_tensor(size=config.max_position_embeddings), persistent=False
        )

    def rebuild_alibi_tensor(self, size: int, device: Optional[Union[torch.device, str]] = None):
        n_heads = self.num_attention_heads

        def _get_alibi_head_slopes(n_heads: int) -> List[float]:
            def get_slopes_power_of_2(n):
                start = 2 ** (-(2 ** -(math.log2(n) - 3)))
                return [start * start**i for i in range(n)]

            if math.log2(n_heads).is_integer():
                return get_slopes_power_of_2(n_heads)
            closest = 2 ** math.floor(math.log2(n_heads))
            return (
                get_slopes_power_of_2(closest) + _get_alibi_head_slopes(2 * closest)[0::2][: n_heads - closest]
            )

        context_position = torch.arange(size, device=device)[:, None]
        memory_position = torch.arange(size, device=device)[None, :]
        relative_position = torch.abs(memory_position - context_position)
        relative_position = relative_position.unsqueeze(0).expand(n_heads, -1, -1)
        slopes = torch.Tensor(_get_alibi_head_slopes(n_heads)).to(device) * -1
        alibi = slopes.unsqueeze(1).unsqueeze(1) * relative_position
        alibi = alibi.unsqueeze(0)
        assert alibi.shape == torch.Size([1, n_heads, size, size])
        self._current_alibi_size = size
        return alibi

    def forward(self, hidden_states, attention_mask=None, head_mask=None, output_hidden_states=False):
        seqlen = hidden_states.shape[1]
        if self._current_alibi_size < seqlen:
            warnings.warn(f"Increasing alibi size from {self._current_alibi_size} to {seqlen}.")
            self.register_buffer(
                "alibi", self.rebuild_alibi_tensor(size=seqlen, device=hidden_states.device), persistent=False
            )
        bias = self.alibi[:, :, :seqlen, :seqlen].to(hidden_states.dtype)
        states = () if output_hidden_states else None
        for i, layer_module in enumerate(self.layer):
            if output_hidden_states:
                states = states + (hidden_states,)
            if self.gradient_checkpointing and self.training:
                hidden_states, _ = torch.utils.checkpoint.checkpoint(
                    layer_module, hidden_states, attention_mask, head_mask[i], bias
                )
            else:
                hidden_states, _ = layer_module(hidden_states, attention_mask, head_mask[i], bias)
        return hidden_states, states


class SiennaPreTrainedModel(PreTrainedModel):
    config_class = SiennaConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SiennaLayer"]

    def _init_weights(self, module):
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

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, SiennaEncoder):
            module.gradient_checkpointing = value


class SiennaModel(SiennaPreTrainedModel):
    def __init__(self, config: SiennaConfig, add_pooling_layer=True):
        super().__init__(config)
        self.config = config
        self.emb_pooler = config.emb_pooler
        self._name_or_path = config._name_or_path
        if self.emb_pooler:
            from transformers import AutoTokenizer

            self._tokenizer_class = AutoTokenizer
        self.embeddings = SiennaEmbeddings(config)
        self.encoder = SiennaEncoder(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.post_init()

    @torch.inference_mode()
    def encode(self, sentences: Union[str, List[str]], batch_size: int = 32, show_progress_bar: Optional[bool] = None):
        tokenizer = self._tokenizer_class.from_pretrained(self._name_or_path)
        single = isinstance(sentences, str)
        sentences = [sentences] if single else sentences
        order = np.argsort([-len(s) for s in sentences])
        vectors = []
        steps = range(0, len(sentences), batch_size)
        if show_progress_bar and has_tqdm:
            steps = trange(0, len(sentences), batch_size, desc="Encoding")
        for i in steps:
            batch = tokenizer(
                [sentences[j] for j in order[i : i + batch_size]], padding=True, truncation=True, return_tensors="pt"
            ).to(self.device)
            vectors.extend(self.mean_pooling(self(**batch)[0], batch["attention_mask"]))
        vectors = [vectors[i] for i in np.argsort(order)]
        return vectors[0] if single else torch.stack(vectors)

    def mean_pooling(self, token_embeddings, attention_mask):
        expanded = attention_mask.unsqueeze(-1).expand(token_embeddings.size()).float()
        return torch.sum(token_embeddings * expanded, 1) / torch.clamp(expanded.sum(1), min=1e-9)

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune):
        for layer, heads in heads_to_prune.items():
            self.encoder.layer[layer].attention.prune_heads(heads)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        head_mask=None,
        inputs_embeds=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        input_shape = input_ids.size() if input_ids is not None else inputs_embeds.size()[:-1]
        if attention_mask is None:
            attention_mask = torch.ones(input_shape, device=self.device)
        extended_attention_mask = self.get_extended_attention_mask(attention_mask, input_shape)
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)
        embedding_output = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        sequence_output, states = self.encoder(
            embedding_output, extended_attention_mask, head_mask, bool(output_hidden_states)
        )
        pooled = torch.tanh(self.pooler(sequence_output[:, 0])) if self.pooler is not None else None
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=sequence_output, pooler_output=pooled, hidden_states=states
        )


class SiennaLMHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder.bias = self.bias

    def forward(self, hidden_states):
        return self.decoder(self.LayerNorm(self.act(self.dense(hidden_states))))


class SiennaForMaskedLM(SiennaPreTrainedModel):
    _tied_weights_keys = ["cls.decoder.bias", "cls.decoder.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.bert = SiennaModel(config, add_pooling_layer=False)
        self.cls = SiennaLMHead(config)
        self.post_init()

    def get_output_embeddings(self):
        return self.cls.decoder

    def set_output_embeddings(self, new_embeddings):
        self.cls.decoder = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, **kwargs):
        outputs = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **kwargs)
        scores = self.cls(outputs[0])
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(scores.view(-1, self.config.vocab_size), labels.view(-1))
        return MaskedLMOutput(loss=loss, logits=scores, hidden_states=outputs.hidden_states)


class SiennaForSequenceClassification(SiennaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = SiennaModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        logits = self.classifier(self.bert(input_ids, attention_mask=attention_mask, **kwargs).pooler_output)
        loss = None
        if labels is not None:
            loss = MSELoss()(logits.squeeze(), labels) if self.num_labels == 1 else CrossEntropyLoss()(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
