from typing import List, Optional, Tuple, Union

import torch
from torch import nn
import torch.nn.functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .blocks import CausalAttention, CrossAttention, FeedForward, VisionEncoder
from .configuration_mosskite import MossKiteConfig


class MossKiteBlock(nn.Module):
    def __init__(self, text, vision, i):
        super().__init__()
        self.norm = nn.LayerNorm(text.dim)
        self.attn = CausalAttention(text.dim, text.n_heads, i)
        self.ff = FeedForward(text.dim, text.ff)
        self.cross = CrossAttention(text.dim, vision.dim, text.n_heads) if i % text.cross_every == 0 else None

    def forward(self, x, media, keep, cache):
        if self.cross is not None and media is not None:
            x = self.cross(x, media)
        x = x + self.attn(self.norm(x), keep, cache)
        return self.ff(x)


class MossKitePreTrainedModel(PreTrainedModel):
    config_class = MossKiteConfig
    base_model_prefix = "model"
    _no_split_modules = ["MossKiteBlock"]
    _supports_cache_class = True
    _skip_keys_device_placement = ["past_key_values"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


class MossKiteForConditionalGeneration(MossKitePreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        t, v = config.text, config.vision
        self.vision = VisionEncoder(v)
        self.embed = nn.Embedding(t.vocab, t.dim)
        self.blocks = nn.ModuleList(MossKiteBlock(t, v, i) for i in range(t.n_layers))
        self.norm = nn.LayerNorm(t.dim)
        self.lm_head = nn.Linear(t.dim, t.vocab, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, v):
        self.embed = v

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, v):
        self.lm_head = v

    def freeze_lm(self):
        for name, p in self.named_parameters():
            p.requires_grad_("cross" in name)

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        past_key_values: Optional[Cache] = None,
        media: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        if media is None and pixel_values is not None:
            media = self.vision(pixel_values)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x, media, attention_mask, past_key_values)
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            labels = labels.masked_fill(labels == self.config.image_token_index, -100)
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, pixel_values=None, media=None, use_cache=None, **kw):
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            input_ids = input_ids[:, past_key_values.get_seq_length():]
        return {
            "input_ids": input_ids,
            "pixel_values": pixel_values,
            "media": media,
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }

    @torch.no_grad()
    def answer(self, image, question: str, tokenizer, history: Optional[List[Tuple[str, str]]] = None, max_new_tokens: int = 64, **kw):
        """one turn; history is a list of (question, answer)"""
        history = history or []
        text = "<image>" + "".join(f"Q: {q} A: {a}\n" for q, a in history) + f"Q: {question} A:"
        ids = tokenizer(text, return_tensors="pt").input_ids.to(self.device)
        out = self.generate(input_ids=ids, pixel_values=image.to(self.device), max_new_tokens=max_new_tokens, **kw)
        reply = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).strip()
        return reply, history + [(question, reply)]

    @torch.no_grad()
    def score(self, pixel_values, candidates: torch.LongTensor):
        """mean log likelihood of candidate captions"""
        media = self.vision(pixel_values).expand(candidates.shape[0], -1, -1)
        logp = self(candidates, media=media).logits.log_softmax(-1)
        return logp[:, :-1].gather(-1, candidates[:, 1:, None]).squeeze(-1).mean(-1)
