from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_attn_mask_utils import _prepare_4d_attention_mask
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.bart.modeling_bart import (
    BartEncoder,
    BartEncoderLayer,
    BartForConditionalGeneration,
    BartLearnedPositionalEmbedding,
    BartModel,
    shift_tokens_right,
)
from transformers.utils import logging

from .configuration_puffin import PuffinConfig
from .local_attention import BlockLocalAttention

logger = logging.get_logger(__name__)


@dataclass
class PuffinOutput(Seq2SeqLMOutput):
    plan_logits: Optional[torch.FloatTensor] = None


class PuffinEncoderLayer(BartEncoderLayer):
    def __init__(self, config: PuffinConfig):
        super().__init__(config)
        self.self_attn = BlockLocalAttention(
            config.d_model,
            config.encoder_attention_heads,
            config.attention_block,
            config.global_tokens,
            config.attention_dropout,
        )


class PuffinEncoder(BartEncoder):
    def __init__(self, config: PuffinConfig, embed_tokens: Optional[nn.Embedding] = None):
        super().__init__(config, embed_tokens)
        self.max_source_positions = config.max_encoder_position_embeddings
        self.embed_positions = BartLearnedPositionalEmbedding(config.max_encoder_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([PuffinEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        head_mask=None,
        inputs_embeds=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids) * getattr(self, "embed_scale", 1.0)
        x = inputs_embeds + self.embed_positions(inputs_embeds[:, :, -1])
        x = F.dropout(self.layernorm_embedding(x), p=self.dropout, training=self.training)
        if attention_mask is not None:
            attention_mask = _prepare_4d_attention_mask(attention_mask, x.dtype)
        states = (x,) if output_hidden_states else None
        for number, layer in enumerate(self.layers):
            if self.training and torch.rand([]) < self.layerdrop:
                continue
            mask = head_mask[number] if head_mask is not None else None
            x = layer(x, attention_mask, layer_head_mask=mask, output_attentions=False)[0]
            if output_hidden_states:
                states = states + (x,)
        if return_dict is False:
            return (x,) if states is None else (x, states)
        return BaseModelOutput(last_hidden_state=x, hidden_states=states)


class PuffinModel(BartModel):
    config_class = PuffinConfig
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]

    def __init__(self, config: PuffinConfig):
        super().__init__(config)
        self.encoder = PuffinEncoder(config, self.shared)
        self.post_init()


class PuffinForConditionalGeneration(BartForConditionalGeneration):
    config_class = PuffinConfig
    base_model_prefix = "model"
    _keys_to_ignore_on_load_missing = ["final_logits_bias", r"plan_head\."]
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]

    def __init__(self, config: PuffinConfig):
        super().__init__(config)
        self.model = PuffinModel(config)
        self.plan_head = nn.Sequential(
            nn.Linear(config.d_model, config.d_model), nn.Tanh(), nn.Linear(config.d_model, config.plan_classes)
        )
        self.post_init()

    @classmethod
    def from_bart(cls, bart: BartForConditionalGeneration, **settings) -> "PuffinForConditionalGeneration":
        """Copies a trained BART; its 1024 positions are repeated until the longer table is full."""
        config = PuffinConfig(**{**bart.config.to_dict(), **settings})
        model = cls(config)
        state = bart.state_dict()
        short = state.pop("model.encoder.embed_positions.weight")
        long = model.model.encoder.embed_positions.weight.data
        offset = 2
        long[:offset] = short[:offset]
        body = short[offset:]
        for start in range(offset, long.shape[0], body.shape[0]):
            end = min(start + body.shape[0], long.shape[0])
            long[start:end] = body[: end - start]
        missing, unexpected = model.load_state_dict(state, strict=False)
        logger.info("missing %s, unexpected %s", missing, unexpected)
        return model

    def plan(self, encoded, input_ids):
        """Which sentences the summary will use; sentences end with eos."""
        ends = input_ids == self.config.eos_token_id
        return self.plan_head(encoded), ends

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        decoder_input_ids: Optional[torch.LongTensor] = None,
        decoder_attention_mask: Optional[torch.LongTensor] = None,
        head_mask: Optional[torch.Tensor] = None,
        decoder_head_mask: Optional[torch.Tensor] = None,
        cross_attn_head_mask: Optional[torch.Tensor] = None,
        encoder_outputs: Optional[Tuple] = None,
        past_key_values=None,
        inputs_embeds=None,
        decoder_inputs_embeds=None,
        labels: Optional[torch.LongTensor] = None,
        plan_labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position=None,
        **kwargs,
    ):
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None:
                decoder_input_ids = shift_tokens_right(
                    labels, self.config.pad_token_id, self.config.decoder_start_token_id
                )
        if encoder_outputs is None:
            encoder_outputs = self.model.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                head_mask=head_mask,
                inputs_embeds=inputs_embeds,
                output_hidden_states=output_hidden_states,
                return_dict=True,
            )
        encoded = encoder_outputs[0]
        out = self.model.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoded,
            encoder_attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
        )
        logits = self.lm_head(out[0]) + self.final_logits_bias.to(out[0].device)
        loss, plan_logits = None, None
        if input_ids is not None and plan_labels is not None:
            plan_logits, ends = self.plan(encoded, input_ids)
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.view(-1))
            if plan_logits is not None:
                loss = loss + self.config.plan_weight * F.cross_entropy(plan_logits[ends], plan_labels[ends])
        return PuffinOutput(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            encoder_last_hidden_state=encoded,
            plan_logits=plan_logits,
        )
