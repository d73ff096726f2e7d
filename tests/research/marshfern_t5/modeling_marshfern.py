import copy
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import (
    T5ForConditionalGeneration,
    T5LayerNorm,
    T5PreTrainedModel,
    T5Stack,
)
from transformers.utils import logging

from .configuration_marshfern import MarshfernConfig
from .graphs import chain_distances, segments_from_markers

logger = logging.get_logger(__name__)


class GraphT5Stack(T5Stack):
    """T5's encoder. The first block's bias, which all blocks share, gets a part of the graph."""

    def __init__(self, config, embed_tokens=None):
        super().__init__(config, embed_tokens)
        self.graph_bias = nn.Embedding(config.graph_buckets, config.num_heads)
        self._distances = None
        first = self.block[0].layer[0].SelfAttention
        own_bias = first.compute_bias

        def compute_bias(query_length, key_length, device=None, cache_position=None):
            bias = own_bias(query_length, key_length, device=device, cache_position=cache_position)
            if self._distances is not None:
                bias = bias + self.graph_bias(self._distances).permute(0, 3, 1, 2)
            return bias

        first.compute_bias = compute_bias

    def forward(self, input_ids=None, graph_distances=None, **kwargs):
        self._distances = graph_distances
        try:
            return super().forward(input_ids=input_ids, **kwargs)
        finally:
            self._distances = None


class CopyHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.query = nn.Linear(config.d_model, config.d_model, bias=False)
        self.key = nn.Linear(config.d_model, config.d_model, bias=False)
        self.norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.gate = nn.Linear(config.d_model, 1)

    def forward(self, decoded, encoded, source_ids, mask, logits):
        scores = self.query(self.norm(decoded)) @ self.key(encoded).transpose(1, 2)
        scores = scores / decoded.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, :] == 0, torch.finfo(scores.dtype).min)
        pointed = scores.float().softmax(-1)
        copied = torch.zeros_like(logits, dtype=torch.float32).scatter_add_(
            -1, source_ids[:, None, :].expand(-1, decoded.shape[1], -1), pointed
        )
        p = torch.sigmoid(self.gate(decoded).float())
        mixture = p * logits.float().softmax(-1) + (1 - p) * copied
        return mixture.clamp(min=1e-9).log()


def begin(module, config):
    std = config.initializer_factor * config.d_model**-0.5
    if isinstance(module, GraphT5Stack):
        module.graph_bias.weight.data.normal_(mean=0.0, std=std)
    elif isinstance(module, CopyHead):
        for part in (module.query, module.key, module.gate):
            part.weight.data.normal_(mean=0.0, std=std)
        module.gate.bias.data.fill_(2.0)


class MarshfernForConditionalGeneration(T5ForConditionalGeneration):
    config_class = MarshfernConfig
    _keys_to_ignore_on_load_unexpected = [
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
    ]
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]

    def __init__(self, config: MarshfernConfig):
        T5PreTrainedModel.__init__(self, config)
        self.model_dim = config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)

        encoder_config = copy.deepcopy(config)
        encoder_config.is_decoder = False
        encoder_config.use_cache = False
        encoder_config.is_encoder_decoder = False
        self.encoder = GraphT5Stack(encoder_config, self.shared)

        decoder_config = copy.deepcopy(config)
        decoder_config.is_decoder = True
        decoder_config.is_encoder_decoder = False
        decoder_config.num_layers = config.num_decoder_layers
        self.decoder = T5Stack(decoder_config, self.shared)

        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.copy_head = CopyHead(config) if config.copy_head else None
        self.post_init()
        self.model_parallel = False
        self.device_map = None

    def _init_weights(self, module):
        super()._init_weights(module)
        begin(module, self.config)

    def graph(self, input_ids, graph_distances):
        if graph_distances is not None or input_ids is None:
            return graph_distances
        segments = segments_from_markers(input_ids, self.config.node_token_ids)
        return chain_distances(segments, self.config.graph_buckets)

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        attention_mask=None,
        decoder_attention_mask=None,
        use_cache=None,
        encoder_outputs=None,
        source_ids=None,
        **kwargs,
    ):
        if past_key_values is not None:
            past_length = past_key_values.get_seq_length()
            input_ids = input_ids[:, past_length:] if input_ids.shape[1] > past_length else input_ids[:, -1:]
        return {
            "decoder_input_ids": input_ids,
            "past_key_values": past_key_values,
            "encoder_outputs": encoder_outputs,
            "attention_mask": attention_mask,
            "decoder_attention_mask": decoder_attention_mask,
            "use_cache": use_cache,
            "source_ids": source_ids,
        }

    def _prepare_encoder_decoder_kwargs_for_generation(self, inputs_tensor, model_kwargs, *args, **kwargs):
        model_kwargs["graph_distances"] = self.graph(inputs_tensor, model_kwargs.get("graph_distances"))
        model_kwargs = super()._prepare_encoder_decoder_kwargs_for_generation(
            inputs_tensor, model_kwargs, *args, **kwargs
        )
        model_kwargs["source_ids"] = inputs_tensor
        return model_kwargs

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        decoder_input_ids: Optional[torch.LongTensor] = None,
        decoder_attention_mask: Optional[torch.BoolTensor] = None,
        encoder_outputs: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        past_key_values: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        graph_distances: Optional[torch.LongTensor] = None,
        source_ids: Optional[torch.LongTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, Seq2SeqLMOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids,
                graph_distances=self.graph(input_ids, graph_distances),
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                return_dict=True,
            )
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(last_hidden_state=encoder_outputs[0])
        encoded = encoder_outputs[0]
        source_ids = source_ids if source_ids is not None else input_ids

        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = self._shift_right(labels)
        decoder_outputs = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            past_key_values=past_key_values,
            encoder_hidden_states=encoded,
            encoder_attention_mask=attention_mask,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        decoded = decoder_outputs[0]
        scaled = decoded * self.model_dim**-0.5 if self.config.tie_word_embeddings else decoded
        logits = self.lm_head(scaled)
        if self.copy_head is not None and source_ids is not None:
            logits = self.copy_head(decoded, encoded, source_ids, attention_mask, logits)

        loss = None
        if labels is not None:
            loss = CrossEntropyLoss(ignore_index=-100)(logits.view(-1, logits.size(-1)), labels.view(-1))
        if not return_dict:
            output = (logits,) + decoder_outputs[1:]
            return ((loss,) + output) if loss is not None else output
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=decoder_outputs.past_key_values,
            decoder_hidden_states=decoder_outputs.hidden_states,
            decoder_attentions=decoder_outputs.attentions,
            cross_attentions=decoder_outputs.cross_attentions,
            encoder_last_hidden_state=encoded,
        )

    @torch.no_grad()
    def agreement(self, input_ids, labels):
        logits = self(input_ids=input_ids, labels=labels).logits
        keep = labels != -100
        return F.one_hot(logits.argmax(-1), logits.size(-1)).gather(-1, labels.clamp(min=0)[..., None])[keep].float().mean()
