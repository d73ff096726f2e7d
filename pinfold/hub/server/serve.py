"""Serve the embedded Hub on this machine, or look after its data. Without an action it serves.

Example:
  pinfold hub --data runs/hub --port 7870
  pinfold hub token me --role write
  pinfold hub import runs/my_model me/model
"""

import argparse
import contextlib
import errno
import ipaddress
import json
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from pinfold.common.errors import UserError, missing_extra
from pinfold.hub.admin import actions

DATA = Path("runs/hub")
HOST, PORT = "127.0.0.1", 7870
PART = 64 * 2**20  # bytes; larger files are sent in parts of this size
LOOKING = ("tokens", "revoke", "gc", "verify")  # of no use where nothing is
SESSION_USER = "local"
MARK = "pinfold-hub"  # a file that says whose directory this is
# What a push, or a token made without a server, leaves there before it has a mark.
_BEFORE = {"users.lock", "started-for-pushes", "tokens.json", "tokens.lock"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=actions.directory, default=DATA, help=f"where repositories are kept (default {DATA})"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port (default {PORT}); 0 picks a free one")
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    parser.add_argument("--read-only", action="store_true", help="refuse every change")
    parser.add_argument(
        "--host",
        default=HOST,
        help=f"address to listen at (default {HOST}: this machine alone). Any other needs a token to exist, "
        "and then everything needs one",
    )
    parser.add_argument("--public-read", action="store_true", help="with --host: public repositories need no token")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="with --host: a name clients use for it"
    )
    parser.add_argument(
        "--idle-timeout", type=float, default=60, metavar="SECONDS", help="drop a client that is silent (default 60)"
    )
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    parser.add_argument("--part-size", type=int, default=PART, help=argparse.SUPPRESS)  # for tests: small parts
    actions.add_arguments(parser.add_subparsers(dest="action", metavar="ACTION", title="instead of serving"), DATA)


def main(args: argparse.Namespace) -> int:
    try:
        import uvicorn  # noqa: F401

        from pinfold.hub.server import app, auth  # noqa: F401
        from pinfold.hub.server import call as wire  # noqa: F401
        from pinfold.hub.storage import faults, store  # noqa: F401
    except ImportError as error:
        raise missing_extra("hub", "hub", error) from error
    if args.action in LOOKING and not args.data.is_dir():
        raise UserError(f"--data {args.data}: there is no such directory; name the one that pinfold hub serves")
    _prepare(args.data)
    if args.action:
        return actions.run(args, _claimed)
    if args.fault:
        faults.arm(args.fault)
    local = _is_local(args.host)
    if not local and not auth.Tokens(args.data).listed():
        raise UserError(
            f"--host {args.host} lets other machines in, and no token exists; first run: pinfold hub token NAME"
        )
    if args.part_size < 1:
        raise UserError(f"--part-size {args.part_size}: give bytes")
    if not 0 < args.idle_timeout < 1e6:
        raise UserError(f"--idle-timeout {args.idle_timeout}: give seconds above 0")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_claimed(args.data))
        listeners = [stack.enter_context(_listening(args.host, args.port))]
        if not local and args.host not in ("0.0.0.0", "::"):  # pinfold push on this machine comes through 127.0.0.1
            listeners.append(stack.enter_context(_listening(HOST, listeners[0].getsockname()[1])))
        return _serve(args, listeners, closed=not local and not args.public_read)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _serve(args: argparse.Namespace, listeners: list[socket.socket], closed: bool) -> int:
    import uvicorn

    from pinfold.hub.api import multipart
    from pinfold.hub.server import app, auth, connection
    from pinfold.hub.server import call as wire
    from pinfold.hub.storage import store
    from pinfold.hub.storage.files import write_file

    repositories, tokens = store.Store(args.data), auth.Tokens(args.data)
    repositories.repair()
    multipart.remove_old(repositories.parts)
    hub = wire.Hub(
        repositories, tokens, _secret(args.data), secrets.token_hex(32), args.part_size, args.read_only, closed
    )
    port = listeners[0].getsockname()[1]
    session = {
        "pid": os.getpid(),
        "port": port,
        "nonce": hub.nonce,
        "token": tokens.open_session(SESSION_USER),
        "user": SESSION_USER,
    }
    names = [args.host, *args.allowed_host, *([] if _is_local(args.host) else [socket.gethostname()])]
    application = app.build(hub, not args.quiet, names, not _is_local(args.host), args.idle_timeout)
    config = uvicorn.Config(
        application,
        http=connection.protocol(args.idle_timeout),
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        limit_concurrency=connection.MAX_CONNECTIONS,
        h11_max_incomplete_event_size=connection.MAX_HEADERS,
    )
    server = uvicorn.Server(config)

    def stop(*signal_and_frame: object) -> None:
        server.should_exit = True

    # uvicorn's own handlers come with its event loop and then pass the signal on; a signal may come before.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        write_file(args.data / "server.json", json.dumps(session).encode(), mode=0o600)
        print(_greeting(args.data, args.host, port), flush=True)
        server.run(sockets=listeners)
    finally:
        (args.data / "server.json").unlink(missing_ok=True)
    print("Stopped.", file=sys.stderr)
    return 0


def _greeting(data: Path, host: str, port: int) -> str:
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    endpoint = f"HF_ENDPOINT={url}"
    token = "pinfold hub token NAME --role write"
    if data != DATA:
        token += f" --data {shlex.quote(str(data))}"
    return "\n".join(
        [
            f"pinfold hub listening on {url}, data in {data}; Ctrl-C stops it",
            "To load from it (the second keeps a stored token of the real Hub from being sent here):",
            f"  export {endpoint} HF_HUB_DISABLE_IMPLICIT_TOKEN=1",
            "To push to NAME/... with push_to_hub or hf upload:",
            f"  export {endpoint} HF_HUB_DISABLE_XET=1 HF_TOKEN=$({token})",
        ]
    )


def _prepare(data: Path) -> None:
    """The data directory, readable by its owner only: private repositories are in it."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (data / MARK).exists():
            if not _is_ours(data):
                raise UserError(
                    f"--data {data} holds other files and is no data directory of a Hub; name a new or an empty one"
                )
            (data / MARK).touch()
        (data / "tmp").mkdir(exist_ok=True)
        (data / "repos").mkdir(exist_ok=True)
        probe = data / "tmp" / f"probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space" if full else "choose a directory you may write with --data"
        raise UserError(f"--data {data}: {error.strerror}; {cure}") from error


def _is_ours(data: Path) -> bool:
    """Whether it is empty, or was made by a version that left no mark."""
    names, repos = {each.name for each in data.iterdir()}, data / "repos"
    if names <= _BEFORE:
        return True
    if not repos.is_dir():
        return False
    was_empty = names - _BEFORE == {"repos", "tmp"} and not any(repos.iterdir())
    return was_empty or bool(names & {"secret", "tokens.json", "lock"}) or any(repos.glob("*/*/*.git/hub.json"))


def _secret(data: Path) -> bytes:
    """The key that signs upload URLs. Kept, so that an upload that outlives a restart is still accepted."""
    from pinfold.hub.storage.files import write_file

    path = data / "secret"
    if not path.exists():
        write_file(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()


@contextlib.contextmanager
def _claimed(data: Path) -> Iterator[None]:
    """One server per data directory: locks inside the process keep its repositories consistent."""
    from pinfold.hub.storage.files import lock

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(data / "lock", wait=False))
        except BlockingIOError:
            raise UserError(f"{data} is served already{_running(data)}; use that server or another --data") from None
        yield


def _running(data: Path) -> str:
    try:
        running = json.loads((data / "server.json").read_text())
        return f" at http://127.0.0.1:{running['port']} (process {running['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":  # elsewhere this would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if not host:  # it would mean every address, which is called 0.0.0.0
                raise TypeError
            listener.bind((host, port))
            listener.listen(128)
        except socket.gaierror as error:
            raise UserError(f"--host {host}: {error.strerror}; give an address of this machine") from error
        except (TypeError, UnicodeError) as error:  # a label that is empty, too long or holds a zero byte
            raise UserError(f"--host {host!r} is no address; give one of this machine") from error
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
                raise UserError(f"--host {host} is no address of this machine; give one of its own") from error
            reason = getattr(error, "strerror", None) or "ports are 0 to 65535"
            raise UserError(f"--port {port}: {reason}; choose another, or 0 for any free one") from error
        yield listener
