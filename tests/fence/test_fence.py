"""The sandbox: what code in it sees, writes to and hands over, and what it cannot forge."""

import ast
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from fence.levels import LEVELS, whole

from pinfold.cli.main import main as command
from pinfold.common.errors import UserError
from pinfold.convert.verify import verify as convert
from pinfold.fence import cgroups, mounts, sandbox
from pinfold.fence import process as fence
from pinfold.verify import judge

WRITES = """
os.system("mount -o remount,rw / 2>/dev/null; mount -o remount,bind,rw / 2>/dev/null; umount / 2>/dev/null")
said = {}
for path in request["paths"]:
    try:
        open(path, "w").close()
        said[path] = "written"
    except OSError as error:
        said[path] = error.strerror
end(said=said)
"""


@whole
def test_only_the_working_directory_can_be_written_to(run):
    free, kernel = run.work / "made" / "free", "/proc/sys/kernel/core_pattern"
    before = Path(kernel).read_text()
    paths = [free, run.work / "x", run.outside / "x", "/tmp/x", "/dev/shm/x", "/run/x", "/x", "/dev/null", kernel]
    paths += [run.work / "staged" / "file", run.work / "staged" / "new"]
    said = run(WRITES, paths=[str(path) for path in paths])["said"]
    assert {path for path, word in said.items() if word == "written"} == {str(free), "/dev/null"}
    assert free.exists() and not (run.outside / "x").exists() and Path(kernel).read_text() == before
    assert [path.name for path in (run.work / "staged").iterdir()] == ["file"]


SEES = """
def tried(call):
    try:
        return str(call())
    except OSError as error:
        return error.strerror

client = socket.socket(socket.AF_UNIX)
libc = ctypes.CDLL(None, use_errno=True)
end(
    root=sorted(os.listdir("/")),
    host=os.uname().nodename,
    group=open("/proc/self/cgroup").read(),
    open_to_devices=[
        line.split()[4]
        for line in open("/proc/self/mountinfo")
        if not {"nodev", "nosuid"} <= set(line.split()[5].split(",")) and not line.split()[4].startswith("/dev/")
    ],
    devices=sorted(os.listdir("/dev")),
    settings=sorted(os.listdir("/etc")),
    files=sorted(os.listdir("/tmp")),
    accounts=open("/etc/passwd").read(),
    processes=len([name for name in os.listdir("/proc") if name.isdigit()]),
    socket=tried(lambda: client.connect(request["socket"])),
    pipe=tried(lambda: os.stat(request["pipe"]).st_mode >> 12),
    shown=tried(lambda: os.stat(request["shown"]).st_mode >> 12),
    network=tried(lambda: socket.create_connection(("127.0.0.1", request["port"]), 2)),
    segment=libc.shmget(request["segment"], 1, 0),
    key=libc.syscall(250, 10, -3, b"user", b"pinfold-test", 0),
    memory=tried(lambda: open("/proc/1/mem", "rb")),
    first=tried(lambda: open(f"/proc/{os.getppid()}/environ", "rb").read() and "read"),
)
"""


@whole
def test_other_programs_are_out_of_reach(run):
    place = Path(tempfile.mkdtemp(prefix="agent-", dir="/tmp"))
    os.mkfifo(run.work / "staged" / "pipe")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(248, b"user", b"pinfold-test", b"secret", 6, -3)  # add_key to this session's keyring
    segment = libc.shmget(4711, 100, 0o1600)
    try:
        with (
            socket.socket(socket.AF_UNIX) as agent,
            socket.socket() as server,
            socket.socket(socket.AF_UNIX) as inside,
        ):
            agent.bind(str(place / "agent.sock"))
            inside.bind(str(run.work / "staged" / "s"))
            server.bind(("127.0.0.1", 0))
            for each in (agent, inside, server):
                each.listen()
            said = run(
                "import ctypes\n" + SEES,
                socket=str(place / "agent.sock"),
                pipe=str(run.work / "staged" / "pipe"),
                shown=str(run.work / "staged" / "s"),
                port=server.getsockname()[1],
                segment=4711,
            )
    finally:
        shutil.rmtree(place)
        libc.shmctl(segment, 0, None)
    assert said["host"] == "sandbox" and "pinfold" not in said["group"] and said["open_to_devices"] == []
    assert set(said["root"]) <= {
        *("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "proc", "run", "sbin", "sys", "tmp", "usr"),
        *("var", *(path.parts[1] for path in (run.work, Path(sys.prefix), Path(sys.base_prefix), sandbox.PACKAGE))),
    }
    assert place.name not in said["files"] and said["socket"] == "No such file or directory"
    assert said["pipe"] == said["shown"] == "8"  # plain files, which are empty
    harmless = {"core", "fd", "ptmx", "pts", "shm", "stderr", "stdin", "stdout", "tty"}
    assert set(said["devices"]) <= {"null", "zero", "full", "random", "urandom", *harmless}
    accounts = {f"user:x:{number}:0::/nonexistent:/bin/sh" for number in (0, os.getuid())}
    assert "shadow" not in said["settings"] and set(said["accounts"].splitlines()) <= accounts
    assert said["processes"] <= 3 and said["network"] != "None" and said["segment"] == -1 and said["key"] == -1
    assert said["memory"] == said["first"] == "Permission denied"


@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_LIBRARY_PATH"])
def test_a_home_is_not_shown_for_packages_in_it(run, level, monkeypatch, tmp_path, name):
    if not level.has_mounts:
        pytest.skip("no mounts in this level: its row in SECURITY.md says that the disk is reachable")
    home = tmp_path / "home" / "me"
    (home / "packages").mkdir(parents=True)
    (home / "secret").write_text("x")
    monkeypatch.setenv("HOME", str(home))
    code = 'end(seen=[os.path.exists(request["home"] + name) for name in ("/secret", "/packages")])'
    for place, seen in ((home, [False, False]), (home.parent, [False, False]), (home / "packages", [False, True])):
        monkeypatch.setenv(name, str(place))
        assert run(code, home=str(home))["seen"] == seen, place
    with pytest.raises(UserError, match="contains your home directory, which verification hides"):
        run("end()", options={"visible": [home.parent]})


@whole
def test_of_pinfold_it_sees_the_folder_fenced_and_no_other(run, monkeypatch):
    package = sandbox.PACKAGE
    monkeypatch.setenv("PYTHONPATH", str(package.parent))  # as a developer has it; the checkout is visible then
    code = 'import glob\nend(inside=glob.glob(request["package"] + "/*"))'
    assert run(code, package=str(package))["inside"] == [str(package / "fenced")]


# --- what code in it may try to forge; each in every level ---

GOOD = 'json.dump({"failures": []}, open(request["answer"], "w"))\n'
BAD = 'json.dump({"failures": [{"check": "D03", "line": "x"}]}, open(request["answer"], "w"))\n'
CLOSE = 'close("answer.json")\n'
END_JOB = 'close("")\n'
EARLY = "the folder's code ended the process before the job was done"
CHANGED = "was changed after it was handed over"
NOT_ONE = "is not a plain file of at most 64 MiB that was handed over exactly once"
FORGES = {
    "an answer, and an end before the job is done": (GOOD + "os._exit(0)", EARLY),
    "a closed answer, without the end": (GOOD + CLOSE + "os._exit(0)", EARLY),
    "an answer that is changed after it was closed": (BAD + CLOSE + GOOD + END_JOB, CHANGED),
    "an answer that is closed twice": (GOOD + CLOSE + CLOSE + END_JOB, NOT_ONE),
    "another process that changes it later": (
        BAD + CLOSE + f"if os.fork() == 0:\n    {GOOD}    os._exit(0)\nos.wait()\n" + END_JOB,
        CHANGED,
    ),
    "a link to a file outside": ('os.symlink("/etc/passwd", request["answer"])\n' + CLOSE + END_JOB, NOT_ONE),
    "a link that is put there afterwards": (
        GOOD + CLOSE + 'os.remove(request["answer"])\nos.symlink("/proc/self/environ", request["answer"])\n' + END_JOB,
        NOT_ONE,
    ),
    "a pipe that nobody writes to": ('os.mkfifo(request["answer"])\n' + CLOSE + END_JOB, NOT_ONE),
    "an answer as large as a disk": (
        'os.truncate(os.open(request["answer"], os.O_CREAT | os.O_RDWR), 100 << 20)\n' + CLOSE + END_JOB,
        NOT_ONE,
    ),
    "names with a zero byte": ('close("answer.json\\0")\nend()', None),
    "talk that waits for no answer": ('for _ in range(9999):\n    connection.sendall(b"x\\n")\nend()', "no answer"),
    "another directory in its place": (
        GOOD + CLOSE + 'd = os.path.dirname(request["answer"])\nos.rename(d, d + "-away")\nos.mkdir(d)\n'
        'json.dump({"failures": [], "forged": 1}, open(request["answer"], "w"))\n' + END_JOB,
        None,  # the directory that was opened before the run counts
    ),
    "a record on its standard output": (
        'print(json.dumps({"nonce": "", "done": True, "files": {}}), flush=True)\nos._exit(0)',
        EARLY,
    ),
    "an end of the first process": (
        "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1)\nend(forged=1)",
        "no answer",
    ),
    "a name that leads elsewhere": ('close("../request.json")\nend()', None),
    "lines without an end": ('connection.sendall(b"x" * 200_000)\nos._exit(0)', "ended the process"),
    "a process that goes on": (
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n    os._exit(0)\nend()",
        None,
    ),
}


@pytest.mark.parametrize("how", FORGES)
def test_an_answer_that_is_forged_is_not_taken(run, level, how):
    code, words = FORGES[how]
    before = time.monotonic()
    try:
        said = run(code, options={"seconds": 30})
    except UserError as error:
        assert words and words in str(error) and "\n" not in str(error)
    else:
        alone = level.own_processes  # where it is not, a process may end the first one only if it is not init
        assert words is None or (how == "an end of the first process" and alone), how
        assert "forged" not in said or how == "an end of the first process"
    assert time.monotonic() - before < 25


@pytest.mark.parametrize(
    "written",
    ["'{not json'", "'[]'", "'[' * 200000", "'{}'", "'{\"failures\": 5}'", "'{\"failures\": [5]}'", None],
)
def test_an_answer_of_another_form_is_one_line(run, written):
    written = f'open(request["answer"], "w").write({written})\n' if written else ""
    code = written + 'print("\\x1b[31mred", file=sys.stderr)\nclose("answer.json")\nclose("")\nsys.exit(3)'
    with pytest.raises(UserError, match=r"gave no answer: \\x1b\[31mred|is not a plain file of at most 64 MiB"):
        run(code)


# --- what is left of a run, and what its words may do ---


def processes_with(mark):
    lines = [path for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.name != str(os.getpid())]
    found = []
    for path in lines:
        try:
            found += [path.parent.name] if mark in path.read_bytes() else []
        except OSError:
            continue
    return found


LEAVES = {
    "a process of its own session": "",
    "one whose parent has ended": "if os.fork():\n        os._exit(0)\n    ",
    "one that ignores what it can": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 13, 15)]\n    ",
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what processes are below another")
@pytest.mark.parametrize("ends", ["by itself", "when its time is over"])
@pytest.mark.parametrize("how", LEAVES)
def test_nothing_runs_on_afterwards(run, level, how, ends):
    mark = f"{86400 + os.getpid()}.5{len(how)}{len(ends)}"
    sleep = f'os.execvp("sleep", ["sleep", "{mark}"])\n'
    code = f"if os.fork() == 0:\n    os.setsid()\n    {LEAVES[how]}{sleep}time.sleep(0.3)\n"
    if ends == "by itself":
        run(code + "end()")
    else:
        with pytest.raises(UserError, match="took longer than 2 s"):
            run(code + "time.sleep(60)", options={"seconds": 2})
    assert not processes_with(mark.encode())
    assert [path.name for path in run.work.iterdir() if path.name not in ("staged", "made")] == []


DEEP = 'os.chdir(os.environ["TMPDIR"])\nfor _ in range({}):\n    os.mkdir("d"); os.chdir("d")\nend()'
CLOSED = """
place = os.environ["TMPDIR"] + "/x/y"
os.makedirs(place)
os.chmod(place, 0)
os.chmod(os.path.dirname(place), 0)
end()
"""


@pytest.mark.parametrize("code", [DEEP.format(1500), DEEP.format(4000), CLOSED], ids=["deep", "deeper", "closed"])
def test_what_it_wrote_is_removed_whatever_it_is(run, code):
    try:
        run(code)
    except UserError as error:  # where the first process has looked at it meanwhile
        assert "nests directories deeper" in str(error)
    assert [path.name for path in run.work.iterdir() if path.name not in ("staged", "made")] == []


def test_texts_of_an_answer_steer_nothing(run):
    said = run('end(words=["\\x1b[31m", {"\\u202e": "\\x07"}])')["words"]
    assert said == ["\\x1b[31m", {"\\u202e": "\\x07"}]
    bad = '{"failures": [{"check": "D0\\n3", "line": "a\\nb" + "x" * 9999}]}'
    code = f'json.dump({bad}, open(request["answer"], "w"))\nclose("answer.json")\nclose("")'
    (failure,) = run(code)["failures"]
    assert failure["check"] == "D0 3" and failure["line"].startswith("a bx") and len(failure["line"]) == 2000


# --- limits ---

WAIT = "time.sleep(30)\n"
THREAD = "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
THREADS = f"import threading\nfor _ in range(60):\n    {THREAD}\n"
CHILDREN = 'for _ in range(3):\n    if os.fork() == 0:\n        x = b"x" * (150 << 20)\n        break\n'
FILES = 'for n in range(40):\n    open(f"f{n}", "wb").write(b"x" * (10 << 20))\n    time.sleep(0.05)\n'
LIMITS = {
    # where the kernel limits them itself, that comes first
    "processes": (THREADS + WAIT, {}, "it started more than 40 processes and threads|can't start new thread"),
    "memory": (CHILDREN + WAIT, {"memory": 300 << 20}, "it needed more than (300 MiB|0.293 GiB) of memory"),
    "disk": (FILES + WAIT, {"disk": 100 << 20}, "it wrote more than 100 MiB to the disk"),
    "disk without names": (
        'f = []\nfor n in range(40):\n    f.append(open("f", "wb"))\n    os.remove("f")\n'
        '    f[-1].write(b"x" * (10 << 20))\n    time.sleep(0.05)\n' + WAIT,
        {"disk": 100 << 20},
        "it wrote more than 100 MiB to the disk",
    ),
    "disk behind closed doors": (
        'os.mkdir("d")\nf = [open(f"d/{n}", "wb") for n in range(40)]\nos.chmod("d", 0)\n'
        'for each in f:\n    each.write(b"x" * (10 << 20))\n    time.sleep(0.05)\n' + WAIT,
        {"disk": 100 << 20},
        "it wrote more than 100 MiB to the disk",
    ),
    "memory in files without names": (
        'f = os.memfd_create("x")\nfor n in range(40):\n    os.write(f, b"x" * (10 << 20))\n    time.sleep(0.05)\n'
        + WAIT,
        {"memory": 200 << 20},
        "it needed more than (200 MiB|0.195 GiB) of memory",
    ),
    "memory that several share": (
        "import mmap\nm = mmap.mmap(-1, 1500 << 20)\n"
        'for n in range(150):\n    m.write(b"x" * (10 << 20))\n    time.sleep(0.02)\n' + WAIT,
        {"memory": 300 << 20},
        "it needed more than (300 MiB|0.293 GiB) of memory",
    ),
    "memory in mapped files without names": (
        'import mmap\nf = os.memfd_create("x")\nos.truncate(f, 1500 << 20)\nm = mmap.mmap(f, 1500 << 20)\n'
        'os.closerange(3, 99)\nfor n in range(150):\n    m.write(b"x" * (10 << 20))\n    time.sleep(0.02)\n' + WAIT,
        {"memory": 300 << 20},
        "it needed more than (300 MiB|0.293 GiB) of memory",
    ),
    "processes, while much is handed over": (
        'open("handed/x", "wb").truncate(3 << 30)\nfor n in range(50):\n    os.link("handed/x", f"handed/{n}")\n'
        'connection.sendall(b"".join(b"%d\\n" % n for n in range(50)))\n' + THREADS + WAIT,
        {},
        "it started more than 40 processes and threads|can't start new thread",
    ),
    "one file": ('open("f", "wb").write(b"x" * (200 << 20))', {"disk": 100 << 20}, "File too large|more than 100 MiB"),
    "time": (WAIT, {"seconds": 3}, "took longer than 3 s"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes use")
@pytest.mark.parametrize("what", LIMITS)
def test_a_limit_holds_for_all_processes_together(run, level, monkeypatch, what):
    code, options, words = LIMITS[what]
    monkeypatch.setattr(fence, "TASKS", 40)
    before = time.monotonic()
    with pytest.raises(UserError, match=words):
        run(code, options={"seconds": 20, **options})
    assert time.monotonic() - before < 15


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes use")
@pytest.mark.parametrize("what", [what for what in LIMITS if what.startswith(("processes", "memory"))])
def test_a_limit_holds_where_no_group_of_the_kernel_can_be_made(run, monkeypatch, what):
    code, options, words = LIMITS[what]
    monkeypatch.setattr(fence, "TASKS", 40)
    monkeypatch.setattr(cgroups, "_make", lambda memory, tasks: {})
    with pytest.raises(UserError, match=words):
        run(code, options={"seconds": 20, **options})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes use")
def test_memory_that_several_processes_share_is_not_too_much(run, monkeypatch):
    monkeypatch.setattr(cgroups, "_make", lambda memory, tasks: {})
    code = 'import mmap\nm = mmap.mmap(-1, 150 << 20)\nm.write(b"x" * (150 << 20))\n'
    code += (
        "for _ in range(3):\n    if os.fork() == 0:\n        m[::4096]\n        time.sleep(1.5)\n        os._exit(0)\n"
    )
    run(code + "time.sleep(1)\nend()", options={"memory": 300 << 20})


# --- what is said of it ---


def test_windows_cannot_verify_and_the_command_says_what_can(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sandbox, "POSIX", False)
    (tmp_path / "modeling_x.py").write_text("# Made by pinfold from modular_x.py\n")
    folder = str(sandbox.PACKAGE.parent / "resnet_model")
    for arguments in (["summarize", folder], ["check", "--suite", folder]):
        assert command(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("which needs Linux or macOS; on Windows run pinfold in WSL")
    for call in (lambda: run("end()"), lambda: convert(tmp_path)):
        with pytest.raises(UserError, match="on Windows run pinfold in WSL"):
            call()
    page = (sandbox.PACKAGE.parent / "docs" / "install.md").read_text()
    assert "Windows cannot verify" in page and "needs WSL" in page


def test_the_sandbox_can_be_imported_where_there_are_no_accounts():
    code = "import sys\nsys.modules.update(pwd=None, resource=None, fcntl=None)\nimport pinfold.fence.process"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=sandbox.PACKAGE.parent)
    assert done.returncode == 0, done.stderr


def test_every_level_names_what_it_lacks():
    words = {name: sandbox.Fence(*at).describe() for name, at in LEVELS.items()}
    assert words["bubblewrap"] == words["unshare 1"] and "as this machine" not in words["bubblewrap"]
    assert "other processes are visible" in words["unshare 2"]
    assert words["unshare 3"].startswith("partly") and "the disk and other processes" in words["unshare 3"]
    assert "network, disk and other processes are reachable" in words["nothing"]
    assert not any("\n" in line for line in words.values())


def test_a_dangerous_folder_runs_only_where_it_cannot_reach_the_disk(monkeypatch):
    monkeypatch.setattr(sandbox, "available", lambda: sandbox.Fence("unshare", sandbox.NAMESPACES[2]))
    with pytest.raises(UserError, match="S03 was found and this machine cannot sandbox it"):
        sandbox.permit("x", "S03")
    assert sandbox.permit("x", None).program == "unshare"


def test_a_home_is_not_shown(run):
    if not fence.available().has_mounts:
        pytest.skip("no mounts on this machine: homes are hidden by mounts alone")
    with pytest.raises(UserError, match="is your home directory, which verification hides; use a folder below it"):
        run("end()", options={"visible": [Path.home()]})


@pytest.mark.parametrize("path", sorted(fence.SCRIPT.parent.rglob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_the_sandbox_imports_nothing_of_pinfold(path):
    depth = len(path.relative_to(fence.SCRIPT.parent).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else []
            assert node.level <= depth, f"line {node.lineno} leaves the folder"
        assert not [name for name in names if name.split(".")[0] == "pinfold"], f"line {node.lineno}"


def test_what_mounts_imports_the_standard_library_alone():
    nodes = [node for node in ast.walk(ast.parse(sandbox.MOUNTING.read_text())) if isinstance(node, ast.Import)]
    assert {alias.name for node in nodes for alias in node.names} <= sys.stdlib_module_names
    assert "pinfold" not in sandbox.MOUNTING.read_text()


def test_the_first_process_imports_the_standard_library_alone():
    tree = ast.parse(sandbox.FIRST.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert all(isinstance(node, ast.Import) for node in nodes) and names <= sys.stdlib_module_names


ELSEWHERE = """
try:
    for n in range(6):
        open(f"{request['place']}/{n}", "wb").write(b"x" * (10 << 20))
except OSError:
    end(written=False)
else:
    time.sleep(1)
    end(written=True)
"""
REACHES = """
def tried(call):
    try:
        call()
        return True
    except OSError:
        return False

end(
    network=tried(lambda: socket.create_connection(("127.0.0.1", request["port"]), 2)),
    disk=tried(lambda: open(request["outside"])),
    writes=tried(lambda: open(request["outside"], "a")),
    processes=os.path.exists(f"/proc/{request['pid']}/stat"),
)
"""


def test_the_page_on_security_says_what_each_level_holds(run, level):
    page = (sandbox.PACKAGE.parent / "SECURITY.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    _, _, *rows = rows
    _, network, disk, processes, limits = rows[3 - level.has_mounts - bool(level.program) - level.own_processes]
    (run.outside / "outside.txt").write_text("x")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        said = run(REACHES, port=server.getsockname()[1], outside=str(run.outside / "outside.txt"), pid=os.getpid())
    assert network == ("reachable" if said["network"] else "none")
    assert said["disk"] == said["writes"] == disk.startswith("all that the user can read and write")
    assert said["processes"] != processes.startswith("not visible")
    tested = {"tasks" if what.startswith("processes") else what.split(",")[0] for what in LIMITS}  # in every level
    everywhere = not run(ELSEWHERE, {"disk": 20 << 20}, place=str(run.outside))["written"]
    assert set(limits.split(", ")) <= (tested if everywhere else {*tested, "disk: of its own directory"} - {"disk"})


def test_the_page_on_security_names_what_is_shown_and_what_the_code_compares_itself():
    page = (sandbox.PACKAGE.parent / "SECURITY.md").read_text()
    of_system = {word.rstrip(",.") for word in page.split() if word.startswith("/")}
    assert {name for name in mounts.SYSTEM if not name.startswith("/etc/")} <= of_system
    (paragraph,) = (part for part in page.split("\n\n") if part.startswith("What the code's own process compares"))
    itself, _, both = paragraph.partition("What it hands over both sides of")
    words = [
        *judge.BY_ITSELF,
        "of D01 the configuration, the processors and the pipelines",
        "of D04 whether code wrote",
    ]
    assert all(word in " ".join(itself.split()) for word in words)
    assert all(check in both for check in ("D08", "of D06 the", "D04 in half precision"))
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        pages = [page, (sandbox.PACKAGE.parent / "docs" / "architecture.md").read_text(), fence.__doc__]
        assert all(name in each for each in pages)


def test_without_linux_the_page_and_the_output_say_that_limits_are_lacking(monkeypatch):
    page = (sandbox.PACKAGE.parent / "SECURITY.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| macOS |")]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "memory" not in row and "tasks" not in row and "may go on afterwards" in row
    assert sandbox.Fence().describe().endswith("; memory and processes have no limit on this system")


@whole
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file that belongs to another user")
@pytest.mark.parametrize(("mode", "group"), [(0o600, 65534), (0o640, 65534), (0o604, 0), (0o604, 65534), (0o640, 0)])
def test_what_another_user_alone_may_read_is_said_so_and_a_copy_is_read(run, mode, group):
    directory = run.work / "others"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "config.json").chmod(mode)
    os.chown(directory / "config.json", 65534, group)
    reads = 'end(text=open(request["place"] + "/config.json").read())'
    if (mode, group) in ((0o604, 65534), (0o640, 0)):  # everybody may read it, or root's group
        assert run(reads, {"visible": [directory]}, place=str(directory))["text"] == "{}"
        return
    words = rf"config\.json \(user \w+, mode {mode:04o}\) cannot be read in a sandbox.*: cp -r '{directory}' COPY"
    with pytest.raises(UserError, match=words):
        run(reads, {"visible": [directory]}, place=str(directory))
    copy = run.work / "copy"
    subprocess.run(["cp", "-r", directory, copy], check=True)
    assert run(reads, {"visible": [copy]}, place=str(copy))["text"] == "{}"
