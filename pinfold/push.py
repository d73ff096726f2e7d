"""Publish a model folder and its weights: audited, verified before and after, pinned to the commit.

Without --repo the destination is the embedded Hub of this machine. The steps, in order: load, stage, audit, verify,
card, commit, verify again from the Hub, pin. A step that fails ends the push with one line and exit code 2.

Example: pinfold push resnet_model --checkpoint runs/resnet-digits --repo me/resnet-digits
"""

import argparse
import ast
import contextlib
import difflib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

from pinfold.errors import UserError
from pinfold.publish import card, fence, verify
from pinfold.publish.audit import audit
from pinfold.publish.destination import EMBEDDED, HUB_PORT, Destination, check_name, opened
from pinfold.publish.folder import ModelFolder, read_folder
from pinfold.publish.remote import Remote, patience, same
from pinfold.publish.stage import INDEX, MANIFEST, WEIGHTS, Staged, parse_size, stage

DEMO = (Path("resnet_model"), Path("runs/resnet-digits"))
OURS_ALWAYS = {"README.md", ".gitattributes"}


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
) -> Published:
    """Publish a model in memory, from a script or a notebook; the same steps as the command line.

    Args:
        model: a PreTrainedModel whose class lies in a model folder (a file, not a notebook cell).
        repo: "owner/name"; None publishes to the embedded Hub as local/<model_type>.
        tokenizer, processor: saved with it; anything with save_pretrained.
        folder: where the code is; found from the model's class by default.
        endpoint: a Hub's URL, or "embedded"; beats HF_ENDPOINT.

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
    add("--pin", metavar="SHA", help="make no new commit of files; write the card for this one, such as a merged one")


def main(args: argparse.Namespace) -> int:
    """Run a push from the command line."""
    publish(args)
    return 0


def publish(args: argparse.Namespace, token: str | None = None, model=None) -> Published:
    """All steps of a push; prints one line a step."""
    path, checkpoint = _inputs(args)
    if args.repo is not None:
        check_name(args.repo)
    folder, human = read_folder(path), card.read_human_half(path)
    with (
        tempfile.TemporaryDirectory(prefix="pinfold-") as temporary,
        opened(args.repo, checkpoint.resolve().name, args.endpoint, token) as destination,
        patience(progress=sum(p.stat().st_size for p in checkpoint.glob("*.safetensors")) > 50e6),
    ):
        say(f"push to {destination}")
        work = Path(temporary)
        remote = Remote(destination, args.branch)
        exists = remote.check_access(args.private)

        with step("stage") as done:
            staged = _staged(folder, checkpoint, work, args)
            done(f"{len(staged.files)} files, {_megabytes(staged)}")
        for name, reason in staged.left_out:
            say(f"           left out: {name} ({reason})")

        with step("audit") as done:
            findings = audit(staged.directory, read_folder(staged.directory))
            if findings:
                raise UserError(f"the audit found {len(findings)}: " + "\n  ".join(map(str, findings)))
            done("nothing found")

        with step("verify") as done:
            expected = verify.reference(staged, checkpoint, work)
            if model is not None:
                verify.compare_in_memory(model, card.main_auto_class(staged), expected)
            answer = verify.staged_load(staged, expected, work)
            done(f"{', '.join(sorted(answer['hashes']))}: tensors and outputs equal, also saved and loaded again")
        say(f"           {expected.parameters:,} parameters, transformers {answer['transformers']}")
        say(f"           {fence.available().describe()}")
        for auto, names in answer["formula"].items():
            if names:
                say(f"           {auto}: not in the checkpoint, random for users: {', '.join(names[:4])}")

        if answer.get("unaligned"):
            say("           equal once its tensors are copied; mapped from the file, last bits may differ on a CPU")

        with step("card") as done:
            old = remote.read("README.md", remote.head() or "main", work) if exists else None
            _, notes = _card(remote, staged, human, "0" * 40, expected, answer, old)
            done(
                "; ".join(notes) or f"license {human.metadata['license']}, {len(human.text.split())} words of card.md"
            )

        if args.dry_run:
            return _dry_run(remote, staged, exists, work)

        with step("commit") as done:
            code, changed = _code_commit(remote, staged, args, work, exists, done)

        with step("verify") as done:
            hub_home = work / "hub-home"
            remote.snapshot(code, hub_home)
            verify.published_load(staged, expected, work, hub_home, destination.repo, code)
            done(f"loaded at {code[:12]} from an empty cache: tensors and outputs equal")

        if args.create_pr and not changed:
            say("Nothing changed, so no pull request was opened.")
        elif args.create_pr:
            say(f"The pull request's commit is {code}. After the merge: pinfold push {path} --pin SHA")
        else:
            with step("pin") as done:
                _pin(remote, staged, human, code, expected, answer, work, done)
        if args.tag:
            _tag(remote, args.tag, code)
        published = Published(
            destination.repo, code, destination.endpoint, card.snippet(staged, destination.repo, code), changed
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
    read_folder(path)  # a folder that is not there is the first thing to say
    fitting = [c.parent for c in sorted(Path("runs").glob("*/config.json")) if _same_type(c, path)]
    if len(fitting) == 1:
        return path, fitting[0]
    found = f"found {', '.join(map(str, fitting))}" if fitting else "none found in runs/"
    raise UserError(f"{path} holds no weights; name a checkpoint of it with --checkpoint DIR ({found})")


def _same_type(config: Path, folder: Path) -> bool:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return kind is not None and any(repr(kind) in _types(m.read_text(encoding="utf-8")) for m in folder.glob("*.py"))


def _types(source: str) -> set[str]:
    return {f"'{found}'" for found in re.findall(r"^\s+model_type\s*(?::\s*\w+\s*)?=\s*[\"'](.+?)[\"']", source, re.M)}


def _staged(folder: ModelFolder, checkpoint: Path, work: Path, args: argparse.Namespace) -> Staged:
    directory = work / "staged"
    directory.mkdir()
    needed = sum(p.stat().st_size for p in checkpoint.glob("*.safetensors")) * 2  # staged, and downloaded again
    free = shutil.disk_usage(work).free
    if needed > free:
        raise UserError(f"{work} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed; set TMPDIR elsewhere")
    return stage(folder, checkpoint, directory, args.max_shard_size)


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


def _plan(remote: Remote, staged: Staged, head: str, work: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """What to add, what to delete (only what an earlier push of ours wrote), and what is somebody else's."""
    tree = remote.tree(head)
    add = {n: staged.directory / n for n in staged.files if not same(staged.directory / n, tree.get(n))}
    earlier: dict = {}
    if MANIFEST in tree:
        with contextlib.suppress(ValueError, AttributeError):
            earlier = json.loads(remote.read(MANIFEST, head, work) or "{}").get("files", {})
    ours = set(staged.files)
    delete = sorted(name for name in set(earlier) & set(tree) - ours - OURS_ALWAYS)
    foreign = sorted(set(tree) - ours - set(delete) - OURS_ALWAYS - {MANIFEST})
    return add, delete, foreign


def _code_commit(
    remote: Remote, staged: Staged, args: argparse.Namespace, work: Path, exists: bool, done
) -> tuple[str, bool]:
    """The commit that holds the staged files: a new one, or the earlier one that already does."""
    if args.pin:
        remote.compare(args.pin, {n: staged.directory / n for n in staged.files})
        done(f"{args.pin} holds these files")
        return args.pin, False
    if not exists or remote.head() is None:
        remote.create(args.private)
    head = remote.head()
    add, delete, foreign = _plan(remote, staged, head, work)
    if args.prune and foreign:
        delete += _asked(foreign)
        foreign = [name for name in foreign if name not in delete]
    rivals = [n for n in foreign if n in (WEIGHTS, INDEX) or (n.endswith(".safetensors") and n.startswith("model"))]
    if rivals:
        raise UserError(f"{remote.repo} holds {', '.join(rivals)}, which would be loaded instead; delete with --prune")
    if foreign:
        print(f"(left alone on the Hub: {', '.join(foreign[:6])}{', …' * (len(foreign) > 6)}) ", end="")
    if not add and not delete:
        sha = _earlier_commit(remote, staged, head, work)
        done(f"nothing changed, {sha} holds these files")
        return sha, False
    if args.tag:
        _check_tag(remote, args.tag)
    message = args.message or f"Publish {staged.architecture} with pinfold"
    sha = remote.commit(
        message, head, add, delete, args.create_pr, on_wait=lambda line: print(line, end=" ", flush=True)
    )
    done(f"{sha} ({len(add)} files{f', {len(delete)} deleted' if delete else ''})")
    return sha, True


def _earlier_commit(remote: Remote, staged: Staged, head: str, work: Path) -> str:
    """The commit that the card pins, or else the newest of ours, that holds these files; the head where none is."""
    files = {name: staged.directory / name for name in staged.files}
    for sha in card.pinned(remote.read("README.md", head, work) or ""):
        with contextlib.suppress(UserError):
            remote.compare(sha, files)
            return sha
    for entry in remote.commits():
        if "pinfold-push:" not in (entry.message or ""):
            continue
        tree = remote.tree(entry.commit_id)
        if all(same(path, tree.get(name)) for name, path in files.items()):
            before = _parent_tree(remote, entry.commit_id)
            if any(tree.get(name) != before.get(name) for name in files):
                return entry.commit_id
    return head


def _parent_tree(remote: Remote, sha: str) -> dict[str, str]:
    ids = [entry.commit_id for entry in remote.commits()]
    position = ids.index(sha)
    return remote.tree(ids[position + 1]) if position + 1 < len(ids) else {}


def _asked(foreign: list[str]) -> list[str]:
    if not sys.stdin.isatty():
        raise UserError("--prune asks before it deletes; run it in a terminal, or delete with `hf repos delete-files`")
    say("\n  " + "\n  ".join(foreign))
    answer = input(f"Delete these {len(foreign)} files, which no push of ours wrote? [y/N] ")
    return foreign if answer.strip().lower() in ("y", "yes") else []


def _card(remote: Remote, staged: Staged, human, revision: str, expected: verify.Reference, answer: dict, old):
    verified = (
        f"Loaded from the staged files, and from the Hub at this commit, with transformers {answer['transformers']}: "
        f"every tensor equals the file, and the outputs of {', '.join(f'`{a}`' for a in sorted(answer['hashes']))} "
        "on a probe equal those of the model in memory, bit for bit (CPU)."
    )
    text = card.render(staged, human, remote.repo, revision, verified, _requirements(staged), expected.parameters)
    return card.merge(text, old, human)


def _requirements(staged: Staged) -> str:
    """A quoted pip line: an unquoted >= is a redirection to a shell."""
    installed, found = packages_distributions(), {"torch", "transformers>=4.48"}
    for name in staged.code:
        for node in ast.walk(ast.parse((staged.directory / name).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            tops = {n.split(".")[0] for n in names} - {"torch", "transformers", "numpy", "safetensors"}
            # the name to install is the one that is installed here; a module's own name may be somebody else's package
            found |= {installed[top][0].lower() for top in tops - sys.stdlib_module_names if top in installed}
    return " ".join(f'"{name}"' for name in sorted(found))


def _pin(remote: Remote, staged: Staged, human, code: str, expected, answer: dict, work: Path, done) -> None:
    """A second commit that touches README.md only: a commit cannot contain its own sha."""
    for attempt in (1, 2, 3):
        head = remote.head()
        old = remote.read("README.md", head, work)
        text, notes = _card(remote, staged, human, code, expected, answer, old)
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


def _check_tag(remote: Remote, tag: str, sha: str | None = None) -> None:
    """Refuse a tag that names another commit, before there is one to tag."""
    with remote.saying("reading the tags"):
        for existing in remote.api.list_repo_refs(remote.repo).tags:
            if existing.name == tag and existing.target_commit != sha:
                raise UserError(f"--tag={tag} exists and names {existing.target_commit[:12]}; choose another tag")


def _tag(remote: Remote, tag: str, sha: str) -> None:
    _check_tag(remote, tag, sha)
    with remote.saying(f"tagging {tag}"):
        remote.api.create_tag(remote.repo, tag=tag, revision=sha, exist_ok=True)
    say(f"  tag      {tag} names {sha[:12]}")


def _dry_run(remote: Remote, staged: Staged, exists: bool, work: Path) -> Published:
    """Show what a push would change, and stop."""
    head = remote.head() if exists else None
    add, delete, foreign = _plan(remote, staged, head, work) if head else (dict.fromkeys(staged.files), [], [])
    tree = remote.tree(head) if head else {}
    for name in sorted({*add, *delete}):
        sign = "-" if name in delete else "~" if name in tree else "+"
        say(f"  {sign} {name}")
        if sign == "~" and name.endswith((".py", ".json", ".txt", ".jinja")):
            old, new = remote.read(name, head, work) or "", (staged.directory / name).read_text(encoding="utf-8")
            if max(len(old), len(new)) < 1_000_000:
                lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "on the Hub", "here", "", "", 2, "")
                print("\n".join(f"    {line}" for line in lines))
    for name in foreign:
        say(f"  = {name} (not ours; stays)")
    say("dry run: nothing was uploaded" if add or delete else "dry run: nothing to upload, the Hub holds these files")
    return Published(remote.repo, head or "", remote.destination.endpoint, "", False)


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
