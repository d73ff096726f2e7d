"""Pull requests: what they change, whether it still fits the branch, and the merge."""

import io
from collections.abc import Callable

from dulwich.patch import write_object_diff

from pinfold.hub.storage import discussions, packs
from pinfold.hub.storage.commit import check_clashes
from pinfold.hub.storage.discussions import Discussion
from pinfold.hub.storage.errors import Moved, Refused
from pinfold.hub.storage.repository import FILE, Repository

MAX_DIFF, MAX_DIFF_FILE, MAX_DIFF_FILES = 2**20, 200_000, 300  # bytes, bytes of a file that is compared, files
ATTRIBUTES = ".gitattributes"
Files = dict[str, tuple[int, str]]


def base(repo: Repository, pull: Discussion) -> str:
    """The last commit that the pull request and its branch share."""
    tip, target = repo.ref(pull.ref), repo.ref(pull.target)
    shared = packs.ancestors(repo.git.object_store, [target.encode()] if target else [])
    for commit in repo.history(tip):
        if commit.id in shared:
            return commit.id.decode()
    raise Refused(409, f"pull request {pull.num} shares no commit with {pull.target}")


def start(repo: Repository, pull: Discussion) -> str:
    """Where its changes begin. Once merged, its own commits are on the branch, so the base is what it was."""
    return pull.base if pull.status == "merged" and pull.base else base(repo, pull)


def commits(repo: Repository, pull: Discussion) -> list:
    """Its own commits, oldest first."""
    tip, first, own = repo.ref(pull.ref), start(repo, pull), []
    for commit in repo.history(tip) if tip else ():
        if commit.id.decode() == first:
            break
        own.append(commit)
    return own[::-1]


def diff(repo: Repository, pull: Discussion) -> str:
    """What it changes as git prints it, cut off where it gets long."""
    tip = repo.ref(pull.ref)
    store, text = repo.git.object_store, io.BytesIO()
    for number, (paths, modes, shas) in enumerate(
        store.tree_changes(*(repo.commit(sha).tree for sha in (start(repo, pull), tip)))
    ):
        if number == MAX_DIFF_FILES or text.tell() > MAX_DIFF:
            text.write(b"[cut off; fetch the ref for the rest]\n")
            break
        if any(sha and len(store.get_raw(sha)[1]) > MAX_DIFF_FILE for sha in shas):
            text.write(b"diff --git a/%s b/%s\n[too long to show]\n" % tuple(path or b"" for path in paths))
        else:
            write_object_diff(text, store, *zip(paths, modes, shas, strict=True))
    return text.getvalue().decode("utf-8", "replace")


def conflicts(repo: Repository, pull: Discussion) -> list[str]:
    """The files that both sides have changed, in different ways."""
    target = repo.ref(pull.target)
    if pull.status not in discussions.OPEN or target is None:
        return []
    return _merged(repo, base(repo, pull), repo.ref(pull.ref), target)[1]


def merge(repo: Repository, pull: Discussion, author: str, text: str, faults: Callable[[str], None]) -> None:
    """Bring it to its branch: the commit itself where the branch has not moved, else one commit of its changes.

    Call with the repository's lock. A merge whose answer was lost, sent again, finds it done.
    """
    tip, target = repo.ref(pull.ref), repo.ref(pull.target)
    if target is None:
        raise Refused(409, f"{pull.target} is gone; create the branch again or close pull request {pull.num}")
    if pull.status not in discussions.OPEN:
        raise Refused(409, f"pull request {pull.num} is {pull.status} already")
    if tip == pull.base:
        raise Refused(400, f"pull request {pull.num} has no changes yet; commit to {pull.ref} first")
    first = base(repo, pull)
    if first == target:
        result = tip
    elif first == tip:
        result = target  # merged before a crash
    else:
        result = _squash(repo, pull, first, tip, target, author, text)
    pull.base = pull.base or first
    if result != target:
        try:
            repo.move_ref(pull.target, target, result)
        except Moved as error:
            raise Refused(409, "the branch has moved meanwhile; try again") from error
        faults("pull-merged")
    pull.status, pull.merged = "merged", result


def _squash(repo: Repository, pull: Discussion, first: str, tip: str, target: str, author: str, text: str) -> str:
    files, clash = _merged(repo, first, tip, target)
    if clash:
        raise Refused(
            409, f"both sides changed: {', '.join(clash)[:400]}; commit to {pull.ref} what main has", files=clash
        )
    check_clashes(files, repo.files(target))
    tree = repo.write_tree(files)
    if tree == repo.commit(target).tree.decode():  # merged before a crash
        return target
    title = f"{pull.title} (#{pull.num})"
    return repo.write_commit(tree, target, author, f"{title}\n\n{text}" if text else title)


def _merged(repo: Repository, first: str, tip: str, target: str) -> tuple[Files, list[str]]:
    """The branch's files with the changes of the pull request, and those that both have changed."""
    old, new, ours = (repo.files(sha) for sha in (first, tip, target))
    files, clash = dict(ours), []
    for path in sorted(old.keys() | new.keys()):
        before, after, here = old.get(path), new.get(path), ours.get(path)
        if before == after or after == here:
            continue
        if here == before:
            if after is None:
                del files[path]
            else:
                files[path] = after
        elif path == ATTRIBUTES and after and here:
            files[path] = (FILE, _joined(repo, after, here))
        else:
            clash.append(path)
    return files, clash


def _joined(repo: Repository, theirs: tuple[int, str], ours: tuple[int, str]) -> str:
    """Both .gitattributes: this server adds a line for a large file, so both sides have some and neither is wrong."""
    lines = [(repo.load(ATTRIBUTES, *each).content or b"").splitlines() for each in (ours, theirs)]
    return repo.write_blob(b"\n".join([*lines[0], *(each for each in lines[1] if each not in lines[0])]) + b"\n")
