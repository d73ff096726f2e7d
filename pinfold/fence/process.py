"""Run a script that executes a folder's code, out of reach of the user's secrets: the sandbox, seen from outside.

How it works:
- The environment is an allow-list: no variable that could hold a token, and no HF_ setting but ours.
- HOME and HF_HOME are empty temporary directories; the Hub is offline; memory and time are limited.
- Where the machine allows unprivileged namespaces (Linux), the process has no network, sees no other process and
  finds an empty directory where the user's home is; paths that it needs from there are put back (mounts.py). It writes
  to its working directory and nowhere else: every other mount is read-only, including what it may read.
- Of pinfold it sees the folder ``fenced`` only, which is what runs in it.
- ``Fence.describe()`` names what this machine cannot do; the caller prints it.
"""

import contextlib
import functools
import json
import os
import shlex
import shutil
import signal
import site
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable
from pinfold.fence import mounts

# Neither tokens nor credentials have such names, and a Python process may need these.
ALLOWED = {
    *("PATH", "LANG", "LANGUAGE", "TZ", "TERM", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "COMSPEC"),
    *("PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
}
# Strongest first; a machine gets the first that works on it.
NAMESPACES = (
    ("--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    ("--user", "--map-root-user", "--mount", "--net"),
    ("--user", "--map-root-user", "--net"),
)
GIB = 1 << 30
LONGEST_ANSWER = 64 << 20  # bytes
# Where sockets of the user's programs and other people's files are; a sandboxed process gets empty ones.
SHARED = [Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev/shm")]
PACKAGE = Path(__file__).resolve().parents[1]
# What runs in the sandbox: a folder that needs nothing else of pinfold, and the only one of it to be seen there.
SCRIPT = PACKAGE / "fenced" / "main.py"
_running: set[subprocess.Popen] = set()


@dataclass(frozen=True)
class Fence:
    """How far this machine can shut a process in."""

    namespaces: tuple[str, ...]
    read_only: bool = False

    def describe(self) -> str:
        """One phrase for the user."""
        disk = "disk read-only" if self.read_only else "files outside of the home can be written"
        if "--mount-proc" in self.namespaces:
            return f"sandboxed: no network, environment cleaned, home hidden, {disk}"
        if "--mount" in self.namespaces:
            return f"sandboxed: no network, home hidden, environment cleaned, {disk}; other processes are visible"
        if self.namespaces:
            return "sandboxed: no network, environment cleaned; the home directory is readable on this machine"
        missing = "this machine allows no namespace, so network and files are reachable"
        return f"partly sandboxed: environment cleaned; {missing}"


@functools.cache
def available() -> Fence:
    """The strongest fence that this machine allows, tried once."""
    if shutil.which("unshare"):
        read_only = mounts.shell(mounts.read_only([]))
        read_only += "\nfor p in / /tmp /dev/shm /run /proc/sys; do ! test -w $p || exit 1; done"
        for flags in NAMESPACES:
            mounting = "--mount" in flags
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                if _succeeds(flags, "mount -t tmpfs tmpfs /mnt" if mounting else "true"):
                    return Fence(flags, mounting and _succeeds(flags, read_only))
    return Fence(())


def _succeeds(namespaces: tuple[str, ...], lines: str) -> bool:
    command = ["unshare", *namespaces, "sh", "-c", lines]
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


def permit(target: str, dangerous: str | None) -> Fence:
    """The fence that a target's code would run in.

    Args:
        dangerous: the code of a finding, such as "S03", that says that its code does more than compute.

    Raises:
        UserError: its code is dangerous, and this machine cannot shut it in.
    """
    fence = available()
    if dangerous and not fence.read_only:
        raise UserError(
            f"{target} is not run: {dangerous} was found and this machine cannot sandbox it ({fence.describe()}); "
            "use a machine where unprivileged namespaces are allowed"
        )
    return fence


def homes() -> list[Path]:
    """Directories that are the user's home by any account, outermost only."""
    accounts = {Path.home()}
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        accounts.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    real = {path.resolve() for path in accounts if path.is_dir() and path.resolve() != Path("/")}
    return [path for path in sorted(real) if not any(other in path.parents for other in real)]


def run_sandboxed(
    request: dict,
    work: Path,
    *,
    visible: list[Path],
    writable: Sequence[Path] = (),
    overlay: Path | None = None,
    hub_home: Path | None = None,
    memory: int = 16 * GIB,
    seconds: float = 600,
    name: str = "verification",
    script: Path = SCRIPT,
) -> dict:
    """Run ``python script request.json`` in the sandbox and return its answer.

    Args:
        request: what the script reads; an "answer" path is added to it. Its "module" names a module of pinfold/fenced.
        work: where a directory for this run is made; nothing else in it can be written to.
        visible: paths it reads; they are bound back in where they lie in a hidden place.
        writable: directories in ``work`` for what the script leaves behind.
        overlay: a directory put in front of the environment's packages (an older transformers).
        hub_home: HF_HOME, filled by the caller; an empty one by default.
        memory: bytes of private memory. seconds: wall-clock time.
        name: what a user calls this run, for error messages.
        script: the script itself, whose directory is visible to it.

    Raises:
        UserError: the process was killed, ran out of time or memory, or gave no answer.
    """
    with _scratch(work) as scratch:
        request = {**request, "answer": str(scratch / "answer.json")}
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        (scratch / "home").mkdir()
        command = [sys.executable, str(script), str(scratch / "request.json")]
        needed = [*visible, work, script.parent, *([overlay] if overlay else []), *([hub_home] if hub_home else [])]
        log = scratch / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                _fenced(command, needed, [scratch.resolve(), *(p.resolve() for p in writable)]),
                env=_environment(scratch, overlay, hub_home),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=functools.partial(_limit, memory) if os.name == "posix" else None,
            )
            _running.add(process)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise UserError(f"{name} took longer than {seconds:.0f} s and was stopped") from None
            finally:
                _running.discard(process)
                _end(process)
        answer = _read_answer(scratch / "answer.json")
        if answer is None:
            lines = _tail(log).strip().splitlines()
            needed_more = f"it may have needed more than {memory / GIB:.0f} GiB of memory"
            died = f"it ended with exit code {process.returncode}; {needed_more}"
            raise UserError(f"{name} gave no answer: {printable(lines[-1] if lines else died)[:400]}")
        return answer


def _environment(scratch: Path, overlay: Path | None, hub_home: Path | None) -> dict[str, str]:
    """All variables of a sandboxed process."""
    inherited = {k: v for k, v in os.environ.items() if k.upper() in ALLOWED or k.startswith("LC_")}
    # an overlay comes first: its transformers is in place of the environment's
    path = [*([overlay] if overlay else []), *_own_packages()]
    return inherited | {
        "HOME": str(scratch / "home"), "USERPROFILE": str(scratch / "home"), "TMPDIR": str(scratch),
        "TEMP": str(scratch), "TMP": str(scratch), "HF_HOME": str(hub_home or scratch / "hub"),
        "HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONUSERBASE": site.getuserbase(),
    }  # fmt: skip


def _read_answer(path: Path) -> dict | None:
    """What the script wrote, as far as it has the form of an answer: the folder's code may have written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            answer = json.loads(file.read(LONGEST_ANSWER))
        failures = answer["failures"]
        good = all(
            isinstance(f, dict) and isinstance(f["check"], str) and isinstance(f["line"], str) for f in failures
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return answer if good and isinstance(failures, list) else None


def _tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join(line for line in lines if "%|" not in line)  # progress bars do not say why


@contextlib.contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fence-", dir=work))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def end_all() -> None:
    """End what other threads run here: Ctrl-C reaches the main thread only, and a sandboxed process not at all."""
    for process in list(_running):
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Also ends what the folder's code may have started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _limit(memory: int) -> None:
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # data, not address space: CUDA builds of torch reserve far more addresses than they use
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever kills us ends it as well


def _own_packages() -> list[Path]:
    """Where this user keeps packages outside of the environment. Not sys.path: transformers puts its cache there."""
    path = [Path(p).absolute() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [p for p in path if p.is_dir()]


def _fenced(command: list[str], needed: list[Path], writable: list[Path]) -> list[str]:
    """The command inside this machine's namespaces, seeing only what it needs of the disk where that is possible.

    Args:
        needed: paths that it reads. writable: those that it writes to; the first is its working directory.

    Raises:
        UserError: the user's home itself is needed.
    """
    namespaces = available().namespaces
    if not namespaces:
        return command
    lines = ["set -e"]
    if "--mount" in namespaces:
        _refuse_homes(needed)
        needed = [*needed, *_python(), *writable]
        both = [path for each in needed if each.exists() for path in (each.absolute(), each.resolve())]
        private = [*homes(), *(path.resolve() for path in SHARED if path.is_dir())]
        lines = [mounts.shell(mounts.plan(both, private, PACKAGE, writable[0] / "aside", writable))]
    # after the mounts, which need what this drops: with it the code could unmount what hides the home
    drop = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs " if shutil.which("setpriv") else ""
    lines.append(f'cd {shlex.quote(str(writable[0]))}\nexec {drop}"$@"')
    return ["unshare", *namespaces, "sh", "-c", "\n".join(lines), "fence", *command]


def _python() -> list[Path]:
    """Where this interpreter and its packages are."""
    executable = Path(sys.executable)
    packages = [*_own_packages(), Path(site.getusersitepackages())]
    return [Path(sys.prefix), Path(sys.base_prefix), executable, executable.resolve(), *packages]


def _refuse_homes(needed: list[Path]) -> None:
    """
    Raises:
        UserError: a home is needed, which is hidden.
    """
    for home in homes():
        if any(home in (path.absolute(), path.resolve()) for path in needed):
            raise UserError(f"{home} is your home directory, which verification hides; use a folder below it")
