"""The sandbox's first process: it starts the one that runs a folder's code, and never imports any of it itself.

Only the standard library is here, since it runs with ``python -I -S``. What it does:
- It reads its orders (JSON) from stdin, a pipe that the process with the code does not have.
- Each file that the code's process hands over is read once here, and its sha256 is written down: what is changed
  later is noticed. A process that ends before it has said that the job is done has failed.
- All processes together may use so much memory, so many tasks and so much disk; when they use more, they are ended.
- At the end it writes to stdout, which the code's process does not have either, what was handed over, with the nonce.
"""

import contextlib
import ctypes
import errno
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
import threading
import time

SECONDS = 0.2  # between two looks at what the processes use
LONGEST_LINE = 1 << 16
MOST_FILES = 10_000  # handed over
LONGEST_END = 5.0  # seconds that ending all processes may take
KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}  # the number of the system call keyctl, by machine
JOIN_SESSION_KEYRING = 1


def main() -> None:
    """Do as stdin says, and write what came of it to stdout."""
    orders = json.load(sys.stdin.buffer)
    shut_off()
    ours, theirs = socket.socketpair()
    # before the code can put something else in its place
    directory = os.open(orders["handed"], os.O_RDONLY) if orders["handed"] else None
    process = subprocess.Popen(
        [*orders["command"], str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
    theirs.close()
    watch = Watch(orders, ours, process, directory)
    signal.signal(signal.SIGTERM, lambda *_: watch.stop("pinfold ended it"))
    watch.until_the_end()
    end_all(process)
    record = {"nonce": orders["nonce"], "files": watch.files, "done": watch.done, "code": process.returncode}
    sys.stdout.buffer.write(json.dumps({**record, "why": watch.why}).encode())
    sys.stdout.buffer.flush()


def end_with_parent() -> None:
    """The calling process ends when the one that started it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def shut_off() -> None:
    """Nothing that runs beside this process may look into it; it has keys of its own; whoever started it ends it."""
    if sys.platform != "linux":
        return
    end_with_parent()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 0)  # PR_SET_DUMPABLE: /proc/PID/mem and ptrace of this process are refused
    libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what the code leaves behind becomes a child of this process
    if number := KEYCTL.get(platform.machine()):
        libc.syscall(number, JOIN_SESSION_KEYRING, None)


class Watch:
    """The process with the code while it runs: what it hands over, and what it uses.

    What it uses is looked at in a thread, so that reading what it hands over cannot keep this process from it.
    """

    def __init__(self, orders: dict, connection: socket.socket, process: subprocess.Popen, directory: int | None):
        self.orders, self.connection, self.process, self.directory = orders, connection, process, directory
        self.files: dict[str, str] = {}
        self.done = False
        self.why = ""
        self.unread = b""
        connection.setblocking(False)  # the code may never read what it is answered

    def until_the_end(self) -> None:
        """Wait for the end of the process; ``why`` says why it was ended here."""
        threading.Thread(target=self.look, daemon=True).start()
        open_ = True
        while self.process.poll() is None and not self.why:
            if not open_:
                time.sleep(SECONDS)
            elif select.select([self.connection], [], [], SECONDS)[0]:
                open_ = self.listen()
        # what it said last; another process may have the connection as well and go on talking
        deadline = time.monotonic() + SECONDS
        while open_ and time.monotonic() < deadline and select.select([self.connection], [], [], 0)[0]:
            open_ = self.listen()

    def look(self) -> None:
        """Look at what all processes use until that is too much, or cannot be said: then no limit would hold."""
        while not self.why:
            try:
                why = self.too_much()
            except Exception as error:
                why = f"what it uses could not be looked at ({type(error).__name__}: {error})"
            if why:
                self.stop(why)
            time.sleep(SECONDS)

    def stop(self, why: str) -> None:
        """End the process with the code, now."""
        self.why = self.why or why
        self.process.kill()

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
            if self.why:
                return False
            name = line.decode("utf-8", "replace")
            if name:
                self.close(name)
            self.done = not name
            try:
                self.connection.send(b"\n")
            except OSError:  # nobody reads it
                self.connection.close()
                return False
        return bool(received) and len(self.unread) < LONGEST_LINE

    def close(self, name: str) -> None:
        """Write down what a file holds. The first time counts: a file that is handed over again is another one."""
        if len(self.files) >= MOST_FILES:
            return
        if name in self.files or self.directory is None or "/" in name or "\0" in name:
            self.files[name[:200]] = ""
            return
        self.files[name] = self.digest(name)

    def digest(self, name: str) -> str:
        """sha256 of a regular file that was handed over; "" for anything else, which is not waited for."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        whole = hashlib.sha256()
        try:
            with open(os.open(name, flags, dir_fd=self.directory), "rb") as file:
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode) or state.st_size > self.orders["largest"]:
                    return ""
                while block := file.read(1 << 20):
                    whole.update(block)
                    # an honest process waits for the answer, and a limit may have been passed meanwhile
                    if self.process.poll() is not None or self.why or file.tell() > self.orders["largest"]:
                        return ""
        except OSError:
            return ""
        return whole.hexdigest()

    def too_much(self) -> str:
        """Which limit all processes together have passed, or ""."""
        tasks, memory, files, shared = used()
        disk, hidden = written(self.orders["writable"])
        devices = devices_of(self.orders["writable"])
        for (device, _), size in files.items():
            disk, memory = (disk + size, memory) if device in devices else (disk, memory + size)
        if memory + sum(shared.values()) > self.orders["memory"]:
            # each process says all that it shares; a look at each of its pages takes longer, so it is for this alone
            memory += sum(deleted(number, set(files), size) for number, size in shared.items())
        if tasks > self.orders["tasks"]:
            return f"it started more than {self.orders['tasks']} processes and threads"
        if memory > self.orders["memory"]:
            return f"it needed more than {spoken(self.orders['memory'])} of memory"
        if disk > self.orders["disk"]:
            return f"it wrote more than {spoken(self.orders['disk'])} to the disk"
        return "it nests directories deeper than a path can name" if hidden else ""


def spoken(size: int) -> str:
    """Bytes as a user reads them."""
    return f"{size / (1 << 30):.3g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.3g} MiB"


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def below() -> list[int]:
    """This process's descendants.

    Where it is the first process of its own list, all others are. Elsewhere those below it are, and also those
    whose parent has ended (PR_SET_CHILD_SUBREAPER).
    """
    parents: dict[int, int] = {}
    for number in _processes():
        try:
            with open(f"/proc/{number}/stat", "rb") as file:
                parents[number] = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
    first = os.getpid()
    return [number for number in parents if number != first and (first == 1 or _is_below(number, parents))]


def used() -> tuple[int, int, dict[tuple[int, int], int], dict[int, int]]:
    """What this process's descendants use.

    Returns:
        tasks, bytes of private memory, bytes of each file without a name, and by process the bytes of memory that it
        may share with others.
    """
    tasks = memory = 0
    files: dict[tuple[int, int], int] = {}
    shared: dict[int, int] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for number in below():
        try:
            with open(f"/proc/{number}/status", "rb") as file:
                said = dict(line.split(b":", 1) for line in file.read().splitlines())
            tasks += int(said[b"Threads"])
            with open(f"/proc/{number}/statm", "rb") as file:
                pages = file.read().split()
            memory += (int(pages[1]) - int(pages[2])) * page
            if size := 1024 * int(said.get(b"RssShmem", b"0 kB").split()[0]):
                shared[number] = size
        except (OSError, ValueError, LookupError):
            continue
        files |= unnamed(number)
    return tasks, memory, files, shared


def unnamed(number: int) -> dict[tuple[int, int], int]:
    """Device and number of each open file that no directory names -> its bytes: in memory, or deleted since."""
    files: dict[tuple[int, int], int] = {}
    try:
        names = os.listdir(f"/proc/{number}/fd")
    except OSError:  # it has ended meanwhile, or hides them
        return files
    for name in names:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            state = os.stat(f"/proc/{number}/fd/{name}")
            if stat.S_ISREG(state.st_mode) and not state.st_nlink:
                files[state.st_dev, state.st_ino] = 512 * state.st_blocks
    return files


def deleted(number: int, opened: set[tuple[int, int]], most: int) -> int:
    """Bytes of a process's memory that it shares by way of files that no directory names.

    A page that several processes have is counted in parts, which make one page together.

    Args:
        opened: files that are counted already, by device and number.
        most: what counts where the process lets nobody look at its memory.
    """
    total, counts = 0, False
    try:
        with open(f"/proc/{number}/smaps", "rb") as file:
            for line in file:
                words = line.split()
                if not words[0].endswith(b":"):  # where a part of its memory begins, and what lies there
                    major, _, minor = words[3].partition(b":")
                    place = os.makedev(int(major, 16), int(minor, 16)), int(words[4])
                    # shared memory without a file that a program gave a name is shown by that alone
                    named = len(words) > 5 and words[5].startswith(b"[anon_shmem")
                    counts = (named or words[-1] == b"(deleted)") and place not in opened
                elif counts and words[0] == b"Pss:":
                    total += 1024 * int(words[1])
    except PermissionError:
        return most
    except (OSError, ValueError, LookupError):  # it has ended meanwhile
        pass
    return total


def devices_of(places: list[str]) -> set[int]:
    """The devices that these directories lie on, as far as they are still there."""
    devices: set[int] = set()
    for place in places:
        with contextlib.suppress(OSError):
            devices.add(os.stat(place).st_dev)
    return devices


def _is_below(number: int, parents: dict[int, int]) -> bool:
    for _ in range(1000):
        if number == os.getpid():
            return True
        if number not in parents:
            return False
        number = parents[number]
    return False


def written(places: list[str]) -> tuple[int, bool]:
    """Bytes that files below these directories take on the disk, and whether some lie where nobody can look."""
    total = 0
    pending = list(places)
    while pending:
        place = pending.pop()
        try:
            with _opened(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += _size(entry)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return total, True
    return total, False


def _size(entry: os.DirEntry) -> int:
    """Bytes that a file takes on the disk; none where it was removed meanwhile, so that the others still count.

    Raises:
        OSError: its name is too long.
    """
    try:
        return 512 * entry.stat(follow_symlinks=False).st_blocks
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return 0


def _opened(place: str):
    try:
        return os.scandir(place)
    except PermissionError:  # it belongs to who made it, and this process is the same user
        os.chmod(place, 0o700)
        return os.scandir(place)


def end_all(process: subprocess.Popen) -> None:
    """End the code's process, and with it all that it started."""
    deadline = time.monotonic() + LONGEST_END
    while True:
        process.kill()
        process.poll()
        left = below()
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while process.returncode is not None and os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if (not left and process.returncode is not None) or time.monotonic() > deadline:
            return
        time.sleep(0.01)


if __name__ == "__main__":
    main()
