import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput

from .configuration_peptil import AMINO_ACIDS, PeptilConfig
from .contact_peptil import PeptilContactHead


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class PeptilRotary(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("inv_freq", self.frequencies())
        self._seq_len_cached = None
        self._cos_cached = None
        self._sin_cached = None

    def frequencies(self, device=None):
        return 1.0 / (10000 ** (torch.arange(0, self.dim, 2, dtype=torch.int64, device=device).float() / self.dim))

    def _tables(self, x):
        n = x.shape[-2]
        if n != self._seq_len_cached or self._cos_cached.device != x.device:
            self._seq_len_cached = n
            t = torch.arange(n, device=x.device).type_as(self.inv_freq)
            freqs = torch.outer(t, self.inv_freq)
            emb = torch.cat((freqs, freqs), dim=-1).to(x.device)
            self._cos_cached, self._sin_cached = emb.cos()[None, None], emb.sin()[None, None]
        return self._cos_cached, self._sin_cached

    def forward(self, q, k):
        cos, sin = self._tables(k)
        return (
            (q * cos + rotate_half(q) * sin).to(q.dtype),
            (k * cos + rotate_half(k) * sin).to(k.dtype),
        )


class PeptilEmbeddings(nn.Module):
    def __init__(self, config: PeptilConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layer_norm = (
            nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.emb_layer_norm_before else None
        )
        self.token_dropout = config.token_dropout
        self.mask_token_id = config.mask_token_id
        self.mask_ratio_train = config.mask_ratio_train

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        x = inputs_embeds if inputs_embeds is not None else self.word_embeddings(input_ids)
        if self.token_dropout and input_ids is not None:
            # masked tokens are zero vectors; the others are scaled up as in training
            masked = input_ids == self.mask_token_id
            x = x.masked_fill(masked.unsqueeze(-1), 0.0)
            lengths = attention_mask.sum(-1) if attention_mask is not None else input_ids.shape[1]
            observed = masked.sum(-1).float() / lengths
            x = (x * (1 - self.mask_ratio_train) / (1 - observed)[:, None, None]).to(x.dtype)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        if attention_mask is not None:
            x = (x * attention_mask.unsqueeze(-1)).to(x.dtype)
        return x


class PeptilAttention(nn.Module):
    def __init__(self, config: PeptilConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.rotary_embeddings = PeptilRotary(self.head_dim)
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x, mask=None, need_weights=False):
        b, n, c = x.shape
        q, k, v = (p(x).view(b, n, self.num_heads, -1).transpose(1, 2) for p in (self.query, self.key, self.value))
        q, k = self.rotary_embeddings(q * self.head_dim**-0.5, k)
        p = self.dropout if self.training else 0.0
        if need_weights:
            w = q @ k.transpose(-1, -2)
            if mask is not None:
                w = w.masked_fill(~mask, torch.finfo(w.dtype).min)
            w = w.softmax(-1)
            out = F.dropout(w, p) @ v if p else w @ v
        else:
            w = None
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, scale=1.0)
        return self.out(out.transpose(1, 2).reshape(b, n, c)), w


class PeptilLayer(GradientCheckpointingLayer):
    def __init__(self, config: PeptilConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = PeptilAttention(config)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, mask=None, need_weights=False):
        attn, w = self.attention(self.attention_norm(x), mask, need_weights)
        x = x + self.dropout(attn)
        return x + self.dropout(self.output(gelu(self.intermediate(self.ffn_norm(x))))), w


class PeptilPreTrainedModel(PreTrainedModel):
    config: PeptilConfig
    config_class = PeptilConfig
    base_model_prefix = "peptil"
    supports_gradient_checkpointing = True
    _no_split_modules = ["PeptilLayer", "PeptilEmbeddings"]

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, PeptilLMHead):
            init.zeros_(module.bias)
        elif isinstance(module, PeptilRotary):
            init.copy_(module.inv_freq, module.frequencies(module.inv_freq.device))


class PeptilModel(PeptilPreTrainedModel):
    def __init__(self, config: PeptilConfig, add_pooling_layer: bool = False):
        super().__init__(config)
        self.embeddings = PeptilEmbeddings(config)
        self.layers = nn.ModuleList([PeptilLayer(config) for _ in range(config.num_hidden_layers)])
        self.emb_layer_norm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.contact_head = PeptilContactHead(config.num_hidden_layers * config.num_attention_heads, config.eos_token_id)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ):
        output_attentions = bool(output_attentions)
        x = self.embeddings(input_ids, attention_mask, inputs_embeds)
        mask = attention_mask[:, None, None, :].bool() if attention_mask is not None else None
        states, attns = [x], []
        for layer in self.layers:
            x, w = layer(x, mask, output_attentions)
            states.append(x)
            attns.append(w)
        x = self.emb_layer_norm_after(x)
        states[-1] = x
        out = BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=torch.tanh(self.pooler(x[:, 0])) if self.pooler is not None else None,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attns) if output_attentions else None,
        )
        return out.to_tuple() if return_dict is False else out

    def predict_contacts(self, tokens, attention_mask):
        attns = self(tokens, attention_mask=attention_mask, output_attentions=True).attentions
        attns = torch.stack(attns, dim=1)
        m = attention_mask.to(attns)
        attns = attns * m[:, None, None, None, :] * m[:, None, None, :, None]
        return self.contact_head(tokens, attns)


class PeptilLMHead(nn.Module):
    def __init__(self, config: PeptilConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x):
        return self.decoder(self.layer_norm(gelu(self.dense(x)))) + self.bias


class PeptilForMaskedLM(PeptilPreTrainedModel):
    _tied_weights_keys = {"lm_head.decoder.weight": "peptil.embeddings.word_embeddings.weight"}

    def __init__(self, config: PeptilConfig):
        super().__init__(config)
        self.peptil = PeptilModel(config, add_pooling_layer=False)
        self.lm_head = PeptilLMHead(config)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings):
        self.lm_head.decoder = new_embeddings

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> tuple | MaskedLMOutput:
        outputs = self.peptil(
            input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.to(logits.device).view(-1))
        out = MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return out.to_tuple() if return_dict is False else out

    def predict_contacts(self, tokens, attention_mask):
        return self.peptil.predict_contacts(tokens, attention_mask=attention_mask)

    @torch.no_grad()
    def embed_sequences(self, sequences: list[str], first_id: int = 4) -> torch.Tensor:
        """Mean residue embeddings straight from strings, without a tokenizer."""
        table = {a: first_id + i for i, a in enumerate(AMINO_ACIDS)}
        rows = [[self.config.cls_token_id] + [table.get(a, 3) for a in s] + [self.config.eos_token_id] for s in sequences]
        n = max(map(len, rows))
        ids = torch.tensor([r + [self.config.pad_token_id] * (n - len(r)) for r in rows], device=self.device)
        mask = (ids != self.config.pad_token_id).long()
        hidden = self.peptil(ids, attention_mask=mask).last_hidden_state
        inner = mask * (ids != self.config.cls_token_id) * (ids != self.config.eos_token_id)
        return (hidden * inner.unsqueeze(-1)).sum(1) / inner.sum(1, keepdim=True)
