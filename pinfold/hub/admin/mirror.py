"""`pinfold hub import`: a repository from a folder, or from another Hub with its history, so that its pins load here.

How it works:
- Everything is built in DATA/imports and appears by one rename, so a running server shows all of it or nothing.
- A source that serves git gives its commits as they are: the sha of a pin stays the same.
- Large files are fetched for the revision asked for; they are checked by size and sha256, and resumed.
- A source without git gives its files as one new commit that names the commit they come from.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from pinfold.common.errors import UserError, printable
from pinfold.common.files import lock, sha256_of_file, sync_directory
from pinfold.common.private import FILE as PRIVATE_FILE
from pinfold.common.private import close_to_others, make_directory
from pinfold.hub.admin.maintenance import MAX_POINTER, import_lock
from pinfold.hub.admin.source import RemoteFile, Source
from pinfold.hub.storage import lfs, packs
from pinfold.hub.storage.commit import MAX_INLINE, check_clashes, check_new_path, check_path
from pinfold.hub.storage.errors import Moved, Refused
from pinfold.hub.storage.gitrules import DEFAULT_ATTRIBUTES, Attributes, attribute_line
from pinfold.hub.storage.repository import FILE, Pointer, Repository
from pinfold.hub.storage.store import Store

EXECUTABLE = 0o100755
Report = Callable[[int], None]
_NOT_OURS = {".git", ".cache", "__pycache__", ".DS_Store"}


def import_folder(store: Store, kind: str, repo_id: str, folder: Path, private: bool, report: Report) -> str:
    """A repository with the files of a folder as one commit. Returns its sha."""
    files = dict(_files_of(folder))
    if not files:
        raise UserError(f"{folder} has no files; give a folder with a model in it")
    with _staged(store, kind, repo_id, private=private) as repo:
        tree = _folder_tree(repo, files, report)
        sha = repo.write_commit(tree, None, repo.namespace, f"Import of {folder.resolve().name}")
        _set_main(repo, sha)
    return sha


def _set_main(repo: Repository, sha: str) -> None:
    if before := repo.ref("refs/heads/main"):  # of a run that was stopped just then
        repo.move_ref("refs/heads/main", before, sha)
    else:
        repo.add_ref("refs/heads/main", sha)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for _, path in _files_of(folder))


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """(path in the repository, file). Links are followed inside the folder and, in a download cache, to its blobs."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; to copy from another Hub add --from URL")
    inside = [folder.resolve(), folder.resolve().parent.parent / "blobs"]
    for directory, subdirectories, names in os.walk(folder, onerror=_refuse):
        subdirectories[:] = sorted(set(subdirectories) - _NOT_OURS)
        for name in subdirectories:
            if (path := Path(directory) / name).is_symlink():
                raise UserError(f"{printable(str(path))} is a link to a directory; remove it or copy the directory")
        for name in sorted(set(names) - _NOT_OURS):
            path = Path(directory) / name
            if not path.is_file() or not any(path.resolve().is_relative_to(each) for each in inside):
                raise UserError(
                    f"{printable(str(path))} leads out of the folder or is not a file; remove it or copy the file"
                )
            yield _checked(path.relative_to(folder).as_posix(), check_new_path), path


def _refuse(error: OSError) -> None:
    raise UserError(f"{printable(str(error.filename))}: {error.strerror}; a folder is imported whole or not at all")


def _folder_tree(repo: Repository, files: dict[str, Path], report: Report) -> str:
    rules_file = files.get(".gitattributes")
    rules_text = rules_file.read_bytes() if rules_file else DEFAULT_ATTRIBUTES.encode()
    rules, tree = Attributes(rules_text), {}
    for path, file in files.items():
        size = file.stat().st_size
        if size <= MAX_POINTER and Pointer.parse(file.read_bytes()):
            raise UserError(f"{printable(path)} is a git-lfs pointer and not the file; run git lfs pull first")
        if size > MAX_INLINE or (size and (rules.large(path) or b"\0" in file.open("rb").read(8000))):
            pointer = _keep(repo, file, report)
            tree[path] = (FILE, repo.write_blob(pointer.text()))
            if not rules.large(path):
                rules_text += attribute_line(path).encode()
        else:
            tree[path] = (FILE, repo.write_blob(file.read_bytes()))
            report(size)
    tree[".gitattributes"] = (FILE, repo.write_blob(rules_text))
    _check_clashes(tree)
    return repo.write_tree(tree)


def _keep(repo: Repository, file: Path, report: Report) -> Pointer:
    part = _incomplete(repo) / "folder"
    shutil.copyfile(file, part)  # copied first and hashed then: the file may change meanwhile
    pointer = Pointer(sha256_of_file(part), part.stat().st_size)
    _store(repo, part, pointer)
    report(pointer.size)
    return pointer


# From another Hub -----------------------------------------------------------------------------


def mirror(store: Store, repo_id: str, source: Source, revision: str, private: bool, say: Callable[[str], None],
           progress: Callable[[int], Report]) -> tuple[str, bool]:  # fmt: skip
    """Copy one revision. Returns its commit here, and whether that is the source's own."""
    upstream, hidden, files = source.remote_files(revision)
    for each in files:
        _checked(each.path)
    say(f"{source.repo_id} is at {upstream}, {len(files)} files, {sum(each.size for each in files)} bytes")
    existing = store.find(source.kind, repo_id)
    if existing:
        _same_source(existing, source)
        with _held(store, source.kind, existing.id):
            if (private or hidden) and not existing.private:
                existing.change(private=True)  # before anything of it can be seen
                say(f"{existing.id} is private from now on" + (", as its source is" if hidden else ""))
            return _extend(existing, source, upstream, files, progress), True
    with _staged(store, source.kind, repo_id, private=private or hidden) as repo:
        copied = _copy_history(repo, source, upstream)
        if not copied:
            say("the source serves no git, so the files get a commit of their own and another sha")
        _copy_large(repo, source, upstream, files, progress)
        sha = upstream if copied else _new_commit(repo, source, upstream, files)
        if copied:
            _check_complete(repo, upstream)
            _add_tags(repo, upstream)
        repo.change(mirror=_origin(source, upstream, [upstream] if copied else []))
        _set_main(repo, sha)
    return sha, copied


def _origin(source: Source, revision: str, complete: list[str]) -> dict:
    return {"endpoint": source.endpoint, "repo": source.repo_id, "revision": revision, "complete": complete}


def _same_source(repo: Repository, source: Source) -> None:
    origin = repo.settings.get("mirror") or {}
    if (origin.get("endpoint"), origin.get("repo")) != (source.endpoint, source.repo_id) or not origin["complete"]:
        raise UserError(
            f"{repo.id} already exists and is not a mirror of {source.url}; choose another name, or delete it first"
        )


def _extend(
    repo: Repository, source: Source, upstream: str, files: list[RemoteFile], progress: Callable[[int], Report]
) -> str:
    """A further revision of a mirror. main follows where that only adds commits; a pin loads in any case."""
    if not _copy_history(repo, source, upstream):
        raise UserError(f"{source.url} serves no git any more; import it under another name")
    _copy_large(repo, source, upstream, files, progress)
    _check_complete(repo, upstream)
    origin = repo.settings["mirror"]
    repo.change(mirror=_origin(source, upstream, [*dict.fromkeys([*origin["complete"], upstream])]))
    store, main = repo.git.object_store, repo.resolve("main")
    try:
        if main.encode() in packs.ancestors(store, [upstream.encode()]) and main != upstream:
            repo.move_ref("refs/heads/main", main, upstream)
        elif upstream.encode() not in packs.ancestors(store, [main.encode()]):
            repo.add_ref(f"refs/heads/mirror-{upstream[:12]}", upstream)  # or gc would remove it
    except Moved as error:
        raise UserError(f"{repo.id} has changed meanwhile; run it again") from error
    _add_tags(repo, upstream)
    return upstream


def _copy_history(repo: Repository, source: Source, sha: str) -> bool:
    """Fetch the commit with all before it, and the tags on it. False where the source serves no git."""
    from dulwich.client import HttpGitClient, HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository

    if sha.encode() in repo.git.object_store and _has_history(repo, sha):
        return True  # of a run that was stopped
    parts = urlsplit(source.url)
    client = HttpGitClient(f"{parts.scheme}://{parts.netloc}", username="pinfold", password=source.token, timeout=600)
    if not source.token:
        client = HttpGitClient(f"{parts.scheme}://{parts.netloc}", timeout=600)
    try:
        result = client.fetch(parts.path, repo.git, determine_wants=lambda refs, depth=None: _wanted(refs, sha))
    except (NotGitRepository, HTTPUnauthorized):
        return False
    except (GitProtocolError, OSError, ValueError, HTTPException) as error:
        raise UserError(f"{source.url}: git says: {printable(str(error))[:200]}; run it again to go on") from error
    close_to_others(repo.path / "objects")  # dulwich lets everybody read a pack
    if sha.encode() not in repo.git.object_store:
        raise UserError(
            f"{source.url} gives its branches and tags, and none has {sha} in its history; ask for another"
        )
    for name, value in result.refs.items():
        if name.startswith(b"refs/tags/") and value and value in repo.git.object_store:
            repo.git.refs.add_if_new(b"refs/imported/" + name.removeprefix(b"refs/tags/"), value)
    return True


def _wanted(refs: dict, sha: str) -> list[bytes]:
    """Everything, as not every server gives a commit by its sha; of pull requests only what is asked for."""
    public = {value for name, value in refs.items() if value and name.startswith((b"refs/heads/", b"refs/tags/"))}
    return sorted(public | ({sha.encode()} & set(refs.values())))


def _has_history(repo: Repository, sha: str) -> bool:
    try:
        packs.ancestors(repo.git.object_store, [sha.encode()])
    except KeyError:
        return False
    return True


def _check_complete(repo: Repository, sha: str) -> None:
    """Every commit, tree and file of the history is there, and the revision's names are harmless."""
    store, seen = repo.git.object_store, {}
    try:
        for each in packs.ancestors(store, [sha.encode()]):
            packs.add_files(store, store[each].tree, seen)
        missing = next((each for each in seen if each not in store), None)
    except KeyError as error:
        missing = error.args[0]
    if missing:
        raise UserError(f"the history of {sha} lacks the object {missing!r}; delete the import and run it again")
    for path, (mode, oid) in repo.files(sha).items():
        _checked(path)
        if mode not in (FILE, EXECUTABLE):
            raise UserError(f"{printable(path)} is a link in the history of {sha}; this Hub serves plain files only")
        pointer = repo.load(path, mode, oid).pointer
        if pointer and not lfs.owns(repo, pointer):
            raise UserError(f"{printable(path)} is a large file that the source does not list; run it again")


def _add_tags(repo: Repository, sha: str) -> None:
    store, known = repo.git.object_store, packs.ancestors(repo.git.object_store, [sha.encode()])
    for name, value in repo.git.refs.as_dict(b"refs/imported").items():
        try:
            commit, _ = packs.peel(store, value)
        except KeyError:
            continue
        if commit in known:
            repo.git.refs.add_if_new(b"refs/tags/" + name, value)
        repo.git.refs.remove_if_equals(b"refs/imported/" + name, None)


def _copy_large(
    repo: Repository, source: Source, sha: str, files: list[RemoteFile], progress: Callable[[int], Report]
) -> None:
    wanted = {each.sha256: each for each in files if each.sha256}
    missing = {oid: each for oid, each in wanted.items() if not lfs.owns(repo, Pointer(oid, each.size))}
    needed, free = sum(each.size for each in missing.values()), shutil.disk_usage(repo.path).free
    if needed > free:
        raise UserError(f"the large files need {needed} bytes and the disk has {free} free; free some space")
    report = progress(needed)
    for oid, each in missing.items():
        part = _incomplete(repo) / oid
        if part.exists():
            report(part.stat().st_size)
        source.download(sha, each.path, part, each.size, report)
        if sha256_of_file(part) != oid:
            part.unlink()
            raise UserError(f"{printable(each.path)} came with another sha256 than announced; run it again")
        _store(repo, part, Pointer(oid, each.size))


def _new_commit(repo: Repository, source: Source, sha: str, files: list[RemoteFile]) -> str:
    tree, part = {}, _incomplete(repo) / "file"
    for each in files:
        if each.sha256:
            oid = repo.write_blob(Pointer(each.sha256, each.size).text())
        else:
            part.unlink(missing_ok=True)
            source.download(sha, each.path, part, each.size, lambda size: None)
            oid = repo.write_blob(part.read_bytes() if part.exists() else b"")
        if each.blob and oid != each.blob:
            raise UserError(f"{printable(each.path)} came with another hash than announced; run it again")
        tree[each.path] = (FILE, oid)
    part.unlink(missing_ok=True)
    _check_clashes(tree, tree)
    message = f"Import of {source.repo_id}\n\nupstream: {source.url}\nupstream commit: {sha}"
    return repo.write_commit(repo.write_tree(tree), None, repo.namespace, message)


# Where it is built ----------------------------------------------------------------------------


@contextlib.contextmanager
def _staged(store: Store, kind: str, repo_id: str, private: bool) -> Iterator[Repository]:
    """A repository in DATA/imports. It stays there when something fails, so that the next run goes on."""
    taken = UserError(f"{repo_id} already exists; choose another name or delete it first")
    if (store.path(kind, repo_id) / "hub.json").exists():
        raise taken
    if twin := store.twin(repo_id.partition("/")[0]):
        raise UserError(f"{repo_id} differs from the namespace {twin} in case alone, which is one name; use {twin}")
    path = import_lock(store.root.parent, kind, repo_id).with_suffix(".git")
    with _held(store, kind, repo_id):
        if not (path / "hub.json").exists():
            shutil.rmtree(path, ignore_errors=True)
            store.build(path, kind, repo_id, private=private)
        repo = Repository(path, kind, repo_id, store.lock(path))
        repo.change(private=private)  # what this run says, not the one that was stopped
        yield repo
        shutil.rmtree(_incomplete(repo))
        try:
            store.place(repo)
        except Moved:
            raise taken from None


@contextlib.contextmanager
def _held(store: Store, kind: str, repo_id: str) -> Iterator[None]:
    """Keep another import, and gc, from the same repository."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(import_lock(store.root.parent, kind, repo_id), wait=False, mode=PRIVATE_FILE))
        except BlockingIOError:
            raise UserError(f"{repo_id} is being imported by another process; wait for it") from None
        yield


def _incomplete(repo: Repository) -> Path:
    path = repo.path / "lfs" / "incomplete"
    make_directory(path)
    return path


def _store(repo: Repository, part: Path, pointer: Pointer) -> None:
    target = lfs.object_path(repo, pointer.oid)
    make_directory(target.parent)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(PRIVATE_FILE)
    os.replace(part, target)
    sync_directory(target.parent)


def _check_clashes(files: Iterable[str], before: Iterable[str] = ()) -> None:
    try:
        check_clashes(files, before)
    except Refused as error:
        raise UserError(error.message) from None


def _checked(path: str, check: Callable[[str], str] = check_path) -> str:
    try:
        return check(path)
    except Refused as error:
        raise UserError(error.message) from None
