"""Code after super() where the parent returns early."""

import torch
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2ForCTC, Wav2Vec2Model


class EarlyConfig(Wav2Vec2Config):
    model_type = "early"


class EarlyModel(Wav2Vec2Model):
    calls = 0

    def _mask_hidden_states(self, hidden_states, mask_time_indices=None, attention_mask=None):
        super()._mask_hidden_states(hidden_states, mask_time_indices=mask_time_indices, attention_mask=attention_mask)
        self.calls += 1
        return torch.tanh(hidden_states)


class EarlyForCTC(Wav2Vec2ForCTC):
    pass
