# Adapted from the well known fast BERT recipe: ALiBi, GLU, unpadding.
import copy
import logging
import math
import warnings
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from .bert_padding import index_put_first_axis, pad_input, unpad_input
from .configuration_tessera import TesseraConfig

try:
    from flash_attn import flash_attn_qkvpacked_func
except ImportError:
    flash_attn_qkvpacked_func = None

logger = logging.getLogger(__name__)


class TesseraEmbeddings(nn.Module):
    """Construct the embeddings for words, ignoring position (ALiBi takes care of it)."""

    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids=None, token_type_ids=None, inputs_embeds=None):
        if (input_ids is not None) == (inputs_embeds is not None):
            raise ValueError("Must specify either input_ids or input_embeds!")
        if input_ids is not None:
            input_shape = input_ids.size()
            inputs_embeds = self.word_embeddings(input_ids)
        else:
            input_shape = inputs_embeds.size()[:-1]
        if token_type_ids is None:
            token_type_ids = torch.zeros(input_shape, dtype=torch.long, device=inputs_embeds.device)
        embeddings = inputs_embeds + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(embeddings))


class TesseraUnpadSelfAttention(nn.Module):

    def __init__(self, config):
        super().__init__()
        if config.hidden_size % config.num_attention_heads != 0:
            raise ValueError(f"hidden size ({config.hidden_size}) is no multiple of heads ({config.num_attention_heads})")
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = int(config.hidden_size / config.num_attention_heads)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.p_dropout = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        if flash_attn_qkvpacked_func is None:
            warnings.warn("Unable to import flash attention; defaulting to PyTorch (reduces throughput).")

    def forward(self, hidden_states, cu_seqlens, max_seqlen_in_batch, indices, attn_mask, bias):
        qkv = self.Wqkv(hidden_states)
        qkv = pad_input(qkv, indices, cu_seqlens.shape[0] - 1, max_seqlen_in_batch)
        b, s, _ = qkv.shape
        qkv = qkv.view(b, s, 3, self.num_attention_heads, self.attention_head_size)
        # if we have nonzero attention dropout or no kernel, go through pytorch
        q = qkv[:, :, 0].permute(0, 2, 1, 3)  # b h s d
        k = qkv[:, :, 1].permute(0, 2, 3, 1)  # b h d s
        v = qkv[:, :, 2].permute(0, 2, 1, 3)
        attention_scores = torch.matmul(q, k) / math.sqrt(self.attention_head_size)
        attention_scores = attention_scores + bias
        attention_probs = F.softmax(attention_scores, dim=-1)
        attention_probs = self.dropout(attention_probs)
        attention = torch.matmul(attention_probs, v).permute(0, 2, 1, 3).reshape(b, s, -1)
        # attn_mask is 1 for attend and 0 for don't
        attention = attention[torch.squeeze(attn_mask) == 1] if b > 1 else attention.reshape(s, -1)[attn_mask[0] == 1]
        return attention


class TesseraSelfOutput(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, input_tensor):
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class TesseraUnpadAttention(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.self = TesseraUnpadSelfAttention(config)
        self.output = TesseraSelfOutput(config)

    def forward(self, input_tensor, cu_seqlens, max_s, indices=None, attn_mask=None, bias=None):
        self_output = self.self(input_tensor, cu_seqlens, max_s, indices, attn_mask, bias)
        return self.output(self_output, input_tensor)


class TesseraGatedLinearUnitMLP(nn.Module):
    """Applies the FFN at the end of each layer, GLU flavour."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.gated_layers = nn.Linear(config.hidden_size, config.intermediate_size * 2, bias=config.glu_bias)
        self.act = nn.GELU(approximate="none")
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        residual_connection = hidden_states
        hidden_states = self.gated_layers(hidden_states)
        gated = hidden_states[:, : self.config.intermediate_size]
        non_gated = hidden_states[:, self.config.intermediate_size :]
        hidden_states = self.dropout(self.act(gated) * non_gated)
        return self.layernorm(self.wo(hidden_states) + residual_connection)


class TesseraLayer(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.attention = TesseraUnpadAttention(config)
        self.mlp = TesseraGatedLinearUnitMLP(config)

    def forward(self, hidden_states, cu_seqlens, seqlen, indices=None, attn_mask=None, bias=None):
        attention_output = self.attention(hidden_states, cu_seqlens, seqlen, indices, attn_mask, bias)
        return self.mlp(attention_output)


class TesseraEncoder(nn.Module):
    """A stack of layers with the ALiBi bias built once and grown when longer inputs come."""

    def __init__(self, config):
        super().__init__()
        layer = TesseraLayer(config)
        self.layer = nn.ModuleList([copy.deepcopy(layer) for _ in range(config.num_hidden_layers)])
        self.num_attention_heads = config.num_attention_heads
        # The alibi mask will be dynamically expanded if it is too small for the input the model receives.
        self._current_alibi_size = int(config.alibi_starting_size)
        self.alibi = torch.zeros((1, self.num_attention_heads, self._current_alibi_size, self._current_alibi_size))
        self.rebuild_alibi_tensor(size=config.alibi_starting_size)

    def rebuild_alibi_tensor(self, size: int, device: Optional[Union[torch.device, str]] = None):
        n_heads = self.num_attention_heads

        def _get_alibi_head_slopes(n_heads: int) -> List[float]:

            def get_slopes_power_of_2(n_heads: int) -> List[float]:
                start = 2 ** (-(2 ** -(math.log2(n_heads) - 3)))
                ratio = start
                return [start * ratio**i for i in range(n_heads)]

            if math.log2(n_heads).is_integer():
                return get_slopes_power_of_2(n_heads)
            closest_power_of_2 = 2 ** math.floor(math.log2(n_heads))
            slopes_a = get_slopes_power_of_2(closest_power_of_2)
            slopes_b = _get_alibi_head_slopes(2 * closest_power_of_2)[0::2][: n_heads - closest_power_of_2]
            return slopes_a + slopes_b

        context_position = torch.arange(size, device=device)[:, None]
        memory_position = torch.arange(size, device=device)[None, :]
        relative_position = torch.abs(memory_position - context_position)
        relative_position = relative_position.unsqueeze(0).expand(n_heads, -1, -1)
        slopes = torch.Tensor(_get_alibi_head_slopes(n_heads)).to(device)
        alibi = slopes.unsqueeze(1).unsqueeze(1) * -relative_position
        alibi = alibi.unsqueeze(0)  # [1, n_heads, max_token_length, max_token_length]
        self._current_alibi_size = size
        self.alibi = alibi

    def forward(self, hidden_states, attention_mask, output_all_encoded_layers=True):
        extended_attention_mask = attention_mask.unsqueeze(1).unsqueeze(2)
        extended_attention_mask = extended_attention_mask.to(dtype=next(self.parameters()).dtype)
        extended_attention_mask = (1.0 - extended_attention_mask) * -10000.0

        attention_mask_bool = attention_mask.bool()
        batch, seqlen = hidden_states.shape[:2]
        hidden_states, indices, cu_seqlens, _ = unpad_input(hidden_states, attention_mask_bool)

        if self._current_alibi_size < seqlen:
            warnings.warn(f"Increasing alibi size from {self._current_alibi_size} to {seqlen}")
            self.rebuild_alibi_tensor(size=seqlen, device=hidden_states.device)
        elif self.alibi.device != hidden_states.device:
            # Device catch-up
            self.alibi = self.alibi.to(hidden_states.device)
        alibi_bias = self.alibi[:, :, :seqlen, :seqlen]
        attn_bias = extended_attention_mask[:, :, :seqlen, :seqlen]
        alibi_attn_mask = attn_bias + alibi_bias

        all_encoder_layers = []
        for layer_module in self.layer:
            hidden_states = layer_module(hidden_states, cu_seqlens, seqlen, indices, attn_mask=attention_mask, bias=alibi_attn_mask)
            if output_all_encoded_layers:
                all_encoder_layers.append(hidden_states)
        hidden_states = pad_input(hidden_states, indices, batch, seqlen)
        all_encoder_layers.append(hidden_states)
        return all_encoder_layers


class TesseraPooler(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states, pool=True):
        first_token_tensor = hidden_states[:, 0] if pool else hidden_states
        return self.activation(self.dense(first_token_tensor))


class TesseraPredictionHeadTransform(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = ACT2FN[config.hidden_act] if isinstance(config.hidden_act, str) else config.hidden_act
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=1e-12)

    def forward(self, hidden_states):
        return self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))


class TesseraModel(BertPreTrainedModel):
    config_class = TesseraConfig

    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.embeddings = TesseraEmbeddings(config)
        self.encoder = TesseraEncoder(config)
        self.pooler = TesseraPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(self, input_ids, token_type_ids=None, attention_mask=None, position_ids=None, output_all_encoded_layers=False, **kwargs):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        embedding_output = self.embeddings(input_ids, token_type_ids)
        encoder_outputs = self.encoder(embedding_output, attention_mask, output_all_encoded_layers=output_all_encoded_layers)
        sequence_output = encoder_outputs[-1]
        pooled_output = self.pooler(sequence_output) if self.pooler is not None else None
        if not output_all_encoded_layers:
            encoder_outputs = sequence_output
        return encoder_outputs, pooled_output


class TesseraForMaskedLM(BertPreTrainedModel):
    config_class = TesseraConfig

    def __init__(self, config):
        super().__init__(config)
        if config.is_decoder if hasattr(config, "is_decoder") else False:
            warnings.warn("If you want to use `TesseraForMaskedLM` make sure `config.is_decoder=False`.")
        self.bert = TesseraModel(config, add_pooling_layer=False)
        self.transform = TesseraPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=True)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None, labels=None, return_dict=None):
        outputs = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        prediction_scores = self.decoder(self.transform(outputs[0]))
        loss = None
        if labels is not None:
            loss = nn.CrossEntropyLoss()(prediction_scores.view(-1, self.config.vocab_size), labels.view(-1))
        return MaskedLMOutput(loss=loss, logits=prediction_scores, hidden_states=None, attentions=None)


class TesseraForSequenceClassification(BertPreTrainedModel):
    config_class = TesseraConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = TesseraModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, **kwargs):
        _, pooled = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        logits = self.classifier(self.dropout(pooled))
        loss = nn.functional.cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits)
