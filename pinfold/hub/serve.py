"""A data directory served at an address of this machine, until a signal stops it."""

import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from pinfold.common.errors import UserError
from pinfold.common.files import write_atomically
from pinfold.common.hub_data import data_option, full
from pinfold.common.private import FILE
from pinfold.hub import app
from pinfold.hub.admin.data_directory import claimed, signing_key
from pinfold.hub.api import multipart
from pinfold.hub.options import HOST, Options
from pinfold.hub.server import connection
from pinfold.hub.server.call import Hub
from pinfold.hub.server.tokens import Tokens
from pinfold.hub.storage.store import Store

SESSION_USER = "local"


def serve(options: Options) -> None:
    """Serve until a signal comes. Other machines are let in only where a token exists.

    Raises:
        UserError: a setting that cannot be, an address that is taken, a directory that is served already.
    """
    if not options.is_local and not Tokens(options.data).listed():
        raise UserError(
            f"--host {options.host} lets other machines in, and no token exists; first run: pinfold hub token NAME"
        )
    if options.part_size < 1:
        raise UserError(f"--part-size {options.part_size}: give bytes")
    if not 0 < options.idle_timeout < 1e6:
        raise UserError(f"--idle-timeout {options.idle_timeout}: give seconds above 0")
    with contextlib.ExitStack() as stack:
        stack.enter_context(claimed(options.data))
        listeners = [stack.enter_context(listening(options.host, options.port))]
        if not options.is_local and options.host not in ("0.0.0.0", "::"):
            # pinfold push on this machine comes through 127.0.0.1
            listeners.append(stack.enter_context(listening(HOST, listeners[0].getsockname()[1])))
        server, session = prepared_server(options, listeners[0].getsockname()[1])
        _run_until_a_signal(server, listeners, session, options)


def prepared_server(options: Options, port: int) -> tuple[uvicorn.Server, dict[str, object]]:
    """A server that has not begun to listen, and what its server.json says. Call with the directory claimed."""
    store, tokens = Store(options.data), Tokens(options.data)
    # Before anything is answered: a killed server's lock files would block writes.
    store.repair()
    multipart.remove_old(store.parts)
    hub = Hub(
        store=store,
        tokens=tokens,
        secret=signing_key(options.data),
        nonce=secrets.token_hex(32),
        part_size=options.part_size,
        read_only=options.read_only,
        closed=options.closed,
    )
    session = {
        "pid": os.getpid(),
        "port": port,
        "nonce": hub.nonce,
        "token": tokens.open_session(SESSION_USER),
        "user": SESSION_USER,
    }
    hosts = [options.host, *options.allowed_hosts, *([] if options.is_local else [socket.gethostname()])]
    application = app.build(hub, not options.quiet, hosts, not options.is_local, options.idle_timeout)
    config = uvicorn.Config(
        application,
        http=connection.protocol(options.idle_timeout),
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        limit_concurrency=connection.MAX_CONNECTIONS,
        h11_max_incomplete_event_size=connection.MAX_HEADERS,
    )
    return uvicorn.Server(config), session


def _run_until_a_signal(
    server: uvicorn.Server, listeners: list[socket.socket], session: dict[str, object], options: Options
) -> None:
    def stop(*signal_and_frame: object) -> None:
        server.should_exit = True

    # uvicorn's own handlers come with its event loop and then pass the signal on; a signal may come before.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        # The file comes first and the greeting after it: who has read the greeting finds the file.
        write_atomically(options.data / "server.json", json.dumps(session).encode(), mode=FILE)
        print(_greeting(options, int(str(session["port"]))), flush=True)
        server.run(sockets=listeners)
    finally:
        (options.data / "server.json").unlink(missing_ok=True)
    print("Stopped.", file=sys.stderr)


def _greeting(options: Options, port: int) -> str:
    url = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{port}"
    endpoint = f"HF_ENDPOINT={url}"
    token = f"pinfold hub token NAME --role write{data_option(options.data)}"
    return "\n".join(
        [
            f"pinfold hub listening on {url}, data in {full(options.data)}; Ctrl-C stops it",
            "To load from it (the second keeps a stored token of the real Hub from being sent here):",
            f"  export {endpoint} HF_HUB_DISABLE_IMPLICIT_TOKEN=1",
            "To push to NAME/... with push_to_hub or hf upload:",
            f"  export {endpoint} HF_HUB_DISABLE_XET=1 HF_TOKEN=$({token})",
        ]
    )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio looks for that before it lets small answers go at once. Else the second request
    # of a connection waits 40 ms for the client's system to confirm the first part of an answer.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
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
            raise UserError(f"--host {host!r} is not an address; give one of this machine") from error
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
                raise UserError(f"--host {host} is not an address of this machine; give one that is") from error
            reason = getattr(error, "strerror", None) or "ports are 0 to 65535"
            raise UserError(f"--port {port}: {reason}; choose another, or 0 for any free one") from error
        yield listener
