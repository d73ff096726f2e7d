"""Decide what a load in the sandbox showed: here, where no code of the folder runs.

How it works:
- The process with the folder's code hands over outputs, buffers, losses and tokens as they are, one file a load. They
  are compared with the reference's, which that process never saw.
- What is missing has failed: a load that left no file, a check that was neither made nor left out with a reason.
- Complaints of the process are taken as they are; its silence is not taken for "ok" where a file can be compared.
- D02, D05, D07 and the accumulation of losses are compared in the process itself (``BY_ITSELF``), as all tensors of
  all loads would have to be handed over otherwise. So are D01 of a configuration, a processor and a pipeline, and of
  D04 whether any code wrote to weights that no file holds. Code that forges those still has to compute the right
  outputs.
- Both sides come from the process for D08, for the configurations of D06, and for D04 where the type or the release is
  another than the reference's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from packaging.version import Version

from pinfold.common.errors import plain_line, printable, untrusted
from pinfold.fence.handed import Handed, Load, Raw
from pinfold.fenced.probe.caches import is_cache
from pinfold.fenced.verify import losses, tokens
from pinfold.fenced.verify.further_loads import HALVES
from pinfold.verify import generation, padding, raw, tolerance
from pinfold.verify.claims import same_release

CHECKS = ("D01", "D02", "D03", "D04", "D05", "D06", "D07", "D08", "loss", "bf16", "fp16")
BY_ITSELF = ("D02", "D05", "D07", "accumulation")
FITS = {"bf16": 1e30, "fp16": 1e3}  # outputs up to this size leave the layers below room enough
MOST_COMPLAINTS = 1000
CUSTOM_GENERATE = Version("4.53")  # the first release that runs custom_generate/generate.py
NO_DIGEST = "no CODE_DIGEST, so two local copies of one name share their code; a push writes one"
SHOWN = 60  # characters of a configuration's value
ROWS = {"pair": " of a batch of two", "single": " of a batch of one", "triple": " of a batch of three"}  # by probe


@dataclass(frozen=True)
class Expected:
    """What every load has to give: of the reference, and never shown to a load.

    Args:
        outputs: "Auto class/probe/name" -> tensor. buffers: "Auto class/name" -> tensor that no file holds.
        losses, drawn: by Auto class; see fenced/verify/reference.py.
        tokens: of the tokenizer's samples. custom_tokens: what custom_generate writes.
        version: of transformers, that gave all of it. dtype: of the checkpoint.
        attention: by Auto class. measuring: small differences pass where the load shows a reason; see tolerance.py.
    """

    outputs: Mapping[str, Raw]
    buffers: Mapping[str, Raw]
    losses: Mapping[str, dict]
    drawn: Mapping[str, list]
    tokens: dict | None
    custom_tokens: list | None
    version: str
    dtype: str
    attention: Mapping[str, dict] = field(default_factory=dict)
    measuring: bool = False


@dataclass
class Verdict:
    """The results of the checks.

    Args:
        failures: "check", "part" and "line", those that explain others first.
        checks: name -> "ok", the line of its first failure, or "skipped: why".
        hashes: Auto class -> sha256 of its outputs. unaligned: classes that agree once their tensors are copied.
        not_finite: types of half precision in which an output is not finite -> which. limit: of a second turn of
            generate(), as generation.py says it.
        notes: differences that are none. close: classes whose outputs are the expected ones within a tolerance.
    """

    failures: list[dict] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    unaligned: list[str] = field(default_factory=list)
    not_finite: dict[str, str] = field(default_factory=dict)
    limit: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    close: dict[str, str] = field(default_factory=dict)

    def check(self, check: str, lines: Iterable[str], part: str | None = None) -> None:
        """Count a check as made; ``lines`` are its failures."""
        self.passed.add(part or check)
        lines = map(plain_line, lines)
        self.failures += [{"check": check, "part": part or check, "line": line} for line in lines]

    @property
    def checks(self) -> dict[str, str]:
        first: dict[str, str] = {}
        for failure in self.failures:
            first.setdefault(failure["part"], failure["line"])
        skipped = {part: f"skipped: {self.skipped.get(part, 'nothing to check')}" for part in CHECKS}
        return skipped | dict.fromkeys(self.passed, "ok") | first


def judge(request: dict, expected: Expected, answer: dict, handed: Handed, release: str) -> dict:
    """The answer of a load, with the verdict in it: "failures", "checks", "hashes" and the like, as Verdict has them.

    Args:
        request: what the load was asked for. answer, handed: what it left. release: of transformers, that it ran in.

    Raises:
        UserError: a file was changed after it was handed over.
    """
    verdict = Verdict()
    with untrusted("what the load handed over"):
        _take_complaints(verdict, answer)
        if not request.get("digest", True):
            _excuse_copies(verdict)
        version = same_release(answer, release)
        if request["models"]:
            for auto, place in request["models"].items():
                _judge_auto(verdict, request, expected, handed, auto, place.split(".")[-1], version)
            _judge_halves(verdict, request, expected, handed)
        if request.get("tokenizer"):
            _judge_tokens(verdict, expected, answer.get("samples"), version)
        _judge_silence(verdict, request, expected)
        said = _said(answer, request)
    # what a check of loading says (D...) explains the others, so it comes first; of two copies few people have need
    verdict.failures.sort(key=lambda failure: (failure["check"] == "D07", not failure["check"].startswith("D")))
    return {
        **answer,
        "failures": verdict.failures,
        "checks": verdict.checks,
        "hashes": verdict.hashes,
        "unaligned": verdict.unaligned,
        "not_finite": verdict.not_finite,
        "limit": verdict.limit,
        **said,
        "notes": [*said["notes"], *map(plain_line, verdict.notes)],
        "close": sorted(verdict.close),
    }


def _said(answer: dict, request: dict) -> dict:
    """What the process says beside the checks, for the report and the card, in the form that these read."""
    names = {
        kind: {auto: [plain_line(name, 200) for name in answer[kind].get(auto, [])] for auto in request["models"]}
        for kind in ("formula", "unexpected")
    }
    fails_in = {str(dtype): plain_line(why) for dtype, why in (answer.get("fails_in") or {}).items()}
    return {**names, "fails_in": fails_in, "notes": [plain_line(note) for note in answer["notes"]]}


def _judge_silence(verdict: Verdict, request: dict, expected: Expected) -> None:
    """A check that the process makes itself has failed where it says nothing of it, or left it out for nothing.

    Not where something else has failed: that ends a load before its other checks are made.
    """
    for part in set(verdict.skipped) - _may_be_skipped(request, expected, verdict):
        del verdict.skipped[part]
    if verdict.failures or not request["models"]:
        return
    main = _main(request)
    needed = {"D02", "D05", "D07", *HALVES}
    needed |= {"accumulation"} if "skipped" not in expected.losses[main] else set()
    for part in sorted(needed - verdict.passed - set(verdict.skipped)):
        check = "P18" if part == "accumulation" else part if part.startswith("D") else "D05"
        verdict.check(check, [f"{main}: {part} was not checked, and nothing says why"], part)


def _may_be_skipped(request: dict, expected: Expected, verdict: Verdict) -> set[str]:
    """Checks that need not be made: not for what this load was asked for, or by reasons that the report shows."""
    parts = {"D08", *HALVES}
    parts |= {"D06"} if not request.get("resave") else set()
    parts |= {"D07"} if not request.get("second") or not request.get("digest", True) else set()
    without_loss = verdict.close or any("skipped" in each for each in expected.losses.values())
    return parts | ({"loss"} if without_loss else set())


def _main(request: dict) -> str:
    return next(auto for auto, place in request["models"].items() if place.endswith(f".{request['architecture']}"))


def _take_complaints(verdict: Verdict, answer: dict) -> None:
    looked = {str(part) for part in answer["looked"]}
    verdict.skipped = {str(part): plain_line(why) for part, why in answer["skipped"].items()}
    for failure in answer["failures"][:MOST_COMPLAINTS]:
        verdict.check(str(failure["check"]), [str(failure["line"])], str(failure.get("part") or failure["check"]))
    verdict.passed |= looked & set(BY_ITSELF)


def _excuse_copies(verdict: Verdict) -> None:
    """Without a digest, what two copies of one name do is transformers' matter: a failure of D07 becomes a note."""
    failures = [failure for failure in verdict.failures if failure["check"] != "D07"]
    if len(failures) < len(verdict.failures):
        verdict.failures = failures
        verdict.passed.discard("D07")
        verdict.skipped["D07"] = NO_DIGEST


def _judge_auto(
    verdict: Verdict, request: dict, expected: Expected, handed: Handed, auto: str, name: str, version: str
) -> None:
    """All of one Auto class: D01, D03, D04, D06, D08 and the loss."""
    for kind, what in (("buffers", auto), ("class", f"{name}.from_pretrained")):
        if f"{kind}-{auto}.safetensors" in handed.files:
            lines = _buffer_lines(expected, auto, handed.load(f"{kind}-{auto}"), version)
            verdict.check("D04", [f"{what}: {line}" for line in lines])
    if f"load-{auto}.safetensors" not in handed.files:
        if not any(failure["line"].startswith(f"{auto}:") for failure in verdict.failures):
            verdict.check("D01", [f"{auto}: its load ended without a result"])
        return
    if f"buffers-{auto}.safetensors" not in handed.files:
        verdict.check("D04", [f"{auto}: its load handed over no buffers"])
    load = handed.load(f"load-{auto}")
    facts = load.facts
    verdict.check("D01", _same_class(auto, facts["class"], name))
    versions = (expected.version, version)
    outputs = raw.without("output/", load.tensors)
    lines = raw.compare_outputs(auto, outputs, expected.outputs, versions)
    if lines and (aligned := raw.without("aligned/", load.tensors)):
        verdict.unaligned.append(auto)
        outputs, lines = aligned, raw.compare_outputs(auto, aligned, expected.outputs, versions)
    hashed = outputs
    if lines and not (seen := padding.compare(auto, outputs, expected.outputs, request["padded"][auto], versions)):
        verdict.notes.append(
            f"{auto}: transformers {version} computes other numbers at padding, and the same at words"
        )
        lines, hashed = seen, expected.outputs
    if lines and expected.measuring:
        why = tolerance.reason(facts, expected.attention.get(auto, {}))
        if words := tolerance.within(auto, outputs, expected.outputs, why):
            verdict.close[auto], lines = words, []
            verdict.notes.append(words)
            verdict.skipped["loss"] = f"{auto} rounds otherwise than the reference, and so do its gradients"
    if not lines:
        verdict.notes += raw.compare_caches(auto, outputs, expected.outputs, versions)
    verdict.check("D03", lines)
    verdict.hashes[auto] = raw.sha256(hashed, auto)
    if "skipped" not in expected.losses[auto] and auto not in verdict.close:
        line = losses.compare_losses(facts["loss"], expected.losses[auto], bool(request.get("converted")))
        verdict.check("D03", [f"{auto}: {line}"] if line else [], "loss")
    exact = name == request["architecture"]
    _judge_generation(verdict, expected, load, auto, name, exact, version)
    if exact and request.get("resave"):
        _judge_again(verdict, expected, handed, auto, name, outputs, version)


def _same_class(auto: str, loaded: object, name: str) -> list[str]:
    if loaded == name:
        return []
    return [f"{auto}: it loaded {printable(str(loaded))[:100]}, but the folder registers {name}"]


def _buffer_lines(expected: Expected, auto: str, load: Load, version: str, same_type: bool = True) -> list[str]:
    """D04, against the reference's constructor, and this release's own where they seem to differ."""
    loaded, fresh = (raw.without(f"{kind}/", load.tensors) for kind in ("buffer", "fresh"))
    drawn = [str(name) for name in expected.drawn[auto]]
    of_reference = raw.without(f"{auto}/", expected.buffers)
    if same_type:
        lines = raw.compare_buffers(loaded, of_reference, drawn)
        if not lines or version == expected.version or not fresh:
            return lines
    return raw.compare_buffers(loaded, fresh, drawn, its_own=True, wide=None if same_type else of_reference)


def _judge_generation(
    verdict: Verdict, expected: Expected, load: Load, auto: str, name: str, exact: bool, version: str
) -> None:
    facts = load.facts
    if exact and expected.custom_tokens is not None:
        custom = facts["custom"]
        why = custom.get("skipped")
        if why and Version(version) < CUSTOM_GENERATE:
            verdict.skipped.setdefault("D08", plain_line(why))
            return
        why = why or custom.get("failed")
        line = f": {why}" if why else ""
        if not line and custom["tokens"] != expected.custom_tokens:
            line = " writes other tokens than the folder's own function"
        verdict.check("D08", [f"{auto}: {name}.generate through custom_generate{line}"] if line else [])
        return
    generated = facts["generated"]
    if isinstance(generated, str):
        verdict.skipped.setdefault("D08", plain_line(generated))
        return
    lines = generation.faults(name, generated, raw.without("generated/", load.tensors), expected.dtype)
    verdict.check("D08", [f"{auto}: {line}" for line in lines])
    if expected.measuring and not lines:
        verdict.notes.append(generation.allowed(expected.dtype))
    if facts.get("turn") and not lines:
        limit = generation.limit(name, facts["turn"], raw.without("turn/", load.tensors), expected.dtype)
        verdict.limit = [plain_line(words) for words in limit]


def _judge_again(
    verdict: Verdict,
    expected: Expected,
    handed: Handed,
    auto: str,
    name: str,
    before: Mapping[str, Raw],
    version: str,
) -> None:
    """D06: what was saved and loaded again, against what was saved."""
    if f"again-{auto}.safetensors" not in handed.files:
        if not any(failure["check"] == "D06" for failure in verdict.failures):
            verdict.check("D06", [f"{auto}: save → reload ended without a result"])
        return
    lines = _again(expected, handed.load(f"again-{auto}"), auto, name, before, version)
    verdict.check("D06", (f"{auto}: save → reload: {line}" for line in lines))


def _again(
    expected: Expected, load: Load, auto: str, name: str, before: Mapping[str, Raw], version: str
) -> Iterator[str]:
    facts = load.facts
    if facts["class"] != name:
        yield f"{printable(str(facts['class']))[:100]} came back instead of {name}"
        return
    saved, loaded = facts["before"], facts["after"]
    if odd := sorted(key for key in {*saved, *loaded} if saved.get(key) != loaded.get(key)):
        values = [str(each.get(odd[0]))[:SHOWN] for each in (saved, loaded)]
        yield f"config.{odd[0]} differs: {values[0]} became {values[1]}"
        return
    outputs = raw.without("output/", load.tensors)
    why = tolerance.reason(facts, expected.attention.get(auto, {})) if expected.measuring else ""
    if not tolerance.within(auto, outputs, before, why):
        for line in raw.compare_outputs(auto, outputs, before, before="that was saved"):
            yield f"output differs: {line}"
    yield from _buffer_lines(expected, auto, load, version)


def _judge_halves(verdict: Verdict, request: dict, expected: Expected, handed: Handed) -> None:
    """bf16 and fp16 of the main class: buffers, and outputs that are numbers where the reference's are."""
    auto = _main(request)
    for part, dtype in HALVES.items():
        where = f"{auto} in {dtype}"
        if f"buffers-{part}.safetensors" in handed.files:
            lines = _buffer_lines(expected, auto, handed.load(f"buffers-{part}"), "", request["dtype"] == dtype)
            verdict.failures += [{"check": "D04", "part": part, "line": f"{where}: {line}"} for line in lines]
        if f"half-{part}.safetensors" not in handed.files:
            explained = part in verdict.skipped or any(failure["part"] == part for failure in verdict.failures)
            if not explained:
                verdict.check("D01", [f"{where}: its load ended without a result"], part)
            continue
        if f"buffers-{part}.safetensors" not in handed.files:
            verdict.check("D04", [f"{where}: its load handed over no buffers"], part)
        outputs = raw.without("output/", handed.load(f"half-{part}").tensors)
        of_class = {
            key: value for key, value in expected.outputs.items() if key.startswith(f"{auto}/") and not is_cache(key)
        }
        if absent := _absent(outputs, of_class):
            verdict.check("D03", [f"{where}: {absent}"], part)
            continue
        line = _not_finite(outputs, of_class, FITS[part])
        if line and request["dtype"] != dtype:  # the card says so, as it does of a forward that raises there
            what = f"{line} is not finite, in {request['dtype']} it is"
            verdict.not_finite[dtype] = f"{what}. Compute it in {request['dtype']}, as its checkpoint is"
            verdict.skipped[part] = f"its tensors are right, but in {dtype} {what}"
            continue
        words = [f"{where}: {line} is not finite, in {request['dtype']} it is"] if line else []
        verdict.check("D03", words, part)


def _absent(outputs: Mapping[str, Raw], expected: Mapping[str, Raw]) -> str | None:
    """Words for the first output of the reference that was not handed over with its axes and as a number.

    How many boxes or tokens there are may depend on the precision; that there are some may not.
    """
    for key, value in expected.items():
        other = outputs.get(key)
        same = other is not None and len(other.shape) == len(value.shape) and (0 in other.shape) == (0 in value.shape)
        if other is None or not same or raw.is_float(other) != raw.is_float(value):
            return f"output {key.split('/', 1)[1]} is not there in its shape"
    return None


def _not_finite(outputs: Mapping[str, Raw], expected: Mapping[str, Raw], fits: float) -> str | None:
    """Words for the first output that is not a number where the reference's is one, and small enough for the type."""
    for key, value in expected.items():
        numbers = raw.array(value).astype("f8") if raw.is_float(value) else np.zeros(0)
        if not numbers.size or not np.isfinite(numbers).all() or np.abs(numbers).max() >= fits:
            continue
        if not np.isfinite(raw.array(outputs[key])).all():
            _, probe, name = key.split("/", 2)
            return f"output {name}{ROWS.get(probe, '')}"
    return None


def _judge_tokens(verdict: Verdict, expected: Expected, samples: object, version: str) -> None:
    if samples is None:
        if not any(failure["line"].startswith("AutoTokenizer:") for failure in verdict.failures):
            verdict.check("D01", ["AutoTokenizer: its load ended without a result"])
        return
    if not isinstance(samples, dict):
        raise TypeError("samples are not an object")
    verdict.check("D01", [])
    if expected.tokens is not None or not expected.measuring:
        verdict.check("D03", tokens.compare(samples, expected.tokens or {}, (expected.version, version)), "ids")
    verdict.hashes["AutoTokenizer"] = tokens.sha256(samples)
