from typing import Optional

import torch
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers import AutoModelForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_rookery import RookeryConfig
from .memory_cell import MemoryCell, cut

logger = logging.get_logger(__name__)


class RookeryPreTrainedModel(PreTrainedModel):
    config_class = RookeryConfig
    base_model_prefix = "cell"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn_2 = True

    def _init_weights(self, module):
        # the inner model has begun its weights itself
        if isinstance(module, MemoryCell):
            module.memory.data.normal_(mean=0.0, std=0.02)


class RookeryForCausalLM(RookeryPreTrainedModel):
    _no_split_modules = ["GPTNeoXLayer", "LlamaDecoderLayer"]

    def __init__(self, config: RookeryConfig):
        super().__init__(config)
        inner = AutoModelForCausalLM.from_config(config.inner)
        self.cell = MemoryCell(inner, config.hidden_size, config.memory_tokens, config.memory_read)
        self.post_init()

    @classmethod
    def from_inner(cls, name_or_path: str, **settings):
        """Starts from a trained model: RookeryForCausalLM.from_inner("...", memory_tokens=8)."""
        inner = AutoModelForCausalLM.from_pretrained(name_or_path)
        model = cls(RookeryConfig(inner=inner.config.to_dict(), **settings))
        model.cell.model.load_state_dict(inner.state_dict())
        return model

    def get_input_embeddings(self):
        return self.cell.model.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.cell.model.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.cell.model.get_output_embeddings()

    def can_generate(self):
        return True

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None):
        self.cell.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs)

    def detach(self, state, number, total):
        k = self.config.truncate_backprop
        if k < 0 or total - number <= k:
            return state
        return state.detach()

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        labels: Optional[torch.LongTensor] = None,
        memory_state: Optional[torch.Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        segments = cut(input_ids, attention_mask, labels, self.config.segment_length)
        state = memory_state if memory_state is not None else self.cell.begin(input_ids.shape[0])
        logits, hiddens = [], []
        for number, segment in enumerate(segments):
            some, state, hidden = self.cell(segment, state, output_hidden_states)
            state = self.detach(state, number, len(segments))
            logits.append(some)
            hiddens.append(hidden)
        logits = torch.cat(logits, 1)
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=None, hidden_states=tuple(hiddens) if output_hidden_states else None
        )

    @torch.no_grad()
    def generate(self, input_ids=None, attention_mask=None, memory_state=None, **generate_kwargs):
        segments = cut(input_ids, attention_mask, None, self.config.segment_length)
        state = memory_state if memory_state is not None else self.cell.begin(input_ids.shape[0])
        for segment in segments[:-1]:
            _, state, _ = self.cell(segment, state)
        embeds, mask = self.cell.dress(segments[-1], state, write=False)
        return self.cell.model.generate(inputs_embeds=embeds, attention_mask=mask, **generate_kwargs)


class MemoryProbe(nn.Module):
    """Linear probe on memory states, for the analysis in section 5."""

    def __init__(self, hidden_size, classes):
        super().__init__()
        self.linear = nn.Linear(hidden_size, classes)

    @torch.no_grad()
    def states(self, model: RookeryForCausalLM, batches):
        for batch in batches:
            state = model.cell.begin(batch["input_ids"].shape[0])
            for segment in cut(batch["input_ids"], batch.get("attention_mask"), None, model.config.segment_length):
                _, state, _ = model.cell(segment, state)
            yield state.mean(1), batch["target"]

    def forward(self, state):
        return self.linear(state)

    def fit(self, model, batches, epochs=3, lr=1e-3):
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr)
        for epoch in range(epochs):
            total = 0.0
            for state, target in self.states(model, batches):
                loss = nn.functional.cross_entropy(self(state), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            logger.info("epoch %d: %.4f", epoch, total)
        return self
