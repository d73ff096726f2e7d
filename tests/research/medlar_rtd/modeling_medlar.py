from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import get_activation
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_medlar import MedlarConfig

logger = logging.get_logger(__name__)


@dataclass
class MedlarPreTrainingOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    mlm_logits: torch.FloatTensor = None
    rtd_logits: torch.FloatTensor = None
    corrupted_ids: Optional[torch.LongTensor] = None


class MedlarEmbeddings(nn.Module):
    """With `delta`, word embeddings of the generator are used without a gradient, plus a delta that starts at 0."""

    def __init__(self, config: MedlarConfig, delta: bool = False):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.delta_embeddings = nn.Embedding(config.vocab_size, config.embedding_size) if delta else None
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.embedding_size)
        self.project = (
            nn.Linear(config.embedding_size, config.hidden_size, bias=False)
            if config.embedding_size != config.hidden_size
            else nn.Identity()
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)))

    def forward(self, input_ids, attention_mask):
        words = self.word_embeddings(input_ids)
        if self.delta_embeddings is not None:
            words = words.detach() + self.delta_embeddings(input_ids)
        x = words + self.position_embeddings(self.position_ids[:, : input_ids.shape[1]])
        return self.dropout(self.norm(self.project(x))) * attention_mask[..., None].type_as(x)


class RelativeBias(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.buckets = config.relative_buckets
        self.table = nn.Embedding(2 * self.buckets + 1, config.num_attention_heads)
        span = torch.arange(config.max_position_embeddings)
        gap = span[None, :] - span[:, None]
        near = gap.clamp(-self.buckets // 2, self.buckets // 2)
        far = torch.sign(gap) * torch.log2(gap.abs().clamp(min=1).float() + 1).long()
        index = torch.where(gap.abs() <= self.buckets // 2, near, far).clamp(-self.buckets, self.buckets)
        self.register_buffer("index", index + self.buckets, persistent=False)

    def forward(self, length):
        return self.table(self.index[:length, :length]).permute(2, 0, 1).unsqueeze(0)


class MedlarLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.in_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.hidden_size))
        self.v_bias = nn.Parameter(torch.zeros(config.hidden_size))
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, bias, mask):
        b, t, d = x.shape
        q, k, v = self.in_proj(x).chunk(3, -1)
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in (q + self.q_bias, k, v + self.v_bias))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype) + mask)
        x = self.norm1(x + self.dropout(self.out_proj(y.transpose(1, 2).reshape(b, t, d))))
        return self.norm2(x + self.dropout(self.fc2(F.gelu(self.fc1(x)))))


class MedlarPreTrainedModel(PreTrainedModel):
    config_class = MedlarConfig
    base_model_prefix = "medlar"
    _keys_to_ignore_on_load_unexpected = [r"index", r"teacher"]

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
        if isinstance(module, MedlarEmbeddings) and module.delta_embeddings is not None:
            module.delta_embeddings.weight.data.zero_()


class MedlarModel(MedlarPreTrainedModel):
    def __init__(self, config: MedlarConfig, layers: Optional[int] = None, delta: bool = False):
        super().__init__(config)
        self.embeddings = MedlarEmbeddings(config, delta)
        self.bias = RelativeBias(config)
        self.layers = nn.ModuleList([MedlarLayer(config) for _ in range(layers or config.num_hidden_layers)])
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, return_dict=None) -> BaseModelOutput:
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x = self.embeddings(input_ids, attention_mask)
        mask = (1.0 - attention_mask[:, None, None, :].type_as(x)) * torch.finfo(x.dtype).min / 2
        bias = self.bias(input_ids.shape[1])
        for layer in self.layers:
            x = layer(x, bias, mask)
        return BaseModelOutput(last_hidden_state=x)


class MedlarMLMHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.act = get_activation("gelu")
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        # so that the bias is resized with the decoder
        self.decoder.bias = self.bias

    def forward(self, x):
        return self.decoder(self.norm(self.act(self.dense(x))))


class MedlarForMaskedLM(MedlarPreTrainedModel):
    _tied_weights_keys = ["head.decoder.weight", "head.decoder.bias"]

    def __init__(self, config):
        super().__init__(config)
        self.medlar = MedlarModel(config)
        self.head = MedlarMLMHead(config)
        self.post_init()

    def get_output_embeddings(self):
        return self.head.decoder

    def set_output_embeddings(self, new_embeddings):
        self.head.decoder = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        logits = self.head(self.medlar(input_ids, attention_mask).last_hidden_state)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits)


class MedlarRTDHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.out = nn.Linear(config.hidden_size, 1)

    def forward(self, x, context):
        return self.out(self.norm(context + F.gelu(self.dense(x)))).squeeze(-1)


class MedlarForPreTraining(MedlarPreTrainedModel):
    _tied_weights_keys = [
        "mlm_head.decoder.weight",
        "mlm_head.decoder.bias",
        "discriminator.embeddings.word_embeddings.weight",
        "discriminator.embeddings.position_embeddings.weight",
    ]

    def __init__(self, config: MedlarConfig):
        super().__init__(config)
        self.generator = MedlarModel(config, layers=config.generator_layers)
        self.mlm_head = MedlarMLMHead(config)
        self.discriminator = MedlarModel(config, delta=config.share_embeddings == "gdes")
        self.rtd_head = MedlarRTDHead(config)
        self.share()
        self.post_init()

    def share(self):
        g, d = self.generator.embeddings, self.discriminator.embeddings
        self.mlm_head.decoder.weight = g.word_embeddings.weight
        if self.config.share_embeddings != "no":
            d.word_embeddings.weight = g.word_embeddings.weight
            d.position_embeddings.weight = g.position_embeddings.weight

    def tie_weights(self):
        self.share()

    def get_input_embeddings(self):
        return self.generator.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.generator.embeddings.word_embeddings = value
        self.share()

    def export_discriminator(self) -> MedlarModel:
        """Delta is added to the words, and the result is a plain MedlarModel."""
        model = MedlarModel(self.config)
        state = self.discriminator.state_dict()
        delta = state.pop("embeddings.delta_embeddings.weight", None)
        if delta is not None:
            state["embeddings.word_embeddings.weight"] = state["embeddings.word_embeddings.weight"] + delta
        model.load_state_dict(state)
        return model

    def corrupt(self, input_ids, logits, temperature=1.0) -> Tuple[torch.Tensor, torch.Tensor]:
        masked = input_ids == self.config.mask_token_id
        if self.training:
            sampled = torch.distributions.Categorical(logits=logits.float() / temperature).sample()
        else:
            sampled = logits.argmax(-1)
        return torch.where(masked, sampled, input_ids), masked

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None):
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        mlm_logits = self.mlm_head(self.generator(input_ids, attention_mask).last_hidden_state)
        corrupted, masked = self.corrupt(input_ids, mlm_logits)
        hidden = self.discriminator(corrupted, attention_mask).last_hidden_state
        rtd_logits = self.rtd_head(hidden, hidden[:, :1])
        loss = None
        if labels is not None:
            mlm = F.cross_entropy(mlm_logits[masked], labels[masked])
            wrong = (corrupted != torch.where(masked, labels, input_ids)).float()
            keep = attention_mask.bool()
            rtd = F.binary_cross_entropy_with_logits(rtd_logits[keep].float(), wrong[keep])
            loss = mlm + self.config.rtd_weight * rtd
        return MedlarPreTrainingOutput(loss=loss, mlm_logits=mlm_logits, rtd_logits=rtd_logits, corrupted_ids=corrupted)
