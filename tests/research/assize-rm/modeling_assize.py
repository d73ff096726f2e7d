from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, logging

from .configuration_assize import AssizeConfig
from .heads_assize import AttributeGate, EnsembleHead, pair_loss

logger = logging.get_logger(__name__)


@dataclass
class AssizeOutput(ModelOutput):
    """
    logits: the final score, shape (batch, 1)
    attribute_scores: one score for every name in `config.attributes`
    gate: weight of each attribute
    uncertainty: standard deviation among the ensemble
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    attribute_scores: torch.FloatTensor | None = None
    gate: torch.FloatTensor | None = None
    uncertainty: torch.FloatTensor | None = None
    hidden_state: torch.FloatTensor | None = None


class AssizePreTrainedModel(LlamaPreTrainedModel):
    config: AssizeConfig
    config_class = AssizeConfig
    base_model_prefix = "model"

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, EnsembleHead):
            init.normal_(module.weight, mean=0.0, std=1 / (self.config.hidden_size + 1) ** 0.5)
            init.zeros_(module.bias)
        elif isinstance(module, AttributeGate):
            init.ones_(module.logit_scale)


class AssizeForSequenceScoring(AssizePreTrainedModel):
    def __init__(self, config: AssizeConfig):
        super().__init__(config)
        self.num_labels = 1
        self.num_attributes = len(config.attributes)
        self.model = LlamaModel(config)
        self.attribute_head = nn.Linear(config.hidden_size, self.num_attributes, bias=False)
        self.gate = AttributeGate(
            config.hidden_size, config.gate_hidden, self.num_attributes, config.gate_temperature, config.head_dropout
        )
        self.ensemble = EnsembleHead(config.hidden_size, config.ensemble_size)
        # removes what attribute scores owe to sheer length, fitted after training
        self.register_buffer("debias", torch.eye(self.num_attributes))
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def _last_positions(self, input_ids, attention_mask, length):
        if attention_mask is not None and attention_mask.dim() == 2:
            positions = torch.arange(length, device=attention_mask.device)
            return (positions * attention_mask.to(positions.dtype)).argmax(-1)
        if input_ids is not None and self.config.pad_token_id is not None:
            real = (input_ids != self.config.pad_token_id).to(torch.int32)
            return (torch.arange(length, device=input_ids.device, dtype=torch.int32) * real).argmax(-1)
        return torch.tensor(length - 1)

    def _prompt_positions(self, input_ids, last):
        """Position of the last mark that opens a reply; without one, the first position."""
        if input_ids is None or self.config.reply_token_id is None:
            return torch.zeros_like(last)
        hits = (input_ids == self.config.reply_token_id).to(torch.int32)
        if not bool(hits.any(dim=-1).all()):
            logger.warning_once("some sequences have no reply mark, the gate reads their first position")
        return (torch.arange(input_ids.shape[1], device=input_ids.device, dtype=torch.int32) * hits).argmax(-1)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.FloatTensor | None = None,
        margin: torch.FloatTensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> tuple | AssizeOutput:
        """
        With `labels="pair"`-style training the batch holds chosen answers in its first half and rejected ones in its
        second; `labels` is then an empty tensor. Otherwise `labels` are attribute scores.
        """
        kwargs.pop("use_cache", None)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            **kwargs,
        )
        hidden = outputs.last_hidden_state
        b, length = hidden.shape[:2]
        rows = torch.arange(b, device=hidden.device)
        last = self._last_positions(input_ids, attention_mask, length).to(hidden.device).expand(b)
        prompt = self._prompt_positions(input_ids, last).to(hidden.device)

        final_state = hidden[rows, last]
        attribute_scores = self.attribute_head(final_state)
        gate = self.gate(hidden[rows, prompt])
        members = self.ensemble(final_state)
        mixed = (gate @ self.debias.to(gate.dtype) * attribute_scores).sum(dim=-1)
        score = (mixed + members.mean(dim=-1)) * self.config.score_scale
        uncertainty = members.std(dim=-1) if members.shape[-1] > 1 else torch.zeros_like(score)

        loss = None
        if labels is not None:
            if labels.numel() == 0:
                chosen, rejected = score.chunk(2)
                loss = pair_loss(chosen, rejected, margin, self.config.center_penalty)
            else:
                known = labels >= 0
                diff = (attribute_scores - labels.to(attribute_scores.dtype)) ** 2
                loss = (diff * known).sum() / known.sum().clamp(min=1)

        if return_dict is False:
            out = (score.unsqueeze(-1), attribute_scores, gate)
            return (loss,) + out if loss is not None else out
        return AssizeOutput(
            loss=loss,
            logits=score.unsqueeze(-1).float(),
            attribute_scores=attribute_scores,
            gate=gate,
            uncertainty=uncertainty,
            hidden_state=final_state,
        )

    @torch.no_grad()
    def rank(self, tokenizer, prompt: str, replies: list[str], lower_bound: float = 0.0) -> list[int]:
        """Indices of replies from best to worst; `lower_bound` punishes unsure scores."""
        chats = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": r}] for r in replies]
        texts = [tokenizer.apply_chat_template(c, tokenize=False) for c in chats]
        batch = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False).to(self.device)
        out = self(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        scores = out.logits[:, 0] - lower_bound * out.uncertainty
        return scores.argsort(descending=True).tolist()

    @torch.no_grad()
    def explain(self, input_ids, attention_mask=None) -> list[dict[str, float]]:
        out = self(input_ids=input_ids, attention_mask=attention_mask)
        parts = (out.gate * out.attribute_scores).tolist()
        return [dict(zip(self.config.attributes, row)) for row in parts]


__all__ = ["AssizeForSequenceScoring", "AssizePreTrainedModel"]
