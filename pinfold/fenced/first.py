"""The sandbox's first process: it starts the one that runs a folder's code, and never imports any of it itself.

Only the standard library is here, since it runs with ``python -I -S``. What it does:
- It reads its orders (JSON) from stdin, a pipe that the process with the code does not have.
- Each file that the code's process hands over is read once here, and its sha256 is written down: what is changed
  later is noticed. A process that ends before it has said that the job is done has failed.
- All processes together may use so much memory, so many tasks and so much disk; when they use more, they are ended.
- At the end it writes to stdout, which the code's process does not have either, what was handed over, with the nonce.
"""

import ctypes
import hashlib
import json
import os
import platform
import select
import signal
import socket
import stat
import subprocess
import sys
import time

SECONDS = 0.2  # between two looks at what the processes use
LONGEST_LINE = 1 << 16
MOST_FILES = 10_000  # handed over
KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}  # the number of the system call keyctl, by machine
JOIN_SESSION_KEYRING = 1


def main() -> None:
    """Do as stdin says, and write what came of it to stdout."""
    orders = json.load(sys.stdin.buffer)
    shut_off()
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [*orders["command"], str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        start_new_session=True,
    )
    theirs.close()
    watch = Watch(orders, ours, process)
    why = watch.until_the_end()
    end_all(process)
    record = {"nonce": orders["nonce"], "files": watch.files, "done": watch.done, "code": process.returncode}
    sys.stdout.buffer.write(json.dumps({**record, "why": why}).encode())
    sys.stdout.buffer.flush()


def shut_off() -> None:
    """Nothing that runs beside this process may look into it; it has keys of its own; whoever started it ends it."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    libc.prctl(4, 0)  # PR_SET_DUMPABLE: /proc/PID/mem and ptrace of this process are refused
    libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what the code leaves behind becomes a child of this process
    if number := KEYCTL.get(platform.machine()):
        libc.syscall(number, JOIN_SESSION_KEYRING, None)


class Watch:
    """The process with the code while it runs: what it hands over, and what it uses."""

    def __init__(self, orders: dict, connection: socket.socket, process: subprocess.Popen):
        self.orders, self.connection, self.process = orders, connection, process
        self.directory = os.open(orders["handed"], os.O_RDONLY) if orders["handed"] else None
        self.files: dict[str, str] = {}
        self.done = False
        self.unread = b""

    def until_the_end(self) -> str:
        """Wait for the end of the process; returns why it was ended here, or ""."""
        open_ = True
        looked = 0.0
        while self.process.poll() is None:
            ready = select.select([self.connection] if open_ else [], [], [], SECONDS)[0]
            if ready:
                open_ = self.listen()
            if time.monotonic() - looked >= SECONDS:
                if why := self.too_much():
                    return why
                looked = time.monotonic()
        while open_ and select.select([self.connection], [], [], 0)[0]:
            open_ = self.listen()
        return ""

    def listen(self) -> bool:
        """Take what the code's process says: a line with the name of a file, or an empty one at the end of its job.

        Each line is answered, so that the file is read before the process goes on. Returns whether it may say more.
        """
        try:
            received = self.connection.recv(LONGEST_LINE)
        except OSError:
            return False
        self.unread += received
        *lines, self.unread = self.unread.split(b"\n")
        for line in lines:
            name = line.decode("utf-8", "replace")
            if name:
                self.close(name)
            self.done = not name
            try:
                self.connection.sendall(b"\n")
            except OSError:
                return False
        return bool(received) and len(self.unread) < LONGEST_LINE

    def close(self, name: str) -> None:
        """Write down what a file holds. The first time counts: a file that is handed over again is another one."""
        if name in self.files or len(self.files) >= MOST_FILES or self.directory is None or "/" in name:
            self.files[name[:200]] = ""
            return
        self.files[name] = digest(name, self.directory)

    def too_much(self) -> str:
        """Which limit all processes together have passed, or ""."""
        tasks, memory = used()
        if tasks > self.orders["tasks"]:
            return f"it started more than {self.orders['tasks']} processes and threads"
        if memory > self.orders["memory"]:
            return f"it needed more than {spoken(self.orders['memory'])} of memory"
        if written(self.orders["writable"]) > self.orders["disk"]:
            return f"it wrote more than {spoken(self.orders['disk'])} to the disk"
        return ""


def spoken(size: int) -> str:
    """Bytes as a user reads them."""
    return f"{size / (1 << 30):.3g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.3g} MiB"


def digest(name: str, directory: int) -> str:
    """sha256 of a regular file in an open directory; "" for anything else, which is not waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(name, flags, dir_fd=directory), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            return hashlib.file_digest(file, "sha256").hexdigest() if sys.version_info >= (3, 11) else _digest(file)
    except OSError:
        return ""


def _digest(file) -> str:
    whole = hashlib.sha256()
    while block := file.read(1 << 20):
        whole.update(block)
    return whole.hexdigest()


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def used() -> tuple[int, int]:
    """(tasks, bytes of memory that no file backs) of this process's descendants.

    Where it is the first process of its own list, all others are. Elsewhere those below it are, and also those
    whose parent has ended (PR_SET_CHILD_SUBREAPER).
    """
    tasks = memory = 0
    page = os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for number in _processes():
        if number == os.getpid():
            continue
        try:
            with open(f"/proc/{number}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{number}/statm", "rb") as file:
                pages = file.read().split()
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        parents[number] = int(fields[1])
        sizes[number] = int(fields[17]), (int(pages[1]) - int(pages[2])) * page
    for number, (threads, size) in sizes.items():
        if os.getpid() == 1 or _is_below(number, parents):
            tasks += threads
            memory += size
    return tasks, memory


def _is_below(number: int, parents: dict[int, int]) -> bool:
    for _ in range(1000):
        if number == os.getpid():
            return True
        if number not in parents:
            return False
        number = parents[number]
    return False


def written(places: list[str]) -> int:
    """Bytes that files below these directories take on the disk."""
    total = 0
    pending = list(places)
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += 512 * entry.stat(follow_symlinks=False).st_blocks
        except OSError:
            continue
    return total


def end_all(process: subprocess.Popen) -> None:
    """End the code's process, and with it all that it started where this is the first process of the list."""
    try:
        if os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


if __name__ == "__main__":
    main()
