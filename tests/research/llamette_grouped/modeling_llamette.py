"""Llamette: Llama with differential attention and a confidence head."""
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaForCausalLM, LlamaModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast, ModelOutput
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel

from .configuration_llamette import LlametteConfig
from .diff_attention import DiffAttention


@dataclass
class LlametteOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    confidence: Optional[torch.FloatTensor] = None
    past_key_values: Optional[Cache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None
    attentions: Optional[Tuple[torch.FloatTensor]] = None


class ConfidenceHead(nn.Module):
    """How sure the model is of its next token, in bins."""

    def __init__(self, config):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.down = nn.Linear(config.hidden_size, config.hidden_size // 4)
        self.bins = nn.Linear(config.hidden_size // 4, config.confidence_bins)
        centers = (torch.arange(config.confidence_bins) + 0.5) / config.confidence_bins
        self.register_buffer("centers", centers, persistent=True)

    def forward(self, hidden_states):
        scores = self.bins(F.gelu(self.down(self.norm(hidden_states))))
        return (scores.softmax(-1) * self.centers).sum(-1)


class LlametteModel(LlamaModel):
    config_class = LlametteConfig

    def __init__(self, config: LlametteConfig):
        super().__init__(config)
        for idx, layer in enumerate(self.layers):
            layer.self_attn = DiffAttention(config, idx)
        self.post_init()


class LlametteForCausalLM(LlamaForCausalLM):
    config_class = LlametteConfig
    _tied_weights_keys = ["lm_head.weight"]
    _supports_flash_attn_2 = False
    _supports_sdpa = False

    def __init__(self, config: LlametteConfig):
        super(LlamaForCausalLM, self).__init__(config)
        self.model = LlametteModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.confidence = ConfidenceHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Union[Cache, List[torch.FloatTensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs,
    ) -> Union[Tuple, LlametteOutput]:
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        hidden_states = outputs.last_hidden_state
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(hidden_states[:, keep, :])
        confidence = self.confidence(hidden_states[:, keep, :])
        loss = None
        if labels is not None:
            shifted = logits[:, :-1].float()
            target = labels[:, 1:]
            loss = F.cross_entropy(shifted.flatten(0, 1), target.flatten(), ignore_index=-100)
            right = (shifted.argmax(-1) == target).float()
            loss = loss + 0.1 * F.mse_loss(confidence[:, :-1], right)
        return LlametteOutput(
            loss=loss,
            logits=logits,
            confidence=confidence,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def generate_with_confidence(self, input_ids, max_new_tokens=32, **kwargs):
        """Tokens and, for each that is new, the confidence it had."""
        written = self.generate(
            input_ids,
            max_new_tokens=max_new_tokens,
            return_dict_in_generate=True,
            **kwargs,
        ).sequences
        outputs = self(written)
        return written, outputs.confidence[:, input_ids.shape[1] - 1 : -1]


class LlametteForTokenScoring(LlamaPreTrainedModel):
    """The confidence head alone, for filtering of corpora."""

    config_class = LlametteConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlametteModel(config)
        self.confidence = ConfidenceHead(config)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        return self.confidence(outputs[0])
