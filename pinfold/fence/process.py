"""Run a script that executes a folder's code, out of reach of the user's secrets: the sandbox, seen from outside.

How it works:
- The environment is an allow-list: no variable that could hold a token, and no HF_ setting but ours.
- HOME and HF_HOME are empty temporary directories; the Hub is offline.
- Where the machine allows it (Linux), the process has no network, sees no other process, and of the disk the system's
  programs and libraries, the interpreter, its packages, the directories of PYTHONPATH and LD_LIBRARY_PATH and what the
  run needs, nothing else (sandbox.py, mounts.py). Of pinfold it sees the folder ``fenced`` only, which is what runs in
  it.
- The sandbox's first process (fenced/first.py) starts the one with the code, holds it to limits of memory, tasks, disk
  and time, and writes down what it hands over. It alone can speak to this process.
- ``Fence.describe()`` names what this machine cannot do; the caller prints it.
"""

import contextlib
import functools
import json
import os
import secrets
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pinfold.common.errors import UserError, plain_line, printable, printable_all
from pinfold.common.files import remove_tree
from pinfold.fence import cgroups
from pinfold.fence.handed import LARGEST, Handed, read_record
from pinfold.fence.sandbox import (
    FIRST,
    INSIDE,
    Fence,
    available,
    command_in,
    homes,
    own_packages,
    permit,
    refuse_closed,
)

__all__ = [
    "GIB",
    "SCRIPT",
    "Fence",
    "Outcome",
    "available",
    "end_all",
    "homes",
    "permit",
    "run_sandboxed",
    "sandboxed",
]
# Neither tokens nor credentials have such names, and a Python process may need these.
ALLOWED = {
    *("PATH", "LANG", "LANGUAGE", "TZ", "TERM", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "COMSPEC"),
    *("PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
}
GIB = 1 << 30
TASKS = 1024  # processes and threads of one run
LARGEST_ANSWER = 64 << 20  # bytes
LONGEST_END = 6.0  # seconds in which the first process may end the others
# What runs in the sandbox: a folder that needs nothing else of pinfold, and the only one of it to be seen there.
SCRIPT = INSIDE / "main.py"
_running: dict[subprocess.Popen, bool] = {}  # whether their end ends all that they started


@dataclass(frozen=True)
class Outcome:
    """What a run left: its answer, which the folder's code may have written, and the files that it handed over."""

    answer: dict
    handed: Handed


def run_sandboxed(request: dict, work: Path, **options) -> dict:
    """Run a job that hands over nothing but its answer; arguments and errors are those of ``sandboxed``."""
    with sandboxed(request, work, **options) as outcome:
        return outcome.answer


@contextlib.contextmanager
def sandboxed(
    request: dict,
    work: Path,
    *,
    visible: Sequence[Path],
    writable: Sequence[Path] = (),
    overlay: Path | None = None,
    hub_home: Path | None = None,
    memory: int = 16 * GIB,
    disk: int = 8 * GIB,
    seconds: float = 600,
    name: str = "verification",
    script: Path = SCRIPT,
) -> Iterator[Outcome]:
    """Run ``python script request.json`` in the sandbox; its files are there until the block ends.

    Args:
        request: what the script reads; "answer", the path of its answer, and "handed", the directory for files that
            it hands over, are added to it. Its "module" names a module of pinfold/fenced.
        work: where a directory for this run is made; nothing else in it can be seen or written to.
        visible: paths it reads.
        writable: directories for what the script leaves behind.
        overlay: a directory put in front of the environment's packages (an older transformers).
        hub_home: HF_HOME, filled by the caller; an empty one by default.
        memory: bytes of private memory, and disk: bytes of files, of all its processes together.
        seconds: wall-clock time of the whole run.
        name: what a user calls this run, for error messages.
        script: the script itself, whose directory is visible to it.

    Raises:
        UserError: the process was killed, passed a limit, ended before its job was done, or gave no answer; this is
            Windows.
    """
    with _scratch(work) as scratch:
        directory = scratch / "handed"
        directory.mkdir()
        (scratch / "home").mkdir()
        request = {**request, "answer": str(directory / "answer.json"), "handed": str(directory)}
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        needed = [*visible, script.parent, *([overlay] if overlay else []), *([hub_home] if hub_home else [])]
        places = [scratch.resolve(), *(path.resolve() for path in writable)]
        orders = {
            "nonce": secrets.token_hex(16),
            "command": [sys.executable, str(script), str(scratch / "request.json")],
            "handed": str(directory.resolve()),
            "memory": memory,
            "disk": disk,
            "tasks": TASKS,
            "largest": LARGEST,
            "writable": [str(path) for path in places],
        }
        environment = _environment(scratch, overlay, hub_home)
        # opened before the run: what the code puts in the directory's place later is not looked at
        with Handed(directory) as handed, tempfile.TemporaryFile(dir=work) as log:
            fence = available()
            refuse_closed(fence, visible)
            command = command_in(fence, [sys.executable, "-I", "-S", str(FIRST)], needed, places)
            said = _run(command, orders, environment, scratch, log, seconds, name, fence.own_processes)
            handed.files = read_record(said)
            yield Outcome(_answer(handed, said, log, name, memory), handed)


def _run(
    command: list[str],
    orders: dict,
    environment: dict,
    scratch: Path,
    log: IO[bytes],
    seconds: float,
    name: str,
    own_processes: bool,
) -> dict:
    """Start the first process, give it its orders, and wait; returns the record that it writes, empty without one."""
    memory = orders["memory"]
    with cgroups.group(memory, orders["tasks"]) as group:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            preexec_fn=functools.partial(_limit, memory, orders["disk"], group),
        )
        _running[process] = own_processes
        try:
            output = _wait(process, json.dumps(orders).encode(), seconds, group)
        except subprocess.TimeoutExpired:
            if not group.ran_out_of_memory:
                raise UserError(f"{name} took longer than {seconds:.0f} s and was stopped") from None
            output = b""
        finally:
            _running.pop(process, None)
            _end(process, own_processes)
        if group.ran_out_of_memory:
            raise UserError(f"{name} was stopped: it needed more than {memory / GIB:.3g} GiB of memory")
    try:
        record = json.loads(output)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("nonce") == orders["nonce"] else {}


def _wait(process: subprocess.Popen, orders: bytes, seconds: float, group: cgroups.Group) -> bytes:
    """What a process writes to its standard output, when it has ended.

    Raises:
        subprocess.TimeoutExpired: it takes longer, or the kernel has ended a part of it for want of memory.
    """
    deadline = time.monotonic() + seconds
    first: bytes | None = orders
    while True:
        left = min(1.0, deadline - time.monotonic())
        try:
            return process.communicate(first, max(0.0, left))[0]
        except subprocess.TimeoutExpired:
            first = None  # it was sent, or is still being sent
            if time.monotonic() >= deadline or group.ran_out_of_memory:
                raise


def _environment(scratch: Path, overlay: Path | None, hub_home: Path | None) -> dict[str, str]:
    """All variables of a sandboxed process."""
    inherited = {k: v for k, v in os.environ.items() if k.upper() in ALLOWED or k.startswith("LC_")}
    # an overlay comes first: its transformers is in place of the environment's
    path = [*([overlay] if overlay else []), *own_packages()]
    return inherited | {
        "HOME": str(scratch / "home"), "USERPROFILE": str(scratch / "home"), "TMPDIR": str(scratch),
        "TEMP": str(scratch), "TMP": str(scratch), "HF_HOME": str(hub_home or scratch / "hub"),
        "HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONUSERBASE": site.getuserbase(),
        "USER": "user", "LOGNAME": "user",
    }  # fmt: skip


def _answer(handed: Handed, record: dict, log: IO[bytes], name: str, memory: int) -> dict:
    """What the script wrote, as far as it has the form of an answer: the folder's code may have written it.

    Raises:
        UserError: it gave none.
    """
    if why := record.get("why"):
        raise UserError(f"{name} was stopped: {plain_line(why, 200)}")
    answer = None
    if record.get("done"):
        try:
            answer = json.loads(handed.read("answer.json", LARGEST_ANSWER))
            good = all(isinstance(each["check"], str) and isinstance(each["line"], str) for each in answer["failures"])
            answer = printable_all(answer) if good and isinstance(answer["failures"], list) else None
            for each in answer["failures"] if answer else ():
                each.update(check=plain_line(each["check"], 20), line=plain_line(each["line"]))
        except (ValueError, LookupError, TypeError, RecursionError):
            answer = None
    if answer is not None:
        return answer
    if record.get("code") == 0:
        raise UserError(f"{name} gave no answer: the folder's code ended the process before the job was done")
    lines = _tail(log).strip().splitlines()
    died = (
        f"it ended with exit code {record.get('code')}; it may have needed more than {memory / GIB:.3g} GiB of memory"
    )
    raise UserError(f"{name} gave no answer: {printable(lines[-1] if lines else died)[:400]}")


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 10_000))
    lines = log.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join(line for line in lines if "%|" not in line)  # progress bars do not say why


@contextlib.contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fence-", dir=work))
    try:
        yield directory
    finally:
        remove_tree(directory)


def end_all() -> None:
    """End what other threads run here: Ctrl-C reaches the main thread only, and a sandboxed process not at all."""
    for process, own_processes in list(_running.items()):
        _end(process, own_processes)


def _end(process: subprocess.Popen, own_processes: bool) -> None:
    """Also ends what the folder's code may have started.

    Args:
        own_processes: the kernel ends it with the first process; otherwise that one has to, and is asked to.
    """
    if not own_processes and process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            process.terminate()
            process.send_signal(signal.SIGCONT)  # the code may have stopped it
            process.wait(LONGEST_END)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe:
                pipe.close()
    process.wait()


def _limit(memory: int, disk: int, group: cgroups.Group) -> None:
    import resource

    group.enter()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # data, not address space: CUDA builds of torch reserve far more addresses than they use
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever kills us ends it as well
