"""One repository on a Hub: what it holds, and commits that are known to be ours.

How it works:
- A commit names the parent it was made for, so that someone else's commit in between is a refusal, not a loss.
- Each commit's description has a nonce. After any doubt (a lost answer, a client that found nothing to do) the
  history is searched for it; a sha is believed only when its tree equals the files here.
- The client waits without limit by default; here every request has a deadline.
"""

import contextlib
import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from pinfold.common.errors import UserError
from pinfold.common.files import cached_sha256
from pinfold.remote.destination import Destination

NONCE = "pinfold-push:"  # opens the description of every commit that a push makes
DEADLINE = 300.0  # seconds without a byte
_UPLOADING = threading.RLock()  # held while the client's own settings are changed
AGAIN = "run the same command again, it continues from what has arrived"


class ConflictError(UserError):
    """Someone else committed to the branch since its head was read."""


class Remote:
    """A repository and a branch of it."""

    def __init__(self, destination: Destination, branch: str = "main"):
        self.destination, self.repo, self.branch = destination, destination.repo, branch
        self.api = HfApi(endpoint=destination.endpoint, token=destination.token)

    def check_access(self, private: bool) -> bool:
        """Whether the repository exists. Called before anything is computed.

        Raises:
            UserError: bad token, no permission to write, or public where a private one is wanted.
        """
        with self.saying("asking who the token belongs to"):
            user = self.api.whoami()
        owner = self.repo.split("/")[0]
        mine = {user["name"], *(o["name"] for o in user.get("orgs") or [])}
        role = ((user.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise UserError(f"the token of {user['name']} may only read; use one with the role write")
        with self.saying("looking at the repository"):
            try:
                info = self.api.repo_info(self.repo)
            except RepositoryNotFoundError:
                if owner not in mine:
                    raise UserError(
                        f"{user['name']} may not create {self.repo}; use {user['name']}/{self.repo.split('/')[1]}"
                        + (f" or one of {', '.join(sorted(mine - {user['name']}))}" if len(mine) > 1 else "")
                    ) from None
                return False
        if owner not in mine and role != "fineGrained":
            raise UserError(f"{user['name']} may not write to {self.repo}; use a token of {owner}, or another --repo")
        if private and not info.private:
            raise UserError(f"{self.repo} exists and is public; make it private in its settings, or drop --private")
        return True

    def create(self, private: bool) -> None:
        """Create the repository and the branch where they are missing."""
        with self.saying("creating the repository"):
            self.api.create_repo(self.repo, private=private, exist_ok=True)
            if self.branch != "main":
                self.api.create_branch(self.repo, branch=self.branch, exist_ok=True)

    def head(self) -> str | None:
        """The branch's commit; None where the branch or the repository does not exist."""
        with self.saying("reading the branch"):
            try:
                return self.api.repo_info(self.repo, revision=self.branch).sha
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None

    def tree(self, revision: str) -> dict[str, str]:
        """Path -> sha256 (LFS) or git blob sha1 of every file at a revision."""
        with self.saying("reading the files"):
            entries = self.api.list_repo_tree(self.repo, revision=revision, recursive=True)
            return {e.path: e.lfs.sha256 if e.lfs else e.blob_id for e in entries if isinstance(e, RepoFile)}

    def read(self, path: str, revision: str | None, work: Path) -> str | None:
        """A text file at a revision (None: the default branch's newest); None where there is no such file."""
        with self.saying(f"reading {path}"):
            try:
                local = self.api.hf_hub_download(self.repo, path, revision=revision, cache_dir=work / "read")
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):  # no answer at all is not "no such file"
                    raise
                return None
        return Path(local).read_text(encoding="utf-8", errors="replace")

    def snapshot(self, revision: str, hub_home: Path, pickles: bool = False) -> Path:
        """Download a commit into an empty cache, as a user's first load would.

        Args:
            pickles: download weights that PyTorch pickled too; transformers loads them if it finds no safetensors.
        """
        foreign = ["*.gguf", "*.onnx", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.tflite"]
        foreign += [] if pickles else ["*.bin"]
        with self.saying("downloading what was uploaded"):
            return Path(
                self.api.snapshot_download(
                    self.repo, revision=revision, cache_dir=hub_home / "hub", ignore_patterns=foreign
                )
            )

    def commits(self) -> list:
        """The newest commits of the branch, newest first."""
        with self.saying("reading the history"):
            return self.api.list_repo_commits(self.repo, revision=self.branch)

    def commit(
        self,
        message: str,
        parent: str | None,
        add: dict[str, Path],
        delete: Sequence[str] = (),
        create_pr: bool = False,
        on_wait: Callable[[str], None] = lambda line: None,
    ) -> str:
        """One commit on top of ``parent``; returns its sha once its tree was seen to hold what was sent.

        Raises:
            ConflictError: someone else committed first.
            UserError: the Hub refused, or it cannot be reached.
        """
        nonce = f"{NONCE} {secrets.token_hex(16)}"
        operations = [CommitOperationAdd(name, str(path)) for name, path in sorted(add.items())]
        operations += [CommitOperationDelete(name) for name in sorted(delete)]
        sha, problem = None, None
        try:
            with self._uploading():
                info = self.api.create_commit(
                    self.repo,
                    operations,
                    commit_message=message,
                    commit_description=nonce,
                    revision=self.branch,
                    parent_commit=parent,
                    create_pr=create_pr,
                )
            sha = info.oid
            if create_pr:
                on_wait(f"pull request: {info.pr_url}")
        except Exception as error:  # whatever it was, the commit may be there
            if isinstance(error, HfHubHTTPError) and _status(error) in (400, 401, 403, 404, 412, 413, 422):
                raise self.explain(error, "committing") from None
            problem = error
        if not create_pr or problem:
            sha = self._find_nonce(nonce, problem, on_wait)
        if sha is None:
            raise (
                self.explain(problem, "committing", AGAIN)
                if problem
                else UserError(f"{self.repo}: someone else already committed these files; {AGAIN}")
            )
        sent = {operation.path_in_repo: operation.upload_info.sha256.hex() for operation in operations[: len(add)]}
        self.compare(sha, add, delete, sent)
        return sha

    def compare(
        self, sha: str, files: dict[str, Path], absent: Sequence[str] = (), sent: dict[str, str] | None = None
    ) -> None:
        """Check that a commit's tree holds these very bytes.

        Args:
            sent: sha256 of files that the client has just read, so that large ones are not read once more.

        Raises:
            UserError: it does not.
        """
        tree = self.tree(sha)
        sent = sent or {}
        wrong = [n for n, path in files.items() if tree.get(n) != sent.get(n, "") and not same(path, tree.get(n))]
        wrong += [n for n in absent if n in tree]
        if wrong:
            raise UserError(f"{self.repo} at {sha} does not hold what was sent ({', '.join(wrong[:5])}); {AGAIN}")

    def _find_nonce(self, nonce: str, problem: Exception | None, on_wait: Callable[[str], None]) -> str | None:
        """Search the newest commits; a Hub that went down gets half a minute to come back."""
        waits = (0, 1, 2, 4, 8, 15) if problem else (0,)
        for i, wait in enumerate(waits):
            time.sleep(wait)
            try:
                for entry in self.commits():
                    if nonce in (entry.message or ""):
                        return entry.commit_id
                return None
            except UserError:
                if i == len(waits) - 1:
                    return None
                on_wait(f"no answer from {self.destination.endpoint}; asking again in {waits[i + 1]} s")
        return None

    @contextlib.contextmanager
    def _uploading(self) -> Iterator[None]:
        """Use Xet only where the Hub speaks it: the client has no fallback of its own.

        huggingface_hub 0.x reads the address in the answer as one of its default Hub's, and fails after the commit.
        These are settings of the whole process, so that uploads in two threads wait for each other.
        """
        with _UPLOADING:
            xet, endpoint = constants.HF_HUB_DISABLE_XET, constants.ENDPOINT
            constants.HF_HUB_DISABLE_XET = xet or not self._speaks_xet()
            constants.ENDPOINT = self.destination.endpoint
            try:
                yield
            finally:
                constants.HF_HUB_DISABLE_XET, constants.ENDPOINT = xet, endpoint

    def _speaks_xet(self) -> bool:
        from huggingface_hub.utils import build_hf_headers, get_session

        url = f"{self.destination.endpoint}/api/models/{self.repo}/xet-write-token/{self.branch.replace('/', '%2F')}"
        try:
            answer = get_session().get(url, headers=build_hf_headers(token=self.destination.token), timeout=30)
            return answer.status_code == 200
        except Exception:  # without an answer Xet is assumed absent; the commit itself reports what is wrong
            return False

    @contextlib.contextmanager
    def saying(self, doing: str) -> Iterator[None]:
        """Turn whatever the client raises into one line."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if not (isinstance(error, (HfHubHTTPError, OSError)) or "http" in type(error).__module__.lower()):
                raise
            raise self.explain(error, doing) from None

    def explain(self, error: Exception, doing: str, cure: str = "") -> UserError:
        """One line for an error of the client, without addresses that carry signatures."""
        where = self.destination.endpoint
        status = _status(error)
        said = getattr(error, "server_message", None) or ""
        if status == 401:
            return UserError(f"{where} does not accept the token; run `hf auth login` or set HF_TOKEN")
        if status == 403:
            return UserError(
                f"{where} refuses {doing}: {said or 'no permission'}; use a token that may write to {self.repo}"
            )
        if status == 412:
            return ConflictError(f"someone else committed to {self.repo} meanwhile; run the same command again")
        if status == 507:
            return UserError(f"{where} has no space left; free some and {cure or AGAIN}")
        if status:
            return UserError(
                f"{where} answered {status} while {doing}: {said or 'no reason given'}; {cure or 'try again later'}"
            )
        return UserError(
            f"cannot reach {where} ({type(error).__name__} while {doing}); "
            f"{cure or 'check the network, or name another Hub with --endpoint'}"
        )


def same(path: Path, oid: str | None) -> bool:
    """Whether a file has this sha256 (LFS) or git blob sha1."""
    if oid is None:
        return False
    if len(oid) == 64:
        return cached_sha256(path) == oid
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == oid


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


@contextlib.contextmanager
def patience(progress: bool = True) -> Iterator[None]:
    """Give every request of the client a deadline, and put its own ways back afterwards.

    Args:
        progress: whether the client draws its progress bars; small transfers are over before they are read.
    """
    hide = not progress and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    retries = logging.getLogger("huggingface_hub.utils._http")
    retries.addFilter(_without_query)
    try:
        with _deadline():
            yield
    finally:
        retries.removeFilter(_without_query)
        if hide:
            enable_progress_bars()


def _without_query(record: logging.LogRecord) -> bool:
    """The client's word of a retry quotes the whole address; its query may hold a signature that lets others write."""
    record.msg, record.args = re.sub(r"\?[^\s'\"]+", "", record.getMessage()), ()
    return True


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    try:
        from huggingface_hub import set_client_factory
        from huggingface_hub.utils import _http
    except ImportError:  # huggingface_hub 0.x is built on requests
        import functools

        from huggingface_hub import configure_http_backend
        from huggingface_hub.utils._http import _default_backend_factory

        def session():
            made = _default_backend_factory()
            made.request = functools.partial(made.request, timeout=DEADLINE)
            return made

        configure_http_backend(session)
        try:
            yield
        finally:
            configure_http_backend(_default_backend_factory)
        return
    before = _http._GLOBAL_CLIENT_FACTORY

    def client():
        made = before()
        made.timeout = DEADLINE
        return made

    set_client_factory(client)
    try:
        yield
    finally:
        set_client_factory(before)
