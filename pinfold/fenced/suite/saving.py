"""What is saved, loaded, pickled or copied stays the same model."""

import copy
import os
import pickle
import re

from ..probe.key_order import sorted_tables
from ..values import sha256
from . import outputs, starting
from .subject import CheckFailed, NotApplicable, Subject


def stored(directory: str) -> dict:
    """Every tensor in the safetensors files of a directory."""
    from safetensors.torch import load_file

    tensors = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            tensors |= load_file(os.path.join(directory, name))
    return tensors


def shared(model) -> list[set]:
    """Groups of names of the state that are one tensor."""
    places: dict = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.numel():
            places.setdefault((tensor.data_ptr(), tuple(tensor.shape)), set()).add(name)
    return [names for names in places.values() if len(names) > 1]


def save_and_load(subject: Subject) -> str:
    """Fails when a saved model loads as a different one."""
    model = subject.model()
    directory = subject.saved(model)
    again, report = subject.loaded(directory, output_loading_info=True)
    odd = [*report["missing_keys"], *report["unexpected_keys"]]
    if odd:
        raise CheckFailed(
            f"loading what was saved reports {outputs.listed(sorted(odd))}; correct the names or the ties"
        )
    state, loaded_state = model.state_dict(), again.state_dict()
    if set(state) != set(loaded_state):
        raise CheckFailed(
            f"the state has other names after reload: {outputs.listed(sorted(set(state) ^ set(loaded_state)))}"
        )
    for name, tensor in state.items():
        if line := outputs.apart(loaded_state[name], tensor):
            raise CheckFailed(f"{name} {line} after reload; see that nothing is drawn or computed again on loading")
    if line := outputs.difference(actual := subject.run(again), subject.run(model)):
        tables = sorted_tables(model, lambda other: outputs.difference(subject.run(other), actual) is None)
        if tables:
            raise CheckFailed(
                f"after reload {line}: the model goes by the order of the keys of {tables}, and config.json has them "
                "sorted; keep a list of pairs, or go by the sorted keys"
            )
        raise CheckFailed(f"after reload {line}, with equal weights; something outside of the state is not kept")
    return f"{len(state)} tensors and all outputs equal"


def every_tensor_saved(subject: Subject) -> str:
    """Fails when weights are missing in the file, and drawn anew wherever it is loaded."""
    model = subject.model()
    held, groups = stored(subject.saved(model)), shared(model)
    state = model.state_dict()
    lost = sorted(
        name for name in set(state) - set(held) if not any(name in group and group & set(held) for group in groups)
    )
    # transformers 5 writes some models under the names of older releases, some experts in another layout
    values = {content(tensor) for tensor in held.values()}
    unlike = [name for name in lost if content(state[name]) not in values]
    whole = sum(t.numel() for t in held.values()) == sum(
        p.numel() for p in {id(p): p for p in state_of(model)}.values()
    )
    if unlike and not whole:
        raise CheckFailed(f"the file lacks {outputs.listed(unlike)}; take them out of _keys_to_ignore_on_save")
    renamed = f", {len(lost)} of the model's under other names" if lost else ""
    return f"{len(held)} tensors in the file{renamed}"


def state_of(model) -> list:
    """The tensors that a file holds, tied ones once."""
    return list(model.state_dict(keep_vars=True).values())


def content(tensor) -> tuple:
    """What tensors of other numbers differ in, whatever their shapes."""
    return tensor.dtype, sha256(tensor)


def ignored_keys(subject: Subject) -> str:
    """Fails when a weight can be lost, and loading does not report it."""
    model = subject.fresh()
    tied = {name for group in shared(model) for name in group}
    own = set(model.state_dict())
    fixed = {n for n, b in model.named_buffers() if not outputs.apart(b, subject.fresh(seed=9).get_buffer(n))}
    kinds = {
        "_keys_to_ignore_on_save": "is never saved",
        "_keys_to_ignore_on_load_missing": "silently gets random values where a file lacks it",
        "_keys_to_ignore_on_load_unexpected": "is silently left out",
    }
    count = 0
    for kind, effect in kinds.items():
        for pattern in getattr(subject.cls, kind, None) or ():
            count += 1
            # a buffer that a constructor fills by itself is right also where a file lacks it
            harmless = tied | fixed if kind.endswith("missing") else tied
            hit = sorted(name for name in own - harmless if re.search(pattern, name))
            if hit:
                raise CheckFailed(f"{kind} names {outputs.listed(hit)} ({pattern!r}), which then {effect}; remove it")
    if not count:
        raise NotApplicable("no _keys_to_ignore_on_* is set")
    return f"{count} patterns name nothing of the model"


def pickles(subject: Subject) -> str:
    """Fails when the model cannot be sent to a worker process, or its outputs to another rank."""
    model = subject.model()
    expected = subject.run(model)
    config = pickle.loads(pickle.dumps(model.config))
    if config.to_dict() != model.config.to_dict():
        raise CheckFailed("a pickled configuration comes back as another one; keep its fields plain data")
    if line := outputs.difference(subject.run(pickle.loads(pickle.dumps(model))), expected):
        raise CheckFailed(f"of the pickled model {line}; keep state in parameters, buffers and plain attributes")
    import torch

    with torch.no_grad():
        output = model(**subject.on_device(subject.inputs))
    if line := outputs.difference(outputs.tensors(pickle.loads(pickle.dumps(output))), outputs.tensors(output)):
        raise CheckFailed(f"of the pickled output {line}; return a ModelOutput of tensors")
    return "configuration, model and output"


def copies(subject: Subject) -> str:
    """Fails when an averaged or a reference copy of the model shares weights with it, or is another model."""
    import torch

    model = subject.model()
    expected, groups = subject.run(model), shared(model)
    twin = copy.deepcopy(model)
    if line := outputs.difference(subject.run(twin), expected):
        raise CheckFailed(f"of a deep copy {line}; keep state in parameters and buffers")
    if sorted(map(sorted, shared(twin))) != sorted(map(sorted, groups)):
        raise CheckFailed("a deep copy ties other weights than the model; tie by _tied_weights_keys")
    with torch.no_grad():
        for tensor in [*twin.parameters(), *twin.buffers()]:
            tensor.zero_()
    if line := outputs.difference(subject.run(model), expected):
        raise CheckFailed(f"after its deep copy was changed {line} in the model; a tensor is shared by both")
    return "equal, and independent"


def buffers_after_loading(subject: Subject) -> str:
    """Fails when a loaded model computes with uninitialised memory: numbers differ from run to run."""
    model = subject.fresh()
    directory = subject.saved(model)
    expected = starting.constants(model)
    if not expected:
        raise NotApplicable("it has no buffer, and no tensor as a plain attribute")
    with starting.poisoned():
        again = subject.loaded(directory)
    actual = starting.constants(again)
    for name, tensor in expected.items():
        if name not in actual:
            raise CheckFailed(f"buffer {name} is missing after from_pretrained; register it in __init__")
        if actual[name].device.type == "meta":
            raise CheckFailed(f"buffer {name} has no memory after from_pretrained; register it with register_buffer")
        if line := outputs.apart(actual[name], tensor):
            raise CheckFailed(
                f"buffer {name} {line} after from_pretrained, from what the constructor makes: its memory is "
                "uninitialised; fill it in _init_weights, or make it persistent"
            )
    return f"{len(expected)} buffers as the constructor makes them"
