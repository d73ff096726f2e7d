"""Where a push goes: a Hub's address, the token for it, and the repository's name.

The embedded Hub is found through server.json in its data directory, and has to prove that it wrote that file before
it is sent its own token. Apart from choosing and starting it, a push treats it as it treats any other Hub.
"""

import contextlib
import hmac
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.files import shared_lock, write_atomically
from pinfold.common.hub_data import VARIABLE, data_option, full, hub_data, open_data
from pinfold.common.proof import server_proof

HUB_PORT = 7870
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Destination:
    """A repository on a Hub."""

    repo: str
    endpoint: str
    token: str | None
    embedded: Path | None = None

    def __str__(self) -> str:
        return f"{self.repo} on {self.hub}"

    @property
    def hub(self) -> str:
        """The Hub as a message names it: the port of an embedded one changes, its directory says which one it is."""
        return f"the embedded Hub in {self.embedded}" if self.embedded else self.endpoint


@contextlib.contextmanager
def opened(
    repo: str | None,
    default_name: str,
    endpoint: str | None,
    token: str | None = None,
    data: Path | None = None,
    reading: bool = False,
) -> Iterator[Destination]:
    """The destination, with the embedded Hub running for as long as it is needed.

    Args:
        repo: "owner/name"; None is local/<the default name>, and what begins with local/ goes to the embedded Hub.
        endpoint: a Hub's URL, or "embedded"; overrides HF_ENDPOINT.
        data: the embedded Hub's directory; None is this user's own.
        reading: nothing will be written, so that no token is needed.
    """
    name = (
        f"local/{_as_name(default_name)}" if repo is None else check_name(repo, "repository" if reading else "--repo")
    )
    if endpoint == EMBEDDED or (endpoint is None and name.startswith("local/")):
        data = full(data or hub_data())
        with running(data) as server:
            yield Destination(name, f"http://127.0.0.1:{server['port']}", server["token"], data)
        return
    yield _hub(name, endpoint, token, data, reading)


def _hub(name: str, endpoint: str | None, token: str | None, data: Path | None, reading: bool) -> Destination:
    from huggingface_hub import constants, get_token

    endpoint = check_endpoint(endpoint or constants.ENDPOINT)
    if re.fullmatch(r"http://(127\.0\.0\.1|localhost):\d+", endpoint):  # the user's own Hub, if it has this port
        data = full(data or hub_data())
        server = find(data)
        if server and int(endpoint.rpartition(":")[2]) == server["port"]:
            return Destination(name, endpoint, token or _own_token() or server["token"], data)
    token = token or get_token()
    if not token and not reading:
        raise UserError(f"no token for {endpoint}; run `hf auth login` or set HF_TOKEN (a token with the role write)")
    return Destination(name, endpoint, token)


def check_endpoint(endpoint: str) -> str:
    """The address of a Hub, without a slash at its end.

    Raises:
        UserError: it is not one.
    """
    endpoint = endpoint.rstrip("/")
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", endpoint):
        raise UserError(f"--endpoint={endpoint} is not the address of a Hub; use one such as https://huggingface.co")
    return endpoint


def _own_token() -> str | None:
    """HF_TOKEN where an embedded Hub made it; a token of the real Hub is never sent to one."""
    token = os.environ.get("HF_TOKEN", "")
    return token if token.startswith("pinfold_") else None


def check_name(repo: str, option: str = "--repo") -> str:
    """The repository's name, if a Hub would take it.

    Raises:
        UserError: with the Hub's rule that it breaks.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        reason = re.sub(r"\s+", " ", str(error)).split(": '")[0].rstrip(".")
        raise UserError(f"{option}={repo!r}: {reason}; use owner/name") from None
    if "/" not in repo:
        raise UserError(
            f"{option}={repo!r} names no owner; use owner/name, with your account or organisation as owner"
        )
    return repo


def _as_name(text: str) -> str:
    """A directory's name as a repository's: "My Model.v2" -> "My-Model.v2"."""
    return re.sub(r"[^\w.]+|\.{2,}|-{2,}", "-", text, flags=re.ASCII).strip("-.")[:90] or "model"


def find(data: Path) -> dict | None:
    """The embedded Hub that serves this directory, if it is up and proves that it wrote server.json."""
    try:
        server = json.loads((data / "server.json").read_text())
        challenge = secrets.token_hex(16)
        url = f"http://127.0.0.1:{int(server['port'])}/.well-known/pinfold?challenge={challenge}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            proof = json.loads(answer.read(10_000))["proof"]
        expected = server_proof(server["nonce"], challenge)
        return server if hmac.compare_digest(proof, expected) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def served_at(data: Path) -> str | None:
    """The address of the embedded Hub of a directory, where it was started to stay."""
    server = find(data)
    if server is None or (data / "started-for-pushes").exists():
        return None
    return f"http://127.0.0.1:{server['port']}"


@contextlib.contextmanager
def running(data: Path) -> Iterator[dict]:
    """The embedded Hub of a directory; started for the time being where none is up."""
    _make(data)
    # Each push counts among those that use the server. On Windows two at once to a server that one of them started
    # are not protected.
    with shared_lock(data / "users.lock") as is_last:
        yield from _running(data, is_last)


def _running(data: Path, is_last: Callable[[], bool]) -> Iterator[dict]:
    started = data / "started-for-pushes"
    if server := find(data):
        try:
            yield server
        finally:  # whoever started it may have been done before us
            if is_last() and started.exists() and started.read_text() == str(server["pid"]):
                started.unlink(missing_ok=True)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server["pid"], signal.SIGTERM)
        return
    environment = {k: v for k, v in os.environ.items() if "TOKEN" not in k.upper()}
    package = str(Path(__file__).resolve().parents[2])  # a checkout that is not installed
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pinfold", "hub", "--data", str(data), "--port", "0", "--quiet"]
    # a session of its own: Ctrl-C must reach the push first, which then ends the server in good order
    # a file, not a pipe: an unread pipe blocks the server
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
    )
    try:
        deadline, ended = time.monotonic() + 60, None
        while not (server := find(data)):
            if process.poll() is not None:  # another push's server, begun at the same moment, may be about to answer
                ended = ended or time.monotonic()
                if time.monotonic() > ended + 2:
                    errors.seek(0)
                    reason = errors.read().strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
                    raise UserError(reason[0].removeprefix("pinfold hub: "))
            if time.monotonic() > deadline:
                raise UserError(f"the embedded Hub did not start within 60 s; try: pinfold hub{data_option(data)}")
            time.sleep(0.05)
        if server["pid"] == process.pid:
            write_atomically(started, str(server["pid"]).encode(), mode=0o600)
        yield server
    finally:
        errors.close()
        if process.poll() is not None or is_last():
            started.unlink(missing_ok=True)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _make(data: Path) -> None:
    """The directory, for its owner only. One that holds something else is refused before a file is written to it.

    Raises:
        UserError: so it is, or it cannot be made.
    """
    cure = f"set {VARIABLE} to another directory for the embedded Hub's data"
    try:
        open_data(data, str(data), cure)
    except OSError as error:
        raise UserError(f"{data}: {error.strerror}; {cure}") from error
