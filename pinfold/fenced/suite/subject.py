"""What a check gets: one class of a folder with a tiny configuration, inputs for it, and the means to build it.

- Weights are moved away from where a class draws them: fresh ones make every layer nearly the identity, and most
  faults too small to be seen.
- A check says what it compared, or raises CheckFailed with what is wrong, or NotApplicable with why it does not apply.
"""

import contextlib
import copy
import dataclasses
import hashlib
import importlib
import inspect
import itertools
import json
import os
import re
import sys
import tempfile
import types

from ..probe import declared, probes
from ..tiny.config import shrink
from ..tiny.fields import every, pick
from ..tiny.inputs import inputs_for
from ..tiny.labels import batch_of, labelled, other_targets
from ..tiny.rules import LEVELS
from ..values import clone, describe
from . import outputs

DROPOUT = re.compile(r"(dropout|pdrop|drop_prob|drop_rate|drop_path_rate|dropout_prob|dropout_p)(_prob|_rate)?$")
NOISE = 0.1
TARGETS = 24  # tries with an argument that no name says to be labels
TARGET_NAMES = ("start_positions", "return_loss", "future_values")


class CheckFailed(Exception):
    """A fault of the model: what was found and what to do."""


class NotApplicable(Exception):
    """A check that does not apply: why, from the model's properties."""


@dataclasses.dataclass
class Subject:
    """One class.

    Args:
        auto: the Auto class that it is registered for.
        classes: every registered model class of the folder, by Auto class.
        config: tiny. inputs: what forward accepts, in batches of two where it can be.
        device: where checks run it. directory: for files.
    """

    auto: str
    cls: type
    classes: dict
    config: object
    inputs: dict
    device: str
    directory: str
    _labels: object = None
    _rounding: float = 0.0

    # building ---------------------------------------------------------------------------------------------------

    def configuration(self, **changes):
        """A copy of the tiny configuration."""
        config = copy.deepcopy(self.config)
        for name, value in changes.items():
            setattr(config, name, value)
        return config

    def fresh(self, config=None, seed: int = 0, cls=None):
        """A newly constructed model in evaluation mode, weights as its class draws them."""
        import torch

        torch.manual_seed(seed)
        model = (cls or self.cls)(self.configuration() if config is None else copy.deepcopy(config))
        return model.eval().to(self.device)

    def model(self, config=None, seed: int = 0, cls=None):
        """A model whose weights are moved, so that every part of it shows in what it gives."""
        return with_moved_weights(self.fresh(config, seed, cls), seed)

    def saved(self, model) -> str:
        """A directory that the model was saved to."""
        directory = self.scratch()
        model.save_pretrained(directory)
        return directory

    def loaded(self, directory: str, cls=None, **options):
        """A model from a directory. Its tensors are copied: files lie unaligned, which changes last bits."""
        import torch

        model = (cls or self.cls).from_pretrained(directory, **{"attn_implementation": "eager", **options})
        if not isinstance(model, tuple):
            model = (model,)
        if "device_map" not in options:
            with torch.no_grad():
                for tensor in [*model[0].parameters(), *model[0].buffers()]:
                    tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
            model[0].to(self.device)
        return model if len(model) > 1 else model[0]

    def scratch(self) -> str:
        return tempfile.mkdtemp(dir=self.directory)

    @property
    def rounding(self) -> float:
        """How far apart two ways to compute the same may be: measured, as some models magnify every error."""
        if not self._rounding:
            moved = self.response(lambda p, generator: p * (1 + torch_noise(p, generator) * 2**-24))
            self._rounding = max(outputs.ROUNDING, min(outputs.MAGNIFIED * moved, 1e-2))
        return self._rounding

    def response(self, change) -> float:
        """The largest change of an output, against its largest number, when every weight is changed a little."""
        import torch

        model, other = self.model(), self.model()
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for parameter in other.parameters():
                if parameter.is_floating_point():
                    parameter.copy_(change(parameter, generator))
        before, changed = self.run(model), self.run(other)
        sizes = [
            ((changed[n] - t).abs().max() / t.abs().max().clamp(min=1e-3)).item()
            for n, t in before.items()
            if t.is_floating_point() and t.numel() and t.isfinite().all() and t.abs().max() < 1e30
        ]
        return max(sizes, default=0.0)

    # running ----------------------------------------------------------------------------------------------------

    def run(self, model, inputs: dict | None = None, **more) -> dict:
        """Every tensor of the output, by name."""
        import torch

        torch.manual_seed(0)
        with torch.no_grad():
            return outputs.tensors(model(**self.on_device(self.inputs if inputs is None else inputs), **more))

    def on_device(self, inputs: dict) -> dict:
        """A copy of inputs on the device: a model may write into them."""
        return clone(inputs, self.device)

    @property
    def takes(self) -> set:
        """Names of forward's parameters."""
        return set(inspect.signature(self.cls.forward).parameters)

    @property
    def takes_keywords(self) -> bool:
        kinds = [p.kind for p in inspect.signature(self.cls.forward).parameters.values()]
        return inspect.Parameter.VAR_KEYWORD in kinds

    def is_text(self) -> bool:
        """Whether it reads rows of tokens."""
        ids = self.inputs.get("input_ids")
        return ids is not None and ids.dim() == 2

    def needs_text(self) -> None:
        if not self.is_text():
            raise NotApplicable("forward reads no input_ids of (batch, tokens)")

    def vocabulary(self) -> int:
        return pick(self.config, "vocab_size", default=0)

    def with_padding(self):
        """The configuration with a padding token, as whoever makes batches of several lengths has to set one."""
        pad = getattr(self.config, "pad_token_id", None)
        if isinstance(pad, int) and 0 <= pad < self.vocabulary():
            return self.configuration(), pad
        return self.configuration(pad_token_id=0), 0  # text_inputs uses no id below 3

    def labelled(self, model=None) -> dict:
        """Inputs with labels that give a loss.

        Raises:
            NotApplicable: forward takes none. CheckFailed: it takes some, and gives no loss for any.
        """
        if self._labels is None:
            self._labels = self._find_labels(model)
        if isinstance(self._labels, Exception):
            raise self._labels
        return self._labels

    def _find_labels(self, model=None):
        import torch

        model, tried = model or self.model(), None
        is_input: set[str] = set()
        with torch.no_grad():
            output = model(**self.on_device(self.inputs))
            before = outputs.tensors(output)
            guesses = [("", inputs) for inputs in labelled(model, self.inputs, output)]
            others = itertools.islice(other_targets(model, self.inputs, output), TARGETS)
            for name, inputs in itertools.chain(guesses, others):
                try:
                    if loss_of(model(**self.on_device(inputs))) is not None:
                        return inputs
                except Exception as error:
                    tried = tried or (None if name else error)
            for name in sorted(n for n in self.takes if "label" in n and n not in self.inputs):
                # such as the class that a picture is drawn of: it changes what is computed, and gives no loss
                with contextlib.suppress(Exception):
                    classes = torch.zeros(batch_of(self.inputs), dtype=torch.long)
                    with_it = outputs.tensors(model(**self.on_device({**self.inputs, name: classes})))
                    is_input |= {name} if outputs.difference(with_it, before, self.rounding) else set()
        names = [n for n in self.takes - is_input if "label" in n or n in TARGET_NAMES]
        if not names:
            return NotApplicable("forward takes no labels")
        why = f" ({describe(tried)})" if tried else ""
        return CheckFailed(
            f"forward takes {' and '.join(sorted(names))}, and gives no loss for any that were tried{why}; return "
            "loss first"
        )

    def objective(self, model, inputs: dict | None = None):
        """A number to be differentiated: the loss, or for a class without one the size of what it gives."""
        import torch

        try:
            labelled = self.labelled()
        except NotApplicable:
            torch.manual_seed(0)
            output = model(**self.on_device(inputs or self.inputs))
            if not (values := floating(output)):
                raise NotApplicable("no output has a gradient") from None
            return sum(value.square().mean() for value in values)
        torch.manual_seed(0)
        return loss_of(model(**self.on_device(inputs or labelled)))


def floating(output) -> list:
    """Floating tensors of the first level of an output, those with a gradient."""
    import torch

    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple) else [output]
    return [v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point() and v.requires_grad]


def loss_of(output):
    """The loss of an output, a number, or None."""
    import torch

    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if isinstance(output, tuple) and output and isinstance(output[0], torch.Tensor) and not output[0].dim():
        loss = output[0]
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.is_floating_point():
        return loss.sum()
    return None


def with_moved_weights(model, seed: int = 0):
    """Add noise to every floating parameter that is trained; a padding row stays at zero."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(seed + 1)
    pads = {id(m.weight): m.padding_idx for m in model.modules() if isinstance(m, nn.Embedding)}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator) * NOISE
                if pads.get(id(parameter)) is not None:
                    noise[pads[id(parameter)]] = 0
                parameter.add_(noise.to(parameter))
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.add_(torch.randn(module.running_mean.shape, generator=generator).to(model.device))
    return model


def torch_noise(tensor, generator):
    import torch

    return torch.randn(tensor.shape, generator=generator).to(tensor)


def with_distinct_choices(inputs: dict) -> dict:
    """Inputs whose choices differ: the same text twice gives the same score, whatever is learnt."""
    ids = inputs.get("input_ids")
    if ids is not None and ids.dim() == 3 and bool((ids == ids[:, :1]).all()):
        ids[:, 1:] = ids[:, 1:].flip(-1)
    return inputs


def classes_of(folder: str, places: dict) -> dict:
    """Import a folder's classes, by Auto class, as a separate package."""
    package = "_folder_" + hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:12]
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [folder]
    models = {}
    for auto, place in places.items():
        module, name = place.split(".")
        models[auto] = getattr(importlib.import_module(f"{package}.{module}"), name)
    return models


def prepare(folder: str, classes: dict, auto: str, device: str, directory: str, stored: str | None = None) -> Subject:
    """A subject with the smallest configuration that works.

    Args:
        stored: a directory with the config.json to start from, instead of the class's defaults.

    Raises:
        ValueError: none works, or probe.json cannot be used; says what to write.
    """
    import torch

    cls, reasons = classes[auto], []
    torch.backends.cudnn.allow_tf32 = False  # 10 bits on GPUs: more than what rounding may do
    if cls.config_class is None:
        raise ValueError(f"{cls.__name__} has no config_class; set config_class = ... in its body")
    probe = declared.own_probe(folder)  # before any configuration is tried, which is not what is wrong with it
    own = os.path.join(folder, "suite.json")
    values = {}
    if os.path.exists(own):
        with open(own, encoding="utf-8") as file:
            values = json.load(file)["config"]
    start = cls.config_class.from_pretrained(stored) if stored and not values else cls.config_class(**values)
    for each in every(start):  # what every published configuration says, and some classes have no default for
        if getattr(each, "is_encoder_decoder", False) and getattr(each, "decoder_start_token_id", None) is None:
            each.decoder_start_token_id = getattr(each, "pad_token_id", None) or 0
    for level in range(1 if values else LEVELS):
        try:
            config = start if values else shrink(start, level)
            torch.manual_seed(0)
            model = cls(copy.deepcopy(config)).eval()
            if probe:
                return Subject(auto, cls, classes, config, probes.probe_inputs(model, probe)["own"], device, directory)
            inputs = with_distinct_choices(inputs_for(model))
            if len(inputs.get("input_ids", (0, 0))) == 1 and getattr(config, "pad_token_id", None) is None:
                config.pad_token_id = 0  # without one a classifier of text reads one row; tiny uses no id below 3
                inputs = with_distinct_choices(inputs_for(cls(copy.deepcopy(config)).eval()))
            return Subject(auto, cls, classes, config, inputs, device, directory)
        except Exception as error:
            reasons.append(describe(error))
    raise ValueError(
        f"{cls.__name__} could not be run small ({reasons[0]}); "
        f'{"correct" if values else "put"} suite.json beside card.md: {{"config": {{...}}}} with fields of a tiny '
        "configuration, and where its inputs are its own, probe.json"
    )
