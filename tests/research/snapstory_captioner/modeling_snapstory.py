import math
from types import SimpleNamespace
from typing import List, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_snapstory import SnapStoryConfig
from .kvcache import KVCache


class RegViT(nn.Module):
    """plain ViT with register tokens"""

    def __init__(self, c):
        super().__init__()
        self.patch = nn.Conv2d(3, c.width, c.patch_size, c.patch_size)
        n = (c.image_size // c.patch_size) ** 2
        self.pos = nn.Parameter(torch.randn(1, n, c.width) * 0.02)
        self.registers = nn.Parameter(torch.randn(1, c.registers, c.width) * 0.02)
        self.n_reg = c.registers
        self.blocks = nn.ModuleList([ViTBlock(c.width, c.heads) for _ in range(c.depth)])
        self.norm = nn.LayerNorm(c.width)

    def forward(self, img):
        x = self.patch(img).flatten(2).transpose(1, 2) + self.pos
        x = torch.cat([self.registers.expand(len(x), -1, -1), x], 1)
        for b in self.blocks:
            x = b(x)
        return self.norm(x)[:, self.n_reg :]


class ViTBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ls1 = nn.Parameter(torch.ones(width) * 0.1)
        self.ls2 = nn.Parameter(torch.ones(width) * 0.1)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads = heads

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.ls1 * self.o(a)
        return x + self.ls2 * self.mlp(self.n2(x))


class TextAttention(nn.Module):
    def __init__(self, width, heads, layer):
        super().__init__()
        self.heads, self.layer = heads, layer
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, cache: Optional[KVCache] = None):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        m = k.shape[2]
        mask = torch.ones(n, m, dtype=torch.bool, device=x.device).tril(m - n)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(a.transpose(1, 2).reshape(b, n, c))


class ImageAttention(nn.Module):
    def __init__(self, width, vwidth, heads):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.o = nn.Linear(width, width), nn.Linear(vwidth, 2 * width), nn.Linear(width, width)

    def forward(self, x, img):
        b, n, c = x.shape
        q = self.q(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.kv(img).view(b, img.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class TextBlock(nn.Module):
    def __init__(self, width, vwidth, heads, layer):
        super().__init__()
        self.n1, self.n2, self.n3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = TextAttention(width, heads, layer)
        self.img = ImageAttention(width, vwidth, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, img, cache):
        x = x + self.attn(self.n1(x), cache)
        x = x + self.img(self.n2(x), img)
        return x + self.mlp(self.n3(x))


class SnapStoryCaptioner(PreTrainedModel):
    config_class = SnapStoryConfig
    main_input_name = "pixel_values"
    base_model_prefix = "captioner"

    def __init__(self, config: SnapStoryConfig):
        super().__init__(config)
        v = SimpleNamespace(**config.vision)
        self.vit = RegViT(v)
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.pos = nn.Parameter(torch.randn(config.max_tokens, config.width) * 0.02)
        self.blocks = nn.ModuleList([TextBlock(config.width, v.width, config.heads, i) for i in range(config.depth)])
        self.norm = nn.LayerNorm(config.width)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def decode(self, ids, img, cache=None):
        start = len(cache) if cache is not None else 0
        x = self.embed(ids) + self.pos[start : start + ids.shape[1]]
        for b in self.blocks:
            x = b(x, img, cache)
        # the embedding matrix is the output matrix, no second parameter
        return F.linear(self.norm(x), self.embed.weight)

    def forward(self, input_ids, pixel_values=None, image_features=None, labels=None, return_dict=None, **kwargs):
        img = self.vit(pixel_values) if image_features is None else image_features
        logits = self.decode(input_ids, img)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(loss=loss, logits=logits)

    @torch.no_grad()
    def generate(self, input_ids=None, pixel_values=None, max_new_tokens=32, do_sample=False, temperature=1.0, top_p=0.9,
                 num_beams=1, attention_mask=None, pad_token_id=None, **ignored):
        img = self.vit(pixel_values)
        if input_ids is None:
            input_ids = torch.full((len(img), 1), self.config.bos_id, dtype=torch.long, device=img.device)
        room = self.config.max_tokens - input_ids.shape[1]
        max_new_tokens = min(max_new_tokens, room)
        if num_beams > 1:
            return self._beam(input_ids, img, max_new_tokens, num_beams)
        pad = pad_token_id if pad_token_id is not None else self.config.eos_id
        cache = KVCache(self.config.depth)
        ids, step = input_ids, input_ids
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for _ in range(max_new_tokens):
            logits = self.decode(step, img, cache)[:, -1]
            if do_sample:
                nxt = self._sample(logits / temperature, top_p)
            else:
                nxt = logits.argmax(-1)
            nxt = torch.where(done, torch.full_like(nxt, pad), nxt)
            ids = torch.cat([ids, nxt[:, None]], 1)
            step = nxt[:, None]
            done |= nxt == self.config.eos_id
            if done.all():
                break
        return ids

    @staticmethod
    def _sample(logits, top_p):
        p, idx = logits.softmax(-1).sort(descending=True)
        drop = p.cumsum(-1) - p > top_p
        p = p.masked_fill(drop, 0.0)
        return idx.gather(-1, torch.multinomial(p / p.sum(-1, keepdim=True), 1)).squeeze(-1)

    def _beam(self, input_ids, img, steps, k):
        assert len(input_ids) == 1, "beam search one image at a time"
        ids = input_ids.expand(k, -1)
        img = img.expand(k, -1, -1)
        scores = torch.full((k,), -1e9, device=ids.device)
        scores[0] = 0
        cache, step, finished = KVCache(self.config.depth), ids, []
        for _ in range(steps):
            logp = self.decode(step, img, cache)[:, -1].log_softmax(-1) + scores[:, None]
            scores, flat = logp.view(-1).topk(k)
            beam, tok = flat // logp.shape[-1], flat % logp.shape[-1]
            ids = torch.cat([ids[beam], tok[:, None]], 1)
            cache.reorder(beam)
            for i in (tok == self.config.eos_id).nonzero().flatten().tolist():
                finished.append((scores[i].item() / ids.shape[1], ids[i]))
                scores[i] = -1e9
            step = tok[:, None]
        if not finished:
            finished = [(scores[0].item(), ids[0])]
        return max(finished, key=lambda t: t[0])[1][None]

    def caption(self, image, tokenizer, prompt="", **kw):
        ids = torch.tensor([[self.config.bos_id] + tokenizer.encode(prompt)], device=self.device)
        return tokenizer.decode(self.generate(ids, image.to(self.device), **kw)[0].tolist())
