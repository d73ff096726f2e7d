"""Several modular files at once, each with what it becomes or why it cannot be converted; nothing is written."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert import explain, files
from pinfold.convert.convert import new_workspace
from pinfold.convert.read.workspace import Workspace

ENOUGH = 4  # files for each further process: one costs as much to start as that many to convert


@dataclass(frozen=True)
class Result:
    """What one modular file becomes, or why it cannot be converted."""

    path: Path
    texts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    why: str = ""


def convert_all(paths: list[Path], inline: bool | None, explained: bool) -> Iterator[Result]:
    """Convert all, several at a time where there are many; in the order of `paths`.

    Args:
        inline: whether the configuration goes into the modeling file; None: as in the files that are there.
        explained: whether to say what each definition was made from.
    """
    jobs = min(len(paths) // ENOUGH, os.cpu_count() or 1)
    if jobs < 2:
        workspace = new_workspace()
        yield from (convert_one(path, inline, explained, workspace) for path in paths)
        return
    work = functools.partial(convert_one, inline=inline, explained=explained)
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        try:
            with _no_ctrl_c():
                results = pool.map(work, paths)  # starts the processes
            yield from results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back, in this process until the end and in those that it starts here for good.

    Ctrl-C reaches every process of a terminal. The one that waits answers it; the others would print a traceback each,
    and an initializer that ignores the signal comes too late for one that is still importing.
    """
    resource_tracker.ensure_running()  # which unblocks the signal when it starts by itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def convert_one(path: Path, inline: bool | None, explained: bool, workspace: Workspace | None = None) -> Result:
    """Convert one file."""
    try:
        inlined = files.INLINE in files.recorded(path) if inline is None else inline
        generated = (workspace or new_workspace()).convert(path, inlined)
        lines = explain.table(generated.conversion) if explained else []
        return Result(path, generated.texts, generated.conversion.notes, lines)
    except UserError as error:
        return Result(path, why=str(error))
