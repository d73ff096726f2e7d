"""Chronicle: forecasting as language modelling over binned values."""
import copy
import warnings
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5LayerNorm, T5PreTrainedModel, T5Stack

from .configuration_chronicle import ChronicleConfig
from .value_tokenizer import BinSpec, MeanScaleUniformBins


class ResidualBlock(nn.Module):
    def __init__(self, in_dim, h_dim, out_dim, act=nn.SiLU, dropout_p=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout_p)
        self.hidden_layer = nn.Linear(in_dim, h_dim)
        self.act = act()
        self.output_layer = nn.Linear(h_dim, out_dim)
        self.residual_layer = nn.Linear(in_dim, out_dim)

    def forward(self, x):
        return self.dropout(self.output_layer(self.act(self.hidden_layer(x)))) + self.residual_layer(x)


class ChroniclePreTrainedModel(T5PreTrainedModel):
    config_class = ChronicleConfig
    base_model_prefix = "transformer"

    def _init_weights(self, module):
        super()._init_weights(module)
        factor = self.config.initializer_factor
        if isinstance(module, ChronicleForForecasting):
            module.shared.weight.data.normal_(mean=0.0, std=factor * 1.0)
        elif isinstance(module, ResidualBlock):
            for lin in (module.hidden_layer, module.output_layer, module.residual_layer):
                lin.weight.data.normal_(mean=0.0, std=factor * (lin.in_features**-0.5))
                lin.bias.data.zero_()


class ChronicleForForecasting(ChroniclePreTrainedModel, GenerationMixin):
    _keys_to_ignore_on_load_missing = [r"encoder.embed_tokens.weight", r"decoder.embed_tokens.weight"]
    _keys_to_ignore_on_load_unexpected = [r"lm_head.weight"]
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]

    def __init__(self, config: ChronicleConfig):
        super().__init__(config)
        self.model_dim = config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)

        encoder_config = copy.deepcopy(config)
        encoder_config.is_decoder = False
        encoder_config.use_cache = False
        encoder_config.is_encoder_decoder = False
        self.encoder = T5Stack(encoder_config, self.shared)

        decoder_config = copy.deepcopy(config)
        decoder_config.is_decoder = True
        decoder_config.is_encoder_decoder = False
        decoder_config.num_layers = config.num_decoder_layers
        self.decoder = T5Stack(decoder_config, self.shared)

        self.output_block = ResidualBlock(config.d_model, config.d_ff, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.shared

    def set_input_embeddings(self, new_embeddings):
        self.shared = new_embeddings
        self.encoder.set_input_embeddings(new_embeddings)
        self.decoder.set_input_embeddings(new_embeddings)

    def _tie_weights(self):
        if self.config.tie_word_embeddings:
            self._tie_or_clone_weights(self.encoder.embed_tokens, self.shared)
            self._tie_or_clone_weights(self.decoder.embed_tokens, self.shared)

    def get_encoder(self):
        return self.encoder

    def get_decoder(self):
        return self.decoder

    @property
    def tokenizer(self) -> MeanScaleUniformBins:
        c = self.config.chronicle_config
        spec = BinSpec(c["low_limit"], c["high_limit"], self.config.vocab_size, c["n_special_tokens"])
        return MeanScaleUniformBins(spec)

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        decoder_input_ids: Optional[torch.LongTensor] = None,
        decoder_attention_mask: Optional[torch.BoolTensor] = None,
        encoder_outputs: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        past_key_values: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
    ) -> Union[Tuple, Seq2SeqLMOutput]:
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True)
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(last_hidden_state=encoder_outputs[0])
        hidden_states = encoder_outputs[0]
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = self._shift_right(labels)
        decoder_outputs = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            past_key_values=past_key_values,
            encoder_hidden_states=hidden_states,
            encoder_attention_mask=attention_mask,
            use_cache=use_cache,
            return_dict=True,
            cache_position=cache_position,
        )
        logits = self.output_block(decoder_outputs[0])
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1), ignore_index=-100)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=decoder_outputs.past_key_values,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )

    @torch.no_grad()
    def predict(
        self,
        context: Union[torch.Tensor, List[torch.Tensor]],
        prediction_length: Optional[int] = None,
        num_samples: Optional[int] = None,
        temperature: float = 1.0,
        top_k: int = 50,
        limit_prediction_length: bool = True,
    ) -> torch.Tensor:
        c = self.config.chronicle_config
        tok = self.tokenizer
        if isinstance(context, list):
            context = tok.left_pad(context)
        if context.ndim == 1:
            context = context.unsqueeze(0)
        horizon = prediction_length or c["prediction_length"]
        if horizon > c["prediction_length"]:
            msg = f"We recommend keeping prediction length <= {c['prediction_length']}."
            if limit_prediction_length:
                raise ValueError(msg)
            warnings.warn(msg)
        n = num_samples or c["num_samples"]
        out, remaining = [], horizon
        while remaining > 0:
            ids, mask, scale = tok.encode(context)
            step = min(remaining, c["prediction_length"])
            preds = self.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                min_new_tokens=step,
                max_new_tokens=step,
                do_sample=True,
                num_return_sequences=n,
                eos_token_id=1,
                pad_token_id=0,
                temperature=temperature,
                top_k=top_k,
            )
            preds = preds[..., 1:].reshape(ids.size(0), n, -1)
            values = tok.decode(preds.to(scale.device), scale)
            out.append(values)
            remaining -= values.shape[-1]
            if remaining <= 0:
                break
            context = torch.cat([context, values.median(dim=1).values], dim=-1)
        return torch.cat(out, dim=-1)[..., :horizon]

    @torch.no_grad()
    def embed(self, context):
        ids, mask, scale = self.tokenizer.encode(context if context.ndim == 2 else context[None])
        return self.encoder(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state, scale
