"""The tensors of a checkpoint's files, and a model's tensors against them."""

import os
import re

from ..probe import probes


def align(model) -> bool:
    """Whether all tensors lie where torch would have put them; those that do not are copied there.

    transformers maps weights from the file. A tensor at an odd place in it gives other last bits than the model that
    was saved, as the kernels of a matrix product are chosen by alignment: no fault of the folder's.
    """
    odd = [t for t in (*model.parameters(), *model.buffers()) if t.device.type == "cpu" and t.data_ptr() % 64]
    for tensor in odd:
        tensor.data = tensor.data.clone()
    return not odd


def read_files(files: list[str]) -> dict:
    """The tensors of safetensors files, by name."""
    from safetensors.torch import load_file

    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def under_names_of(cls, config, tensors: dict, directory: str) -> dict:
    """The file's tensors under the names that a class gives them.

    transformers 5 saves parts of its own (a ViT inside of another model) under the names of older releases, and
    renames them when it loads. Its loading is trusted here only if saving what it loaded gives the file again, name
    by name and bit by bit.

    Args:
        directory: a place to save to.
    """
    import copy
    import tempfile

    import torch

    model = _without_memory(cls, config)
    if not set(tensors) - set(matched(model, tensors).values()):
        return tensors
    try:
        loaded = cls.from_pretrained(None, config=copy.deepcopy(config), state_dict=dict(tensors))
        with tempfile.TemporaryDirectory(dir=directory) as saved:
            loaded.save_pretrained(saved)
            files = [os.path.join(saved, name) for name in sorted(os.listdir(saved)) if name.endswith(".safetensors")]
            again = read_files(files)
    except Exception:  # what is wrong is said by the comparison with the file's own names
        return tensors
    if again.keys() != tensors.keys() or not all(torch.equal(again[name], tensors[name]) for name in tensors):
        return tensors
    return {name: tensor.detach().clone() for name, tensor in loaded.state_dict().items()}


def _without_memory(cls, config):
    """The model without its weights, or with them where it cannot be built so."""
    import copy

    import torch

    try:
        with torch.device("meta"):
            return cls(copy.deepcopy(config))
    except Exception:
        return cls(copy.deepcopy(config))


def matched(model, tensors: dict) -> dict:
    """Model key -> file key, allowing for the base model's prefix on either side, as transformers does."""
    keys, prefix = set(model.state_dict()), f"{getattr(model, 'base_model_prefix', '')}."
    pairs = {k: k for k in keys if k in tensors}
    if prefix != ".":
        for key in keys - set(pairs):
            if prefix + key in tensors:  # a head's checkpoint in its base model
                pairs[key] = prefix + key
            elif key.startswith(prefix) and key[len(prefix) :] in tensors:  # a base checkpoint in a head
                pairs[key] = key[len(prefix) :]
    return pairs


def sizes(model, names: list) -> dict[str, int]:
    """Bytes of these tensors."""
    state = model.state_dict()
    return {name: state[name].numel() * state[name].element_size() for name in names}


def _memory(tensor):
    """What two names of one memory have in common."""
    return (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() and tensor.device.type != "meta" else id(tensor)


def fill(model, tensors: dict) -> dict:
    """Put the file's tensors into the model; what the file lacks is set by formula.

    Returns:
        Names: "missing" in the file, "unexpected" in it, "mismatched" in shape; "aliases": further names of a tensor.
    """
    import torch

    pairs, state = matched(model, tensors), model.state_dict()
    mismatched = {k: f for k, f in pairs.items() if state[k].shape != tensors[f].shape}
    with torch.no_grad():
        for key, source in pairs.items():
            if key not in mismatched:
                state[key].copy_(tensors[source])
    filled = {_memory(state[k]): source for k, source in pairs.items() if state[k].numel()}
    aliases = {k: filled[_memory(state[k])] for k in state if k not in pairs and _memory(state[k]) in filled}
    missing = sorted(k for k in state if k not in pairs and k not in aliases)
    set_by_formula(model, missing)
    missing = [key for key in missing if not ignored(model, key, "missing")]
    unexpected = sorted(k for k in set(tensors) - set(pairs.values()) if not ignored(model, k, "unexpected"))
    return {"missing": missing, "unexpected": unexpected, "mismatched": sorted(mismatched), "aliases": aliases}


def set_by_formula(model, names: list) -> list:
    """Give tensors that no file holds values that every process agrees on; a random head has no hash."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name in sorted(names):
            if name in state and state[name].is_floating_point():
                wave = torch.sin(torch.arange(state[name].numel(), dtype=torch.float32) + len(name))
                state[name].copy_((0.02 * wave).reshape(state[name].shape))
    return sorted(names)


def misfit(name: str, model, tensors: dict, report: dict) -> str:
    state, parts = model.state_dict(), mismatches(model, tensors, report["mismatched"])
    parts += [f"{key} {_shape(state[key])} is missing from the file" for key in report["missing"][:3]]
    parts += [f"{key} {_shape(tensors[key])} is in the file but not in the model" for key in report["unexpected"][:3]]
    total = sum(len(report[kind]) for kind in ("mismatched", "missing", "unexpected"))
    more = f" (and {total - len(parts)} more)" if total > len(parts) else ""
    kinds = [f"{kind} keys {', '.join(report[kind][:3])}" for kind in ("missing", "unexpected") if report[kind]]
    fit = f"the weights do not fit {name} as config.json describes it: {'; '.join(parts)}{more}"
    return "; ".join([*kinds, f"{fit}; publish the config.json that was saved with them"])


def mismatches(model, tensors: dict, names: list) -> list[str]:
    """Both shapes of the first tensors that do not fit."""
    state, pairs = model.state_dict(), matched(model, tensors)
    return [f"{k} is {_shape(tensors[pairs[k]])} in the file and {_shape(state[k])} in the model" for k in names[:3]]


def _shape(tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def unmatched(model, info: dict, tensors: dict) -> tuple[list, list]:
    """Names in the model that no tensor of the file belongs to, and the reverse, transformers' own lists included.

    A name whose memory another name filled is not missing. transformers 4 reports names with the base model's prefix.
    """
    pairs, state, prefix = matched(model, tensors), model.state_dict(), f"{getattr(model, 'base_model_prefix', '')}."
    reported = {k.removeprefix(prefix) if k not in state else k for k in info["missing_keys"]}
    shared = {_memory(state[k]) for k in set(pairs) - reported}
    missing = reported | (set(state) - set(pairs))
    missing = {k for k in missing if k not in state or _memory(state[k]) not in shared}
    return sorted(missing), sorted(info["unexpected_keys"])


def ignored(model, key: str, kind: str) -> bool:
    """Whether the class declares that it can do without this key."""
    patterns = getattr(model, f"_keys_to_ignore_on_load_{kind}", None) or ()
    return any(re.search(pattern, key) for pattern in patterns)


def key_lines(model, missing: list, unexpected: list, tensors: dict, exact: bool) -> list:
    """D02. A class that the checkpoint was not saved from may lack its head, and find those of others."""
    prefix, pairs = getattr(model, "base_model_prefix", ""), matched(model, tensors)
    has_base = bool(prefix) and hasattr(model, prefix)
    missing = [key for key in missing if not ignored(model, key, "missing")]
    unexpected = [key for key in unexpected if not ignored(model, key, "unexpected")]
    if not exact and pairs:
        children = {key.split(".")[0] for key in pairs}

        def of_the_base(key: str) -> bool:
            if any("pool" in part for part in key.split(".")):
                return False
            if prefix and (has_base or key.startswith(f"{prefix}.")):
                return key.startswith(f"{prefix}.")
            # the base model itself has no head; without a prefix, a module that is partly there is not a head either
            return bool(prefix) or key.split(".")[0] in children

        missing = [key for key in missing if of_the_base(key)]
        unexpected = [key for key in unexpected if prefix and key.startswith(f"{prefix}.") and of_the_base(key)]
    kinds = {"missing": missing, "unexpected": unexpected}
    return [
        f"{kind} keys {', '.join(keys[:5])}{f' and {len(keys) - 5} more' if len(keys) > 5 else ''}"
        for kind, keys in kinds.items()
        if keys
    ]


def tensor_lines(model, tensors: dict, aliases: dict, lossless: bool = False) -> list:
    """D05: every tensor against the file, under each of its names. ``lossless``: no digit may be lost either."""
    import torch

    pairs = {**aliases, **matched(model, tensors)}
    state = model.state_dict()
    odd: list[str] = []
    for key, source in sorted(pairs.items()):
        if key not in state:
            continue
        stored, loaded = tensors[source], state[key]
        if loaded.device.type == "meta" or loaded.shape != stored.shape:
            odd.append(f"{key} ({'no memory' if loaded.device.type == 'meta' else _shape(loaded)})")
        elif lossless and not torch.equal(loaded.to(stored.dtype), stored) and loaded.dtype != stored.dtype:
            odd.append(f"{key} ({stored.dtype} in the file, {loaded.dtype} after loading)")
        elif not probes.same_tensor(loaded, stored.to(loaded.dtype)):
            odd.append(key)
    more = f" (and {len(odd) - 4} more)" if len(odd) > 4 else ""
    return [f"a parameter differs from the file after loading: {', '.join(odd[:4])}{more}"] if odd else []
