"""Serve the embedded Hub on this machine, or make a token for it.

Example:
  pinfold hub --data runs/hub --port 7870
  pinfold hub token me --role write
"""

import argparse
import contextlib
import errno
import json
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from pinfold.errors import UserError, missing_extra

DATA = Path("runs/hub")
PORT = 7870
SESSION_USER = "local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DATA, help=f"where repositories are kept (default {DATA})")
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"port on 127.0.0.1 (default {PORT}); 0 picks a free one"
    )
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="token", help="make a token instead of serving")
    token = actions.add_parser("token", help="make a token, printed once", description="Make a token, printed once.")
    token.add_argument("name", help="user name; also the namespace the user may write to")
    token.add_argument("--role", choices=("read", "write"), default="read", help="default read")
    # Without SUPPRESS this default would overwrite a --data given before "token".
    token.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=f"as above (default {DATA})")


def main(args: argparse.Namespace) -> int:
    try:
        import uvicorn  # noqa: F401

        from pinfold.hub import app, auth, faults, store, wire  # noqa: F401
    except ImportError as error:
        raise missing_extra("hub", "hub", error) from error
    _prepare(args.data)
    if args.action == "token":
        token = auth.Tokens(args.data).create(args.name, args.role)
        print(
            f"A {args.role} token for {args.name}; only its hash is kept, so it is shown this once.", file=sys.stderr
        )
        print(token)
        return 0
    if args.fault:
        faults.arm(args.fault)
    with _claimed(args.data), _listening(args.port) as listener:
        return _serve(args, listener)


def _serve(args: argparse.Namespace, listener: socket.socket) -> int:
    import uvicorn

    from pinfold.hub import app, auth, store, wire
    from pinfold.hub.files import write_file

    repositories, tokens = store.Store(args.data), auth.Tokens(args.data)
    repositories.repair()
    hub = wire.Hub(repositories, tokens, _secret(args.data), secrets.token_hex(32))
    port = listener.getsockname()[1]
    session = {
        "pid": os.getpid(),
        "port": port,
        "nonce": hub.nonce,
        "token": tokens.open_session(SESSION_USER),
        "user": SESSION_USER,
    }
    application = app.build(hub, log=not args.quiet)
    config = uvicorn.Config(
        application, http="h11", ws="none", log_level="warning", access_log=False, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)

    def stop(*signal_and_frame: object) -> None:
        server.should_exit = True

    # uvicorn's own handlers come with its event loop and then pass the signal on; a signal may come before.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        write_file(args.data / "server.json", json.dumps(session).encode(), mode=0o600)
        print(_greeting(args.data, port), flush=True)
        server.run(sockets=[listener])
    finally:
        (args.data / "server.json").unlink(missing_ok=True)
    print("Stopped.", file=sys.stderr)
    return 0


def _greeting(data: Path, port: int) -> str:
    endpoint = f"HF_ENDPOINT=http://127.0.0.1:{port}"
    token = "pinfold hub token NAME --role write"
    if data != DATA:
        token += f" --data {shlex.quote(str(data))}"
    return "\n".join(
        [
            f"pinfold hub listening on http://127.0.0.1:{port}, data in {data}; Ctrl-C stops it",
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
        (data / "tmp").mkdir(exist_ok=True)
        (data / "repos").mkdir(exist_ok=True)
        probe = data / "tmp" / f"probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space" if full else "choose a directory you may write with --data"
        raise UserError(f"--data {data}: {error.strerror}; {cure}") from error


def _secret(data: Path) -> bytes:
    """The key that signs upload URLs. Kept, so that an upload that outlives a restart is still accepted."""
    from pinfold.hub.files import write_file

    path = data / "secret"
    if not path.exists():
        write_file(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()


@contextlib.contextmanager
def _claimed(data: Path) -> Iterator[None]:
    """One server per data directory: locks inside the process keep its repositories consistent."""
    from pinfold.hub.files import lock

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
    except (OSError, ValueError, KeyError):
        return ""


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":  # elsewhere this would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "ports are 0 to 65535"
            raise UserError(f"--port {port}: {reason}; choose another, or 0 for any free one") from error
        yield listener
