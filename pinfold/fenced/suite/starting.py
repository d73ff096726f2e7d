"""How weights start: all of them written, and drawn as their kind of layer should be."""

import contextlib

from . import outputs
from .subject import CheckFailed, NotApplicable, Subject

FAR = 4.0  # a std this many times off initializer_range is another distribution; some scale by depth
HUGE = 100.0  # no class draws such a weight
FEW = 64  # numbers below which a standard deviation says little


@contextlib.contextmanager
def poisoned():
    """Memory that is never written holds NaN, or the largest integer."""
    import torch

    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]


def constants(model) -> dict:
    """Buffers, and tensors that are plain attributes of a module, by name."""
    import torch

    tensors = dict(model.named_buffers(remove_duplicate=False))
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            items = {"": value}
            if isinstance(value, (list, tuple)) and not key.startswith("_"):
                items = {f".{i}": item for i, item in enumerate(value)}
            for place, item in items.items():
                if isinstance(item, torch.Tensor) and not isinstance(item, torch.nn.Parameter):
                    tensors[f"{path}.{key}{place}".lstrip(".")] = item
    return tensors


def every_weight_drawn(subject: Subject) -> str:
    """Fails when training starts from uninitialised memory."""
    with poisoned():
        model = subject.fresh()
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in model.state_dict().items():
        values = tensor.detach()
        drawn = name in parameters  # a buffer may be a mask with infinity in it, or a mean of pixels
        bad = values.isnan() | values.isinf() & drawn if values.is_floating_point() else values >= 2**62
        if bad.any():
            raise CheckFailed(f"{name} is not initialised; draw it in _init_weights with nn.init")
        if drawn and values.is_floating_point() and values.numel() and values.abs().max() > HUGE:
            raise CheckFailed(f"{name} starts with {values.abs().max().item():.3g}; draw it in _init_weights")
    return f"{len(model.state_dict())} tensors written"


def same_seed_same_weights(subject: Subject) -> str:
    """Fails when one seed gives different weights, so that no training can be repeated."""
    first, again, other = (subject.fresh(seed=seed).state_dict() for seed in (3, 3, 4))
    if line := outputs.difference(again, first):
        raise CheckFailed(f"of two models made with one seed {line}; draw with torch's own generator")
    if not any(outputs.apart(other[name], tensor) for name, tensor in first.items()):
        raise CheckFailed("models made with two seeds have the same weights; draw them in _init_weights")
    return f"{len(first)} tensors"


def missing_weights_drawn(subject: Subject) -> str:
    """Fails when a head that the checkpoint lacks starts from uninitialised memory."""
    import torch
    from safetensors.torch import load_file, save_file

    model = subject.fresh()
    names = [n for n, p in model.named_parameters() if p.numel()]
    held = load_file(f"{subject.saved(model)}/model.safetensors")
    if not {names[0], *names[-2:]} <= set(held):
        raise NotApplicable("its file has other names than the model")
    for lacking in (names[-2:], names[:1]):
        directory = subject.saved(model)
        path = f"{directory}/model.safetensors"
        save_file({n: t for n, t in held.items() if n not in lacking}, path, metadata={"format": "pt"})
        with poisoned():
            again = subject.loaded(directory)
        for name, parameter in again.named_parameters():
            if not parameter.isfinite().all() or parameter.abs().max() > HUGE:
                raise CheckFailed(f"{name} is not initialised where a checkpoint lacks it; draw it in _init_weights")
            if name not in lacking and not torch.equal(parameter, model.get_parameter(name)):
                raise CheckFailed(f"{name} is drawn anew where a checkpoint lacks {lacking[0]}; use only nn.init")
    return f"{outputs.listed(names[:1] + names[-2:])} left out of a checkpoint"


def drawn_by_kind(subject: Subject) -> str:
    """Fails when weights start far from where the architecture is known to work."""
    from torch import nn

    model, seen = subject.fresh(), 0
    spread = next(
        (v for n in ("initializer_range", "init_std") if (v := getattr(model.config, n, None)) is not None), None
    )
    for name, module in model.named_modules():
        kind = type(module).__name__
        weight, bias = (getattr(module, n, None) for n in ("weight", "bias"))
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            seen += 1
            if weight[module.padding_idx].abs().max() > 0:
                raise CheckFailed(f"{name}.weight has a padding row {module.padding_idx} that is not zero; zero it")
        if isinstance(weight, nn.Parameter) and ("Norm" in kind and weight.dim() == 1):
            seen += 1
            if not any((weight == x).all() for x in (0, 1)):
                raise CheckFailed(
                    f"{name}.weight starts with a mean of {weight.mean():.3g}; a norm starts at 1 (or 0)"
                )
            if isinstance(bias, nn.Parameter) and bias.abs().max() > 0:
                raise CheckFailed(f"{name}.bias of a norm starts at {bias.abs().max():.3g}; it starts at 0")
        if spread is None or not isinstance(module, (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            continue
        seen += 1
        if isinstance(bias, nn.Parameter) and bias.numel() and bias.abs().max() > 0:
            raise CheckFailed(f"{name}.bias starts with {bias.abs().max():.3g}, and initializer_range promises zeros")
        std = weight.detach().double().std().item() if weight.numel() >= FEW else spread
        if std and not spread / FAR <= std <= spread * FAR:
            raise CheckFailed(f"{name}.weight starts with a std of {std:.3g}; initializer_range says {spread:.3g}")
    if not seen:
        raise NotApplicable("no norm, no padding row and no initializer_range to compare with")
    return f"{seen} layers" + ("" if spread is None else f", std about {spread:g}")
