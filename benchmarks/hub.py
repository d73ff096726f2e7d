"""The embedded Hub under load, beside a plain file server on the same machine in the same run.

    python benchmarks/hub.py            # all of it; about ten minutes and 6 GB of disk
    python benchmarks/hub.py --small    # a tenth of the sizes

- 50 clients download one large file each at once: throughput, and its ratio to that of Python's own http.server.
- 20 pushers commit to repositories of their own at once, with unmodified clients in processes of their own.
- A push of one large file by pinfold's Remote, without verification, against the bare client's create_commit.
- A list of many repositories.
"""

import argparse
import http.client
import http.server
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.hub import hub_support  # noqa: E402
from huggingface_hub import CommitOperationAdd, HfApi  # noqa: E402

from pinfold.remote.client import Remote  # noqa: E402
from pinfold.remote.destination import Destination  # noqa: E402

READERS, PUSHERS, PAIRS = 50, 20, 3
PUSHER = """
import io, os, sys
from huggingface_hub import CommitOperationAdd, HfApi
api, repo, size = HfApi(endpoint=sys.argv[1], token=sys.argv[2]), sys.argv[3], int(sys.argv[4])
api.create_repo(repo)
for number in range(5):
    adding = [CommitOperationAdd("weights.safetensors", io.BytesIO(os.urandom(size)))]
    adding += [CommitOperationAdd("program.py", b"# %d" % number)]
    api.create_commit(repo, adding, commit_message=f"push {number}", parent_commit=api.repo_info(repo).sha)
"""


def peak(pid: int) -> float:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3


def read(port: int, path: str, token: str | None = None) -> int:
    """Bytes of one download; nothing is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    count, space = 0, memoryview(bytearray(2**20))
    while size := answer.readinto(space):
        count += size
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status}")
    return count


def together(readers: int, port: int, path: str, size: int) -> float:
    """Seconds that so many downloads take at once; each has to be whole."""
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(read(port, path))) for _ in range(readers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if counts != [size] * readers:
        raise RuntimeError(f"{len(counts)} of {readers} downloads ended, {counts.count(size)} of them whole")
    return time.perf_counter() - started


@contextmanager
def plain(directory: Path):
    """Python's own file server, in a process of its own: its port."""
    code = (
        "from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer, test\n"
        "test(SimpleHTTPRequestHandler, ThreadingHTTPServer, port=0, bind='127.0.0.1')"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield int(process.stdout.readline().split(" port ")[1].split()[0])
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes")
    small = parser.parse_args().small
    part = 10 if small else 1
    size, large, count = 200_000_000 // part, 1_000_000_000 // part, 2000 // part
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="hub-load-") as work:
        work = Path(work)
        with hub_support.Server(work / "data", "--quiet") as server:
            token = server.token("me")
            api = HfApi(endpoint=server.url, token=token)
            downloads(work, server, api, size)
            pushers(server, token, size // 20)
            pushes(work, server, api, token, large)
            listing(server, token, count)
            print(f"server: {peak(server.process.pid):.0f} MB at most")
    return 0


def downloads(work: Path, server, api: HfApi, size: int) -> None:
    file = work / "plain" / "weights.safetensors"
    file.parent.mkdir()
    with file.open("wb") as out:
        for _ in range(size // 1_000_000):
            out.write(os.urandom(1_000_000))
    api.create_repo("me/large")
    sha = api.create_commit("me/large", [CommitOperationAdd(file.name, str(file))], commit_message="weights").oid
    path, ratios = f"/me/large/resolve/{sha}/{file.name}", []
    with plain(file.parent) as other:
        together(2, other, f"/{file.name}", size), together(2, server.port, path, size)  # warm
        for _ in range(PAIRS):
            theirs = together(READERS, other, f"/{file.name}", size)
            ours = together(READERS, server.port, path, size)
            ratios.append(theirs / ours)
            rate = READERS * size / 1e9 / ours
    print(
        f"{READERS} downloads of {size / 1e6:.0f} MB at once: {rate:.2f} GB/s, "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of a plain file server's"
    )


def pushers(server, token: str, size: int) -> None:
    started = time.perf_counter()
    running = [
        subprocess.Popen([sys.executable, "-c", PUSHER, server.url, token, f"me/pushed-{i}", str(size)])
        for i in range(PUSHERS)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"{sum(map(bool, codes))} of {PUSHERS} pushers failed")
    seconds = time.perf_counter() - started
    print(f"{PUSHERS} pushers, 5 commits of {size / 1e6:.0f} MB each: {seconds:.0f} s, no error")


def pushes(work: Path, server, api: HfApi, token: str, size: int) -> None:
    file, ratios = work / "one.safetensors", []
    for number in range(PAIRS):
        times = {}
        for way in ("bare", "ours") if number % 2 else ("ours", "bare"):
            with file.open("wb") as out:  # other bytes each time: what is there already is not sent
                for _ in range(size // 1_000_000):
                    out.write(os.urandom(1_000_000))
            repo = f"me/{way}-{number}"
            api.create_repo(repo)
            remote = Remote(Destination(repo, server.url, token))
            head = remote.head()
            started = time.perf_counter()
            if way == "bare":
                api.create_commit(
                    repo, [CommitOperationAdd(file.name, str(file))], commit_message="one", parent_commit=head
                )
            else:
                remote.commit("one", head, {file.name: file})
            times[way] = time.perf_counter() - started
            shutil.rmtree(server.data / "repos" / "models" / f"{repo}.git")
        ratios.append(times["ours"] / times["bare"])
    print(
        f"push of {size / 1e6:.0f} MB, without verification: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) of the bare client's time"
    )


def listing(server, token: str, count: int) -> None:
    for number in range(count):
        server.create(f"me/many-{number}", token)
    times = {}
    for path in ("/api/models?limit=1000", "/"):
        seconds = []
        for _ in range(6):
            started = time.perf_counter()
            read(server.port, path, token if path.startswith("/api") else None)
            seconds.append(time.perf_counter() - started)
        times[path] = (seconds[0], statistics.median(seconds[1:]))
    for path, (first, later) in times.items():
        print(f"list of {count} repositories, {path}: {later * 1e3:.0f} ms ({first * 1e3:.0f} ms the first time)")


if __name__ == "__main__":
    sys.exit(main())
