"""The half of verification that runs inside the fence: it executes a folder's code, in any transformers version.

Run as a script with the path of a JSON request; writes a JSON answer to the path that the request names. It imports
nothing of pinfold, since an older transformers may be in front of it and the checkout may be out of sight.

How it works:
- job "reference": build every registered model straight from the folder's source, put the file's tensors in with
  load_state_dict, and save its outputs on a probe. transformers' loading has no part in these numbers.
- job "load": load through every Auto class, compare each tensor with the file and each output with the reference.
- The probe needs no file: sin and cos over the grid of an image, arange % vocab_size for tokens.
"""

import hashlib
import importlib
import inspect
import json
import math
import os
import sys
import types


def main(path: str) -> None:
    """Do the job that the request names; every failure becomes part of the answer."""
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    try:
        answer = {"reference": reference, "load": load}[request["job"]](request)
    except Exception as error:
        answer = {"failures": [_failure("load", error)]}
    temporary = request["answer"] + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(temporary, request["answer"])


def reference(request: dict) -> dict:
    """Outputs of every registered model class, its tensors set without transformers' loading."""
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(request["threads"])
    package = types.ModuleType("_folder")
    package.__path__ = [request["folder"]]
    sys.modules["_folder"] = package
    tensors = _tensors(request["weights"])
    main_class, outputs, parameters = request["architecture"], {}, 0
    for auto, place in request["models"].items():
        module, name = place.split(".")
        cls = getattr(importlib.import_module(f"_folder.{module}"), name)
        config = cls.config_class.from_pretrained(request["checkpoint"])
        model = _built(cls, config, request["dtype"])
        report = _fill(model, tensors)
        if name == main_class and (report["missing"] or report["unexpected"] or report["mismatched"]):
            return {"failures": [{"check": "weights", "line": _misfit(name, model, tensors, report)}]}
        parameters = sum(p.numel() for p in model.parameters()) if name == main_class else parameters
        outputs |= {f"{auto}/{key}": value for key, value in run_probe(model, request["probe"]).items()}
    save_file({k: v.contiguous() for k, v in outputs.items()}, request["outputs"])
    hashes = {auto: _hash(outputs, auto) for auto in request["models"]}
    return {"failures": [], "hashes": hashes, "parameters": parameters}


def load(request: dict) -> dict:
    """Load through every Auto class and compare with the file and with the reference."""
    import torch
    import transformers
    from safetensors.torch import load_file

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    where = {"pretrained_model_name_or_path": request["target"], "trust_remote_code": True}
    if request.get("revision"):
        where["revision"] = request["revision"]
    tensors, expected = _tensors(request["weights"]), load_file(request["outputs"])
    failures, hashes, formula, unaligned = [], {}, {}, []
    for auto, place in request["models"].items():
        name = place.split(".")[-1]
        try:
            model, info = getattr(transformers, auto).from_pretrained(
                **where, torch_dtype=getattr(torch, request["dtype"]), output_loading_info=True
            )
            if type(model).__name__ != name:
                raise TypeError(f"{auto} gave {type(model).__name__}, the folder registers {name}")
            failures += _compare_loading(auto, model, info, tensors, exact=name == request["architecture"])
            formula[auto] = _set_by_formula(model, info["missing_keys"])
            outputs = {f"{auto}/{key}": value for key, value in run_probe(model, request["probe"]).items()}
            if compare_outputs(auto, outputs, expected, "") and not _aligned(model):
                unaligned.append(auto)
                outputs = {f"{auto}/{key}": value for key, value in run_probe(model, request["probe"]).items()}
            failures += compare_outputs(auto, outputs, expected, "")
            hashes[auto] = _hash(outputs, auto)
            if request.get("resave") and name == request["architecture"]:
                failures += _save_and_reload(auto, model, outputs, request)
        except Exception as error:
            failures.append(_failure(auto, error))
    for auto, place in request["others"].items():
        try:
            loaded = getattr(transformers, auto).from_pretrained(**where)
            if type(loaded).__name__ != place.split(".")[-1]:
                raise TypeError(f"{auto} gave {type(loaded).__name__}, the folder registers {place.split('.')[-1]}")
        except Exception as error:
            failures.append(_failure(auto, error))
    return {
        "failures": failures,
        "hashes": hashes,
        "formula": formula,
        "unaligned": unaligned,
        "transformers": transformers.__version__,
    }


def probe_inputs(model, given: dict) -> dict:
    """Inputs made by formula for a model, from its main_input_name, forward signature and configuration.

    ``given`` is the folder's own probe.json, if it has one: name -> {"shape": [...], "values": "wave" or "ramp"}.
    """
    import torch

    if given:
        return {
            name: _values(spec["shape"], spec.get("values", "wave"), spec.get("modulo"))
            for name, spec in given.items()
        }
    config, parameters = model.config, inspect.signature(model.forward).parameters
    name = model.main_input_name if model.main_input_name in parameters else next(iter(parameters))
    channels = _first(config, "num_channels", "input_channels", "in_channels", "in_chans")
    vocabulary = _first(config, "vocab_size")
    if name in ("pixel_values", "images", "image") or (name != "input_ids" and channels and not vocabulary):
        size = _first(config, "image_size") or 64
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return {name: _values([2, channels or 3, height, width], "wave")}
    if name == "input_ids" or vocabulary:
        ids = _values([2, 12], "ramp", vocabulary or 100)
        inputs = {name: ids}
        if "attention_mask" in parameters:
            inputs["attention_mask"] = torch.ones_like(ids)
            inputs["attention_mask"][1, 8:] = 0
        if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
            inputs["decoder_input_ids"] = ids.clone()
        return inputs
    if name == "input_values":
        return {name: _values([2, 4000], "wave")}
    if name == "input_features":
        return {name: _values([2, _first(config, "num_mel_bins", "feature_size") or 80, 3000], "wave")}
    raise ValueError(
        f"no probe is known for {type(model).__name__}.forward({name}); set main_input_name to pixel_values or "
        f'input_ids, or put probe.json beside card.md: {{"{name}": {{"shape": [2, 16], "values": "wave"}}}}'
    )


def run_probe(model, given: dict) -> dict:
    """The model's outputs on its probe, in evaluation mode: name -> tensor."""
    import torch

    inputs = probe_inputs(model, given)
    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    inputs = {k: v.to(floating) if v.is_floating_point() else v for k, v in inputs.items()}
    if "output_hidden_states" in inspect.signature(model.forward).parameters:
        inputs["output_hidden_states"] = True
    modes = {module: module.training for module in model.modules()}  # a frozen batch norm stays frozen
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output = model.eval()(**inputs)
    for module, training in modes.items():
        module.training = training
    return dict(_flat(output, ""))


def _aligned(model) -> bool:
    """Whether all tensors lie where torch would have put them; those that do not are copied there.

    transformers maps weights from the file. A tensor at an odd place in it gives other last bits than the model that
    was saved, as the kernels of a matrix product are chosen by alignment: no fault of the folder's.
    """
    odd = [t for t in (*model.parameters(), *model.buffers()) if t.data_ptr() % 64]
    for tensor in odd:
        tensor.data = tensor.data.clone()
    return not odd


def _values(shape: list, values: str, modulo: int | None = None):
    import torch

    if values == "ramp":
        return torch.arange(math.prod(shape)).reshape(shape) % (modulo or 2**31)
    if len(shape) < 2:
        return torch.sin(torch.arange(math.prod(shape), dtype=torch.float32)).reshape(shape)
    rows, columns = torch.arange(shape[-2], dtype=torch.float32), torch.arange(shape[-1], dtype=torch.float32)
    grid = torch.sin(rows)[:, None] + torch.cos(columns)[None, :]
    # every channel and every picture gets a scale of its own, so that mixing them up shows
    scale = 1 / torch.arange(1, math.prod(shape[:-2]) + 1, dtype=torch.float32)
    return (scale[:, None, None] * grid).reshape(shape)


def _first(config, *names: str):
    return next((v for v in (getattr(config, name, None) for name in names) if v is not None), None)


def _flat(value, name: str):
    import torch

    if isinstance(value, torch.Tensor):
        yield name or "output", value.detach().clone()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _flat(item, f"{name}.{i}".lstrip("."))


def _tensors(files: list) -> dict:
    from safetensors.torch import load_file

    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def _built(cls, config, dtype: str):
    import torch

    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        return cls(config).eval()
    finally:
        torch.set_default_dtype(before)


def _matched(model, tensors: dict) -> dict:
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


def _fill(model, tensors: dict) -> dict:
    """Put the file's tensors into the model; what the file lacks is set by formula."""
    import torch

    pairs, state = _matched(model, tensors), model.state_dict()
    mismatched = {k: f for k, f in pairs.items() if state[k].shape != tensors[f].shape}
    with torch.no_grad():
        for key, source in pairs.items():
            if key not in mismatched:
                state[key].copy_(tensors[source])
    filled = {state[k].data_ptr() for k in pairs if state[k].numel()}
    missing = sorted(k for k in state if k not in pairs and state[k].data_ptr() not in filled)
    _set_by_formula(model, missing)
    unexpected = sorted(set(tensors) - set(pairs.values()))
    return {"missing": missing, "unexpected": unexpected, "mismatched": sorted(mismatched)}


def _set_by_formula(model, names: list) -> list:
    """Give tensors that no file holds values that every process agrees on; a random head has no hash."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name in sorted(names):
            if name in state and state[name].is_floating_point():
                wave = torch.sin(torch.arange(state[name].numel(), dtype=torch.float32) + len(name))
                state[name].copy_((0.02 * wave).reshape(state[name].shape))
    return sorted(names)


def _misfit(name: str, model, tensors: dict, report: dict) -> str:
    state, parts = model.state_dict(), []
    for key in report["mismatched"][:3]:
        source = _matched(model, tensors)[key]
        parts.append(f"{key} is {_shape(tensors[source])} in the file and {_shape(state[key])} in the model")
    parts += [f"{key} {_shape(state[key])} is missing in the file" for key in report["missing"][:3]]
    parts += [f"{key} {_shape(tensors[key])} has no place in the model" for key in report["unexpected"][:3]]
    total = sum(len(report[kind]) for kind in ("mismatched", "missing", "unexpected"))
    more = f" (and {total - len(parts)} more)" if total > len(parts) else ""
    fit = f"the weights do not fit {name} as config.json describes it: {'; '.join(parts)}{more}"
    return f"{fit}; publish the config.json that was saved with them"


def _shape(tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _compare_loading(auto: str, model, info: dict, tensors: dict, exact: bool) -> list:
    """D02 and D05: keys that transformers reports, and every tensor against the file."""
    import torch

    pairs, state, failures = _matched(model, tensors), model.state_dict(), []
    shared = {state[k].data_ptr() for k in pairs if state[k].numel()}
    missing = [k for k in info["missing_keys"] if k not in state or state[k].data_ptr() not in shared]
    if exact and missing:
        failures.append({"check": "D02", "line": f"{auto}: missing keys {', '.join(sorted(missing)[:5])}"})
    if exact and info["unexpected_keys"]:
        failures.append(
            {"check": "D02", "line": f"{auto}: unexpected keys {', '.join(sorted(info['unexpected_keys'])[:5])}"}
        )
    for key, source in sorted(pairs.items()):
        if state[key].shape != tensors[source].shape or not torch.equal(
            state[key], tensors[source].to(state[key].dtype)
        ):
            failures.append(
                {"check": "D05", "line": f"{auto}: a parameter differs from the file after loading: {key}"}
            )
            break
    return failures


def compare_outputs(auto: str, outputs: dict, expected: dict, when: str) -> list:
    import torch

    wanted = {key: value for key, value in expected.items() if key.startswith(f"{auto}/")}
    if set(wanted) != set(outputs):
        odd = sorted(set(wanted) ^ set(outputs))
        return [
            {"check": "D03", "line": f"{auto}: other outputs than the model in memory{when}: {', '.join(odd[:5])}"}
        ]
    for key, value in wanted.items():
        same = value.shape == outputs[key].shape and value.dtype == outputs[key].dtype
        if not same or not torch.equal(outputs[key], value):
            largest = (outputs[key].double() - value.double()).abs().max().item() if same else math.inf
            line = f"{auto}: {key.split('/', 1)[1]} differs from the model in memory{when}: max |d| = {largest:.3g}"
            return [{"check": "D03", "line": line}]
    return []


def _save_and_reload(auto: str, model, outputs: dict, request: dict) -> list:
    """D06: a user who saves what was loaded gets a folder that is complete and gives the same numbers."""
    import torch
    import transformers

    directory = request["resave"]
    model.save_pretrained(directory)
    lacking = sorted(set(request["code"]) - set(os.listdir(directory)) - {"__init__.py"})
    lacking = [name for name in lacking if name in request["model_code"]]
    if lacking:
        return [{"check": "D06", "line": f"{auto}: save → reload: the saved folder lacks {', '.join(lacking)}"}]
    again = getattr(transformers, auto).from_pretrained(
        directory, trust_remote_code=True, torch_dtype=getattr(torch, request["dtype"])
    )
    _aligned(again)  # save_pretrained puts tensors where it likes
    repeated = {f"{auto}/{key}": value for key, value in run_probe(again, request["probe"]).items()}
    return [{**f, "check": "D06"} for f in compare_outputs(auto, repeated, outputs, " after save → reload")]


def _hash(outputs: dict, auto: str) -> str:
    import torch

    digest = hashlib.sha256()
    for key in sorted(k for k in outputs if k.startswith(f"{auto}/")):
        value = outputs[key].contiguous()
        digest.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def _failure(what: str, error: BaseException) -> dict:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    if len(lines) > 1 and len(text) < 40:
        text = f"{lines[0]} … {text}"
    return {"check": "D01", "line": f"{what}: {type(error).__name__}: {text[:400]}"}


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder: its neighbours' names must not shadow anybody's imports
    sys.dont_write_bytecode = True
    main(sys.argv[1])
