"""How far this machine can shut a process in, and the command that does so.

bubblewrap is used where it is installed and works, util-linux's unshare otherwise; both get the same list of mounts
(mounts.py). On a machine that allows neither, only the environment, the limits and the first process are left.
"""

import contextlib
import functools
import json
import os
import shlex
import shutil
import site
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.fence import mounts

# Strongest first; a machine gets the first that works on it.
BUBBLEWRAP = (
    *("--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"),
)
NAMESPACES = (
    ("--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"),
    ("--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts"),
    ("--user", "--map-root-user", "--net", "--ipc"),
)
PACKAGE = Path(__file__).resolve().parents[1]
INSIDE = PACKAGE / "fenced"
FIRST = INSIDE / "first.py"
MOUNTING = Path(__file__).resolve().with_name("mounting.py")
POSIX = os.name == "posix"  # Windows has neither the limits nor the groups of processes that a run is held by


@dataclass(frozen=True)
class Fence:
    """What shuts a process in on this machine.

    Args:
        program: "bwrap", "unshare", or "" where neither works.
        options: of the program, for its namespaces.
    """

    program: str = ""
    options: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing but the run's own files, and no other process, can be reached."""
        return self.has_mounts and self.own_processes

    @property
    def has_mounts(self) -> bool:
        return self.program == "bwrap" or "--mount" in self.options

    @property
    def own_processes(self) -> bool:
        return self.program == "bwrap" or "--pid" in self.options

    def describe(self) -> str:
        """One phrase for the user, which names what is missing."""
        if self.whole:
            return "sandboxed: no network, environment cleaned, home hidden, disk read-only"
        if self.has_mounts:
            return (
                "sandboxed: no network, environment cleaned, home hidden, disk read-only; "
                "other processes are visible, as this machine allows no PID namespace"
            )
        if self.program:
            return (
                "partly sandboxed: no network, environment cleaned; "
                "the disk and other processes are reachable, as this machine allows no mount namespace"
            )
        limits = "" if sys.platform == "linux" else "; memory and processes have no limit on this system"
        return (
            "partly sandboxed: environment cleaned; "
            f"network, disk and other processes are reachable, as this machine allows no namespace{limits}"
        )


def available() -> Fence:
    """The strongest fence that this machine allows.

    Raises:
        UserError: it can hold no process at all.
    """
    if not POSIX:
        raise UserError(
            "verification runs a folder's code in a sandbox, which needs Linux or macOS; on Windows run pinfold in WSL"
        )
    return _strongest()


@functools.cache
def _strongest() -> Fence:
    """Each level is tried with the mounts of a real run."""
    levels = [("bwrap", BUBBLEWRAP), *(("unshare", options) for options in NAMESPACES)]
    for program, options in levels:
        fence = Fence(program, options)
        if shutil.which(program) and _works(fence):
            return fence
    return Fence()


def _works(fence: Fence) -> bool:
    """Whether a Python process starts in it, writes where it may, and nowhere else."""
    tests = [
        f"not os.access({place!r}, os.W_OK)"
        for place in ("/", "/tmp", "/dev/shm", "/run", "/proc/sys/kernel/hostname")
    ]
    code = "import os, ssl; open('free', 'w').close(); assert " + (" and ".join(tests) if fence.has_mounts else "True")
    with tempfile.TemporaryDirectory(prefix="pinfold-fence-") as directory:
        scratch = Path(directory).resolve()
        command = command_in(fence, [sys.executable, "-I", "-S", "-c", code], [], [scratch])
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(command, capture_output=True, timeout=20, cwd=scratch).returncode == 0
    return False


def permit(target: str, dangerous: str | None) -> Fence:
    """The fence that a target's code would run in.

    Args:
        dangerous: the code of a finding, such as "S03", that says that its code does more than compute.

    Raises:
        UserError: its code is dangerous, and this machine cannot shut it in.
    """
    fence = available()
    if dangerous and not fence.has_mounts:
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


def command_in(fence: Fence, command: list[str], needed: Sequence[Path], writable: list[Path]) -> list[str]:
    """The command inside this fence.

    Args:
        needed: paths that it reads. writable: directories that it writes to; the first is its working directory, in
            which files for the fence itself are made.

    Raises:
        UserError: the user's home itself is needed.
    """
    if not fence.program:
        return command
    scratch = writable[0]
    orders: dict = {"mounts": None}
    if fence.has_mounts:
        _refuse_homes(needed)
        for name in ("empty", "passwd"):
            (scratch / name).touch()
        own = sorted({0, os.getuid()} if fence.program == "bwrap" else {0})  # unshare makes every user number 0
        (scratch / "passwd").write_text("".join(f"user:x:{number}:0::/nonexistent:/bin/sh\n" for number in own))
        steps = mounts.plan([*needed], _python(), PACKAGE, INSIDE, scratch / "passwd", writable)
        if fence.program == "bwrap":
            at = ["--chdir", str(scratch), "--new-session"]
            return ["bwrap", *fence.options, *mounts.bubblewrap(steps, scratch / "empty"), *at, "--", *command]
        (scratch / "root").mkdir(exist_ok=True)
        orders = mounts.orders(steps, scratch / "root", scratch / "empty", fence.own_processes, scratch)
    (scratch / "mounts.json").write_text(json.dumps(orders), encoding="utf-8")
    return [
        "unshare",
        *fence.options,
        sys.executable,
        "-I",
        "-S",
        str(MOUNTING),
        str(scratch / "mounts.json"),
        *command,
    ]


def _python() -> list[Path]:
    """Where this interpreter and its packages are, those of .pth files included."""
    executable = Path(sys.executable)
    packages = [*own_packages(), *_further_packages(), Path(site.getusersitepackages())]
    libraries = [Path(p) for p in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p.startswith("/")]
    shown = [*packages, *libraries, *_prefixes()]
    # a home or what it lies in is not shown for the sake of packages that are in it
    return [executable, *(path for path in shown if not _holds_home(path))]


def _prefixes() -> list[Path]:
    """The interpreter's own directories; only its parts of a home that an environment was made in."""
    parts = ("bin", "lib", "lib64", "include", "share", "pyvenv.cfg")
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    return [path for each in prefixes for path in ([each / p for p in parts] if _holds_home(each) else [each])]


def _holds_home(path: Path) -> bool:
    places = {path.absolute(), path.resolve()}
    return any(place == home or place in home.parents for place in places for home in homes())


def own_packages() -> list[Path]:
    """The directories of PYTHONPATH, whatever is in them. Not sys.path: transformers puts its cache there."""
    path = [Path(p).absolute() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [p for p in path if p.is_dir()]


def _further_packages() -> list[Path]:
    """Directories that the environment's .pth files add, such as those of editable installs; not pinfold's own."""
    places: list[Path] = []
    for directory in site.getsitepackages():
        for file in sorted(Path(directory).glob("*.pth")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
                places += [Path(directory, line) for line in lines if line and not line.startswith(("import", "#"))]
    return [path for path in places if path.is_dir() and path.resolve() != PACKAGE.parent]


def _refuse_homes(needed: Sequence[Path]) -> None:
    """
    Raises:
        UserError: a home is needed, which is hidden.
    """
    for path in needed:
        if _holds_home(path):
            what = "is" if path.resolve() in homes() else "contains"
            raise UserError(f"{path} {what} your home directory, which verification hides; use a folder below it")


def refuse_closed(fence: Fence, directories: Sequence[Path]) -> None:
    """
    Raises:
        UserError: root started this, and another user's file lets neither everybody nor root's group read it, as far
            as these count for root: in a sandbox root has no right to pass over that, and the run would say that the
            file is missing.
    """
    for place in directories if fence.program and os.getuid() == 0 else ():
        for path in (place, *place.rglob("*")):
            try:
                state = path.stat()
            except OSError:
                continue  # a link that leads nowhere: who reads it says so
            bits = state.st_mode >> 3 if state.st_gid == 0 else state.st_mode
            read = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(state.st_mode) else 0)
            if state.st_uid and bits & read != read:
                who = f"user {_name(state.st_uid)}, mode {stat.S_IMODE(state.st_mode):04o}"
                raise UserError(
                    f"{path} ({who}) cannot be read in a sandbox, where root cannot pass over a mode; run pinfold as "
                    f"that user, or give it a copy of your own: cp -r {shlex.quote(str(place))} COPY"
                )


def _name(user: int) -> str:
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        return pwd.getpwuid(user).pw_name
    return str(user)
