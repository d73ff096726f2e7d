import itertools
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import ModelOutput
from transformers.models.wav2vec2.modeling_wav2vec2 import (
    Wav2Vec2EncoderStableLayerNorm,
    Wav2Vec2FeatureEncoder,
    Wav2Vec2Model,
    Wav2Vec2PreTrainedModel,
)
from transformers.utils import logging

from .configuration_linnet import LinnetConfig
from .frontend import SincFrontend, StatisticsPooling

logger = logging.get_logger(__name__)


@dataclass
class LinnetOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    existence: torch.FloatTensor = None
    embeddings: Optional[torch.FloatTensor] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None
    attentions: Optional[Tuple[torch.FloatTensor]] = None


class LinnetFeatureEncoder(Wav2Vec2FeatureEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.sinc = SincFrontend(config.sinc_filters, config.sinc_kernel, config.sample_rate)

    def forward(self, input_values):
        return super().forward(self.sinc(input_values))


class LinnetEncoder(Wav2Vec2EncoderStableLayerNorm):
    """Takes a vector of the whole recording into each layer."""

    def __init__(self, config):
        super().__init__(config)
        self.pool = StatisticsPooling()
        self.condition = nn.ModuleList(
            [nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False) for _ in range(config.num_hidden_layers)]
        )
        for index, layer in enumerate(self.layers):
            layer.register_forward_pre_hook(self._hook(index), with_kwargs=True)

    def _hook(self, index):
        def add(module, args, kwargs):
            x = args[0]
            extra = self.condition[index](self.pool(x)).unsqueeze(1)
            return (x + extra,) + args[1:], kwargs

        return add


class LinnetModel(Wav2Vec2Model):
    config_class = LinnetConfig

    def __init__(self, config: LinnetConfig):
        super().__init__(config)
        self.feature_extractor = LinnetFeatureEncoder(config)
        self.encoder = LinnetEncoder(config)
        self.post_init()


class AttractorDecoder(nn.Module):
    """An LSTM reads the frames in a fixed shuffled order and writes an attractor per speaker."""

    def __init__(self, config: LinnetConfig):
        super().__init__()
        size = config.attractor_size
        self.encoder = nn.LSTM(config.hidden_size, size, batch_first=True)
        self.decoder = nn.LSTM(size, size, batch_first=True)
        self.project = nn.utils.weight_norm(nn.Linear(size, config.hidden_size), name="weight")
        self.exists = nn.Linear(config.hidden_size, 1)
        self.number = config.max_speakers
        self.size = size

    def order(self, length, device):
        g = torch.Generator().manual_seed(1729)
        return torch.randperm(length, generator=g).to(device)

    def forward(self, frames):
        shuffled = frames[:, self.order(frames.shape[1], frames.device)]
        _, state = self.encoder(shuffled)
        nothing = frames.new_zeros(frames.shape[0], self.number, self.size)
        attractors = self.project(self.decoder(nothing, state)[0])
        return attractors, self.exists(attractors).squeeze(-1)


def permutation_loss(logits, target):
    """Least binary cross entropy of all orders of the speakers."""
    speakers = target.shape[-1]
    losses = []
    orders = list(itertools.permutations(range(speakers)))
    for order in orders:
        loss = F.binary_cross_entropy_with_logits(logits, target[..., list(order)].float(), reduction="none")
        losses.append(loss.mean(dim=(1, 2)))
    best = torch.stack(losses, 1).min(1)
    return best.values.mean(), [orders[i] for i in best.indices.tolist()]


class LinnetForDiarization(Wav2Vec2PreTrainedModel):
    config_class = LinnetConfig
    base_model_prefix = "linnet"

    def __init__(self, config: LinnetConfig):
        super().__init__(config)
        self.linnet = LinnetModel(config)
        self.layer_weights = nn.Parameter(torch.ones(config.num_hidden_layers + 1) / (config.num_hidden_layers + 1))
        self.attractors = AttractorDecoder(config)
        self.embed = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.pool = StatisticsPooling()
        self.init_weights()

    def freeze_feature_extractor(self):
        self.linnet.feature_extractor._freeze_parameters()

    def freeze_base_model(self):
        for param in self.linnet.parameters():
            param.requires_grad = False

    def frames(self, hidden_states):
        weights = F.softmax(self.layer_weights, dim=-1)
        return (torch.stack(hidden_states, dim=1) * weights.view(-1, 1, 1)).sum(dim=1)

    def forward(
        self,
        input_values: Optional[torch.Tensor],
        attention_mask: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.linnet(
            input_values,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=True,
            return_dict=True,
        )
        frames = self.frames(outputs.hidden_states)
        attractors, existence = self.attractors(frames)
        logits = torch.bmm(frames, attractors.transpose(1, 2))
        speaking = torch.sigmoid(logits).transpose(1, 2)
        embeddings = torch.stack(
            [self.embed(self.pool(frames * speaking[:, s, :, None])) for s in range(self.config.max_speakers)], dim=1
        )
        loss = None
        if labels is not None:
            if self.config.pit_loss:
                loss, _ = permutation_loss(logits, labels)
            else:
                loss = F.binary_cross_entropy_with_logits(logits, labels.float())
            present = labels.any(1).float().sort(dim=-1, descending=True).values
            loss = loss + self.config.existence_weight * F.binary_cross_entropy_with_logits(existence, present)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits, existence)
        return LinnetOutput(
            loss=loss,
            logits=logits,
            existence=existence,
            embeddings=F.normalize(embeddings, dim=-1),
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def segments(self, wave, threshold=0.5, least=3):
        """(speaker, first frame, last frame) of one recording."""
        out = self(wave.unsqueeze(0))
        active = (out.logits[0].sigmoid() > threshold) & (out.existence[0].sigmoid() > 0.5)
        found = []
        for speaker in range(active.shape[1]):
            start = None
            for frame, on in enumerate(active[:, speaker].tolist() + [False]):
                if on and start is None:
                    start = frame
                elif not on and start is not None:
                    if frame - start >= least:
                        found.append((speaker, start, frame - 1))
                    start = None
        return sorted(found, key=lambda s: s[1])
