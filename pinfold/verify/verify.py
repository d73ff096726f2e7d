"""Verify what will be, or was, published: the same tensors and the same numbers, in a fresh process.

How it works:
- ``reference`` computes the expected outputs from the folder's own source and the checkpoint's tensors.
- ``staged_load`` and ``published_load`` load through the Auto classes from an empty HF_HOME, and what they hand over
  is compared with the reference bit by bit (judge.py); each of the checks D01 to D08 has its own result in the answer.
- A tokenizer's ids are compared as well, with those of the checkpoint's own files; a tokenizer alone has only these.
- The folder's code is executed in the sandbox alone (fence/process.py; the half inside is fenced/verify), and does not
  see the numbers that it is compared with.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, plain_line, untrusted
from pinfold.common.files import link_or_copy, remove_tree
from pinfold.fence import process as fence
from pinfold.fence.handed import Raw, parse_load
from pinfold.fenced.handover import plain
from pinfold.fenced.probe import declared, probes
from pinfold.fenced.probe.key_order import sorted_tables
from pinfold.fenced.verify import attention, tokens
from pinfold.fenced.verify.reference import SkippedHead
from pinfold.folder.filenames import GENERATE
from pinfold.folder.model_folder import DIGEST_LINE, code_digest
from pinfold.staging.checkpoint import find_weights
from pinfold.staging.stage import Staged
from pinfold.verify import inputs, raw
from pinfold.verify.claims import check_complete, count, notes_of, release_of, same_release, same_words
from pinfold.verify.judge import Expected, judge
from pinfold.verify.results import Reference, Unverified

MANY = 300_000_000  # parameters; what takes a further copy of the weights is left out above, and said
MARK = "SECOND_COPY"  # what the second of two copies has and the first does not


def reference(
    staged: Staged,
    checkpoint: Path,
    work: Path,
    overlay: Path | None = None,
    in_memory=None,
    origin: dict | None = None,
    probe: dict | None = None,
    derive: bool = False,
) -> Reference:
    """Outputs of every model class of the folder with the staged weights, computed without transformers' loading.

    Args:
        overlay: a directory with another transformers, where the newest cannot build the model.
        in_memory: the model that the checkpoint was saved from; with another attention than a load would choose,
            outputs are computed with that as well.
        origin: the class in the package that the folder was written from: "path", "module" and "cls", and "prefix"
            where the folder calls its base model otherwise. It is imported in the sandbox, and has to give the same
            outputs.
        probe: what goes in, in the words of probe.json; by default what that file says.
        derive: also look for inputs through the folder's own processor, where no picture goes in otherwise.

    Where forward refuses the usual inputs, and takes what the folder's own processor makes, it runs on these.

    Raises:
        Unverified: the weights do not fit the configuration, or the folder's code fails.
    """
    compute = functools.partial(_computed, staged, checkpoint, work, overlay, in_memory, origin)
    try:
        return compute(probe, derive)
    except Unverified as error:
        if probe or derive or not declared.needs_files(error.ready):
            raise
        ready = error.ready
    return compute(ready, derive)


def _computed(
    staged: Staged,
    checkpoint: Path,
    work: Path,
    overlay: Path | None,
    in_memory: Any,
    origin: dict | None,
    probe: dict | None,
    derive: bool,
) -> Reference:
    """The reference; arguments and errors as ``reference`` has them."""
    if staged.tokenizer_only:
        return _tokenizer_reference(staged, checkpoint, work, overlay)
    models = check_possible(staged)
    directory = Path(tempfile.mkdtemp(prefix="reference-", dir=work))
    request = _reference_request(staged, checkpoint, models, directory, in_memory)
    request |= {"probe": probe} if probe else {}
    folder = staged.folder.path.resolve()
    job = {**request, "module": "verify.reference", "folder": str(folder), "checkpoint": str(staged.directory)}
    job["derive"] = derive
    visible = [folder, staged.directory, checkpoint.resolve(), directory, *map(Path, request["weights"])]
    if origin:
        top = Path(origin["path"]).resolve() / origin["module"].split(".")[0]
        visible.append(top if top.exists() else top.with_suffix(".py"))
        job["origin"] = {**origin, "path": str(top.parent)}
    with fence.sandboxed(job, work, visible=visible, overlay=overlay, **_limits(staged)) as outcome:
        alone = checkpoint.resolve() == folder
        _raise(outcome.answer, str(staged.folder.path) if alone else f"{staged.folder.path} with {checkpoint}")
        with untrusted(f"{staged.folder.path}: the verification result"):
            expected = _reference(outcome, request, directory, checkpoint, release_of(overlay), derive)
            expected.chosen = json.dumps(probe) if probe else ""
            if origin:
                expected.origin = _same_as_origin(outcome, origin, expected, staged)
            return expected


def check_possible(staged: Staged) -> dict[str, str]:
    """The model classes that can be verified: Auto class -> "module.Class"; {} of a tokenizer alone.

    Raises:
        UserError: there are none, or probe.json cannot be read: no release changes that.
    """
    if staged.tokenizer_only:
        return {}
    own_probe(staged.folder.path)
    models = {auto: place for auto, place in staged.auto_map.items() if auto.startswith("AutoModel")}
    if not models:
        raise UserError(
            f"{staged.folder.path}: no model class is registered, so there is nothing to verify; end its file with "
            'MyModel.register_for_auto_class("AutoModel")'
        )
    return models


def _reference(
    outcome: fence.Outcome, request: dict, directory: Path, checkpoint: Path, release: str, derive: bool = False
) -> Reference:
    """The reference in an outcome; tensors of its inputs are kept in ``directory``, from which every load reads them.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the answer does not have the form of one.
    """
    answer, handed = outcome.answer, outcome.handed
    computed, unheld = (handed.load(name).tensors for name in ("outputs", "buffers"))
    inputs_file = directory / declared.INPUTS
    if declared.INPUTS in handed.files:
        inputs_file.write_bytes(handed.read(declared.INPUTS))
    registered = request["models"]
    request = {
        **request,
        **{key: answer[key] for key in ("probes", "aliases", "drawn", "missing", "attention", "padded")},
        "losses": {auto: {k: v for k, v in each.items() if k == "skipped"} for auto, each in answer["losses"].items()},
        "unheld": {auto: _sizes(raw.without(f"{auto}/", unheld)) for auto in answer["probes"]},
        "converted": bool(answer.get("converted")),
        "models": {auto: place for auto, place in request["models"].items() if auto in answer["probes"]},
        "probe": same_words(answer["probe"], request, inputs_file),
        "reference_version": same_release(answer, release),
    }
    measured, heads = answer.get("measured"), answer["skipped_heads"]
    skipped = [SkippedHead(*(plain_line(head[key]) for key in ("auto", "name", "why"))) for head in heads]
    check_complete(answer, request, registered, {head.auto for head in skipped}, computed)
    tokenizer = answer.get("tokens") if request.get("tokenizer") else None
    if request.get("tokenizer") and tokenizer is None and not derive:
        raise TypeError("the tokenizer's ids are not in it")
    return Reference(
        outputs=computed,
        hashes={auto: raw.sha256(computed, auto) for auto in request["models"]}
        | ({"AutoTokenizer": tokens.sha256(tokenizer)} if tokenizer is not None else {}),
        parameters=count(answer["parameters"]),
        checkpoint=checkpoint.resolve(),
        request=request,
        buffers=unheld,
        losses=answer["losses"],
        tokens=tokenizer,
        custom_tokens=answer.get("custom_tokens"),
        notes=notes_of(answer),
        skipped=skipped,
        measured=measured if isinstance(measured, dict) else {},
        not_run=[plain_line(name, 100) for name in answer.get("not_run") or ()],
        ready=_offered(answer),
    )


def _offered(answer: dict) -> dict:
    """The probe that a run offers in place of the usual ones, in words that probe.json may have."""
    if not answer.get("ready"):
        return {}
    with untrusted("the probe that was offered"):
        return declared.checked(answer["ready"])


def _sizes(tensors: Mapping[str, Raw]) -> dict[str, list]:
    """Name -> bytes and sha256."""
    return {name: [len(each.data), hashlib.sha256(each.data).hexdigest()] for name, each in tensors.items()}


def _same_as_origin(outcome: fence.Outcome, origin: dict, expected: Reference, staged: Staged) -> str:
    """What the user reads of the package that the folder was written from.

    Raises:
        Unverified: it computes something else.
    """
    name = f"{origin['module']}.{origin['cls']}"
    if why := outcome.answer.get("origin"):
        return f"not compared with {name}, which does not run in the sandbox: {plain_line(why)}"
    load = outcome.handed.load("origin")
    auto = str(load.facts)
    lines = raw.compare_outputs(auto, expected.outputs, load.tensors)
    failures = [{"check": "D03", "line": f"the flat folder and {name} differ: {line}"} for line in lines]
    _raise({"failures": failures}, f"{staged.folder.path}")
    return f"the outputs equal those of {name}, bit for bit"


def _reference_request(
    staged: Staged, checkpoint: Path, models: dict[str, str], directory: Path, in_memory: object
) -> dict:
    """What the reference is computed from, and every load compared by; the sandbox writes to ``directory``."""
    config = json.loads((staged.directory / "config.json").read_text(encoding="utf-8"))
    entries = config.get("auto_map") if isinstance(config.get("auto_map"), dict) else {}
    runs_with = attention.implementations(in_memory.config) if in_memory is not None else None
    return {
        "models": models,
        "in_memory": runs_with if runs_with and attention.on_cpu(runs_with) else None,
        "places": {
            auto: entries[auto] if isinstance(entries.get(auto), str) else staged.qualified_entry(place)
            for auto, place in models.items()
        },
        "others": inputs.other_classes(staged),
        "pipelines": {} if staged.code_from else staged.folder.pipelines,
        "custom_generate": (staged.directory / GENERATE).is_file(),
        "architecture": staged.architecture,
        "dtype": inputs.declared_dtype(config) or inputs.widest_dtype(staged),
        "threads": max(1, (os.cpu_count() or 2) // 2),
        "weights": [str(path.resolve()) for path in find_weights(checkpoint)],
        "probe": own_probe(staged.folder.path),
        "code": staged.code,
        "many": MANY,
        "tokenizer": inputs.tokenizer_files(staged, checkpoint, directory),
        "pixels": inputs.picture_size(staged.directory),
        "model_code": [m.file for m in staged.folder.closure([place.split(".")[0] for place in models.values()])],
    }


def _tokenizer_reference(staged: Staged, checkpoint: Path, work: Path, overlay: Path | None) -> Reference:
    """The ids that a tokenizer alone gives."""
    directory = Path(tempfile.mkdtemp(prefix="reference-", dir=work))
    request = {"models": {}, "threads": 1, "tokenizer": inputs.tokenizer_files(staged, checkpoint, directory)}
    job = {**request, "module": "verify.reference", "folder": str(staged.directory)}
    visible = [staged.directory, checkpoint.resolve(), directory]
    answer = fence.run_sandboxed(job, work, visible=visible, overlay=overlay, **_limits(staged))
    _raise(answer, f"{checkpoint}")
    with untrusted(f"{checkpoint}: the verification result"):
        request |= {"reference_version": same_release(answer, release_of(overlay))}
        return Reference(
            outputs={},
            hashes={"AutoTokenizer": tokens.sha256(answer["tokens"])},
            parameters=0,
            checkpoint=checkpoint.resolve(),
            request=request,
            tokens=answer["tokens"],
            notes=[plain_line(note) for note in answer["notes"]],
            vocabulary=count(answer["tokens"]["sizes"].get("tokens", 0)),
        )


def compare_in_memory(model, auto: str, expected: Reference) -> str | None:
    """Compare a model in this process with the reference, bit for bit; it is left as it was.

    Returns:
        What the user has to know of the comparison, or None.

    Raises:
        Unverified: its outputs differ from those of the folder's source with the same tensors.
    """
    import copy

    import torch
    from safetensors.torch import save

    reference_outputs = expected.outputs
    if own := raw.without("in memory/", reference_outputs):
        reference_outputs = {f"{auto}/{key}": value for key, value in own.items()}  # with its own attention

    def failures(compared) -> list[dict]:
        outputs, _ = probes.run_probes(compared, expected.request["probe"], expected.request["probes"][auto])
        tensors = parse_load(save({f"{auto}/{key}": plain(value) for key, value in outputs.items()})).tensors
        return [{"check": "D03", "line": line} for line in raw.compare_outputs(auto, tensors, reference_outputs)]

    runs_with = attention.implementations(model.config)
    as_it_is = attention.on_cpu(runs_with) and all(p.device.type == "cpu" for p in model.parameters())
    threads = torch.get_num_threads()
    torch.set_num_threads(expected.request["threads"])
    try:
        differences = failures(model) if as_it_is else None
        # a model that was itself loaded may lie unaligned in memory; its copy does not
        if differences is None or differences:
            copied = copy.deepcopy(model).cpu()
            if not attention.on_cpu(runs_with):
                with untrusted("how the folder's source computes attention"):
                    attention.set_implementations(copied.config, expected.request["attention"][auto])
            differences = failures(copied)
        small = differences and sum(p.numel() for p in model.parameters()) <= MANY
        tables = sorted_tables(copied, lambda other: not failures(other)) if small else ""
    finally:
        torch.set_num_threads(threads)
    why = f", as it goes by the order of the keys of {tables}, which config.json has sorted" if tables else ""
    _raise({"failures": differences}, f"the folder's source computes something else than this model{why}")
    if attention.on_cpu(runs_with):
        return None
    used = attention.spoken(expected.request["attention"][auto])
    return f"compared with {used}, as {attention.spoken(runs_with)} does not run on every machine"


def staged_load(
    staged: Staged,
    expected: Reference,
    work: Path,
    overlay: Path | None = None,
    hub_home: Path | None = None,
    code_revision: str | None = None,
    threads: int | None = None,
) -> dict:
    """Load the staged directory through every Auto class and compare; save it, reload it; load a second copy.

    Safe to call from several threads with the same ``work``.

    Args:
        overlay: a directory with another transformers.
        hub_home: a cache that holds the repository of the code, where that is another, and ``code_revision`` it.
        threads: what one process uses; last bits depend on it, so that the reference has to have had as many.

    Returns:
        The answer: "hashes" by Auto class, "checks", "transformers" version, "formula" (tensors that no file holds),
        "unexpected" (tensors that this class has no place for), "notes".

    Raises:
        Unverified: a check failed.
    """
    here = Path(tempfile.mkdtemp(prefix="staged-", dir=work))
    try:
        read_only = here / "given"
        writable = here / "made"
        writable.mkdir()
        copy = read_only / "first" / staged.directory.name
        shutil.copytree(staged.directory, copy, copy_function=link_or_copy)
        job = {
            **_load_request(expected, threads),
            "target": str(copy),
            "resave": str(writable / "saved"),
            "second": _second_copy(staged, read_only / "second" / staged.directory.name),
            "code_revision": code_revision,
            "digest": not expected.measuring or _has_digest(staged),  # a push always writes one
        }
        visible = [staged.directory, read_only, expected.checkpoint, *_inputs_of(expected)]
        where = {"visible": visible, "writable": [writable], "overlay": overlay, "hub_home": hub_home}
        with fence.sandboxed(job, work, **where, **_limits(staged)) as outcome:
            answer = judge(job, _expected(expected), outcome.answer, outcome.handed, release_of(overlay))
    finally:
        remove_tree(here)
    _raise(answer, "the staged files do not load correctly")
    return answer


def published_load(
    staged: Staged,
    expected: Reference,
    work: Path,
    hub_home: Path,
    repo: str,
    revision: str,
    overlay: Path | None = None,
    code_revision: str | None = None,
    threads: int | None = None,
    resave: bool = False,
    examples: list[str] | None = None,
    pipeline: list[str] | None = None,
) -> dict:
    """Load a repository at a commit from a cache that holds nothing but that snapshot, and that of its code.

    Arguments, answer and errors are those of ``staged_load``.

    Args:
        resave: also save what was loaded, and load that (D06).
        examples: programs; the first that runs is named in the answer's "example", with what it prints.
        pipeline: a task and the Auto class; the answer's "pipeline" says what keeps that pipeline from running.
    """
    saved = Path(tempfile.mkdtemp(prefix="published-", dir=work))
    job = {
        **_load_request(expected, threads),
        "target": repo,
        "revision": revision,
        "code_revision": code_revision,
        "resave": str(saved / "saved") if resave else None,
        "examples": examples or [],
        "pipeline": pipeline or [],
    }
    visible = [hub_home, expected.checkpoint, *_inputs_of(expected)]
    where = {"visible": visible, "writable": [saved], "overlay": overlay, "hub_home": hub_home}
    try:
        with fence.sandboxed(job, work, **where, **_limits(staged)) as outcome:
            answer = judge(job, _expected(expected), outcome.answer, outcome.handed, release_of(overlay))
    finally:
        remove_tree(saved)
    _raise(answer, f"{repo} at {revision} does not load correctly")
    return answer


def _load_request(expected: Reference, threads: int | None) -> dict:
    """What every load is asked for; nothing in it says what its outputs have to be."""
    request = {**expected.request, "custom_generate": expected.custom_tokens is not None, "module": "verify.load"}
    return request | ({"threads": threads} if threads else {})


def _inputs_of(expected: Reference) -> list[Path]:
    """Files that a load reads and that may lie outside of the checkpoint: the probe's tensors, and the weights."""
    probe = expected.request.get("probe", {}).values()
    files = {Path(words["file"]) for words in probe if not declared.is_nested(words) and "file" in words}
    # in a Hub's cache a checkpoint is a directory of links, and the weights lie elsewhere
    return sorted(files | {Path(file) for file in expected.request.get("weights", ())})


def _expected(expected: Reference) -> Expected:
    """What a load is compared with."""
    return Expected(
        outputs=expected.outputs,
        buffers=expected.buffers,
        losses=expected.losses,
        drawn=expected.request.get("drawn", {}),
        tokens=expected.tokens,
        custom_tokens=expected.custom_tokens,
        version=str(expected.request["reference_version"]),
        dtype=str(expected.request.get("dtype")),
        attention=expected.request.get("attention", {}),
        measuring=expected.measuring,
    )


def _has_digest(staged: Staged) -> bool:
    """Whether the staged code carries one: staging writes it, other people's folders have none."""
    files = [staged.directory / name for name in staged.code]
    return any(DIGEST_LINE.search(file.read_text(encoding="utf-8")) for file in files if file.is_file())


def _second_copy(staged: Staged, directory: Path) -> dict | None:
    """The staged files under the same name elsewhere, with a harmless change to the models' code; None without code.

    A digest that the configuration file carries is made anew, as staging would. One that is absent stays absent.
    """
    models = {place.split(".")[0] for auto, place in staged.auto_map.items() if auto.startswith("AutoModel")}
    if not all((staged.directory / name).is_file() for name in staged.code):
        return None
    shutil.copytree(staged.directory, directory, copy_function=link_or_copy)
    sources = {name: (directory / name).read_text(encoding="utf-8") for name in staged.code}
    for name in models:
        sources[f"{name}.py"] += f"\n\n{MARK} = True\n"
    line = f'CODE_DIGEST = "{code_digest(sources)}"'
    for name, source in sources.items():
        if name.removesuffix(".py") in models or DIGEST_LINE.search(source):
            (directory / name).unlink()  # a link to the staged file otherwise
            (directory / name).write_text(DIGEST_LINE.sub(line, source), encoding="utf-8", newline="\n")
    return {"target": str(directory), "mark": MARK}


def _limits(staged: Staged) -> dict:
    size = sum(p.stat().st_size for p in staged.weights)
    return {"memory": 8 * fence.GIB + 8 * size, "disk": 4 * fence.GIB + 4 * size, "seconds": 600 + size / 5e6}


def own_probe(folder: Path) -> dict:
    """What a folder's probe.json says goes into its models: name -> {"shape", "values"}; empty where there is none.

    Raises:
        UserError: it cannot be read, or asks for shapes that nothing can have.
    """
    try:
        return declared.own_probe(str(folder))
    except ValueError as error:
        raise UserError(str(error)) from None


def _raise(answer: dict, what: str) -> None:
    if failures := answer["failures"]:
        first, more = failures[0], len(failures) - 1
        rest = f" (and {more} more: {', '.join(f['line'] for f in failures[1:4])})" if more else ""
        message = f"{first['check']} {what}: {first['line']}{rest}"
        lines = {failure.get("part", failure["check"]): failure["line"] for failure in reversed(failures)}
        # a reference's notes are of a run that ended, and not yet looked at
        judged = {name: answer[name] for name in ("hashes", "notes", "close") if "checks" in answer}
        raise Unverified(message, failures, answer.get("checks", lines), **judged, ready=_offered(answer))
