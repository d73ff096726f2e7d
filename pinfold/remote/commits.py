"""What a push changes on a Hub: the commit of files and the tag. Files of other people stay."""

import contextlib
import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.folder.contents import is_models
from pinfold.folder.filenames import INDEX, MANIFEST, WEIGHTS
from pinfold.remote.client import NONCE, Remote, same
from pinfold.staging.stage import Staged

OURS_ALWAYS = {"README.md", ".gitattributes"}


@dataclass(frozen=True)
class CommitOptions:
    """What a commit of files may be asked for.

    Args:
        private: of a repository that is created. message: the commit's title.
        prune: also delete files that no push wrote, after a question.
        pin: make no new commit; the files have to be in this one.
    """

    private: bool = False
    create_pr: bool = False
    tag: str | None = None
    message: str | None = None
    prune: bool = False
    pin: str | None = None


def _is_models(text: str | None) -> bool:
    try:
        return is_models(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        return True


def plan(remote: Remote, staged: Staged, head: str, work: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """What to add, what to delete (only what an earlier push of ours wrote), and what is not ours.

    Raises:
        UserError: a tokenizer alone would take the place of a model.
    """
    tree = remote.tree(head)
    if staged.tokenizer_only and "config.json" in tree and _is_models(remote.read("config.json", head, work)):
        raise UserError(
            f"{remote.repo} holds a model, and a tokenizer alone would replace it; push the tokenizer with the model "
            "(--checkpoint DIR with the files of both), or name another --repo"
        )
    add = {n: staged.directory / n for n in staged.files if not same(staged.directory / n, tree.get(n))}
    earlier: dict = {}
    if MANIFEST in tree:
        with contextlib.suppress(ValueError, AttributeError):
            earlier = json.loads(remote.read(MANIFEST, head, work) or "{}").get("files", {})
    ours = set(staged.files)
    delete = sorted(name for name in set(earlier) & set(tree) - ours - OURS_ALWAYS)
    foreign = sorted(set(tree) - ours - set(delete) - OURS_ALWAYS - {MANIFEST})
    return add, delete, foreign


def commit_files(
    remote: Remote,
    staged: Staged,
    options: CommitOptions,
    work: Path,
    exists: bool,
    pinned_by: Callable[[str], set[str]],
    show: Callable[[str], None],
) -> tuple[str, bool, str]:
    """The commit that holds the staged files: a new one, or the earlier one that already does.

    Args:
        pinned_by: the commits that a README.md pins.
        show: called with news while the commit is made.

    Returns:
        Its sha, whether it is new, and what was done in words.
    """
    if options.pin:
        remote.compare(options.pin, {n: staged.directory / n for n in staged.files})
        return options.pin, False, f"{options.pin} holds these files"
    if not exists or remote.head() is None:
        remote.create(options.private)
    head = remote.head()
    if head is None:
        raise UserError(f"{remote.repo} was created and has no branch {remote.branch} yet; run the same command again")
    add, delete, foreign = plan(remote, staged, head, work)
    if options.prune and foreign:
        delete += _confirmed(foreign)
        foreign = [name for name in foreign if name not in delete]
    _refuse_rivals(remote, foreign)
    if foreign:
        show(f"(left alone on the Hub: {', '.join(foreign[:6])}{', …' * (len(foreign) > 6)})")
    if not add and not delete:
        sha = _earlier_commit(remote, staged, head, work, pinned_by)
        return sha, False, f"nothing changed, {sha} holds these files"
    if options.tag:
        check_tag(remote, options.tag)
    message = options.message or f"Publish {staged.architecture} with pinfold"
    sha = remote.commit(message, head, add, delete, options.create_pr, on_wait=show)
    return sha, True, f"{sha} ({len(add)} files{f', {len(delete)} deleted' if delete else ''})"


def _refuse_rivals(remote: Remote, foreign: list[str]) -> None:
    """
    Raises:
        UserError: weights that no push wrote would be loaded instead of ours.
    """
    rivals = [n for n in foreign if n in (WEIGHTS, INDEX) or (n.endswith(".safetensors") and n.startswith("model"))]
    if rivals:
        raise UserError(f"{remote.repo} holds {', '.join(rivals)}, which would be loaded instead; delete with --prune")


def _earlier_commit(
    remote: Remote, staged: Staged, head: str, work: Path, pinned_by: Callable[[str], set[str]]
) -> str:
    """The commit that the card pins, or else the newest of ours, that holds these files; otherwise the head."""
    files = {name: staged.directory / name for name in staged.files}
    for sha in pinned_by(remote.read("README.md", head, work) or ""):
        with contextlib.suppress(UserError):
            remote.compare(sha, files)
            return sha
    for entry in remote.commits():
        if NONCE not in (entry.message or ""):
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


def _confirmed(foreign: list[str]) -> list[str]:
    """Those files, if the user agrees to delete them."""
    if not sys.stdin.isatty():
        raise UserError("--prune asks before it deletes; run it in a terminal, or delete with `hf repos delete-files`")
    print("\n  " + "\n  ".join(foreign), flush=True)
    answer = input(f"Delete these {len(foreign)} files, which pinfold did not write? [y/N] ")
    return foreign if answer.strip().lower() in ("y", "yes") else []


def check_tag(remote: Remote, tag: str, sha: str | None = None) -> None:
    """Refuse a tag that names another commit, before there is one to tag."""
    with remote.saying("reading the tags"):
        for existing in remote.api.list_repo_refs(remote.repo).tags:
            if existing.name == tag and existing.target_commit != sha:
                commit = existing.target_commit[:12]
                raise UserError(f"--tag={tag} already exists and points to {commit}; choose another tag")


def tag_commit(remote: Remote, tag: str, sha: str) -> None:
    """Give a commit a tag."""
    check_tag(remote, tag, sha)
    with remote.saying(f"tagging {tag}"):
        remote.api.create_tag(remote.repo, tag=tag, revision=sha, exist_ok=True)


def show_changes(remote: Remote, staged: Staged, exists: bool, work: Path, say: Callable[[str], None]) -> str:
    """Say what a push would change; returns the head, or nothing where there is none."""
    head = remote.head() if exists else None
    add, delete, foreign = plan(remote, staged, head, work) if head else (dict.fromkeys(staged.files), [], [])
    tree = remote.tree(head) if head else {}
    for name in sorted({*add, *delete}):
        sign = "-" if name in delete else "~" if name in tree else "+"
        say(f"  {sign} {name}")
        if sign == "~" and name.endswith((".py", ".json", ".txt", ".jinja")):
            old, new = remote.read(name, head, work) or "", (staged.directory / name).read_text(encoding="utf-8")
            if max(len(old), len(new)) < 1_000_000:
                lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "on the Hub", "here", "", "", 2, "")
                say("\n".join(f"    {line}" for line in lines))
    for name in foreign:
        say(f"  = {name} (not written by pinfold; kept)")
    say("dry run: nothing was uploaded" if add or delete else "dry run: nothing to upload, the Hub holds these files")
    return head or ""
