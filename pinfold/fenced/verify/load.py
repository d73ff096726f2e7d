"""The two jobs of verification: numbers without transformers' loading, and a load that has to give the same.

How it works:
- "reference": build every registered model straight from the folder's source, put the file's tensors in with
  load_state_dict's means, and keep outputs, loss, gradients and buffers. transformers' loading has no part in them.
- "load": load through every Auto class and by class, and compare each tensor with the file, each buffer with a fresh
  constructor's, each output with the reference; save and load again; load in half precision; load a second copy.
- A tokenizer's ids have to be those of the checkpoint's own files; a tokenizer alone has no other check.
- Each check has its own result: "ok", the line of its first failure, or "skipped: why".

Runs inside the fence (inside.py), in any transformers version: imports nothing of pinfold but its neighbours.
"""

import hashlib
import importlib
import json
import math
import os
import sys
import types

from ..cost import measured
from ..values import describe, plain_config, sha256
from . import attention, buffers, example, probes, tokens, weights

CHECKS = ("D01", "D02", "D03", "D04", "D05", "D06", "D07", "loss", "bf16", "fp16")
HALVES = {"bf16": "bfloat16", "fp16": "float16"}
FITS = {"bf16": 1e30, "fp16": 1e3}  # outputs up to this size leave the layers below room enough


class Found:
    """What was found out so far: failures in order, and a result for each check."""

    def __init__(self, version: str):
        self.version, self.failures, self.notes = version, [], []
        self.ran, self.skipped = set(), {}

    def result(self, check: str, lines: list, part: str | None = None) -> None:
        """Count a check as done; ``lines`` are its failures. ``part`` is the result's name where not the check's."""
        self.ran.add(part or check)
        self.failures += [{"check": check, "part": part or check, "line": line} for line in lines]

    def skip(self, part: str, why: str) -> None:
        self.skipped.setdefault(part, why)

    def leave_out(self, part: str, why: str) -> None:
        """Take back that a check was done, unless it failed."""
        self.ran.discard(part)
        self.skip(part, why)

    def broken(self, what: str, error: str) -> None:
        """D01: an exception where none should be."""
        self.result("D01", [f"{what}: loading in transformers {self.version} failed: {error}"])

    def checks(self) -> dict[str, str]:
        """Check -> "ok", the line of its first failure, or why it was left out."""
        failed: dict = {}
        for failure in self.failures:
            failed.setdefault(failure["part"], failure["line"])
        done = {part: "ok" for part in self.ran} | failed
        skipped = {part: f"skipped: {self.skipped.get(part, 'nothing to check')}" for part in CHECKS}
        return skipped | done

    def answer(self, **more) -> dict:
        self.failures.sort(key=lambda failure: not failure["check"].startswith("D"))
        return {
            **more,
            "failures": self.failures,
            "checks": self.checks(),
            "notes": self.notes,
            "transformers": self.version,
        }


def answer(request: dict) -> dict:
    """Do the job that the request names."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    found = Found(transformers.__version__)
    try:
        return {"reference": reference, "load": load}[request["job"]](request, found)
    except Exception as error:
        found.broken(request["job"], describe(error))
        return found.answer(hashes={})


def reference(request: dict, found: Found) -> dict:
    """What every registered model class computes, its tensors set without transformers' loading."""
    import torch
    from safetensors.torch import save_file

    package = types.ModuleType("_folder")
    package.__path__ = [request["folder"]]
    sys.modules["_folder"] = package
    given = _reference_tokens(request, found) if request.get("tokenizer") else {}
    if not request["models"] or found.failures:
        return found.answer(**given)
    tensors = weights.read(request["weights"])
    main_class, parameters, model = request["architecture"], 0, None
    kept: dict = {key: {} for key in ("hashes", "probes", "aliases", "losses", "drawn", "missing", "attention")}
    outputs, rest, sizes = {}, {}, {}
    for auto, place in request["models"].items():
        module, name = place.split(".")
        model = None  # before the next one takes its memory
        try:
            cls = getattr(importlib.import_module(f"_folder.{module}"), name)
            if cls.config_class is None:
                raise TypeError(f"{name}.config_class is missing")
            config = cls.config_class.from_pretrained(request["checkpoint"])
            model = buffers.built(cls, config, request["dtype"])
            pairs = weights.matched(model, tensors)
            unheld = {n: t.detach().clone() for n, t in buffers.outside(model, set(pairs)).items()}
            rest |= {f"{auto}/{n}": t for n, t in unheld.items()}
            report = weights.fill(model, tensors)
            if name != main_class and report["mismatched"]:
                # another head with a layer of the same name: transformers refuses to load this class from this file
                why = "; ".join(weights.mismatches(model, tensors, report["mismatched"]))
                found.notes.append(f"{auto}: {name} is not for this checkpoint and not verified: {why}")
                continue
            kept["drawn"][auto] = _drawn(cls, config, request, set(pairs), unheld)
            if name == main_class and (report["missing"] or report["unexpected"] or report["mismatched"]):
                found.result("D02", [weights.misfit(name, model, tensors, report)])
                return found.answer(hashes={})
            parameters = sum(p.numel() for p in model.parameters()) if name == main_class else parameters
            kept["aliases"][auto] = report["aliases"]
            kept["missing"][auto] = weights.sizes(model, report["missing"])
            made, refused = probes.run_probes(model, request["probe"])
            kept["losses"][auto] = probes.losses(model, request["probe"], made, request["many"])
            kept["attention"][auto] = attention.read(model.config)
            if name == main_class:
                sizes = measured.measured(cls, config, request, model if parameters <= request["many"] else None)
            if name == main_class and request["in_memory"] not in (None, kept["attention"][auto]):
                model = None
                outputs |= _as_in_memory(cls, request, tensors, made)
        except Exception as error:
            line = f"{auto}: {name} built from its source in transformers {found.version} failed: {describe(error)}"
            found.result("D01", [line])
            return found.answer(hashes={})
        kept["probes"][auto] = list(dict.fromkeys(key.split("/")[0] for key in made))
        found.notes += [f"{auto}: probe {probe!r} is refused: {why}" for probe, why in refused.items()]
        found.notes += [f"{auto}: buffer {n} is drawn at random, not compared" for n in kept["drawn"][auto]]
        outputs |= {f"{auto}/{key}": value for key, value in made.items()}
        kept["hashes"][auto] = _hash(outputs, auto)
    save_file({k: v.contiguous() for k, v in outputs.items()}, request["outputs"])
    torch.save(rest, request["buffers"])
    kept["hashes"] |= given.pop("hashes", {})
    return found.answer(**kept, **given, parameters=parameters, measured=sizes)


def _as_in_memory(cls, request: dict, tensors: dict, made: dict) -> dict:
    """Outputs with the attention that the model in memory runs with, where a load by default runs with another."""
    config = cls.config_class.from_pretrained(request["checkpoint"])
    attention.write(config, request["in_memory"])
    model = buffers.built(cls, config, request["dtype"])
    weights.fill(model, tensors)
    outputs, _ = probes.run_probes(model, request["probe"], list(dict.fromkeys(key.split("/")[0] for key in made)))
    return {f"in memory/{key}": value for key, value in outputs.items()}


def _reference_tokens(request: dict, found: Found) -> dict:
    """The ids that the checkpoint's own tokenizer files give: by the folder's class, or else by transformers' own."""
    import transformers

    place, directory = request["tokenizer"]["place"], request["tokenizer"]["directory"]
    try:
        cls = transformers.AutoTokenizer
        if place:
            module, name = place.split(".")
            cls = getattr(importlib.import_module(f"_folder.{module}"), name)
        made = tokens.samples(cls.from_pretrained(directory))
    except Exception as error:
        found.result("D01", [f"AutoTokenizer: the checkpoint's tokenizer does not load: {describe(error)}"])
        return {"hashes": {}}
    return {"hashes": {"AutoTokenizer": tokens.sha256(made)}, "tokens": made}


def _drawn(cls, config, request: dict, held: set, unheld: dict) -> list:
    """Buffers that another seed changes: no two loads can agree on them."""
    if not any(t.is_floating_point() for t in unheld.values()):
        return []
    other = buffers.fresh(cls, config, request["dtype"], held, seed=1)
    return sorted(n for n, t in unheld.items() if n in other and not probes.same(t, other[n]))


def _where(request: dict) -> dict:
    """What every from_pretrained gets; a tokenizer alone has no code to trust."""
    revisions = {key: request[key] for key in ("revision", "code_revision") if request.get(key)}
    trusted = {"trust_remote_code": True} if request["models"] else {}
    return {"pretrained_model_name_or_path": request["target"], **trusted, **revisions}


class Load:
    """One target, and what it is compared with."""

    def __init__(self, request: dict, found: Found):
        import torch
        from safetensors.torch import load_file

        self.request, self.found = request, found
        self.dtype = getattr(torch, request["dtype"])
        self.where = _where(request)
        self.tensors, self.expected = weights.read(request["weights"]), load_file(request["outputs"])
        self.rest = torch.load(request["buffers"], weights_only=True)
        self.is_large = sum(t.numel() for t in self.tensors.values()) > request["many"]
        self.hashes, self.formula, self.unexpected = {}, {}, {}
        self.unaligned, self.outputs = [], {}

    def unheld(self, auto: str) -> dict:
        """The reference's tensors that no file holds."""
        return {n.split("/", 1)[1]: t for n, t in self.rest.items() if n.startswith(f"{auto}/")}

    def dirtied(self, auto: str, turn: int):
        """Makes sure that memory which nobody writes to is seen."""
        sizes = [t.numel() * t.element_size() for t in self.unheld(auto).values()]
        return buffers.dirtied([*sizes, *self.request["missing"][auto].values()], turn)

    def open(self, auto: str, turn: int = 0, **more):
        """Load through an Auto class, from memory that is dirty."""
        import transformers

        given = {"torch_dtype": self.dtype, **self.where, **more}
        with self.dirtied(auto, turn):
            return getattr(transformers, auto).from_pretrained(**given)

    def buffer_lines(self, auto: str, model, dtype: str) -> list:
        """D04, against the reference's constructor, and this version's own where they seem to differ."""
        held, drawn = set(weights.matched(model, self.tensors)), self.request["drawn"][auto]
        unheld = buffers.outside(model, held)
        if dtype == self.request["dtype"]:
            lines = buffers.compare(unheld, self.unheld(auto), drawn)
            if not lines or self.found.version == self.request["reference_version"]:
                return lines
        elif not unheld:
            return []
        return buffers.compare(unheld, buffers.fresh(type(model), model.config, dtype, held), drawn)


def load(request: dict, found: Found) -> dict:
    """Load through every Auto class and compare with the file and with the reference."""
    from safetensors.torch import save_file

    if request["models"]:
        request["models"] = {auto: place for auto, place in request["models"].items() if auto in request["probes"]}
    if not request["models"]:
        return found.answer(hashes=_load_tokens(request, found), formula={}, unexpected={}, unaligned=[])
    it = Load(request, found)
    by_class, problems = _load_by_class(it), {}
    for auto, place in request["models"].items():
        try:
            _load_auto(it, auto, place.split(".")[-1])
        except Exception as error:
            problems[auto] = describe(error)
            found.broken(auto, problems[auto])
    for auto, (name, error) in by_class.items():
        if problems.get(auto) != error:  # else it was said
            found.broken(f"{name}.from_pretrained", error)
    main = next(auto for auto, place in request["models"].items() if place.endswith(f".{request['architecture']}"))
    for part, dtype in HALVES.items():
        _load_in_half(it, main, part, dtype) if main not in problems else found.skip(part, "nothing was loaded")
    _load_second_copy(it, main) if main not in problems else found.skip("D07", "nothing was loaded")
    _load_others(it)
    it.hashes |= _load_tokens(request, found)
    if request.get("keep"):
        save_file({k: v.contiguous() for k, v in it.outputs.items()}, request["keep"])
    shown = example.run(request["examples"]) if request.get("examples") and not found.failures else {}
    return found.answer(
        hashes=it.hashes, formula=it.formula, unexpected=it.unexpected, unaligned=it.unaligned, example=shown
    )


def _load_auto(it: Load, auto: str, name: str) -> None:
    """Everything about one Auto class."""
    found, request = it.found, it.request
    model, info = it.open(auto, output_loading_info=True)
    if type(model).__name__ != name:
        raise TypeError(f"{auto} gave {type(model).__name__}, the folder registers {name}")
    found.result("D01", [])
    missing, unexpected = weights.unmatched(model, info, it.tensors)
    exact = name == request["architecture"]
    found.result(
        "D02", [f"{auto}: {line}" for line in weights.key_lines(model, missing, unexpected, it.tensors, exact)]
    )
    lines = [*it.buffer_lines(auto, model, request["dtype"]), *buffers.unwritten(model, missing)]
    found.result("D04", [f"{auto}: {line}" for line in lines])
    found.result(
        "D05", [f"{auto}: {line}" for line in weights.tensor_lines(model, it.tensors, request["aliases"][auto])]
    )
    it.formula[auto], it.unexpected[auto] = weights.set_by_formula(model, missing), unexpected
    outputs = _run(it, auto, model)
    if compare_outputs(auto, outputs, it.expected) and not weights.align(model):
        it.unaligned.append(auto)
        outputs = _run(it, auto, model)
    lines = compare_outputs(auto, outputs, it.expected, (request["reference_version"], found.version))
    found.result("D03", lines)
    it.hashes[auto] = _hash(outputs, auto)
    it.outputs |= outputs
    _compare_losses(it, auto, model, outputs, exact)
    if not exact:
        return
    if not request.get("resave"):
        return found.skip("D06", "a repository on the Hub is what was staged")
    try:
        model.save_pretrained(request["resave"])
        before = plain_config(model.config, private=False)
        del model  # the next one takes as much memory
        found.result("D06", [f"{auto}: save → reload: {line}" for line in _reload(it, auto, name, before, outputs)])
    except Exception as error:
        found.result("D06", [f"{auto}: save → reload failed: {describe(error)}"])


def _run(it: Load, auto: str, model) -> dict:
    outputs, _ = probes.run_probes(model, it.request["probe"], it.request["probes"][auto])
    return {f"{auto}/{key}": value for key, value in outputs.items()}


def _compare_losses(it: Load, auto: str, model, outputs: dict, exact: bool) -> None:
    expected, given = it.request["losses"][auto], it.request["probe"]
    if "skipped" in expected:
        it.found.skip("loss", expected["skipped"])
        it.found.notes.append(f"{auto}: loss and gradients are not compared: {expected['skipped']}")
        return
    weights.align(model)
    own = {key.split("/", 1)[1]: value for key, value in outputs.items()}
    line = probes.compare_losses(probes.losses(model, given, own, it.request["many"], again=True), expected)
    it.found.result("D03", [f"{auto}: {line}"] if line else [], "loss")
    if exact:
        try:
            line = probes.accumulates(model, given, own)
        except Exception as error:
            line = f"{type(model).__name__}.forward with num_items_in_batch, as Trainer calls it: {describe(error)}"
        it.found.result("P18", [line] if line else [], "accumulation")


def _load_by_class(it: Load) -> dict:
    """D04 and D05 for Class.from_pretrained with no argument, as its author calls it; auto -> (class, exception).

    It comes first: an Auto class marks the classes that it loads, and transformers treats those otherwise. Without
    torch_dtype the versions choose other types, and none may lose digits of what the file holds.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    problems: dict = {}
    revisions = {key: it.where[key] for key in ("revision", "code_revision") if key in it.where}
    for auto, place in it.request["models"].items():
        name, target = place.split(".")[-1], it.request["target"]
        if it.is_large and name != it.request["architecture"]:
            continue
        model = None
        try:
            cls = get_class_from_dynamic_module(it.request["places"][auto], target, **revisions)
            with it.dirtied(auto, 1):
                model = cls.from_pretrained(target, **{k: v for k, v in revisions.items() if k == "revision"})
            lines = weights.tensor_lines(model, it.tensors, it.request["aliases"][auto], lossless=True)
            it.found.result("D05", [f"{name}.from_pretrained: {line}" for line in lines])
            if model.dtype == it.dtype:
                lines = it.buffer_lines(auto, model, it.request["dtype"])
                it.found.result("D04", [f"{name}.from_pretrained: {line}" for line in lines])
        except Exception as error:
            problems[auto] = (name, describe(error))  # an exception would keep the model
    return problems


def _load_in_half(it: Load, auto: str, part: str, dtype: str) -> None:
    """The file's tensors cast, the constructor's buffers, and outputs that are numbers."""
    import torch

    found = it.found
    if it.is_large:
        return found.skip(part, f"more than {it.request['many']:,} parameters; a further load takes long")
    target = getattr(torch, dtype)
    try:
        model = it.open(auto, torch_dtype=target)
    except Exception as error:
        return found.result("D01", [f"{auto} in {dtype}: {describe(error)}"], part)
    kept = [*(getattr(model, n, None) or () for n in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"))]
    kept = tuple(name for names in kept for name in names)
    odd = [
        n for n, p in model.named_parameters() if p.is_floating_point() and p.dtype != target and not _named(n, kept)
    ]
    lines = [f"{auto} in {dtype}: {odd[0]} is {model.get_parameter(odd[0]).dtype}"] if odd else []
    lines += [f"{auto} in {dtype}: {x}" for x in weights.tensor_lines(model, it.tensors, it.request["aliases"][auto])]
    found.result("D05", lines, part)
    weights.set_by_formula(model, it.formula.get(auto, []))
    try:
        lines = it.buffer_lines(auto, model, dtype)
        found.result("D04", [f"{auto} in {dtype}: {line}" for line in lines], part)
        outputs = _run(it, auto, model)
    except (RuntimeError, NotImplementedError, TypeError) as error:  # no kernel here, or no such model; it loaded
        return found.leave_out(part, f"its tensors are right, but it does not run in {dtype} here: {describe(error)}")
    for key, value in outputs.items():
        wanted = it.expected.get(key)
        if wanted is None or not value.is_floating_point() or not torch.isfinite(wanted).all():
            continue
        if wanted.numel() and wanted.abs().max() < FITS[part] and not torch.isfinite(value).all():
            line = f"{auto} in {dtype}: output {key.split('/', 1)[1]} is not finite, in {it.request['dtype']} it is"
            return found.result("D03", [line], part)
    return None


def _named(name: str, modules: tuple) -> bool:
    return any(module in name.split(".") or module in name for module in modules)


def _load_second_copy(it: Load, auto: str) -> None:
    """D07: another copy of the code, in a folder of the same name, must run its own code."""
    import torch
    import transformers

    found, second = it.found, it.request.get("second")
    if not second:
        return found.skip("D07", "the modules of a repository on the Hub are named after its commit")
    try:
        if it.is_large:
            config = transformers.AutoConfig.from_pretrained(second["target"], trust_remote_code=True)
            with torch.device("meta"):
                model = getattr(transformers, auto).from_config(config, trust_remote_code=True)
        else:
            model = it.open(auto, pretrained_model_name_or_path=second["target"])
    except Exception as error:
        return found.result("D07", [f"{auto}: a second copy in a folder of the same name: {describe(error)}"])
    modules = [sys.modules.get(cls.__module__) for cls in type(model).__mro__]
    right = any(hasattr(module, second["mark"]) for module in modules)
    line = f"{auto}: two copies with the same folder name in one process gave the same class"
    return found.result("D07", [] if right else [line])


def _load_others(it: Load) -> None:
    """Configuration, tokenizer, processor."""
    import transformers

    for auto, place in it.request["others"].items():
        name = place.split(".")[-1]
        try:
            loaded = getattr(transformers, auto).from_pretrained(**it.where)
            if type(loaded).__name__ != name:
                raise TypeError(f"{auto} gave {type(loaded).__name__}, the folder registers {name}")
        except Exception as error:
            it.found.broken(auto, describe(error))


def _load_tokens(request: dict, found: Found) -> dict:
    """The tokenizer's ids against the reference's; their hash."""
    import transformers

    if not request.get("tokenizer"):
        return {}
    try:
        made = tokens.samples(transformers.AutoTokenizer.from_pretrained(**_where(request)))
    except Exception as error:
        found.broken("AutoTokenizer", describe(error))
        return {}
    found.result("D01", [])
    versions = (request["reference_version"], found.version)
    found.result("D03", tokens.compare(made, request["tokens"], versions), "ids")
    return {"AutoTokenizer": tokens.sha256(made)}


def compare_outputs(
    auto: str, outputs: dict, expected: dict, versions: tuple = ("", ""), before: str = "in memory"
) -> list:
    """D03: the first output that is not the expected one. ``versions`` made the expected and the found ones."""
    wanted = {key: value for key, value in expected.items() if key.startswith(f"{auto}/")}
    same_version = versions[0] == versions[1]
    if set(wanted) != set(outputs):
        odd = ", ".join(sorted(set(wanted) ^ set(outputs))[:5])
        return [f"{auto}: other outputs than the model {before if same_version else f'in {versions[0]}'}: {odd}"]
    for key, value in wanted.items():
        if probes.same(outputs[key], value):
            continue
        alike = value.shape == outputs[key].shape and value.dtype == outputs[key].dtype
        largest = (outputs[key].double() - value.double()).abs().max().item() if alike and value.numel() else math.inf
        probe, name = key.split("/", 2)[1:]
        what = f"{auto}: {name} differs from the model {before}"
        if not same_version:
            what = f"{auto}: {name}: output differs between {versions[0]} and {versions[1]}"
        return [f"{what}: max |d| = {largest:.3g} (probe {probe!r})"]
    return []


def _reload(it: Load, auto: str, name: str, before: dict, outputs: dict) -> list:
    """D06: a user who saves what was loaded gets a folder that is complete and gives the same numbers."""
    directory, request = it.request["resave"], it.request
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        places = json.load(file).get("auto_map") or {}
    elsewhere = any("--" in str(place) for place in places.values())  # then the code stayed where it was
    lacking = sorted(set(request["model_code"]) - set(os.listdir(directory)) - {"__init__.py"})
    if lacking and not elsewhere:
        return [f"the saved folder lacks {', '.join(lacking)}"]
    model = it.open(auto, 1, pretrained_model_name_or_path=directory)
    weights.align(model)  # save_pretrained puts tensors where it likes
    if type(model).__name__ != name:
        return [f"{type(model).__name__} came back instead of {name}"]
    after = plain_config(model.config, private=False)
    if odd := sorted(key for key in {*before, *after} if before.get(key) != after.get(key)):
        return [f"config.{odd[0]} differs: {str(before.get(odd[0]))[:60]} became {str(after.get(odd[0]))[:60]}"]
    lines = it.buffer_lines(auto, model, request["dtype"])
    wanted = [
        f"output differs: {x}" for x in compare_outputs(auto, _run(it, auto, model), outputs, before="that was saved")
    ]
    return [*wanted, *lines]


def _hash(outputs: dict, auto: str) -> str:
    digest = hashlib.sha256()
    for key in sorted(k for k in outputs if k.startswith(f"{auto}/")):
        value = outputs[key]
        digest.update(f"{key} {value.dtype} {list(value.shape)} {sha256(value)}".encode())
    return digest.hexdigest()
