"""Run a script that executes a folder's code, out of reach of the user's secrets.

How it works:
- The environment is an allow-list: no variable that could hold a token, and no HF_ setting but ours.
- HOME and HF_HOME are empty temporary directories; the Hub is offline; memory and time are limited.
- Where the machine allows unprivileged namespaces (Linux), the process has no network, sees no other process and
  finds an empty directory where the user's home is; paths that it needs from there are bound back in. It writes to
  its working directory and nowhere else: every other mount is read-only, what it is given to read included.
- What could not be had is said in ``Fence.describe()``; the caller prints it.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable

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
# Where sockets of the user's programs and other people's files are; a fenced process gets empty ones.
SHARED = [Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev/shm")]
KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi")
# What runs in the sandbox: a directory that needs nothing of pinfold, mounted alone.
SCRIPT = Path(__file__).resolve().parents[1] / "fenced" / "main.py"
_running: set[subprocess.Popen] = set()


@dataclass(frozen=True)
class Fence:
    """How far this machine lets us go."""

    namespaces: tuple[str, ...]
    read_only: bool = False

    def describe(self) -> str:
        """One phrase for the user."""
        disk = "disk read-only" if self.read_only else "files outside of the home can be written"
        if "--mount-proc" in self.namespaces:
            return f"fenced: no network, environment cleaned, home hidden, {disk}"
        if "--mount" in self.namespaces:
            return f"fenced: no network, home hidden, environment cleaned, {disk}; other processes are visible"
        if self.namespaces:
            return "fenced: no network, environment cleaned; the home directory is readable on this machine"
        return "half fenced: environment cleaned; this machine allows no namespace, so network and files are reachable"


@functools.cache
def available() -> Fence:
    """The strongest fence that this machine allows, tried once."""
    if shutil.which("unshare"):
        for flags in NAMESPACES:
            trial = "mount -t tmpfs tmpfs /mnt" if "--mount" in flags else "true"
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                if _succeeds(["unshare", *flags, "sh", "-c", trial]):
                    trial = (
                        f"{_read_only([])}\nfor p in / /tmp /dev/shm /run /proc/sys; do ! test -w $p || exit 1; done"
                    )
                    return Fence(flags, "--mount" in flags and _succeeds(["unshare", *flags, "sh", "-c", trial]))
    return Fence(())


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


def homes() -> list[Path]:
    """Directories that are the user's home by any account, outermost only."""
    found = {Path.home()}
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        found.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    real = {p.resolve() for p in found if p.is_dir() and p.resolve() != Path("/")}
    return [p for p in sorted(real) if not any(q in p.parents for q in real)]


def run(
    request: dict,
    work: Path,
    *,
    visible: list[Path],
    writable: list[Path] = (),
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
        name: what a user takes the run for.
        script: the script itself, whose directory is visible to it.

    Raises:
        UserError: the process was killed, ran out of time or memory, or gave no answer.
    """
    with _scratch(work) as scratch:
        request = {**request, "answer": str(scratch / "answer.json")}
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        (scratch / "home").mkdir()
        environment = {k: v for k, v in os.environ.items() if k.upper() in ALLOWED or k.startswith("LC_")}
        environment |= {
            "HOME": str(scratch / "home"), "USERPROFILE": str(scratch / "home"), "TMPDIR": str(scratch),
            "TEMP": str(scratch), "TMP": str(scratch), "HF_HOME": str(hub_home or scratch / "hub"),
            "HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, [*([overlay] if overlay else []), *_own_packages()]))}
        environment |= {"PYTHONUSERBASE": site.getuserbase()}
        command = [sys.executable, str(script), str(scratch / "request.json")]
        needed = [*visible, work, script.parent, *([overlay] if overlay else []), *([hub_home] if hub_home else [])]
        log = scratch / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                _fenced(command, needed, [scratch.resolve(), *(p.resolve() for p in writable)]),
                env=environment, cwd=scratch, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=functools.partial(_limit, memory) if os.name == "posix" else None,
            )  # fmt: skip
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
            reason = (
                lines[-1] if lines else f"exit code {process.returncode}, more than {memory / GIB:.0f} GiB needed?"
            )
            raise UserError(f"{name} gave no answer: {printable(reason)[:400]}")
        return answer


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
    return "\n".join(line for line in lines if "%|" not in line)  # progress bars are no reason


@contextlib.contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fence-", dir=work))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def end_all() -> None:
    """End what other threads run here: Ctrl-C reaches the main thread only, and a fenced process not at all."""
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
    given = [Path(p).absolute() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [p for p in given if p.is_dir()]


def _read_only(writable: list[Path]) -> str:
    """Shell lines that make every mount read-only but the writable directories.

    The kernel's settings below /proc belong to whoever is root outside, whatever capabilities are left inside.
    """
    lines = [f"mount --bind {shlex.quote(str(p))} {shlex.quote(str(p))}" for p in writable]
    lines += [f"test ! -e {p} || mount --bind {p} {p} || true" for p in KERNEL]
    keep = "|".join(["/proc", *(shlex.quote(str(p)) for p in writable)])
    # octal escapes of mountinfo (\\040 is a space) get the leading zero that printf wants; flags that a mount has
    # already must be named again, since an unprivileged namespace may not drop them
    return "\n".join(
        [
            *lines,
            "mounts=$(cat /proc/self/mountinfo)",
            """printf '%s\\n' "$mounts" | while read -r _ _ _ _ place flags _; do""",
            """  place=$(printf '%b' "$(printf '%s' "$place" | sed 's/\\\\0/\\\\00/g; s/\\\\1/\\\\01/g')")""",
            f"""  case "$place" in {keep}) continue ;; esac""",
            """  mount -o "remount,bind,ro,${flags#r[ow],}" "$place" 2>/dev/null || true""",
            "done",
        ]
    )


def _fenced(command: list[str], needed: list[Path], writable: list[Path]) -> list[str]:
    """The command inside this machine's namespaces, private places hidden and what is needed bound back in."""
    flags = available().namespaces
    if not flags:
        return command
    lines = ["set -e"]
    if "--mount" in flags:
        python = [Path(p) for p in (sys.prefix, sys.base_prefix, sys.executable, os.path.realpath(sys.executable))]
        packages = [*_own_packages(), Path(site.getusersitepackages())]
        every = {
            q for p in (*needed, *python, *packages, *writable) if p.exists() for q in (p.absolute(), p.resolve())
        }
        own = homes()
        for home in own:
            if home in {q for p in needed for q in (p.absolute(), p.resolve())}:
                raise UserError(f"{home} is your home directory, which verification hides; use a folder below it")
        places = {*own, *(p.resolve() for p in SHARED if p.is_dir())}
        hidden = sorted(p for p in places if not any(q in p.parents for q in places))
        inside = sorted(p for p in every if any(p.is_relative_to(h) and p != h for h in hidden))
        inside = [p for p in inside if not any(q in p.parents for q in inside)]
        # what is needed is held in another tmpfs while empty directories are put over the private places
        lines += ["mount -t tmpfs -o size=1m tmpfs /mnt"] if inside else []
        for number, path in enumerate(inside):
            make = "mkdir" if path.is_dir() else "touch"
            lines += [f"{make} /mnt/{number}", f"mount --rbind {shlex.quote(str(path))} /mnt/{number}"]
        lines += [f"mount -t tmpfs -o size=64m,mode=755 tmpfs {shlex.quote(str(place))}" for place in hidden]
        lines += [f"mkdir -p {shlex.quote(str(place))}" for place in places - set(hidden)]
        for number, path in enumerate(inside):
            place = shlex.quote(str(path))
            lines += [f"mkdir -p {shlex.quote(str(path.parent))}"]
            lines += [f"{'mkdir -p' if path.is_dir() else 'touch'} {place}", f"mount --rbind /mnt/{number} {place}"]
        lines += ["umount -R -l /mnt"] if inside else []
        lines.append(_read_only(writable))
    drop = ""
    if shutil.which("setpriv"):  # without it the code could unmount what hides the home
        drop = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "
    lines.append(f'cd {shlex.quote(str(writable[0]))}\nexec {drop}"$@"')
    return ["unshare", *flags, "sh", "-c", "\n".join(lines), "fence", *command]
