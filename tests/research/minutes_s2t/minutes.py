"""MINUTES: meeting transcription. Encoder and decoder are torch's, we only wrap them for generate().

No key/value cache on purpose: utterances are short and the box has one core.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Optional

import torch
from torch import Tensor, nn
import torch.nn.functional as F
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

try:
    import torchaudio
except (ImportError, OSError):
    torchaudio = None


class MinutesConfig(PretrainedConfig):
    model_type = "minutes_s2t"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "decoder_layers"}

    def __init__(
        self,
        vocab_size: int = 512,
        d_model: int = 256,
        encoder_layers: int = 6,
        decoder_layers: int = 3,
        num_attention_heads: int = 4,
        ffn_mult: int = 2,
        n_mels: int = 80,
        dropout: float = 0.1,
        stack: int = 2,
        label_smoothing: float = 0.1,
        use_cache: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.num_attention_heads = num_attention_heads
        self.ffn_mult = ffn_mult
        self.n_mels = n_mels
        self.dropout = dropout
        self.stack = stack
        self.label_smoothing = label_smoothing
        self.use_cache = use_cache


@lru_cache(maxsize=8)
def _inverse_timescales(dim: int) -> tuple:
    return tuple(math.exp(-math.log(10000.0) * i / (dim // 2 - 1)) for i in range(dim // 2))


def add_positions(x: Tensor, offset: int = 0) -> Tensor:
    n, d = x.shape[1], x.shape[2]
    t = torch.arange(offset, offset + n, device=x.device, dtype=torch.float32)[:, None]
    inv = torch.tensor(_inverse_timescales(d), device=x.device)[None]
    return x + torch.cat([(t * inv).sin(), (t * inv).cos()], -1).to(x.dtype)


class FrameStacker(nn.Module):
    """stack neighbouring frames, then project"""

    def __init__(self, n_mels: int, stack: int, d_model: int):
        super().__init__()
        self.stack = stack
        self.norm = nn.LayerNorm(n_mels * stack)
        self.proj = nn.Linear(n_mels * stack, d_model)

    def forward(self, feats: Tensor) -> Tensor:
        b, t, f = feats.shape
        cut = t - t % self.stack
        x = feats[:, :cut].reshape(b, cut // self.stack, f * self.stack)
        return self.proj(self.norm(x))


class MinutesPreTrainedModel(PreTrainedModel):
    config_class = MinutesConfig
    base_model_prefix = "minutes"
    main_input_name = "input_features"
    _no_split_modules = ["TransformerEncoderLayer", "TransformerDecoderLayer"]

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.d_model**-0.5)


class MinutesEncoder(MinutesPreTrainedModel):
    def __init__(self, config: MinutesConfig):
        super().__init__(config)
        self.frontend = FrameStacker(config.n_mels, config.stack, config.d_model)
        layer = nn.TransformerEncoderLayer(
            config.d_model, config.num_attention_heads, config.d_model * config.ffn_mult, config.dropout,
            activation="gelu", batch_first=True, norm_first=True,
        )
        self.body = nn.TransformerEncoder(layer, config.encoder_layers, norm=nn.LayerNorm(config.d_model), enable_nested_tensor=False)
        self.post_init()

    def padding(self, attention_mask: Optional[Tensor], n: int) -> Optional[Tensor]:
        if attention_mask is None:
            return None
        return attention_mask[:, :: self.config.stack][:, :n] == 0

    def forward(self, input_features: Tensor, attention_mask: Optional[Tensor] = None, return_dict: bool = True, **kw) -> BaseModelOutput:
        x = add_positions(self.frontend(input_features))
        pad = self.padding(attention_mask, x.shape[1])
        return BaseModelOutput(last_hidden_state=self.body(x, src_key_padding_mask=pad))


class MinutesDecoder(MinutesPreTrainedModel):
    main_input_name = "input_ids"

    def __init__(self, config: MinutesConfig):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        layer = nn.TransformerDecoderLayer(
            config.d_model, config.num_attention_heads, config.d_model * config.ffn_mult, config.dropout,
            activation="gelu", batch_first=True, norm_first=True,
        )
        self.body = nn.TransformerDecoder(layer, config.decoder_layers, norm=nn.LayerNorm(config.d_model))
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, v):
        self.embed = v

    def forward(self, ids: Tensor, memory: Tensor) -> Tensor:
        n = ids.shape[1]
        x = add_positions(self.embed(ids) * math.sqrt(self.config.d_model))
        mask = torch.ones(n, n, dtype=torch.bool, device=ids.device).triu(1)
        return self.body(x, memory, tgt_mask=mask)


class MinutesForSpeech(MinutesPreTrainedModel, GenerationMixin):
    def __init__(self, config: MinutesConfig):
        super().__init__(config)
        self.encoder = MinutesEncoder(config)
        self.decoder = MinutesDecoder(config)
        self.out = nn.Linear(config.d_model, config.vocab_size)
        self.post_init()

    def get_encoder(self, *args, **kwargs):
        return self.encoder

    def get_decoder(self):
        return self.decoder

    def get_input_embeddings(self):
        return self.decoder.embed

    def get_output_embeddings(self):
        return self.out

    def set_output_embeddings(self, v):
        self.out = v

    def shift_right(self, labels: Tensor) -> Tensor:
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id)
        return torch.cat([start, labels[:, :-1]], 1).masked_fill_(torch.cat([start, labels[:, :-1]], 1) == -100, self.config.pad_token_id)

    def forward(
        self,
        input_features: Optional[Tensor] = None,
        attention_mask: Optional[Tensor] = None,
        decoder_input_ids: Optional[Tensor] = None,
        encoder_outputs: Optional[BaseModelOutput] = None,
        labels: Optional[Tensor] = None,
        return_dict: Optional[bool] = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_features, attention_mask)
        if decoder_input_ids is None and labels is not None:
            decoder_input_ids = self.shift_right(labels)
        logits = self.out(self.decoder(decoder_input_ids, encoder_outputs[0]))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, label_smoothing=self.config.label_smoothing)
        return Seq2SeqLMOutput(loss=loss, logits=logits, encoder_last_hidden_state=encoder_outputs[0])

    def prepare_inputs_for_generation(self, input_ids, encoder_outputs=None, attention_mask=None, **kwargs):
        # the whole prefix goes in every time
        return {"decoder_input_ids": input_ids, "encoder_outputs": encoder_outputs, "attention_mask": attention_mask}

    @torch.no_grad()
    def transcribe(self, wave: Tensor, tokenizer, rate: int = 16000, **kw) -> list:
        if torchaudio is None:
            raise ImportError("pip install torchaudio")
        mel = torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=self.config.n_mels, sample_frequency=rate)
        mel = (mel - mel.mean(0)) / (mel.std(0) + 1e-5)
        ids = self.generate(input_features=mel[None].to(self.device), use_cache=False, **kw)
        return tokenizer.batch_decode(ids, skip_special_tokens=True)

    def wer(self, refs: list, hyps: list) -> float:
        wrong = total = 0
        for r, h in zip(refs, hyps):
            r, h = r.split(), h.split()
            d = list(range(len(h) + 1))
            for i, a in enumerate(r, 1):
                prev, d[0] = d[0], i
                for j, b in enumerate(h, 1):
                    prev, d[j] = d[j], min(d[j] + 1, d[j - 1] + 1, prev + (a != b))
            wrong, total = wrong + d[-1], total + len(r)
        return wrong / max(total, 1)


MinutesConfig.register_for_auto_class()
MinutesForSpeech.register_for_auto_class("AutoModelForSpeechSeq2Seq")
