"""What runs in the two processes of golden.py: every class of the shipped files, and of those that were made.

How it works
- The shipped side looks for a level of tiny.py at which a class is built and runs, and for inputs and labels; what it
  found goes into a file, and the other side runs each class at the same level with the same inputs.
- Weights are no matter of luck: `fill` sets each from its name and shape, so that equal names give equal weights.
- Classes inside of others (a decoder that wants its encoder's states) are compared by what they give while the whole
  model runs.
"""

import contextlib
import importlib
import os
import resource
import signal
import zlib
from pathlib import Path

import torch
import transformers

from pinfold.fenced import generated as inside
from pinfold.fenced.tiny import model as tiny
from pinfold.fenced.tiny.config import shrink
from pinfold.fenced.tiny.inputs import inputs_for
from pinfold.fenced.tiny.labels import labelled
from pinfold.fenced.tiny.model import LARGEST, count_parameters, first_loss, takes_labels
from pinfold.fenced.tiny.rules import LEVELS
from pinfold.fenced.values import clone, describe_with_place, flat, sha256

MEMORY = 9 << 30


@contextlib.contextmanager
def limit(seconds: float):
    """As inside.limit, in time of the processor: a busy machine must not make one of two sides late."""

    def stop(*_):
        raise inside.Late(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def prepare() -> None:
    """In a process of its own: no thread beside it, and not all of the memory."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def digest(tensor) -> str:
    """A tensor's type, shape and numbers, as a text."""
    tensor = tensor.to_dense() if tensor.is_sparse else tensor
    return f"{tensor.dtype} {tuple(tensor.shape)} {sha256(tensor)[:16]}"


def digests(tensors: dict) -> dict[str, str]:
    return {name: digest(tensor) for name, tensor in tensors.items()}


def fill(model) -> None:
    """Weights of a name and a shape: scales near 1, what is added near 0, matrices that keep a vector's length."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not weight.is_floating_point() or not weight.numel():
                continue
            gen = torch.Generator().manual_seed(zlib.crc32(f"{name} {tuple(weight.shape)}".encode()))
            values = torch.randn(weight.shape, generator=gen)
            if weight.dim() > 1:
                values *= weight[0].numel() ** -0.5
            else:
                values = values * 0.05 + ("norm" in name.lower() and name.endswith("weight"))
            weight.copy_(values)


def hollow(outputs: dict) -> bool:
    """Whether nothing could differ: no tensor, or none with a number in it."""
    return not any(t.numel() and not (t.is_floating_point() and torch.isnan(t).all()) for t in outputs.values())


def run(model, inputs: dict, names: set[str]) -> tuple[object, dict[str, str]]:
    """The outputs, and the digest of what each class among `names` gave inside of the model, when first called."""
    found: dict[str, str] = {}

    def note(module, _, outputs):
        name = type(module).__name__
        if name not in found and (tensors := flat(outputs)):
            found[name] = "".join(f"{n}{digest(t)}" for n, t in tensors.items())

    hooks = [m.register_forward_hook(note) for m in model.modules() if m is not model and type(m).__name__ in names]
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            return model(**clone(inputs)), found
    finally:
        for hook in hooks:
            hook.remove()


def find(cls, levels: int) -> tuple[object, dict, int]:
    """(model, inputs, level) of the first level at which the class is built and runs with the weights of `fill`."""
    reasons = []
    for level in range(levels):
        try:
            model = build(cls, level)
            inputs = inputs_for(model)
            return model, inputs, level
        except Exception as error:
            reasons.append(describe_with_place(error))
            if reasons[:-1] == reasons[-1:]:  # no matter of the size
                break
    raise ValueError(reasons[0])


def build(cls, level: int):
    config = shrink(cls.config_class(), level)
    if count_parameters(cls, config) > LARGEST:
        raise ValueError("its smallest configuration is too large")
    model = tiny.build(cls, config)
    model.initial = digests(model.state_dict())
    fill(model)
    return model


def skeleton(model) -> tuple[list[str], list[str]]:
    """Names and shapes of the weights, and the tree of modules."""
    state = [f"{n} {tuple(t.shape)} {t.dtype}" for n, t in model.state_dict().items()]
    tree = [f"{n} {type(m).__name__}" for n, m in model.named_modules()]
    return state, tree


def describe(cls, names: set[str], plan: dict | None, levels: int = LEVELS) -> tuple[dict, dict]:
    """Everything about a tiny one that another one like it must share, as texts and digests; and the plan."""
    if plan is None:
        model, inputs, level = find(cls, levels)
        plan = {"level": level, "inputs": inputs}
    else:
        model, inputs, level = build(cls, plan["level"]), plan["inputs"], plan["level"]
    state, tree = skeleton(model)
    outputs, inner = run(model, inputs, names)
    tensors = flat(outputs)
    if hollow(tensors):
        raise ValueError("the outputs hold no number")
    found = {"level": level, "state": state, "tree": tree, "initial": model.initial, "inputs": sorted(inputs)}
    found |= {"outputs": digests(tensors), "inside": inner}
    if takes_labels(cls):
        chosen = [plan["labelled"]] if plan.get("labelled") else None
        if chosen is None and "labelled" not in plan:
            chosen = labelled(model, inputs, outputs)
        loss = first_loss(model, chosen) if chosen is not None else None
        plan["labelled"] = loss[2] if loss else None
        if loss:
            found |= {"loss": digest(loss[0]), "gradients": digests(loss[1])}
    return found, plan


def default_skeleton(cls) -> dict:
    """The class with its configuration's defaults, without memory for its weights."""
    config = cls.config_class()
    config._attn_implementation = "eager"
    with torch.device("meta"):
        model = cls(config)
    state, tree = skeleton(model)
    return {"state": state, "tree": tree}


def described(classes: dict, plans: Path, ours: bool, seconds: float, pipe, register=None) -> None:
    """One message for each class: its skeleton with the defaults, and its tiny self."""
    by_class = torch.load(plans, weights_only=True) if ours else {}
    reached: set[str] = set()
    for name, cls in reversed(classes.items()):  # what holds others stands behind them
        one: dict = {}
        for again in (False, True):
            try:
                with limit(seconds):
                    one["default"] = default_skeleton(cls)
                one.pop("default_error", None)
                break
            except (Exception, inside.Late) as error:
                one["default_error"] = describe_with_place(error)
                if register is None or again or "nrecognized" not in str(error):
                    break
                one["needs_auto"] = True
                register()
        if ours and name not in by_class:
            one["error"] = "not tried"
        else:
            try:
                with limit(2 * seconds if ours else seconds):
                    found, plan = describe(cls, set(classes), by_class.get(name), 1 if name in reached else LEVELS)
                one |= found
                reached |= set(found["inside"])
                by_class[name] = plan
            except (Exception, inside.Late) as error:
                one["error"] = describe_with_place(error)
        pipe.send((name, one))
    if not ours:
        torch.save(by_class, plans)


def settings(modules: dict) -> dict[str, str]:
    """The defaults of each configuration and image processor that these modules define."""
    found = {}
    for module in modules.values():
        for name, cls in vars(module).items():
            if isinstance(cls, type) and cls.__module__ == module.__name__ and hasattr(cls, "to_dict"):
                try:
                    values = cls().to_dict()
                    values.pop("transformers_version", None)
                    found[name] = repr(sorted(values.items(), key=lambda pair: str(pair[0])))
                except Exception as error:
                    found[name] = f"fails: {type(error).__name__}"
    return found


def shipped_side(package: str, stems: list[str], plans: Path, seconds: float, pipe) -> None:
    prepare()
    modules = {}
    for stem in stems:
        try:
            modules[stem] = importlib.import_module(f"{package}.{stem}")
        except Exception as error:
            pipe.send(("import " + stem, describe_with_place(error)))
    pipe.send(("settings", settings(modules)))
    described(inside.model_classes(modules), plans, False, seconds, pipe)
    pipe.send(None)


def our_side(folder: Path, stems: list[str], plans: Path | None, seconds: float, model: str, pipe) -> None:
    """Without `plans` only the import is tried."""
    prepare()
    before, modules = inside.load_auto_tables(), {}
    for stem in stems:
        try:
            modules |= inside.import_folder(folder, f"golden_{model}", [stem])
        except Exception as error:
            pipe.send(("import " + stem, describe_with_place(error)))
    pipe.send(("loaded", inside.loaded_models(before)))
    if plans is not None:
        pipe.send(("settings", settings(modules)))
        described(inside.model_classes(modules), plans, True, seconds, pipe, lambda: register(modules))
    pipe.send(None)


def register(modules: dict) -> None:
    """Auto classes reach what was made where they reach what is shipped, as if it were that."""
    from transformers.models.auto import configuration_auto, modeling_auto

    defined = {
        n: v
        for m in modules.values()
        for n, v in vars(m).items()
        if isinstance(v, type) and v.__module__ == m.__name__
    }
    configs = {}
    for kind, name in configuration_auto.CONFIG_MAPPING_NAMES.items():
        if name in defined:
            configs[kind] = configuration_auto.CONFIG_MAPPING._extra_content[kind] = defined[name]
    for auto in vars(modeling_auto).values():
        mapping = getattr(auto, "_model_mapping", None)
        if isinstance(auto, type) and mapping is not None:
            for kind, listed in mapping._model_mapping.items():
                first = listed if isinstance(listed, str) else listed[0]
                if kind in configs and first in defined:
                    mapping._extra_content[configs[kind]] = defined[first]
