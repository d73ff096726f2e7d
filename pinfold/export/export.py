"""Make a graph of a model, prove it at sizes that it was not made with, time it, and only then put it in place.

How it works:
- Code that the audit calls dangerous runs only where this machine can shut it in; all runs are in the sandbox.
- A way to export runs in a process of its own: an exporter can change the model, and some work once per process.
- Another process, which never sees the model's code, runs the graph with its runtime; here the numbers are compared.
- The first way whose graph is proven is kept. Where none is, the refusal says why for each.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pinfold import __version__
from pinfold.audit.examine import examine
from pinfold.audit.finding import errors
from pinfold.common.errors import UserError, plain_line, untrusted
from pinfold.common.files import cached_sha256, write_json
from pinfold.common.memory import free_memory
from pinfold.export.formats import Format
from pinfold.export.loss import measure
from pinfold.export.proof import Proof, Wrong, compare
from pinfold.fence import process as fence
from pinfold.fence.handed import Raw
from pinfold.summarize.source import Source
from pinfold.verify.verify import own_probe

REPORT = "export_report.json"
SECONDS = 1800  # of one process
TIMED = (1, 128)  # rows and tokens of the inputs that both are timed with
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is asked of an export.

    Args:
        auto: the Auto class of the head; None: that of architectures, else the first. int8: also a graph of 8 bits.
        accept: keep it, whatever it loses. texts: further inputs, as the checkpoint's tokenizer makes them.
    """

    form: Format
    auto: str | None = None
    int8: bool = False
    accept: bool = False
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proven:
    """A graph in its directory, and what was seen of it.

    Args:
        made: by the process that made it. inputs: the file of the trials' inputs, whose names are ``names``.
        tensors: of that file. results: what the graph gave.
    """

    graph: Path
    made: dict[str, Any]
    proof: Proof
    inputs: Path
    names: list[str]
    tensors: Mapping[str, Raw]
    results: Mapping[str, Raw]


@dataclass(frozen=True)
class Export:
    """A graph that is proven.

    Args:
        directory: with its files. report: as it was written beside them.
    """

    directory: Path
    report: dict[str, Any]


def export(source: Source, wanted: Wanted, output: Path, say: Say) -> Export:
    """Write OUTPUT/<directory of the format>, and say each step.

    Raises:
        UserError: no way to export gives a graph that is right at every size, or 8 bits lose too much; nothing was
            written then.
    """
    form = wanted.form
    target = output / form.directory
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; name a directory")
    check_replaceable(target)
    request = _request(source, wanted)
    permit(source, say)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.resolve()) as temporary:
        work = Path(temporary)
        proven, way = _first_proven(source, request, form, work, say)
        proven.made["notes"] = [*source.notes, *proven.made["notes"]]
        report = {**proven.made, "way": way, "form": form.name, "proof": proven.proof.json(), "source": source.name}
        if wanted.int8:
            report["int8"] = _quantized(proven, wanted, request, work, say)
        say("time: the graph and the model in PyTorch, in turn")
        report["time"] = _timed(source, request, form.file, proven.graph, work, say)
        if wanted.int8:
            report["int8"]["time"] = _timed(source, request, form.int8, proven.graph, work, say)
        return _put(report, form, proven.graph, target, work)


def _first_proven(source: Source, request: dict[str, Any], form: Format, work: Path, say: Say) -> tuple[Proven, str]:
    """The first way whose graph is right, and its name.

    Raises:
        UserError: there is none.
    """
    reasons: list[str] = []
    for way in form.ways:
        say(f"export: {form.name}, by {way}")
        graph = work / f"graph-{len(reasons)}"
        graph.mkdir()
        try:
            return _proven(source, {**request, "way": way}, form, graph, work, say), way
        except Wrong as error:
            reasons.append(f"by {way}: {error}")
            say(f"  not kept: {error}")
    raise UserError(f"{source.name}: no {form.name} graph of it is right at every size; {'; '.join(reasons)}")


def permit(source: Source, say: Say) -> None:
    """Read the source's code, and refuse what this machine cannot shut in.

    Raises:
        UserError: its code is dangerous, and this machine cannot run it in a sandbox.
    """
    if source.code is None:
        return
    report = examine(source.code.path, source.name)
    say(f"audit: {plain_line(report.summary(), 400)}")
    dangerous = (finding.code for finding in errors(report.findings) if finding.code.startswith("S"))
    fence.permit(source.name, next(dangerous, None))


def _request(source: Source, wanted: Wanted) -> dict[str, Any]:
    auto, place = source.chosen(wanted.auto) if source.code else (wanted.auto, None)
    return {
        "code": str(source.code.path.resolve()) if source.code else None, "place": place, "auto": auto,
        "stored": source.stored, "weights": str(source.weights.resolve()) if source.weights else None,
        "probe": own_probe(source.code.path) if source.code else {}, "form": wanted.form.name,
        "texts": list(wanted.texts), "threads": max(1, (os.cpu_count() or 2) // 2),
    }  # fmt: skip


def _visible(source: Source) -> list[Path]:
    paths = [source.code.path] if source.code else []
    return [path.resolve() for path in [*paths, *([source.weights] if source.weights else [])]]


def _proven(source: Source, request: dict[str, Any], form: Format, graph: Path, work: Path, say: Say) -> Proven:
    """Make a graph, and prove that it is right.

    Raises:
        Wrong: this way gives no graph, or a wrong one. UserError: no way can.
    """
    job = {**request, "module": "export.make", "graph": str(graph.resolve())}
    limits: dict[str, Any] = {"memory": free_memory(), "seconds": SECONDS, "name": "the export"}
    with fence.sandboxed(job, work, visible=_visible(source), writable=[graph], **limits) as outcome:
        made = outcome.answer
        if failures := made["failures"]:
            line = plain_line(failures[0]["line"], 300)
            if failures[0]["check"] == "export":
                raise Wrong(line)
            raise UserError(f"{source.name}: {line}")
        with untrusted(f"{source.name}: the export's result"):
            inputs = work / "trials.safetensors"
            inputs.write_bytes(outcome.handed.read("trials.safetensors"))
            expected = outcome.handed.load("trials")
            names = [plain_line(name, 100) for name in expected.facts["names"]]
            rounding = {str(name): float(value) for name, value in made["rounding"].items()}
            made = _checked(made)
    say(f"prove: {form.runtime} runs it on {len(names)} inputs that it was not made with")
    made["inputs"], results = _run(graph, form.file, form, inputs, names, request["threads"], work)
    return Proven(
        graph, made, compare(expected.tensors, results, names, rounding), inputs, names, expected.tensors, results
    )


def _run(
    graph: Path, file: str, form: Format, inputs: Path, names: list[str], threads: int, work: Path
) -> tuple[list[str], Mapping[str, Raw]]:
    """The names of a graph's inputs, and what it gives for the trials, in a process that has nothing of the model.

    Raises:
        Wrong: the runtime refuses it, or an input of a trial.
    """
    job = {
        "module": "export.run", "form": form.name, "graph": str(graph.resolve()), "file": file,
        "inputs": str(inputs.resolve()), "trials": len(names), "threads": threads,
    }  # fmt: skip
    limits: dict[str, Any] = {"memory": free_memory(), "seconds": SECONDS, "name": f"{form.runtime}'s run"}
    with fence.sandboxed(job, work, visible=[graph.resolve(), inputs.resolve()], **limits) as outcome:
        if failures := outcome.answer["failures"]:
            at = failures[0]["check"]
            where = f" at {names[int(at)]}" if at.isdigit() and int(at) < len(names) else ""
            raise Wrong(f"{form.runtime} does not run it{where}: {plain_line(failures[0]['line'], 300)}")
        with untrusted("the graph's results"):
            used = [plain_line(name, 100) for name in outcome.answer["inputs"]]
            return used, outcome.handed.load("results").tensors


def _quantized(proven: Proven, wanted: Wanted, request: dict[str, Any], work: Path, say: Say) -> dict[str, Any]:
    """Write an int8 graph beside the float one; what it loses.

    Raises:
        UserError: it loses too much, and nobody has accepted that.
    """
    form = wanted.form
    say("int8: dynamic quantization, a scale for each output channel")
    job = {"module": "export.quantize", "graph": str(proven.graph.resolve()), "file": form.int8}
    answer = fence.run_sandboxed(
        job, work, visible=[], writable=[proven.graph], memory=free_memory(), seconds=SECONDS, name="the quantization"
    )
    if answer["failures"]:
        raise UserError(f"--int8: {plain_line(answer['failures'][0]['line'], 300)}; leave it out")
    _, results = _run(proven.graph, form.int8, form, proven.inputs, proven.names, request["threads"], work)
    with untrusted("the int8 graph's results"):
        loss = measure(proven.tensors, proven.results, results, len(proven.names))
    say(f"  {loss.words()}")
    if loss.too_large and not wanted.accept:
        raise UserError(f"--int8: {loss.too_large}; leave out --int8, or keep it with --accept")
    return {"loss": loss.json()}


def _checked(made: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an answer that the folder's code may have written."""
    words = ("auto", "class", "model_type", "dtype", "sample", "transformers", "torch")
    lists = ("notes", "refused", "outputs")
    return {
        **{key: plain_line(made[key], 300) if made[key] is not None else None for key in words},
        **{key: [plain_line(each, 300) for each in made[key]] for key in lists},
        "parameters": int(made["parameters"]),
    }


def _timed(
    source: Source, request: dict[str, Any], file: str, graph: Path, work: Path, say: Say
) -> dict[str, Any] | None:
    """Milliseconds of both and their ratio; None, with a word, where it cannot be measured."""
    job = {**request, "module": "export.timed", "graph": str(graph.resolve()), "file": file, "size": list(TIMED)}
    visible = [*_visible(source), graph.resolve()]
    answer = fence.run_sandboxed(
        job, work, visible=visible, memory=free_memory(), seconds=SECONDS, name="the measurement"
    )
    if answer["failures"]:
        say(f"  not timed: {plain_line(answer['failures'][0]['line'], 200)}")
        return None
    with untrusted(f"{source.name}: the measured times"):
        numbers = {key: float(answer[key]) for key in ("eager", "graph", "ratio", "least", "most")}
        whole = {key: int(answer[key]) for key in ("pairs", "threads")}
        return {**numbers, **whole, "size": plain_line(answer["size"], 100)}


def check_left(graph: Path, form: Format) -> None:
    """The model's code can write to the graph's directory too: a link there would lead out of it.

    Raises:
        UserError: something is there that is not a plain file of the format.
    """
    stem = form.file.rpartition(".")[0]
    known = {form.file, f"{form.file}.data", f"{stem}.bin", form.int8} - {""}
    for path in graph.iterdir():
        if path.name not in known or path.is_symlink() or not path.is_file():
            raise UserError(
                f"the export wrote {plain_line(path.name, 100)} beside the graph, which the format does not have: the "
                "model's code did that; do not trust it"
            )


def _put(report: dict[str, Any], form: Format, graph: Path, target: Path, work: Path) -> Export:
    """Write the report, and give the directory its name; an earlier export goes with the work."""
    check_left(graph, form)
    report["versions"] = {"pinfold": __version__, **{name: metadata.version(name) for name in form.packages}}
    report["versions"] |= {key: report.pop(key) for key in ("transformers", "torch")}
    report["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": cached_sha256(path)} for path in sorted(graph.iterdir())
    }
    write_json(graph / REPORT, report)
    check_replaceable(target)  # again: the export took a while
    if target.exists():
        target.rename(work / "before")
    graph.chmod(0o755)
    graph.rename(target)
    shutil.rmtree(work / "before", ignore_errors=True)
    return Export(target, report)


def check_replaceable(target: Path) -> None:
    """
    Raises:
        UserError: something is there that is not an export, or was changed since.
    """
    if not target.exists() and not target.is_symlink():
        return
    try:
        recorded = json.loads((target / REPORT).read_text(encoding="utf-8"))["files"]
        there = {path.name: path for path in target.iterdir() if path.name != REPORT}
        same = set(there) == set(recorded) and all(
            cached_sha256(path) == recorded[name]["sha256"] for name, path in there.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise UserError(
            f"{target} is there, and is not an export as it was written; move it away, or choose another --output"
        )
