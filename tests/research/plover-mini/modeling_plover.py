"""PloverLM: a tiny convolutional language model, trained on a single card in a weekend.

Usage:

    model = AutoModelForCausalLM.from_pretrained("plover-mini", trust_remote_code=True)
    model.generate(tokens, max_new_tokens=100)
"""
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .blocks import CausalAttention, FeedForward, GatedConvBlock, ScaleNorm


class PloverConfig(PretrainedConfig):
    model_type = "plover"

    def __init__(
        self,
        vocab=8192,
        dim=512,
        depth=12,
        kernel=5,
        context=1024,
        attend_at=None,
        dropout=0.0,
        initializer_range=0.02,
        tie_word_embeddings=True,
        **kwargs,
    ):
        self.vocab = vocab
        self.dim = dim
        self.depth = depth
        self.kernel = kernel
        self.context = context
        self.attend_at = depth // 2 if attend_at is None else attend_at
        self.dropout = dropout
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    @property
    def hidden_size(self):
        return self.dim

    @property
    def vocab_size(self):
        return self.vocab

    @property
    def num_hidden_layers(self):
        return self.depth


class PloverPreTrainedModel(PreTrainedModel):
    config_class = PloverConfig
    base_model_prefix = "trunk"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, (nn.Linear, nn.Conv1d)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class PloverTrunk(PloverPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab, config.dim)
        self.blocks = nn.ModuleList()
        for i in range(config.depth):
            if i == config.attend_at:
                self.blocks.append(CausalAttention(config.dim))
            else:
                self.blocks.append(GatedConvBlock(config.dim, config.kernel, 2 ** (i % 4)))
        self.feeds = nn.ModuleList([FeedForward(config.dim) for _ in range(config.depth)])
        self.norm = ScaleNorm(config.dim)
        self.drop = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, value):
        self.embed = value

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        keep = None
        if attention_mask is not None and not bool((attention_mask == 1).all()):
            keep = attention_mask[:, :, None].to(x.dtype)
        x = self.drop(x)
        for block, feed in zip(self.blocks, self.feeds):
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x, keep)
            else:
                x = block(x, keep)
            x = feed(x)
        return self.norm(x)


class PloverLM(PloverPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"head.weight": "trunk.embed.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.trunk = PloverTrunk(config)
        self.head = nn.Linear(config.dim, config.vocab, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.trunk.embed

    def set_input_embeddings(self, value):
        self.trunk.embed = value

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        # there is no cache: the whole text goes in again, cut to the context
        limit = self.config.context
        return {
            "input_ids": input_ids[:, -limit:],
            "attention_mask": attention_mask[:, -limit:] if attention_mask is not None else None,
        }

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, labels=None, return_dict=None, **kwargs):
        hidden = self.trunk(input_ids, attention_mask, inputs_embeds)
        logits = self.head(hidden)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def babble(self, tokens, steps=64, temperature=0.8, top_k=40):
        """Sampling as in the notebook, for who does not want generate."""
        for _ in range(steps):
            logits = self(tokens[:, -self.config.context :]).logits[:, -1] / temperature
            best, _ = logits.topk(min(top_k, logits.shape[-1]))
            logits[logits < best[:, [-1]]] = -float("inf")
            tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)], dim=1)
        return tokens


AutoConfig.register("plover", PloverConfig, exist_ok=True)
AutoModelForCausalLM.register(PloverConfig, PloverLM, exist_ok=True)
