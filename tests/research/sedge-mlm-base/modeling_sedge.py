import copy
import logging
import math
import warnings
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from .configuration_sedge import SedgeConfig
from .sedge_padding import gather_rows, repad, scatter_rows, unpad

try:
    from flash_attn import flash_attn_varlen_qkvpacked_func
except ImportError:
    flash_attn_varlen_qkvpacked_func = None

logger = logging.getLogger(__name__)


class SedgeEmbeddings(nn.Module):
    """Word and token type embeddings. There are no position embeddings; see the alibi bias."""

    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer(
            "token_type_ids", torch.zeros(config.max_position_embeddings, dtype=torch.long), persistent=False
        )

    def forward(self, input_ids=None, token_type_ids=None, inputs_embeds=None):
        if (input_ids is not None) == (inputs_embeds is not None):
            raise ValueError("Must specify either input_ids or inputs_embeds!")
        if input_ids is not None:
            inputs_embeds = self.word_embeddings(input_ids)
        batch, seqlen = inputs_embeds.shape[:2]
        if token_type_ids is None:
            if seqlen <= self.token_type_ids.shape[0]:
                token_type_ids = self.token_type_ids[None, :seqlen].expand(batch, seqlen)
            else:
                token_type_ids = torch.zeros(batch, seqlen, dtype=torch.long, device=inputs_embeds.device)
        x = inputs_embeds + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x))


class SedgeUnpadSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.hidden_size % config.num_attention_heads != 0:
            raise ValueError(f"{config.hidden_size} is not a multiple of {config.num_attention_heads}")
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = config.hidden_size
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.p_dropout = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.use_flash = config.use_flash
        if flash_attn_varlen_qkvpacked_func is None and self.use_flash:
            warnings.warn("flash_attn is not installed, falling back to torch")

    def forward(self, hidden_states, cu_seqlens, max_seqlen, indices, attn_mask, bias, slopes):
        qkv = self.Wqkv(hidden_states)
        h, d = self.num_attention_heads, self.attention_head_size
        if (
            self.use_flash
            and flash_attn_varlen_qkvpacked_func is not None
            and qkv.is_cuda
            and qkv.dtype in (torch.float16, torch.bfloat16)
        ):
            out = flash_attn_varlen_qkvpacked_func(
                qkv.view(-1, 3, h, d), cu_seqlens, max_seqlen, self.p_dropout if self.training else 0.0,
                alibi_slopes=slopes,
            )
            return out.reshape(-1, h * d)
        batch = cu_seqlens.shape[0] - 1
        qkv = repad(qkv, indices, batch, max_seqlen).view(batch, max_seqlen, 3, h, d)
        q = qkv[:, :, 0].permute(0, 2, 1, 3)
        k = qkv[:, :, 1].permute(0, 2, 3, 1)
        v = qkv[:, :, 2].permute(0, 2, 1, 3)
        scores = torch.matmul(q, k) / math.sqrt(d) + bias
        probs = self.dropout(F.softmax(scores, dim=-1))
        out = torch.matmul(probs, v).permute(0, 2, 1, 3).reshape(batch, max_seqlen, h * d)
        return out.reshape(-1, h * d)[torch.nonzero(attn_mask.flatten(), as_tuple=False).flatten()]


class SedgeSelfOutput(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, input_tensor):
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class SedgeGatedMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, config.intermediate_size * 2, bias=False)
        self.act = ACT2FN[config.hidden_act]
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate_size = config.intermediate_size

    def forward(self, hidden_states):
        residual = hidden_states
        hidden_states = self.gated_layers(hidden_states)
        gated = hidden_states[:, : self.intermediate_size]
        non_gated = hidden_states[:, self.intermediate_size :]
        hidden_states = self.dropout(self.act(gated) * non_gated)
        return self.layernorm(self.wo(hidden_states) + residual)


class SedgeLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = SedgeUnpadSelfAttention(config)
        self.attention_output = SedgeSelfOutput(config)
        self.mlp = SedgeGatedMLP(config)

    def forward(self, hidden_states, cu_seqlens, seqlen, indices, attn_mask, bias, slopes, subset_idx=None):
        attn = self.attention(hidden_states, cu_seqlens, seqlen, indices, attn_mask, bias, slopes)
        out = self.attention_output(attn, hidden_states)
        if subset_idx is not None:
            out = gather_rows(out, subset_idx)
        return self.mlp(out)


class SedgeEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        layer = SedgeLayer(config)
        self.layer = nn.ModuleList([copy.deepcopy(layer) for _ in range(config.num_hidden_layers)])
        self.num_attention_heads = config.num_attention_heads
        # The bias is not a parameter: it is rebuilt on demand and must not be in the checkpoint.
        self._current_alibi_size = int(config.alibi_starting_size)
        self.alibi = torch.zeros((1, self.num_attention_heads, self._current_alibi_size, self._current_alibi_size))
        self.slopes = None
        self.rebuild_alibi_tensor(size=config.alibi_starting_size)

    @staticmethod
    def _head_slopes(n_heads: int) -> List[float]:
        def pow2(n):
            start = 2 ** (-(2 ** -(math.log2(n) - 3)))
            return [start * start**i for i in range(n)]

        if math.log2(n_heads).is_integer():
            return pow2(n_heads)
        closest = 2 ** math.floor(math.log2(n_heads))
        a = pow2(closest)
        b = SedgeEncoder._head_slopes(2 * closest)[0::2][: n_heads - closest]
        return a + b

    def rebuild_alibi_tensor(self, size: int, device: Optional[Union[torch.device, str]] = None):
        pos = torch.arange(size, device=device)
        rel = torch.abs(pos[None, :] - pos[:, None]).unsqueeze(0).expand(self.num_attention_heads, -1, -1)
        slopes = torch.Tensor(self._head_slopes(self.num_attention_heads)).to(pos.device)
        alibi = slopes[:, None, None] * -rel
        self.slopes = slopes
        self._current_alibi_size = size
        self.alibi = alibi.unsqueeze(0)

    def forward(self, hidden_states, attention_mask, output_all_encoded_layers=True, subset_mask=None):
        bool_mask = attention_mask.bool()
        batch, seqlen = hidden_states.shape[:2]
        ext = (1.0 - attention_mask[:, None, None, :].to(hidden_states.dtype)) * -10000.0
        hidden_states, indices, cu_seqlens, _ = unpad(hidden_states, bool_mask)

        if self._current_alibi_size < seqlen:
            warnings.warn(f"Increasing alibi size from {self._current_alibi_size} to {seqlen}")
            self.rebuild_alibi_tensor(size=seqlen, device=hidden_states.device)
        elif self.alibi.device != hidden_states.device:
            self.alibi = self.alibi.to(hidden_states.device)
            self.slopes = self.slopes.to(hidden_states.device)
        bias = ext + self.alibi[:, :, :seqlen, :seqlen].to(hidden_states.dtype)

        all_layers = []
        args = (cu_seqlens, seqlen, indices, attention_mask, bias, self.slopes)
        if subset_mask is None:
            for layer in self.layer:
                hidden_states = layer(hidden_states, *args)
                if output_all_encoded_layers:
                    all_layers.append(repad(hidden_states, indices, batch, seqlen))
            hidden_states = repad(hidden_states, indices, batch, seqlen)
        else:
            for layer in self.layer[:-1]:
                hidden_states = layer(hidden_states, *args)
            subset_idx = torch.nonzero(subset_mask[bool_mask], as_tuple=False).flatten()
            hidden_states = self.layer[-1](hidden_states, *args, subset_idx=subset_idx)
        if not output_all_encoded_layers:
            all_layers.append(hidden_states)
        return all_layers


class SedgePooler(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states, pool=True):
        first = hidden_states[:, 0] if pool else hidden_states
        return self.activation(self.dense(first))


class SedgePredictionHead(nn.Module):
    def __init__(self, config, embedding_weights):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=1e-12)
        self.decoder = nn.Linear(embedding_weights.size(1), embedding_weights.size(0))
        self.decoder.weight = embedding_weights

    def forward(self, x):
        return self.decoder(self.LayerNorm(self.transform_act_fn(self.dense(x))))


class SedgeModel(BertPreTrainedModel):
    config_class = SedgeConfig

    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.embeddings = SedgeEmbeddings(config)
        self.encoder = SedgeEncoder(config)
        self.pooler = SedgePooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids,
        token_type_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        output_all_encoded_layers: Optional[bool] = False,
        masked_tokens_mask: Optional[torch.Tensor] = None,
        **kwargs,
    ):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        embeds = self.embeddings(input_ids, token_type_ids)
        if masked_tokens_mask is None:
            subset_mask = None
        else:
            first_col = torch.zeros_like(masked_tokens_mask)
            first_col[:, 0] = True
            subset_mask = masked_tokens_mask | first_col
        encoded = self.encoder(
            embeds, attention_mask, output_all_encoded_layers=output_all_encoded_layers, subset_mask=subset_mask
        )
        sequence_output = encoded[-1]
        if masked_tokens_mask is None:
            pooled = self.pooler(sequence_output) if self.pooler is not None else None
        else:
            att = attention_mask.bool()
            sub = subset_mask[att]
            pooled = self.pooler(sequence_output[first_col[att][sub]], pool=False) if self.pooler is not None else None
            sequence_output = sequence_output[masked_tokens_mask[att][sub]]
        if output_all_encoded_layers:
            sequence_output = encoded
        return (sequence_output, pooled) if self.pooler is not None else (sequence_output, None)


class SedgeForMaskedLM(BertPreTrainedModel):
    config_class = SedgeConfig
    _keys_to_ignore_on_load_unexpected = [r"pooler"]
    _tied_weights_keys = ["cls.decoder.weight"]

    def __init__(self, config):
        super().__init__(config)
        if config.is_decoder:
            warnings.warn("this is an encoder, set is_decoder=False")
        self.bert = SedgeModel(config, add_pooling_layer=False)
        self.cls = SedgePredictionHead(config, self.bert.embeddings.word_embeddings.weight)
        self.post_init()

    def get_output_embeddings(self):
        return self.cls.decoder

    def set_output_embeddings(self, new_embeddings):
        self.cls.decoder = new_embeddings

    def forward(
        self,
        input_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        token_type_ids: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, MaskedLMOutput]:
        if (input_ids is not None) == (inputs_embeds is not None):
            raise ValueError("Must specify either input_ids or input_embeds!")
        masked_tokens_mask = None if labels is None else labels > 0
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict

        outputs = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            masked_tokens_mask=masked_tokens_mask,
        )
        sequence_output = outputs[0]
        prediction_scores = self.cls(sequence_output)

        loss = None
        if labels is not None:
            idx = torch.nonzero(labels.flatten() > 0, as_tuple=False).flatten()
            loss = nn.CrossEntropyLoss()(prediction_scores, labels.flatten()[idx])
            batch, seqlen = input_ids.shape[:2]
            prediction_scores = scatter_rows(prediction_scores, idx, batch * seqlen).view(batch, seqlen, -1)
        if not return_dict:
            output = (prediction_scores,) + outputs[2:]
            return ((loss,) + output) if loss is not None else output
        return MaskedLMOutput(loss=loss, logits=prediction_scores, hidden_states=None, attentions=None)


class SedgeForSequenceClassification(BertPreTrainedModel):
    config_class = SedgeConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = SedgeModel(config)
        drop = config.classifier_dropout if config.classifier_dropout is not None else config.hidden_dropout_prob
        self.dropout = nn.Dropout(drop)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        logits = self.classifier(self.dropout(outputs[1]))
        loss = None
        if labels is not None:
            if self.num_labels == 1:
                loss = nn.MSELoss()(logits.squeeze(), labels.squeeze())
            else:
                loss = nn.CrossEntropyLoss()(logits.view(-1, self.num_labels), labels.view(-1))
        if not return_dict:
            return ((loss, logits) if loss is not None else (logits,))
        return SequenceClassifierOutput(loss=loss, logits=logits)
