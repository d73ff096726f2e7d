"""Nettle: GPT-2 with hashed n-gram embeddings, and drafting from the prompt."""
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LogitsProcessorList
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.utils import GenerateDecoderOnlyOutput
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel, GPT2Model, GPT2PreTrainedModel
from transformers.utils import logging

from .configuration_nettle import NettleConfig
from .drafting import DraftStatistics, NettleGenerationConfig, lookup

logger = logging.get_logger(__name__)


class NgramEmbedding(nn.Module):
    """The n-gram that ends at each token, hashed into a table."""

    def __init__(self, config: NettleConfig):
        super().__init__()
        self.orders = config.ngram_orders
        self.size = config.ngram_table
        self.table = nn.Embedding(config.ngram_table * len(self.orders), config.ngram_width)
        self.project = nn.Linear(config.ngram_width, config.n_embd, bias=False)
        generator = torch.Generator().manual_seed(config.ngram_seed)
        factors = torch.randint(1, 2**20, (len(self.orders), max(self.orders)), generator=generator) * 2 + 1
        self.register_buffer("factors", factors)

    def forward(self, input_ids, before=None):
        """`before`: the last tokens that are in the cache already."""
        reach = max(self.orders) - 1
        if before is None:
            before = input_ids.new_zeros(input_ids.shape[0], 0)
        context = torch.cat([before, input_ids], 1)
        short = reach + input_ids.shape[1] - context.shape[1]
        context = F.pad(context, (max(short, 0), 0))[:, -(reach + input_ids.shape[1]):]
        out = 0
        for row, order in enumerate(self.orders):
            windows = context.unfold(1, order, 1)[:, -input_ids.shape[1]:]
            key = (windows * self.factors[row, :order]).sum(-1) % self.size
            out = out + self.table(key + row * self.size)
        return self.project(out)


class NettlePreTrainedModel(GPT2PreTrainedModel):
    config_class = NettleConfig
    config: NettleConfig

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, NgramEmbedding):
            module.table.weight.data.normal_(mean=0.0, std=self.config.initializer_range / 4)


class NettleModel(GPT2Model):
    config_class = NettleConfig

    def __init__(self, config: NettleConfig):
        super().__init__(config)
        self.ngrams = NgramEmbedding(config)
        self._recent = None
        self.post_init()

    def remember(self, input_ids, past_length):
        reach = max(self.config.ngram_orders) - 1
        if past_length == 0 or self._recent is None:
            before = None
            written = input_ids
        else:
            before = self._recent[:, max(0, past_length - reach): past_length]
            written = torch.cat([self._recent[:, :past_length], input_ids], 1)
        self._recent = written
        return before

    def forward(self, input_ids=None, past_key_values=None, inputs_embeds=None, **kwargs):
        if input_ids is not None and inputs_embeds is None:
            past_length = past_key_values.get_seq_length() if past_key_values is not None else 0
            before = self.remember(input_ids, past_length)
            inputs_embeds = self.wte(input_ids) + self.ngrams(input_ids, before)
        return super().forward(past_key_values=past_key_values, inputs_embeds=inputs_embeds, **kwargs)


class NettleForCausalLM(GPT2LMHeadModel):
    config_class = NettleConfig
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: NettleConfig):
        super().__init__(config)
        self.transformer = NettleModel(config)
        self.post_init()
        self.statistics = DraftStatistics()

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        cache_position: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs,
    ) -> CausalLMOutputWithCrossAttentions:
        out = self.transformer(
            input_ids,
            past_key_values=past_key_values,
            cache_position=cache_position,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, keep, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithCrossAttentions(loss=loss, logits=logits, past_key_values=out.past_key_values)

    def _own_config(self, generation_config, kwargs):
        base = generation_config if generation_config is not None else self.generation_config
        settings = {**base.to_dict(), **kwargs}
        known = NettleGenerationConfig().to_dict()
        return NettleGenerationConfig(**{k: v for k, v in settings.items() if k in known})

    @torch.no_grad()
    def generate(self, inputs=None, generation_config=None, logits_processor=None, input_ids=None, **kwargs):
        input_ids = inputs if inputs is not None else input_ids
        attention_mask = kwargs.pop("attention_mask", None)
        config = self._own_config(generation_config, kwargs)
        if input_ids.shape[0] != 1 or not config.use_lookup or config.do_sample:
            return super().generate(
                input_ids, attention_mask=attention_mask, logits_processor=logits_processor, **kwargs
            )
        length = input_ids.shape[1]
        if config.max_new_tokens is not None:
            config.max_length = length + config.max_new_tokens
        processors = self._get_logits_processor(
            generation_config=config,
            input_ids_seq_length=length,
            encoder_input_ids=input_ids,
            prefix_allowed_tokens_fn=None,
            logits_processor=logits_processor if logits_processor is not None else LogitsProcessorList(),
            device=input_ids.device,
            model_kwargs={},
        )
        eos = config.eos_token_id
        eos = set(eos if isinstance(eos, list) else [eos])
        cache = DynamicCache()
        text = input_ids
        pending = input_ids
        done = False
        while not done and text.shape[1] < config.max_length:
            room = config.max_length - text.shape[1] - 1
            draft = lookup(text[0], config.lookup_order, min(config.draft_length, room)) if room > 0 else None
            step = pending if draft is None else torch.cat([pending, draft[None]], 1)
            logits = self(step, past_key_values=cache, use_cache=True).logits[0, pending.shape[1] - 1:]
            taken = 0
            drafted = 0 if draft is None else draft.shape[0]
            for i in range(drafted + 1):
                scores = processors(text, logits[i: i + 1].float())
                token = scores.argmax(-1, keepdim=True)
                text = torch.cat([text, token], 1)
                if int(token) in eos:
                    done = True
                    break
                if i < drafted and int(token) != int(draft[i]):
                    break
                taken += i < drafted
            self.statistics.add(drafted, taken)
            cache.crop(text.shape[1] - 1)
            pending = text[:, cache.get_seq_length():]
        text = text[:, : config.max_length]
        if config.return_dict_in_generate:
            return GenerateDecoderOnlyOutput(sequences=text, past_key_values=cache)
        return text
