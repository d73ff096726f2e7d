import copy
import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers import GenerationConfig
from transformers.generation.logits_process import LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_caddis import CaddisConfig
from .dialogue import EndAfter, Turns, clean, write_prompt

logger = logging.get_logger(__name__)

flash_attn_func = None
BF16_OK = torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def try_flash():
    global flash_attn_func
    try:
        from flash_attn import flash_attn_func as f

        flash_attn_func = f
    except ImportError:
        logger.warning("flash_attn not found, attention will be slower")


class Rope(nn.Module):
    """Table grows with the longest text seen; base is stretched beyond the training length."""

    def __init__(self, dim, base, train_length, stretch):
        super().__init__()
        self.dim, self.base = dim, base
        self.train_length, self.stretch = train_length, stretch
        self.register_buffer("inv_freq", self.frequencies(base), persistent=False)
        self.table = None
        self.table_key = (0, 1.0)

    def frequencies(self, base):
        return 1.0 / base ** (torch.arange(0, self.dim, 2).float() / self.dim)

    def alpha(self, length):
        if self.training or not self.stretch or length <= self.train_length:
            return 1.0
        return 2.0 ** math.ceil(math.log2(length / self.train_length) + 1) - 1

    def forward(self, length):
        alpha = self.alpha(length)
        if length > self.table_key[0] or alpha != self.table_key[1]:
            inv_freq = self.inv_freq
            if alpha != 1.0:
                base = self.base * alpha ** (self.dim / (self.dim - 2))
                inv_freq = self.frequencies(base).to(self.inv_freq.device)
            span = max(16, 2 * length)
            angles = torch.outer(torch.arange(span, device=inv_freq.device).float(), inv_freq)
            self.table = torch.cat([angles, angles], -1)[None, :, None, :]
            self.table_key = (span, alpha)
        return self.table[:, :length].cos(), self.table[:, :length].sin()


def turn(x, cos, sin):
    left, right = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat([-right, left], -1) * sin).type_as(x)


class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.size = config.n_embd // config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.drop = nn.Dropout(config.dropout)
        self.use_flash = config.use_flash
        table = [max(1.0, math.log(i, config.train_length)) for i in range(1, 4097)]
        self.register_buffer("logn", torch.tensor(table)[None, :, None, None], persistent=False)

    def forward(self, x, rope, past=None, mask=None, use_cache=False, output_attentions=False):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, self.size) for part in self.qkv(x).split(c, dim=2))
        cos, sin = (r[:, -t:] for r in rope)
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        if past is not None:
            k = torch.cat((past[0], k), dim=1)
            v = torch.cat((past[1], v), dim=1)
        present = (k, v) if use_cache else None
        total = k.size(1)
        if not self.training:
            q = q * self.logn[:, total - t:total].type_as(q)

        if flash_attn_func is not None and self.use_flash and x.is_cuda and mask is None:
            y = flash_attn_func(q, k, v, causal=True)
            weights = None
        else:
            weights = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.size)
            hidden = torch.ones(total, total, dtype=torch.bool, device=x.device).triu(1)[total - t:]
            weights = weights.masked_fill(hidden, torch.finfo(weights.dtype).min)
            if mask is not None:
                weights = weights + mask
            weights = self.drop(weights.float().softmax(-1).type_as(v))
            y = torch.einsum("bhqk,bkhd->bqhd", weights, v)
        y = self.out(y.reshape(b, t, c))
        return (y, present, weights) if output_attentions else (y, present)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = Norm(config.n_embd, config.norm_eps)
        self.attn = Attention(config)
        self.norm2 = Norm(config.n_embd, config.norm_eps)
        self.gate = nn.Linear(config.n_embd, config.ffn_width, bias=False)
        self.up = nn.Linear(config.n_embd, config.ffn_width, bias=False)
        self.down = nn.Linear(config.ffn_width, config.n_embd, bias=False)

    def forward(self, x, rope, past=None, mask=None, use_cache=False, output_attentions=False):
        a = self.attn(self.norm1(x), rope, past, mask, use_cache, output_attentions)
        x = x + a[0]
        h = self.norm2(x)
        x = x + self.down(self.up(h) * F.silu(self.gate(h)))
        return (x,) + a[1:]


class CaddisPreTrainedModel(PreTrainedModel):
    config_class = CaddisConfig
    base_model_prefix = "trunk"
    is_parallelizable = False
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]

    def __init__(self, *inputs, **kwargs):
        super().__init__(*inputs, **kwargs)

    def _init_weights(self, module):
        std = self.config.init_std
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=std)
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()
        elif isinstance(module, Norm):
            module.weight.data.fill_(1.0)
        for name, p in module.named_parameters():
            if name in ("out.weight", "down.weight"):
                p.data.normal_(mean=0.0, std=std / math.sqrt(2 * self.config.n_layer))

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, CaddisModel):
            module.gradient_checkpointing = value


class CaddisModel(CaddisPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.gradient_checkpointing = False
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.rope = Rope(config.n_embd // config.n_head, config.rope_base, config.train_length, config.stretch_rope)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.norm = Norm(config.n_embd, config.norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.tokens

    def set_input_embeddings(self, value):
        self.tokens = value

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.tokens(input_ids)

        if past_key_values is None:
            past_key_values = tuple([None] * len(self.blocks))
            total = inputs_embeds.size(1)
        else:
            total = inputs_embeds.size(1) + past_key_values[0][0].size(1)
        if attention_mask is not None:
            attention_mask = attention_mask[:, None, None, :].to(dtype=self.dtype)
            attention_mask = (1.0 - attention_mask) * torch.finfo(self.dtype).min

        rope = self.rope(total)
        x = self.drop(inputs_embeds)
        presents = () if use_cache else None
        attentions = () if output_attentions else None
        hiddens = () if output_hidden_states else None
        for block, past in zip(self.blocks, past_key_values):
            if output_hidden_states:
                hiddens += (x,)
            if self.gradient_checkpointing and self.training:
                out = torch.utils.checkpoint.checkpoint(block, x, rope, None, attention_mask)
            else:
                out = block(x, rope, past, attention_mask, use_cache, output_attentions)
            x = out[0]
            if use_cache:
                presents += (out[1],)
            if output_attentions:
                attentions += (out[2],)
        x = self.norm(x)
        if output_hidden_states:
            hiddens += (x,)
        if not return_dict:
            return tuple(v for v in (x, presents, hiddens, attentions) if v is not None)
        return BaseModelOutputWithPast(
            last_hidden_state=x, past_key_values=presents, hidden_states=hiddens, attentions=attentions
        )


class CaddisForChat(CaddisPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"rope\.inv_freq", r"attn\.logn"]

    def __init__(self, config):
        super().__init__(config)
        if config.use_flash == "auto":
            config.use_flash = BF16_OK
        if config.use_flash:
            try_flash()
        self.trunk = CaddisModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, inputs_embeds=None, **kwargs):
        if past_key_values:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        if inputs_embeds is not None and past_key_values is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        mask = kwargs.get("attention_mask")
        model_inputs.update(
            past_key_values=past_key_values,
            use_cache=kwargs.get("use_cache"),
            attention_mask=None if input_ids.size(0) == 1 else mask,
        )
        return model_inputs

    def forward(
        self,
        input_ids=None,
        past_key_values=None,
        attention_mask=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        out = self.trunk(
            input_ids, past_key_values, attention_mask, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, return_dict,
        )
        logits = self.lm_head(out[0])
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + out[1:]
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(tuple(p.index_select(0, beam_idx.to(p.device)) for p in layer) for layer in past_key_values)

    def generate(self, inputs=None, generation_config: Optional[GenerationConfig] = None, logits_processor=None, **kwargs):
        generation_config = generation_config if generation_config is not None else self.generation_config
        stop = kwargs.pop("stop_words_ids", None)
        if stop is not None:
            logits_processor = logits_processor or LogitsProcessorList()
            logits_processor.append(EndAfter(stop, generation_config.eos_token_id))
        return super().generate(
            inputs, generation_config=generation_config, logits_processor=logits_processor, **kwargs
        )

    @torch.no_grad()
    def chat(self, tokenizer, question: str, turns: Optional[Turns] = None, system="You are helpful.", **kwargs):
        turns = copy.deepcopy(turns) if turns else []
        assert self.generation_config.dialogue_format == "im", "this checkpoint was trained with im turns"
        prompt = write_prompt(tokenizer, question, turns, system, self.generation_config.history_budget)
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(self.device)
        stop = [tokenizer.convert_tokens_to_ids(["<|im_stop|>"])]
        written = self.generate(ids, stop_words_ids=stop, **kwargs)
        answer = clean(tokenizer.decode(written[0, ids.size(1):]))
        return answer, turns + [(question, answer)]

    def chat_stream(self, tokenizer, question, turns=None, **kwargs):
        try:
            from transformers_stream_generator import init_stream_support
        except ImportError as e:
            raise RuntimeError("pip install transformers-stream-generator to use chat_stream") from e
        init_stream_support()
        prompt = write_prompt(tokenizer, question, turns or [], "", self.generation_config.history_budget)
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(self.device)
        so_far: List[int] = []
        for token in self.generate(ids, do_stream=True, **kwargs):
            so_far.append(token.item())
            yield clean(tokenizer.decode(so_far))
