"""What runs in the fresh process of a verification: a folder's classes are imported, built, run and described.

How it works
- A folder is imported as the loader of remote code does: a separate package, whose modules see only each other.
- Every result is a text or a digest, so that two processes, one with a folder and one with another, can be compared.
- As a script, with the path of a JSON request, it writes a line of JSON for each check (see verify.py).
"""

import contextlib
import importlib
import inspect
import json
import signal
import sys
import tempfile
import types
from pathlib import Path

from .probe.probes import same_tensor
from .tiny.fields import nested
from .tiny.labels import labelled
from .tiny.model import build, run_loss, takes_labels, tiny_model
from .tiny.rules import LEVELS
from .values import clone, describe_with_place, flat

KINDS = ("modeling", "configuration")


class Late(BaseException):  # what tries one thing after another catches Exception, and must not go on after this
    """A class took longer than it may."""


@contextlib.contextmanager
def limit(seconds: float):
    def stop(*_):
        raise Late(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def import_folder(folder: Path, package: str, stems: list[str]) -> dict:
    """The folder's modules, as a package of their own."""
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    sys.modules[package] = module
    importlib.invalidate_caches()
    return {stem: importlib.import_module(f"{package}.{stem}") for stem in stems}


def load_auto_tables() -> set[str]:
    """The Auto classes' own modules, with what they import (encoder_decoder's configuration); all that is loaded."""
    for name in ("configuration", "modeling", "tokenization", "processing", "image_processing", "feature_extraction"):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"transformers.models.auto.{name}_auto")
    return set(sys.modules)


def loaded_models(but: set[str] = frozenset()) -> list[str]:
    """Modules of single architectures of transformers that are loaded."""
    names = [m for m in sys.modules if m.startswith("transformers.models.") and m not in but]
    return sorted(m for m in names if m.split(".")[2] != "auto")


def model_classes(modules: dict) -> dict:
    """The concrete models that these modules define: they have a configuration and a forward of their own kind."""
    import torch
    from transformers import PreTrainedModel

    classes = {}
    for module in modules.values():
        for name, cls in vars(module).items():
            if (
                isinstance(cls, type)
                and cls.__module__ == module.__name__
                and issubclass(cls, PreTrainedModel)
                and not name.endswith("PreTrainedModel")
                and getattr(cls, "config_class", None) is not None
                and cls.forward is not torch.nn.Module.forward
                and not inspect.isabstract(cls)
            ):
                classes[name] = cls
    return classes


def without_cache(model, inputs) -> str:
    """A cache that a hand-written attention ignores changes what is written, and raises nothing."""
    import torch

    arguments = {**clone(inputs), "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    arguments |= {"output_logits": True, "return_dict_in_generate": True}
    try:
        with torch.no_grad():
            outputs = [model.generate(**clone(arguments), use_cache=cache) for cache in (True, False)]
    except Exception as error:
        return describe_with_place(error)
    a, b = (torch.stack(m.logits) for m in outputs)
    # One token and a whole text are other shapes, whose sums end in other last bits: norms of small numbers have made
    # 3e-5 of that. Where a cache is left aside, logits differ by as much as they are.
    if torch.allclose(a, b, rtol=0, atol=1e-3 * float(b.abs().max())):
        return ""
    apart = float((a - b).abs().max())
    return f"logits differ by {apart:.1e} from those with a cache; the cache is not used correctly"


def stock_differs(cls, seed: int) -> bool:
    """Whether the class upstream writes something else without its cache, or cannot be run."""
    try:
        model, inputs, _, _ = tiny_model(cls, range(LEVELS), seed)
    except Exception:
        return True
    return bool(without_cache(model, inputs))


# checks of one folder's classes ------------------------------------------------------------------------------------


def check_class(cls, seconds: float, twins: dict | None = None, origin=None, seed: int = 0):
    """(check, "" or why not) for one class, one after the other.

    Args:
        twins: classes that it must equal, by the name of the check.
        origin: the class that it was made from; what cannot be run of that is not a fault of this one.
    """
    with limit(seconds):
        try:
            model, inputs, outputs, _ = tiny_model(cls, range(LEVELS), seed)
        except Exception as error:
            # a name that was not copied is this folder's fault; an UnboundLocalError, of that kind too, is upstream's
            own_fault = type(error.__cause__) is NameError
            if origin is not None and not own_fault and not runs(origin, seed):
                yield f"not run, as no inputs are known for {origin.__name__} either", ""
                return
            yield "builds and runs", str(error)
            return
        yield "builds and runs", ""
        tensors = flat(outputs)
        yield "outputs", whole(tensors)
        yield from check_loss(cls, model, inputs, outputs, seed)
        yield "save and load", reload(cls, model, inputs, tensors, seed)
        if can_generate(model, inputs):
            yield "generate", generates(model, inputs)
            why = without_cache(model, inputs)
            if not why or origin is None or not stock_differs(origin, seed):
                yield "generate without a cache", why
        for check, twin in (twins or {}).items():
            yield check, check_twin(cls, twin, model, inputs, outputs, seed)


def runs(cls, seed: int) -> bool:
    try:
        tiny_model(cls, range(LEVELS), seed)
    except Exception:
        return False
    return True


def whole(tensors: dict) -> str:
    import torch

    if not tensors:
        return "forward returns no tensor"
    bad = [n for n, t in tensors.items() if t.is_floating_point() and torch.isnan(t).any()]
    return f"not a number: {', '.join(bad[:3])}" if bad else ""


def check_loss(cls, model, inputs, outputs, seed):
    import torch

    if not takes_labels(cls):
        return
    result = run_loss(model, inputs, outputs, seed)
    if result is None:
        yield (
            "loss",
            "forward takes labels, but returned no loss for any that were tried" + last_reason(model, inputs, outputs),
        )
        return
    loss, grads, _ = result
    yield "loss", "" if torch.isfinite(loss).all() else f"the loss is {loss.item()}"
    broken = [n for n, g in grads.items() if not torch.isfinite(g).all()]
    why = f"not finite: {', '.join(broken[:3])}" if broken else "" if grads else "no weight has a gradient"
    yield "gradients", why


def last_reason(model, inputs, outputs) -> str:
    for labels in labelled(model, inputs, outputs):
        try:
            model(**clone(labels))
        except Exception as error:
            return f" ({describe_with_place(error)})"
    return ""


def reload(cls, model, inputs, tensors: dict, seed: int) -> str:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again, report = cls.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            return f"{kind.replace('_', ' ')}: {', '.join(sorted(map(str, report[kind]))[:3])}"
    again.eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        loaded = flat(again(**clone(inputs)))
    return differing("outputs", tensors, loaded)


def differing(what: str, a: dict, b: dict) -> str:
    if a.keys() != b.keys():
        return f"{what} that only one of them has: {', '.join(sorted(a.keys() ^ b.keys())[:3])}"
    for name in a:
        if not same_tensor(a[name], b[name]):
            return f"{what} differ: {name}"
    return ""


def can_generate(model, inputs) -> bool:
    return type(model).__name__.endswith("ForCausalLM") and set(inputs) <= {"input_ids", "attention_mask"}


def generates(model, inputs) -> str:
    import torch

    try:
        with torch.no_grad():
            made = model.generate(**clone(inputs), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    except Exception as error:
        return describe_with_place(error)
    expected = inputs["input_ids"].shape[1] + 4
    return "" if made.shape[1] == expected else f"{made.shape[1]} tokens instead of {expected}"


def check_twin(cls, twin, model, inputs, outputs, seed) -> str:
    """Another class with the same weights: "" for equal outputs, loss and gradients, or what differs."""
    import torch

    values = {
        n: v for n, v in model.config.to_dict().items() if n not in ("model_type", "transformers_version", "auto_map")
    }
    for name, value in values.items():
        if (
            isinstance(value, dict)
            and "model_type" in value
            and hasattr(getattr(model.config, name, None), "model_type")
        ):
            sub = getattr(twin.config_class, "sub_configs", {}).get(name)
            if sub is not None and getattr(sub, "model_type", ""):
                values[name] = {**value, "model_type": sub.model_type}
    try:
        config = twin.config_class(**values)
        config._attn_implementation = "eager"
        for each in nested(config):
            each._attn_implementation = "eager"
        other = build(twin, config, seed)
    except Exception as error:
        return f"{twin.__name__} cannot be built from this configuration ({describe_with_place(error)})"
    state, twin_state = model.state_dict(), other.state_dict()
    if state.keys() != twin_state.keys():  # an attribute that is called after the architecture: self.bert
        state = dict(zip(twin_state, state.values(), strict=False)) if len(state) == len(twin_state) else {}
    if any(n not in state or state[n].shape != t.shape for n, t in twin_state.items()):
        return f"the weights of {twin.__name__} have other shapes"
    other.load_state_dict(state)
    modules = [type(m).__name__ for m in model.modules()]
    if len(modules) != len(list(other.modules())):
        return f"{len(modules)} modules, and {twin.__name__} has {len(list(other.modules()))}"
    torch.manual_seed(seed)
    try:
        with torch.no_grad():
            twin_outputs = other(**clone(inputs))
        why = differing("outputs", flat(outputs), flat(twin_outputs))
        if not why and takes_labels(cls):
            a, b = run_loss(model, inputs, outputs, seed), run_loss(other, inputs, twin_outputs, seed)
            if (a is None) != (b is None):
                why = "one has a loss and the other none"
            elif a is not None and not torch.equal(a[0], b[0]):
                why = f"the loss is {a[0].item():.6g}, and {b[0].item():.6g} there"
            elif a is not None:
                why = differing("gradients", dict(enumerate(a[1].values())), dict(enumerate(b[1].values())))
    except Exception as error:
        why = describe_with_place(error)
    return why


def answer(job: dict) -> dict:
    """Check one folder; each result becomes a line of the file that the job names as soon as it is there.

    Args:
        job: {"folder", "stems", "origins": {class: [module, class]}, "twins": those of them that changed nothing,
            "other": a folder made in another way or "", "changed": classes to compare with it, "seconds",
            "results": path}.
    """
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    with open(job["results"], "a", encoding="utf-8") as results:

        def say(**line) -> None:
            results.write(json.dumps(line) + "\n")
            results.flush()

        check_folder(job, say)
    return {"failures": []}


def check_folder(job: dict, say) -> None:
    before = load_auto_tables()
    folder = Path(job["folder"])
    name = "verified_" + "".join(c if c.isalnum() else "_" for c in folder.name)
    try:
        modules = import_folder(folder, name, job["stems"])
    except (Exception, SystemExit) as error:
        say(cls="", check="imports", why=describe_with_place(error))
        return
    say(cls="", check="imports", why="")
    loaded = loaded_models(before)
    say(cls="", check="needs no model of transformers", why=f"loads {', '.join(loaded[:3])}" if loaded else "")
    classes = model_classes(modules)
    say(cls="", check="classes", names=list(classes), why="" if classes else "the folder defines no model")
    others: dict = {}
    if job["other"]:
        try:
            others = model_classes(import_folder(Path(job["other"]), f"{name}_kept", job["stems"]))
        except (Exception, SystemExit) as error:
            say(cls="", check="made with inheritance", why=f"it does not import: {describe_with_place(error)}")
    for name, cls in classes.items():
        twins = {}
        module, upstream = job["origins"].get(name, ("", ""))
        origin = getattr(importlib.import_module(module), upstream) if module else None
        if name in job["twins"]:
            twins["as upstream"] = origin
        if name in job["changed"] and name in others:
            twins["as with inheritance"] = others[name]
        say(cls=name, check="starts", why="")
        try:
            for check, why in check_class(cls, job["seconds"], twins, origin):
                say(cls=name, check=check, why=why)
        except (Exception, Late) as error:
            say(cls=name, check="checks", why=describe_with_place(error))
