"""Say what a repository of remote code would run on this machine, and whether it still works.

How it works:
- A folder or a repository is read for every known way in which remote code goes wrong, and for code that does more
  than compute. Nothing of it is imported or executed, and of weights only the headers are downloaded.
- With --run it is loaded in several transformers versions, behind the fence, after its audit was shown.
- With --suite every model class of it has to do what transformers asks of its own: fenced, made small, no weights.
- With --fix what can be mended mechanically is shown as a diff, and written after a question.
- Exit code 0: no error found. 1: errors found. 2: it cannot be checked.

Example: pinfold check some-org/some-model@main --run
"""

import argparse
import contextlib
import functools
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pinfold.audit import fix
from pinfold.audit.finding import ERROR, Finding, errors
from pinfold.audit.run import audit
from pinfold.audit.security.run import UNSEEN, accepted
from pinfold.card import card
from pinfold.cli import compat
from pinfold.common.errors import UserError, printable
from pinfold.fence import process as fence
from pinfold.fence.overlays import NEWEST
from pinfold.folder.filenames import PICKLES
from pinfold.folder.model_folder import ModelFolder, read_modules
from pinfold.folder.releases import describe, floor
from pinfold.remote.client import patience
from pinfold.remote.destination import EMBEDDED
from pinfold.remote.snapshot import check_files, code_elsewhere, outline
from pinfold.staging.checkpoint import describes_model
from pinfold.staging.stage import stage
from pinfold.verify import matrix, verify
from pinfold.verify import suite as check_suite

# What a fault does, and in which releases, as measured over transformers 4.48 to 5.23. "can": it depends on what the
# code does with it, and a load (--run) decides.
FAILS, CAN_FAIL, LIES, CAN_LIE = "fails", "can fail", "gives wrong numbers", "can give wrong numbers"
EFFECTS = {
    "P02": ("", CAN_FAIL, "auto_map"),
    "P06": ("", FAILS, "an import that the loader cannot find"),
    "P07": ("<5.23", FAILS, "a helper that is not copied"),
    "P08": ("", CAN_FAIL, "a package that nobody declared"),
    "P10": (">=5", FAILS, "post_init"),
    "P11": (">=5", FAILS, "tied keys as a list"),
    "P11b": (">=5", LIES, "tied weights without tie_word_embeddings"),
    "P11c": ("", CAN_LIE, "weights tied by assignment"),
    "P11d": (">=5", FAILS, "tie_weights overridden"),
    "P12": (">=5", LIES, "a buffer that nobody fills"),
    "P13": (">=5", CAN_LIE, "_init_weights writes in place"),
    "P14": (">=5", CAN_FAIL, "a tensor is read in __init__"),
    "P14b": (">=5", FAILS, "a plain tensor attribute"),
    "P14c": (">=5", FAILS, "from_pretrained in __init__"),
    "P15": ("", CAN_FAIL, "the configuration's __init__"),
    "P16": ("", FAILS, "config_class"),
    "P17": ("<4.49", LIES, "gamma or beta in a parameter's name"),
    "P20": (">=5", LIES, "torch_dtype"),
    "P22b": ("<5", FAILS, "a tokenizer class of transformers 5"),
}
MEMBER = re.compile(r": (PreTrainedModel|DynamicCache|GenerationMixin)\.")


@dataclass
class Report:
    """What was found out, for people (``lines``) and for programs (``as_dict``)."""

    name: str
    facts: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    forecast: str = ""
    rows: list[matrix.Row] = field(default_factory=list)
    suite: list[check_suite.Result] = field(default_factory=list)
    runnable: bool = False

    def lines(self) -> Iterator[str]:
        """The report without the matrix."""
        yield self.name
        yield from (f"  {fact}" for fact in self.facts)
        for finding in sorted(self.findings, key=lambda f: (f.severity != ERROR, f.code, f.file, f.line)):
            yield f"  {finding.severity:<7}  {finding}"
        if self.runnable:
            yield "  What an audit cannot see:"
            yield from (f"    {line}" for line in UNSEEN.splitlines())

    def summary(self) -> str:
        """One paragraph that a user can act on."""
        bad, rest = len(errors(self.findings)), len(self.findings) - len(errors(self.findings))
        counts = f"{bad} error{'s' * (bad != 1)}, {rest} warning{'s' * (rest != 1)}"
        measured = f"; measured: {matrix.summary(self.rows)}" if self.rows else ""
        asked = f"; suite: {check_suite.summary(self.suite)}" if self.suite else ""
        return f"{self.name}: {counts}{'; ' if self.forecast else ''}{self.forecast}{measured}{asked}"

    def as_dict(self) -> dict:
        """Plain data."""
        return {**asdict(self), "summary": self.summary(), "code": self.code}

    @property
    def code(self) -> int:
        """The exit code."""
        if any(result.state == check_suite.FAILED for result in self.suite):
            return 1
        return 1 if errors(self.findings) or not (not self.rows or matrix.agree(self.rows)) else 0


def examine(directory: Path, name: str, sizes: dict[str, int] | None = None) -> Report:
    """Read a directory; import and execute nothing.

    Args:
        directory: a model folder, what a push or save_pretrained wrote, or the outline of a repository.
        sizes: of the repository's files, where not all were downloaded.

    Raises:
        UserError: it holds something that cannot be read.
    """
    check_files(directory)
    if sizes is None:
        sizes = {p.relative_to(directory).as_posix(): p.lstat().st_size for p in sorted(directory.rglob("*"))}
        sizes = {path: size for path, size in sizes.items() if (directory / path).is_file()}
    folder = read_modules(directory)
    has_code = bool(folder.modules)
    elsewhere = code_elsewhere(directory)
    report = Report(name, runnable=has_code)
    report.facts.append(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB")
    report.facts += _what_runs(folder) + _what_else(directory, folder, sizes, elsewhere)
    report.findings = findings = audit(directory, folder if has_code else None)
    report.facts += _answered_for(directory, findings)
    if has_code or elsewhere:
        report.forecast = forecast(findings, floor(folder))
    return report


def _answered_for(directory: Path, findings: list[Finding]) -> list[str]:
    """What card.md says about a finding. It counts in its author's own push; here it is only repeated."""
    try:
        reasons = card.read_human_half(directory).accepted
        said = [f for f in accepted(findings, reasons) if f.reason]
    except UserError:
        return []
    return [f"the author answers for {finding.code} in {finding.file}: {finding.reason}" for finding in said]


def _what_runs(folder: ModelFolder) -> list[str]:
    if not folder.modules:
        return []
    entries = {place.split(".")[0] for place in folder.auto_map().values()}
    loaded = folder.closure(sorted(entries))
    facts = []
    if loaded:
        files = ", ".join(f"{module.file} ({module.source.count(chr(10))} lines)" for module in loaded)
        facts.append(f"runs on your machine: {files}; imports {', '.join(folder.packages(loaded))}")
    rest = sorted(set(folder.modules) - {module.name for module in loaded} - {"__init__"})
    if rest:
        facts.append(f"not loaded by from_pretrained: {', '.join(f'{name}.py' for name in rest)}")
    return facts


def _what_else(
    directory: Path, folder: ModelFolder, sizes: dict[str, int], elsewhere: dict[str, set[str]]
) -> list[str]:
    facts = []
    for repo, autos in sorted(elsewhere.items()):
        facts.append(f"runs code of {repo} for {', '.join(sorted(autos))}; read that too: pinfold check {repo}")
    weights = [name for name in sizes if name.endswith(".safetensors")]
    pickles = [name for name in sizes if name.endswith(PICKLES)]
    tokenizer = any(name.startswith("tokenizer") for name in sizes)
    if not folder.modules and not elsewhere:
        model = describes_model(directory) or weights or pickles
        what = "a model of transformers' own" if model else "a tokenizer, no model" if tokenizer else "no model"
        facts.append(f"no Python code: {what}; trust_remote_code is not needed for it")
    if weights:
        facts.append(f"weights: {len(weights)} safetensors file{'s' * (len(weights) > 1)}")
    elif pickles:
        facts.append(f"weights: only pickles ({', '.join(pickles[:3])}); loading a pickle can run any code")
    else:
        facts.append("no weights")
    return facts


def forecast(findings: list[Finding], lowest: str = "4.48") -> str:
    """In which releases, from the declared floor on, the code should load, going by the findings alone."""
    releases = [release for release in matrix.every_minor() if Version(release) >= Version(lowest)]
    if not releases:
        raise UserError(f"MIN_TRANSFORMERS={lowest} is above every release known here ({matrix.every_minor()[-1]})")
    causes: dict[str, list[str]] = {release: [] for release in releases}
    for finding in errors(findings):
        hit, effect, word = _effect(finding, releases)
        for release in hit:
            text = f"{effect}: {finding.code} {word}"
            causes[release] += [text] * (text not in causes[release])
    good = tuple(release for release in releases if not causes[release])
    parts = [f"loads in {describe(good)}"] if good else []
    groups: dict[tuple[str, ...], list[str]] = {}
    for release, texts in causes.items():
        if texts:
            groups.setdefault(tuple(texts), []).append(release)
    for texts, hit in groups.items():
        effect = "; ".join(texts)
        parts.append(f"in {describe(tuple(hit))} it {effect}")
    words = "by its code it " if good else "by its code, "
    return words + ", ".join(parts)


def _effect(finding: Finding, releases: list[str]) -> tuple[list[str], str, str]:
    if finding.code == "P09":  # a member is missed when it is used, an import when the file is
        effect = CAN_FAIL if MEMBER.search(finding.sentence) else FAILS
        return [r for r in releases if r in finding.releases], effect, "a name that is not there"
    if finding.code not in EFFECTS:
        return [], "", ""
    specifier, effect, word = EFFECTS[finding.code]
    if finding.releases:
        return [r for r in releases if r in finding.releases], effect, word
    return [r for r in releases if SpecifierSet(specifier).contains(r)], effect, word


def check(
    target: str,
    *,
    run: bool = False,
    suite: bool = False,
    versions: list[str] | None = None,
    checkpoint: Path | None = None,
    endpoint: str | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> Report:
    """Check a directory or a repository.

    Args:
        target: a directory, or "owner/name@revision".
        run: also load it, in ``versions`` (default: the minimum matrix, as far as overlays were made).
        suite: also check every model class, in ``versions`` (default: the environment's own).
        checkpoint: weights for a model folder that holds none.

    Raises:
        UserError: it cannot be read, or not be run.
    """
    if versions:
        matrix.choose(versions)  # a mistake is said before anything is downloaded
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        local = Path(target).is_dir()
        if Path(target).is_file():
            raise UserError(f"{target} is a file; give its folder, {Path(target).parent}")
        if local:
            report = examine(code := Path(target), target)
        elif re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", target, re.ASCII):
            stack.enter_context(patience(progress=False))
            remote, sha = stack.enter_context(compat.repository(target, endpoint))
            show(f"reading {remote.repo} at {sha} on {remote.destination.endpoint}")
            seen = outline(remote, sha, work / "outline")
            report = examine(code := seen.directory, f"{remote.repo}@{sha}", seen.sizes)
            report.facts += [f"too large to be read: {name}" for name in seen.unread]
        else:
            raise UserError(f"{target}: no such folder; give a directory, or a repository as owner/name[@revision]")
        for line in report.lines():
            show(printable(line).replace("\n", " "))
        if suite:
            report.suite = _suite(report, target, code, versions, show)
        if run:
            source = Path(target) if local else None
            report.rows = _run(report, target, source, versions, checkpoint, endpoint, work, show)
        return report


def _suite(report, target, directory, versions, show) -> list[check_suite.Result]:
    """Check its classes, now that its audit was shown."""
    if not report.runnable:
        raise UserError(
            f"{target} has no code of its own to check; drop --suite, or name the repository with the code"
        )
    _may_run(report, target, show)
    folder = read_modules(directory)
    chosen, _ = matrix.choose(versions or [NEWEST], floor(folder))
    return check_suite.run(folder, chosen, show)


def _may_run(report, target, show) -> None:
    """
    Raises:
        UserError: its code is dangerous, and this machine cannot fence it.
    """
    fenced = fence.available()
    dangerous = [finding for finding in errors(report.findings) if finding.code.startswith("S")]
    if dangerous and not fenced.read_only:
        raise UserError(
            f"{target} is not run: {dangerous[0].code} was found and this machine cannot fence it "
            f"({fenced.describe()}); use a machine where unprivileged namespaces are allowed"
        )
    show(f"  running its code, {fenced.describe()}")


def _run(report, target, source, versions, checkpoint, endpoint, work, show) -> list[matrix.Row]:
    """Load it, now that its audit was shown."""
    if not report.runnable and not any("runs code of" in fact for fact in report.facts):
        raise UserError(f"{target} has no code to run; drop --run")
    _may_run(report, target, show)
    if source and not checkpoint and not (any(source.glob("*.safetensors")) or any(source.glob("*.bin"))):
        raise UserError(f"{target} holds no weights to run it with; name some with --checkpoint DIR")
    with contextlib.ExitStack() as stack:
        stack.enter_context(patience(progress=True))
        if source and checkpoint:
            (work / "staged").mkdir()
            staged = stage(read_modules(source), checkpoint, work / "staged")
            it = compat.Target(target, staged, functools.partial(verify.staged_load, staged))
        else:
            it = stack.enter_context(compat.found(target, endpoint, work))
        lowest = floor(it.staged.folder)
        chosen, _ = matrix.choose(versions, lowest) if versions else matrix.at_hand(lowest, show)
        return compat.measure(it, chosen, work, show=lambda row: show(compat.progress(row)))


def mend(target: str, yes: bool) -> int:
    """Show what can be mended mechanically, and write it after a question. Exit code 1 when nothing was written."""
    directory = Path(target)
    if not directory.is_dir():
        raise UserError(f"--fix works on a folder on this machine, and {target} is none; download it first")
    check_files(directory)
    folder = read_modules(directory)
    found = fix.fixes(directory, folder)
    for line in fix.unmended(folder):
        print(printable(line))
    if not found:
        print("nothing here can be mended mechanically")
        return 0
    print(printable(fix.diff(found)))
    codes = ", ".join(sorted({code for each in found for code in each.codes}))
    question = f"write these changes to {len(found)} file{'s' * (len(found) > 1)} ({codes})?"
    if not yes:
        if not sys.stdin.isatty():
            print(f"nothing was written; to write it: pinfold check {target} --fix --yes")
            return 1
        if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was written")
            return 1
    fix.apply(found)
    print(f"written: {', '.join(each.file for each in found)} ({codes})")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold check``."""
    add = parser.add_argument
    add("target", nargs="?", metavar="PATH|OWNER/NAME[@REVISION]", help="a folder, or a repository on a Hub")
    add("--run", action="store_true", help="also load it, fenced, in several transformers versions")
    add("--suite", action="store_true", help="also check every model class as transformers does its own, fenced")
    add("--list", action="store_true", help="with --suite and nothing else: its checks, and what they leave out")
    add("--versions", nargs="+", metavar="VERSION", help="with --run or --suite: such as 4.48.3; or minimum, or all")
    add("--checkpoint", type=Path, metavar="DIR", help="with --run: weights for a folder that holds none")
    add("--fix", action="store_true", help="show what can be mended mechanically as a diff, and write it")
    add("--yes", action="store_true", help="with --fix: write without a question")
    add("--json", type=Path, metavar="FILE", help="also write the report as JSON")
    add("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Check, and say it. Exit code 0, 1 (errors found) or 2 (cannot be checked)."""
    options = (("versions", "run", "suite"), ("checkpoint", "run"), ("yes", "fix"), ("list", "suite"))
    for option, *needs in options:
        if getattr(args, option) and not any(getattr(args, need) for need in needs):
            raise UserError(f"--{option} goes with {' or '.join(f'--{need}' for need in needs)}")
    if args.list:
        print("\n".join(check_suite.listing()))
        return 0
    if args.target is None:
        raise UserError("name what to check: a folder, or a repository as owner/name[@revision]")
    if args.fix and mend(args.target, args.yes) and not args.yes:
        return 1
    say = functools.partial(print, flush=True)
    report = check(
        args.target,
        run=args.run,
        suite=args.suite,
        versions=args.versions,
        checkpoint=args.checkpoint,
        endpoint=args.endpoint,
        show=say,
    )
    if report.suite:
        say("\n".join(check_suite.lines(report.suite)))
    if report.rows:
        say("\n".join(["", *matrix.lines(report.rows), "", f"table: {compat.write_tables(report.name, report.rows)}"]))
    say(f"\n{printable(report.summary())}")
    if args.json:
        args.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report.code
