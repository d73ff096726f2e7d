"""Publish a model folder and its weights: audited, verified before and after, pinned to the commit.

Without --repo the destination is the embedded Hub of this machine. The steps, in order: load, stage, audit, verify,
card, commit, verify again from the Hub, pin. A step that fails ends the push with one line and exit code 2.

PATH may also be a tokenizer's directory, without a model; its card.md lies in it.

Example: pinfold push resnet_model --checkpoint runs/resnet-digits --repo me/resnet-digits
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import packages_distributions, version
from pathlib import Path

from pinfold import __version__
from pinfold.audit.finding import Finding, errors
from pinfold.audit.run import audit, snippets
from pinfold.audit.security.run import accepted
from pinfold.card import card, snippet
from pinfold.card import check as card_check
from pinfold.card import facts as card_facts
from pinfold.card.picture import picture
from pinfold.common.errors import UserError
from pinfold.convert.files import is_generated
from pinfold.fence import process as fence
from pinfold.fence.overlays import MINIMUM_MATRIX, NEWEST, find_overlay
from pinfold.folder.contents import describes_model, has_tokenizer
from pinfold.folder.filenames import INDEX, WEIGHTS
from pinfold.folder.human_half import HumanHalf, read_human_half
from pinfold.folder.model_folder import ModelFolder, read_folder, read_modules
from pinfold.folder.releases import lowest_version
from pinfold.remote.client import Remote, patience
from pinfold.remote.commits import code_commit, show_changes, tag_commit
from pinfold.remote.destination import EMBEDDED, HUB_PORT, Destination, check_name, opened
from pinfold.remote.snapshot import real_files
from pinfold.staging.checkpoint import CodeFrom, find_weights, parse_size
from pinfold.staging.stage import Staged, stage, stage_tokenizer, write_manifest
from pinfold.verify import matrix, verify

DEMO = (Path("resnet_model"), Path("runs/resnet-digits"))


@dataclass(frozen=True)
class Published:
    """What a push made.

    ``revision`` is the commit that holds weights and code; ``changed`` says whether this push made it.
    """

    repo: str
    revision: str
    endpoint: str
    snippet: str
    changed: bool


def push(
    model,
    repo: str | None = None,
    *,
    tokenizer=None,
    processor=None,
    folder: str | Path | None = None,
    private: bool = False,
    branch: str = "main",
    tag: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    message: str | None = None,
    max_shard_size: str = "5GB",
    code_from: str | None = None,
    versions: list[str] | None = None,
) -> Published:
    """Publish a model in memory, from a script or a notebook; the same steps as the command line.

    Args:
        model: a PreTrainedModel whose class lies in a model folder (a file, not a notebook cell).
        repo: "owner/name"; None publishes to the embedded Hub as local/<model_type>.
        tokenizer, processor: saved with it; anything with save_pretrained.
        folder: where the code is; found from the model's class by default.
        endpoint: a Hub's URL, or "embedded"; beats HF_ENDPOINT.
        code_from: "owner/name@SHA" of a repository whose code these weights use; none is uploaded then.
        versions: transformers releases to verify in; the minimum matrix by default, as far as overlays were made.

    Returns:
        Published, with the commit and the snippet that loads it.

    Raises:
        UserError: one line that says what to do; nothing is visible on the Hub then, unless the line says so.
    """
    if not hasattr(model, "save_pretrained") or not hasattr(getattr(model, "config", None), "model_type"):
        raise UserError(f"{type(model).__name__} is not a PreTrainedModel; derive its class from PreTrainedModel")
    source = Path(folder) if folder else _folder_of(model)
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        checkpoint = Path(temporary) / re.sub(r"\W+", "-", model.config.model_type)
        for part in (model, tokenizer, processor):
            if part is not None:
                part.save_pretrained(checkpoint)
        args = argparse.Namespace(
            path=source, checkpoint=checkpoint, repo=repo, private=private, branch=branch, create_pr=False, tag=tag,
            dry_run=False, endpoint=endpoint, max_shard_size=max_shard_size, message=message, prune=False, pin=None,
            code_from=code_from, versions=versions,
        )  # fmt: skip
        return publish(args, token=token, model=model)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold push``."""
    add = parser.add_argument
    add("path", nargs="?", type=Path, metavar="PATH", help=f"model folder (default: the demo, {DEMO[0]})")
    add(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="saved by save_pretrained (default: PATH, or its one in runs/)",
    )
    add("--repo", metavar="OWNER/NAME", help="default: local/<name of the checkpoint> on the embedded Hub")
    add("--private", action="store_true", help="create the repository as private")
    add("--branch", default="main", help="branch to commit to; created when missing (default: main)")
    add("--create-pr", action="store_true", help="open a pull request instead; pin it after the merge with --pin")
    add("--tag", help="also give the commit this tag")
    add("--dry-run", action="store_true", help="do everything but the upload, and show the differences to the Hub")
    add("--endpoint", metavar="URL", help=f'a Hub\'s address, or "{EMBEDDED}"; beats HF_ENDPOINT')
    add("--max-shard-size", default="5GB", metavar="SIZE", help="split larger weights (default: 5GB)")
    add("--message", help="title of the commit")
    add(
        "--prune",
        action="store_true",
        help="also delete files on the Hub that no push wrote, after a question",
    )
    add(
        "--code-from",
        metavar="OWNER/NAME@SHA",
        help="publish weights for code that is in another repository, pinned as well (PATH then holds card.md)",
    )
    add(
        "--versions",
        nargs="+",
        metavar="VERSION",
        help="transformers releases to verify in; minimum and all stand for lists (default: minimum, where made)",
    )
    add("--pin", metavar="SHA", help="make no new commit of files; write the card for this one, such as a merged one")


def main(args: argparse.Namespace) -> int:
    """Run a push from the command line."""
    publish(args)
    return 0


def publish(args: argparse.Namespace, token: str | None = None, model=None) -> Published:
    """All steps of a push; prints one line a step."""
    code_from = CodeFrom.parse(args.code_from) if args.code_from else None
    path, checkpoint = _inputs(args)
    if args.repo is not None:
        check_name(args.repo)
    if code_from:
        check_name(code_from.repo, "--code-from")
    alone = _is_tokenizer(path) and not code_from and checkpoint == path
    folder = None if code_from else read_modules(path) if alone else read_folder(path)
    human = read_human_half(path)
    if wrong := card_check.human_problems(human.metadata):
        raise UserError(f"{path / 'card.md'}: {wrong[0]}")
    with (
        tempfile.TemporaryDirectory(prefix="pinfold-") as temporary,
        opened(args.repo, checkpoint.resolve().name, args.endpoint, token) as destination,
        patience(progress=sum(p.stat().st_size for p in checkpoint.glob("*.safetensors")) > 50e6),
    ):
        say(f"push to {destination}")
        work = Path(temporary)
        remote = Remote(destination, args.branch)
        exists = remote.check_access(args.private)

        if code_from:
            with step("code") as done:
                folder = read_folder(_fetch_code(code_from, destination, work))
                done(f"{code_from.repo} at {code_from.sha}: {len(folder.modules)} files")
        versions, below = _versions(args, folder)

        if not code_from and not alone and is_generated(path):
            with step("convert") as done:
                told, notes = _generated(path)
                done(told)
            for note in notes:
                say(f"           {note}")

        with step("stage") as done:
            staged = _staged(folder, checkpoint, path, work, args)
            done(f"{len(staged.files)} files, {_megabytes(staged)}")
        for name, reason in staged.left_out:
            say(f"           left out: {name} ({reason})")

        with step("audit") as done:
            findings = _audited(staged, human)
            done(f"{len(findings)} to know of" if findings else "nothing found")
        for finding in findings:
            say(f"           {finding}")

        with step("verify") as done:
            expected, told = verify.reference(staged, checkpoint, work, in_memory=model), None
            if model is not None:
                told = verify.compare_in_memory(model, snippet.main_auto_class(staged), expected)
            _draw(staged, expected)
            rows, answer = _verified(staged, expected, versions, work)
            done(_what_was_equal(sorted(answer["hashes"])))
        size = f"{expected.vocabulary:,} tokens" if alone else f"{expected.parameters:,} parameters"
        say(f"           {size}, transformers {', '.join(row.version for row in rows)}")
        for line in [*([told] if told else []), *_left_unverified(args, versions, below)]:
            say(f"           {line}")
        for head in expected.skipped:
            say(f"           {head}")
        say(f"           {fence.available().describe()}")
        for auto, names in answer["formula"].items():
            if names:
                say(f"           {auto}: not in the checkpoint, random for users: {', '.join(names[:4])}")

        if answer.get("unaligned"):
            say("           equal once its tensors are copied; mapped from the file, last bits may differ on a CPU")

        facts = _facts(staged, expected, [row.version for row in rows], findings)
        facts = replace(facts, drawn=answer["formula"], unaligned=bool(answer.get("unaligned")))
        with step("card") as done:
            old = remote.read("README.md", remote.head() or "main", work) if exists else None
            _, notes = _card(remote, staged, human, "0" * 40, facts, old)
            done(
                "; ".join(notes) or f"license {human.metadata['license']}, {len(human.text.split())} words of card.md"
            )
        if lacking := card_facts.missing(staged, facts):
            say(f"           card: no {', no '.join(lacking)}")

        if args.dry_run:
            return Published(
                destination.repo, show_changes(remote, staged, exists, work, say), destination.endpoint, "", False
            )

        with step("commit") as done:
            staged.check_unchanged()
            code, changed = code_commit(remote, staged, args, work, exists, done)

        with step("verify") as done:
            hub_home = work / "hub-home"
            remote.snapshot(code, hub_home)
            loading = {"hub_home": hub_home, "repo": destination.repo, "revision": code}
            sizes = card_facts.Sizes.read(expected.measured)
            programs = snippet.examples(staged, destination.repo, code, sizes and sizes.inputs)
            loading["code_revision"] = code_from and code_from.sha
            try:
                loaded = verify.published_load(staged, expected, work, **loading, examples=programs)
            except UserError:  # perhaps of the example alone
                loaded = verify.published_load(staged, expected, work, **loading)
            shown = loaded.get("example")
            facts = replace(facts, example={**(shown if isinstance(shown, dict) else {}), "programs": programs})
            done(f"loaded at {code[:12]} from an empty cache: {'ids' if alone else 'tensors and outputs'} equal")

        if args.create_pr and not changed:
            say("Nothing changed, so no pull request was opened.")
        elif args.create_pr:
            say(f"The pull request's commit is {code}. After the merge: pinfold push {path} --pin SHA")
        else:
            with step("pin") as done:
                _pin(remote, staged, human, code, facts, work, done)
        if args.tag:
            tag_commit(remote, args.tag, code)
            say(f"  tag      {args.tag} names {code[:12]}")
        published = Published(
            destination.repo, code, destination.endpoint, snippet.snippet(staged, destination.repo, code), changed
        )
    say_how_to_load(published, destination)
    return published


def say(line: str) -> None:
    """Print at once, so that a waiting user sees it."""
    print(line, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator:
    """Print a step's name when it begins, its outcome and seconds when it ends."""
    started, outcome = time.monotonic(), []
    print(f"  {name:<8} ", end="", flush=True)
    try:
        yield outcome.append
    except BaseException:
        print("failed", flush=True)
        raise
    say(f"{' '.join(outcome)}  [{time.monotonic() - started:.1f} s]")


def _what_was_equal(autos: list[str]) -> str:
    models = [auto for auto in autos if auto != "AutoTokenizer"]
    words = [f"{', '.join(models)}: tensors and outputs equal, also saved and loaded again"] if models else []
    return "; ".join([*words, *(["AutoTokenizer: ids equal"] if "AutoTokenizer" in autos else [])])


def _generated(path: Path) -> tuple[str, list[str]]:
    """Verify a folder that main.py made against what it was made from; what was looked at, and what could not be.

    Raises:
        UserError: the first check that fails.
    """
    from pinfold.convert.verify import verify as verify_generated

    verification = verify_generated(path, progress=False)
    if bad := verification.failed:
        raise UserError(f"{path}: {bad[0].cls or 'folder'}: {bad[0].name}: {bad[0].why}; see: main.py --verify")
    classes = dict.fromkeys(c.cls for c in verification.checks if c.cls)
    looked = dict.fromkeys(c.name for c in verification.checks if c.cls)
    return f"{len(classes)} generated classes: {', '.join(looked)}", verification.notes


def _fetch_code(code_from: CodeFrom, destination: Destination, work: Path) -> Path:
    """The code repository at its commit, in the cache that verification loads from, and as plain files."""
    remote = Remote(replace(destination, repo=code_from.repo), code_from.sha)
    if remote.head() != code_from.sha:
        raise UserError(
            f"--code-from={code_from}: {destination.endpoint} has no such commit of {code_from.repo}; "
            "copy the hash from its list of commits"
        )
    snapshot = remote.snapshot(code_from.sha, work / "hub-home")
    return real_files(snapshot, work / "code" / code_from.repo.split("/")[1])


def _versions(args: argparse.Namespace, folder: ModelFolder) -> tuple[list[str], list[str]]:
    """The releases to verify in, and those of them that the folder declares it does not support."""
    lowest = lowest_version(folder)
    return matrix.choose(args.versions, lowest) if args.versions else matrix.at_hand(lowest, lambda line: None)


def _left_unverified(args: argparse.Namespace, versions: list[str], below: list[str]) -> Iterator[str]:
    if below:
        yield f"not verified in {', '.join(below)}: the folder declares a higher MIN_TRANSFORMERS"
    missing = [v for v in MINIMUM_MATRIX if v not in (*versions, *below, NEWEST)]
    if missing and not args.versions:
        words = " ".join(missing)
        yield f"not verified in transformers {', '.join(missing)}; for that: pinfold compat make {words}"


def _audited(staged: Staged, human: HumanHalf) -> list[Finding]:
    """The findings that do not stop the push.

    Raises:
        UserError: with all that do.
    """
    if staged.code_from:
        findings = audit(staged.directory, staged.folder, code_from=staged.code_from.repo)
    else:
        findings = audit(staged.directory, None if staged.tokenizer_only else read_folder(staged.directory))
    findings = accepted(findings, human.accepted)
    if bad := errors(findings):
        raise UserError(f"the audit found {len(bad)}: " + "\n  ".join(map(str, bad)))
    return findings


def _verified(staged: Staged, expected: verify.Reference, versions: list[str], work: Path) -> tuple[list, dict]:
    """Load the staged files in every version; the rows, and the answer of the newest.

    Raises:
        UserError: the first failure, and in which versions there is one.
    """
    answers: dict = {}
    code = {"hub_home": work / "hub-home", "code_revision": staged.code_from.sha} if staged.code_from else {}

    def loading(overlay):
        answers[overlay] = verify.staged_load(staged, expected, work, overlay=overlay, **code)
        return answers[overlay]

    size = sum(path.stat().st_size for path in staged.weights)
    rows = matrix.run_matrix(versions, loading, size, expected.request.get("threads", 1), lambda row: None)
    failed = [row for row in rows if row.failure]
    if failed:
        others = f" (transformers {', '.join(row.version for row in failed)})"
        raise UserError(failed[-1].failure + others)
    if not matrix.agree(rows):
        raise UserError(f"D03 {matrix.summary(rows)}; the folder computes something else there")
    return rows, answers[find_overlay(rows[-1].version)]


def _inputs(args: argparse.Namespace) -> tuple[Path, Path]:
    """The folder and the checkpoint, found where they were not named; options that cannot be meant are refused."""
    if args.create_pr and (args.pin or args.tag):
        raise UserError("--create-pr goes with neither --pin nor --tag; tag and pin after the merge")
    if args.pin and not re.fullmatch(r"[0-9a-f]{40}", args.pin):
        raise UserError(f"--pin={args.pin} is not a commit; give its full hash of 40 hex digits")
    for option, name in (("branch", args.branch), ("tag", args.tag)):
        if name is not None and (
            not re.fullmatch(r"\w[\w./-]{0,200}", name, re.A) or re.search(r"\.\.|//|[./]$|\.lock", name)
        ):
            raise UserError(f"--{option}={name!r} is not a name that git takes; use letters, digits, '.', '-' and '_'")
    parse_size(args.max_shard_size)
    if args.code_from:
        path = args.path or args.checkpoint
        if path is None or not path.is_dir():
            raise UserError("--code-from needs weights: pinfold push DIR --code-from OWNER/NAME@SHA, DIR with card.md")
        find_weights(args.checkpoint or path)
        return path, args.checkpoint or path
    if args.path is None:
        path, checkpoint = DEMO[0], args.checkpoint or DEMO[1]
        if not args.checkpoint and not checkpoint.exists():
            raise UserError(
                f"{checkpoint} not found; train it: pinfold train {path} --data digits --output {checkpoint}"
            )
        return path, checkpoint
    path = args.path
    if args.checkpoint:
        read_folder(path)
        if not args.checkpoint.is_dir():
            raise UserError(f"--checkpoint={args.checkpoint} is no directory; give one that save_pretrained wrote")
        return path, args.checkpoint
    if (path / WEIGHTS).exists() or (path / INDEX).exists():
        return path, path
    if _is_tokenizer(path):
        return path, path
    read_folder(path)  # a folder that is not there is the first thing to say
    fitting = [c.parent for c in sorted(Path("runs").glob("*/config.json")) if _same_type(c, path)]
    if len(fitting) == 1:
        return path, fitting[0]
    found = f"found {', '.join(map(str, fitting))}" if fitting else "none found in runs/"
    raise UserError(f"{path} holds no weights; name a checkpoint of it with --checkpoint DIR ({found})")


def _is_tokenizer(path: Path) -> bool:
    """Whether a directory holds a tokenizer and nothing of a model."""
    if not path.is_dir() or not has_tokenizer(path) or describes_model(path):
        return False
    return not any(p.suffix == ".safetensors" or p.name.startswith("modeling") for p in path.iterdir())


def _same_type(config: Path, folder: Path) -> bool:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return kind is not None and any(repr(kind) in _types(m.read_text(encoding="utf-8")) for m in folder.glob("*.py"))


def _types(source: str) -> set[str]:
    return {f"'{found}'" for found in re.findall(r"^\s+model_type\s*(?::\s*\w+\s*)?=\s*[\"'](.+?)[\"']", source, re.M)}


def _staged(folder: ModelFolder, checkpoint: Path, path: Path, work: Path, args: argparse.Namespace) -> Staged:
    directory = work / "staged"
    directory.mkdir()
    needed = sum(p.stat().st_size for p in checkpoint.glob("*.safetensors")) * 2  # staged, and downloaded again
    free = shutil.disk_usage(work).free
    if needed > free:
        raise UserError(f"{work} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed; set TMPDIR elsewhere")
    if _is_tokenizer(path) and path == checkpoint and not args.code_from:
        return stage_tokenizer(directory, checkpoint)
    code_from = CodeFrom.parse(args.code_from) if args.code_from else None
    return stage(folder, checkpoint, directory, args.max_shard_size, code_from=code_from, words=path)


def _megabytes(staged: Staged) -> str:
    return f"{sum((staged.directory / n).stat().st_size for n in staged.files) / 1e6:.1f} MB"


def _folder_of(model) -> Path:
    """The directory of the file that defines the model's class."""
    import inspect

    cls = type(model)
    try:
        file = inspect.getfile(cls)
    except (TypeError, OSError):
        file = ""
    if cls.__module__ == "__main__" and not Path(file).name.startswith("modeling"):
        raise UserError(
            f"{cls.__name__} is defined in a notebook or script; move it to a folder with configuration_*.py and "
            "modeling_*.py and import it from there"
        )
    if ".transformers.models." in f".{cls.__module__}":
        raise UserError(
            f"{cls.__name__} is part of transformers; use model.push_to_hub, which needs no code on the Hub"
        )
    return Path(file).parent


def _facts(staged: Staged, expected: verify.Reference, versions: list[str], findings: list[Finding]) -> card.Facts:
    """What goes into the card besides what the staged files say."""
    software = ("torch", "transformers", "huggingface_hub")
    made_with = {"pinfold": __version__} | {name: version(name) for name in software}
    return card.Facts(
        expected.parameters, _requirements(staged), versions, findings, expected.vocabulary,
        measured=expected.measured, made_with=made_with, date=datetime.now(timezone.utc).date().isoformat(),
    )  # fmt: skip


def _draw(staged: Staged, expected: verify.Reference) -> None:
    """Add the picture of the architecture, where nobody has put one of that name beside card.md."""
    places = [staged.directory / name for name in (picture.PICTURE, picture.FALLBACK)]
    found = expected.measured.get("stages")
    if not found or any(place.exists() for place in places):
        return
    picture.draw(found, places[0])
    picture.png(found, places[1])
    staged.picture = picture.told(found)
    write_manifest(staged)


def _card(remote: Remote, staged: Staged, human: HumanHalf, revision: str, facts: card.Facts, old: str | None):
    """The card as it will be, and notes.

    Raises:
        UserError: something in it that the Hub would refuse, or a reader find broken.
    """
    sums = card_facts.sums(staged)
    for known in (facts, replace(facts, example={})):
        own = card.render(staged, human, remote.repo, revision, known)
        wrong = card_check.problems(own, card.generated(own), staged.directory, sums)
        if not wrong:
            break  # what an example prints is no reason to publish no card
    wrong += [f"card.md: {finding}" for finding in snippets(human.text)]
    theirs = staged.conversion.licence if staged.conversion else ""
    if theirs not in ("", "unknown", human.metadata["license"]):
        wrong.append(f"license={human.metadata['license']} in card.md, {theirs} in conversion.json; make them agree")
    if wrong:
        raise UserError(f"card: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    merged, notes = card.merge(own, old, human)
    if wrong := card_check.metadata_problems(merged):
        raise UserError(f"README.md on the Hub: {wrong[0]}; correct it there")
    notes += [f"README.md on the Hub: {finding}" for finding in snippets(merged)]
    return merged, notes


def _requirements(staged: Staged) -> str:
    """A quoted pip line: an unquoted >= is a redirection to a shell."""
    lowest = lowest_version(staged.folder) if staged.code else None
    installed, found = packages_distributions(), {f"transformers>={lowest or '4.48'}"}
    found |= set() if staged.tokenizer_only else {"torch"}
    found |= {"pillow"} if snippet.parts(staged).get("processor") == "AutoImageProcessor" else set()
    for name in staged.code:
        tops = set(card_facts.foreign(staged.folder.modules[name.removesuffix(".py")]))
        # the name to install is the one that is installed here; a module's own name may be somebody else's package
        found |= {
            installed[top][0].lower()
            for top in tops - {"torch", "transformers", "numpy", "safetensors"}
            if top in installed
        }
    return " ".join(f'"{name}"' for name in sorted(found))


def _pin(remote: Remote, staged: Staged, human, code: str, facts: card.Facts, work: Path, done) -> None:
    """A second commit that touches README.md only: a commit cannot contain its own sha."""
    for attempt in (1, 2, 3):
        head = remote.head()
        old = remote.read("README.md", head, work)
        text, notes = _card(remote, staged, human, code, facts, old)
        same_words = old is not None and card.human_part(old) == card.human_part(text)
        if old == text or (same_words and card.pinned(old) == {code}):
            done("the card already pins this commit")
            return
        (work / "README.md").write_text(text, encoding="utf-8", newline="\n")
        try:
            sha = remote.commit(f"Pin the card to {code[:12]}", head, {"README.md": work / "README.md"})
        except UserError as error:
            if "meanwhile" not in str(error) or attempt == 3:
                raise
            continue  # somebody's commit came in between; theirs stays, ours goes on top of it
        done(" ".join([f"README.md in {sha[:12]}", *(f"({note})" for note in notes)]))
        return


def say_how_to_load(published: Published, destination: Destination) -> None:
    """The snippet, and for the embedded Hub the two lines that serve it."""
    say(f"\n{'Published' if published.changed else 'Unchanged:'} {published.repo} at {published.revision}\n")
    if destination.embedded:
        say(f"{_command()} hub --data {destination.embedded} --port {HUB_PORT}   # serves it; leave it running")
        say(f"export HF_ENDPOINT=http://127.0.0.1:{HUB_PORT} HF_HUB_DISABLE_IMPLICIT_TOKEN=1   # in another shell\n")
    say(published.snippet)


def _command() -> str:
    """How this user starts pinfold from this directory."""
    script = Path(sys.executable).with_name("pinfold")
    found = shutil.which("pinfold")
    if found and os.path.realpath(found) == os.path.realpath(script):
        return "pinfold"
    if script.exists():
        return os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)
    return f"{sys.executable} -m pinfold"
