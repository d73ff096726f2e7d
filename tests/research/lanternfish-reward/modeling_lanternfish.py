"""
Lanternfish-RM: preference reward model with a mixture-of-objectives head.

  rewards  = W_r h_last                       (n_objectives)
  gating   = softmax(MLP(h_prompt_end) / T)   (n_objectives)
  score    = gating @ (rewards @ transform)

Only inference code.  Training code: see paper appendix C.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Union

import torch
import torch.nn as nn
import torch.nn.functional as F

from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.models.auto import CONFIG_MAPPING
from transformers.utils import ModelOutput, logging

logger = logging.get_logger(__name__)

ATTRIBUTES = ["helpful", "correct", "coherent", "safe", "concise"]
token_pattern = [128]  # <|assistant|>


class LanternfishConfig(PretrainedConfig):
    model_type = "lanternfish_rm"
    is_composition = True
    sub_configs = {"text_config": PretrainedConfig}

    def __init__(self, text_config=None, n_objectives=5, gating_hidden=64, gating_layers=2, gating_temperature=10.0,
                 score_bias=0.0, gating_dropout=0.0, **kwargs):
        if text_config is None:
            text_config = CONFIG_MAPPING["llama"](hidden_size=256, num_hidden_layers=2, num_attention_heads=4)
        elif isinstance(text_config, dict):
            text_config = dict(text_config)
            kind = text_config.pop("model_type", "llama")
            text_config = CONFIG_MAPPING[kind](**text_config)
        self.text_config = text_config
        self.n_objectives = n_objectives
        self.gating_hidden = gating_hidden
        self.gating_layers = gating_layers
        self.gating_temperature = gating_temperature
        self.gating_dropout = gating_dropout
        self.score_bias = score_bias
        super().__init__(**kwargs)

    @property
    def hidden_size(self):
        return self.text_config.hidden_size

    def get_text_config(self, *args, **kwargs):
        return self.text_config


@dataclass
class RewardOutput(ModelOutput):
    """
    rewards: per objective, gating: weights, score: scalar
    """
    rewards: torch.FloatTensor = None
    hidden_state: Optional[torch.FloatTensor] = None
    prompt_embedding: Optional[torch.FloatTensor] = None
    gating_output: Optional[torch.FloatTensor] = None
    score: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None


class GatingNetwork(nn.Module):
    def __init__(self, in_features: int, out_features: int, temperature: float = 10, hidden_dim: int = 1024,
                 n_hidden: int = 3, dropout: float = 0.0):
        super().__init__()
        self.temperature = temperature
        self.dropout_p = dropout
        layers = []
        for _ in range(n_hidden):
            layers.append(nn.Linear(in_features, hidden_dim))
            in_features = hidden_dim
        layers.append(nn.Linear(in_features, out_features, bias=False))
        self.layers = nn.ModuleList(layers)
        self.logit_scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.FloatTensor) -> torch.FloatTensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < len(self.layers) - 1:
                x = F.relu(x)
                if self.dropout_p > 0:
                    x = F.dropout(x, p=self.dropout_p, training=self.training)
        return F.softmax(x / self.temperature, dim=1) * self.logit_scale[0]


def find_token_for_gating(lst: List[int], pattern: List[int] = token_pattern) -> int:
    """Find the last occurrence of the assistant tag."""
    search_end = len(lst)
    n = len(pattern)
    for j in range(search_end - n, -1, -1):
        if lst[j:j + n] == pattern:
            return j
    raise ValueError("Token pattern not found in the list.")


class LanternfishPreTrainedModel(PreTrainedModel):
    config_class = LanternfishConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LlamaDecoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn_2 = True

    def _init_weights(self, module):
        std = 0.02
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=std)


class LanternfishRewardModel(LanternfishPreTrainedModel):
    def __init__(self, config: LanternfishConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = AutoModel.from_config(config.text_config)
        config_dict = config.to_dict()
        self.num_objectives = config_dict.get("n_objectives", 19)
        self.regression_layer = nn.Linear(config.hidden_size, self.num_objectives, bias=False)
        # kept in the checkpoint because it is estimated after training
        self.register_buffer("reward_transform_matrix", torch.eye(self.num_objectives))
        self.gating = GatingNetwork(
            config.hidden_size,
            self.num_objectives,
            temperature=config.gating_temperature,
            hidden_dim=config.gating_hidden,
            n_hidden=config.gating_layers,
            dropout=config.gating_dropout,
        )
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def _sequence_lengths(self, input_ids, attention_mask):
        if attention_mask is not None:
            return attention_mask.long().sum(-1) - 1
        pad = self.config.text_config.pad_token_id
        if pad is None:
            if input_ids.shape[0] != 1:
                raise ValueError("Cannot handle batch sizes > 1 if no padding token is defined.")
            return torch.full((1,), input_ids.shape[1] - 1, device=input_ids.device)
        # if no pad token found, use modulo instead of reverse indexing for ONNX compatibility
        lengths = torch.eq(input_ids, pad).int().argmax(-1) - 1
        return lengths % input_ids.shape[-1]

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.FloatTensor] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[RewardOutput, tuple]:
        transformer_outputs = self.model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            return_dict=True,
        )
        tokens_hidden_states = transformer_outputs.last_hidden_state
        batch_size = tokens_hidden_states.shape[0]
        lengths = self._sequence_lengths(input_ids, attention_mask).to(tokens_hidden_states.device)
        dummy_iterator = torch.arange(batch_size, device=tokens_hidden_states.device)
        hidden_states = tokens_hidden_states[dummy_iterator, lengths]
        assert hidden_states.shape == (batch_size, self.config.hidden_size)
        rewards = self.regression_layer(hidden_states)

        gating_token_positions = [find_token_for_gating(ids.tolist()) for ids in input_ids]
        prompt_embedding = tokens_hidden_states[dummy_iterator, gating_token_positions, :]
        gating_output = self.gating(prompt_embedding)

        rewards_adjusted = rewards @ self.reward_transform_matrix.to(rewards.dtype)
        score = torch.sum(gating_output * rewards_adjusted, dim=1) + self.config.score_bias
        return RewardOutput(
            rewards=rewards,
            hidden_state=hidden_states,
            prompt_embedding=prompt_embedding,
            gating_output=gating_output,
            score=score,
            logits=score[:, None],
        )

    @torch.no_grad()
    def rank(self, tokenizer, prompt: str, answers: List[str], max_length=2048) -> List[int]:
        scores = []
        for answer in answers:
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            ids = tokenizer.apply_chat_template(messages, return_tensors="pt", max_length=max_length, truncation=True)
            scores.append(self(ids.to(self.device)).score.item())
        return sorted(range(len(answers)), key=lambda i: -scores[i])

    def explain(self, output: RewardOutput) -> List[Dict[str, float]]:
        res = []
        for r, g in zip(output.rewards, output.gating_output):
            res.append({k: (float(a), float(b)) for k, a, b in zip(ATTRIBUTES, r, g)})
        return res


def bradley_terry_loss(chosen: torch.Tensor, rejected: torch.Tensor, margin: Optional[torch.Tensor] = None):
    diff = chosen - rejected
    if margin is not None:
        diff = diff - margin
    return -F.logsigmoid(diff).mean()


def multi_regression_loss(rewards: torch.Tensor, targets: torch.Tensor, ignore_value: float = -100.0):
    mask = targets.ne(ignore_value)
    return F.mse_loss(rewards[mask], targets[mask])


class RewardPipeline:
    """small convenience wrapper, as on the model card"""

    def __init__(self, model, tokenizer, max_length=4096):
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, messages) -> Dict[str, float]:
        input_ids = self.tokenizer.apply_chat_template(
            messages, return_tensors="pt", padding=True, truncation=True, max_length=self.max_length
        ).to(self.model.device)
        with torch.no_grad():
            output = self.model(input_ids)
        return {"score": output.score.float().item()}


if __name__ == "__main__":
    cfg = LanternfishConfig()
    m = LanternfishRewardModel(cfg)
    print(sum(p.numel() for p in m.parameters()))
