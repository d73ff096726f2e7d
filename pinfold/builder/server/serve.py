"""The page at an address of this machine, until a signal stops it."""

import shutil
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from pinfold.builder.drawing.schema import of_start
from pinfold.builder.server import app
from pinfold.builder.server.handlers import Builder
from pinfold.common.errors import UserError
from pinfold.common.files import remove_tree
from pinfold.fence import process as fence

HOST, PORT = "127.0.0.1", 7860


@dataclass(frozen=True)
class Options:
    """Where the page is served, and where folders go."""

    output: Path
    host: str = HOST
    port: int = PORT
    form: Any = None


def serve(options: Options) -> None:
    """Serve until a signal comes.

    Raises:
        UserError: the address is taken, or cannot be listened on.
    """
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output} is a file; name a directory")
    builder = Builder(options.output, options.form)
    with listening(options.host, options.port) as listener:
        remove_left_over(options.output)
        application = app.build(builder, [options.host])
        config = uvicorn.Config(
            application, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)

        def stop(*signal_and_frame: object) -> None:
            server.should_exit = True
            builder.end()
            fence.end_all()  # a form's check is not a job, and would be waited for

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        # the first check imports torch and both architectures: before anybody waits for it
        threading.Thread(target=warm_up, args=(builder,), daemon=True).start()
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"pinfold builder on http://{host}:{listener.getsockname()[1]}; Ctrl-C stops it", flush=True)
        print(f"Exported folders go to {options.output}.", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            builder.close()
    print("Stopped.", file=sys.stderr)


def remove_left_over(output: Path) -> None:
    """Work of an export whose server was killed."""
    for path in output.glob(".builder-*"):
        remove_tree(path)
        shutil.rmtree(path, ignore_errors=True)


def warm_up(builder: Builder) -> None:
    for state in of_start():
        builder.check({"state": state, "batch": 1, "length": 128, "shapes": True})


def listening(host: str, port: int) -> socket.socket:
    """
    Raises:
        UserError: no socket can listen there.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
        return listener
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot listen on {host} port {port} ({why}); choose another --port, 0 for a free one"
        ) from None
