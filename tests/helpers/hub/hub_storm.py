"""A storm over the embedded Hub: faults by the hundred while real clients push, and what has to hold after each.

    python tests/helpers/hub/hub_storm.py --faults 1000 --seed 0

How it works:
- Pushers use pinfold's own Remote (which finds its commit again) and the bare client (which is run again).
- Each push writes a program, weights of random bytes, and a manifest with the sha256 of both.
- Faults: connections dropped, the server killed at named points and at any time, answers lost, racing pushers, a
  full disk, locks that a killed git left, a clock that jumps. A killed server comes back at the same port.
- All the while a reader looks at the newest commits: each has to hold what its manifest says.
- After each fault, every commit that was acknowledged has to be in the history; a push that failed is run again and
  has to end with one commit. At the end, `pinfold hub verify` and git fsck find nothing, and gc leaves no orphan.
"""

import argparse
import collections
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import disable_progress_bars, logging

from pinfold.common.errors import UserError
from pinfold.hub.server.tokens import Tokens
from pinfold.remote.client import Remote
from pinfold.remote.destination import Destination

ROOT = Path(__file__).resolve().parents[3]
USER, REPOSITORIES, RACERS = "storm", 4, 4
POINTS = ["exit-inside-put", "exit-before-commit", "exit-inside-commit", "exit-after-commit"]
FAULTS = ["put-drop", "lose-answer", *POINTS, "kill -9", "race", "full disk", "stale lock", "held lock", "clock jump"]
LOCKS = ["refs/heads/main.lock", "HEAD.lock", "config.lock", "packed-refs.lock"]
DAY = 86400.0
TRIES = 12  # of a push whose every try may meet the fault of another
SMALLEST = 30_000  # bytes of a file that a full disk still takes


class Broken(AssertionError):
    """Something that had to hold does not."""


class Server:
    """The server, which is started again whenever it has died, at the same port."""

    def __init__(self, data: Path):
        self.data, self.port, self.stopping, self.starts = data, _free_port(), False, 0
        self.log: collections.deque[str] = collections.deque(maxlen=400)
        self.up = threading.Event()
        self.talking = threading.RLock()  # a process that starts is told nothing: its first lines are the greeting
        self.start()
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.talking:
            self._start()
        self.starts += 1
        self.up.set()

    def _start(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("storm_server.py")), "hub"]
        command += ["--data", str(self.data), "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        threading.Thread(target=self._drain, args=(self.process.stderr,), daemon=True).start()
        greeting = self.process.stdout.readline()
        if "listening" not in greeting:
            if self.process.wait() == -signal.SIGKILL:  # killed once more while it started
                return self._start()
            time.sleep(0.5)  # until its last words have been read
            code = self.process.returncode
            raise Broken(f"the server does not start ({code}, {greeting!r}): {' '.join([*self.log][-3:])}")
        while "HF_TOKEN=" not in greeting:  # the last line of it
            greeting = self.process.stdout.readline()

    def _drain(self, stream) -> None:
        for line in stream:
            self.log.append(line.rstrip())

    def _keep(self) -> None:
        while not self.stopping:
            self.process.wait()
            self.up.clear()
            if self.stopping:
                return
            self.before_start()
            try:
                self.start()
            except Broken as error:
                print(error, file=sys.stderr)
                os._exit(1)  # nothing can go on, and threads are waiting

    def before_start(self) -> None:
        """What is put into the data directory while nobody serves it; a fault sets it."""

    def tell(self, command: str) -> None:
        """Tell the process something, and wait until it has heard. Without effect on one that is gone."""
        with self.talking, contextlib.suppress(BrokenPipeError, ValueError, OSError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            self.process.stdout.readline()

    def kill(self) -> None:
        """kill -9; the keeper brings it back."""
        starts = self.starts
        self.process.send_signal(signal.SIGKILL)
        while self.starts == starts:
            time.sleep(0.01)

    def room(self, size: int | None) -> None:
        """The largest file that it may write, as a disk that is full would have it; None takes that back."""
        with contextlib.suppress(ProcessLookupError):
            most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most if size is None else size, most))

    def stop(self) -> None:
        self.stopping = True
        self.process.terminate()
        self.process.wait()
        self.keeper.join()


class Push:
    """What one push sends: a program, weights, and what both are."""

    def __init__(self, number: int, chance: random.Random, folder: Path):
        weights = chance.randbytes(chance.choice([40_000, 400_000, 3_000_000]))
        program = f"# push {number}\n".encode() * chance.randint(1, 50)
        sums = {"weights.safetensors": _sha256(weights), "program.py": _sha256(program)}
        self.number = number
        self.files = {
            "weights.safetensors": weights,
            "program.py": program,
            "manifest.json": json.dumps({"number": number, "files": sums}).encode(),
        }
        self.paths = {}
        for name, content in self.files.items():
            self.paths[name] = folder / f"{number}-{name}"
            self.paths[name].write_bytes(content)

    def forget(self) -> None:
        for path in self.paths.values():
            path.unlink()


class Storm:
    """Faults, pushes, and what has to hold."""

    def __init__(self, work: Path, seed: int):
        self.chance, self.work = random.Random(seed), work
        self.files = work / "files"
        self.files.mkdir(parents=True)
        data = work / "data"
        data.mkdir(mode=0o700)
        token = Tokens(data).create(USER, "write")
        self.server = Server(data)
        self.api = HfApi(endpoint=self.server.url, token=token)
        self.repos = [f"{USER}/model-{i}" for i in range(REPOSITORIES)]
        for repo in self.repos:
            self.api.create_repo(repo)
        self.token, self.pushes = token, 0
        self.acknowledged: dict[str, dict[str, int]] = {repo: {} for repo in self.repos}
        self.met: collections.Counter = collections.Counter()
        self.again = self.looked = 0
        self.problems: list[str] = []
        self.over = threading.Event()
        self.known: dict[str, int | None] = {}  # commits that were looked at -> the number of their push
        self.lock = threading.Lock()

    def run(self, faults: int, progress) -> None:
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        done = 0
        first = list(FAULTS)  # each kind once, and then by chance
        while done < faults:
            fault = first.pop(0) if first else self.chance.choice(FAULTS)
            repo = self.chance.choice(self.repos)
            done += self._round(fault, repo)
            self._check(repo)
            if self.problems:
                raise Broken(self.problems[0])
            progress(done, self.met)
        self.over.set()
        reader.join()
        for repo in self.repos:
            self._check(repo)
        if self.problems:
            raise Broken(self.problems[0])
        self.server.stop()
        self._after()

    # Faults --------------------------------------------------------------------------------

    def _round(self, fault: str, repo: str) -> int:
        """Push once, or race, while the fault happens; how many faults that was."""
        self.met[fault] += 1
        if fault == "race":
            return self._race(repo)
        push, undo = self._new(), self._plan(fault, repo)
        try:
            self._push(repo, push, bare=self.chance.random() < 0.5, undo=undo)
        finally:
            undo()
            push.forget()
        return 1

    def _plan(self, fault: str, repo: str):
        """Let the fault happen during the next push; the answer takes it back."""
        server = self.server
        if fault in ("put-drop", "lose-answer", *POINTS):
            server.tell(f"arm {fault}")
            return lambda: server.tell("disarm")
        if fault == "full disk":
            server.room(self.chance.choice([0, 200, SMALLEST]))
            return lambda: server.room(None)
        if fault == "clock jump":
            before, after = self.chance.choice([-400, -2, 2, 30, 4000]) * DAY, self.chance.uniform(0, 0.2)
            timer = threading.Timer(after, server.tell, [f"clock {before}"])
            timer.start()

            def back() -> None:
                timer.join()
                server.tell("clock 0")

            return back
        if fault == "kill -9":
            timer = threading.Timer(self.chance.uniform(0, 0.25), server.kill)
            timer.start()
            return timer.join
        git = server.data / "repos" / "models" / f"{repo}.git"
        if fault == "held lock":  # somebody's git is at work for a moment
            path = git / "refs/heads/main.lock"
            path.touch()
            timer = threading.Timer(0.5, path.unlink)
            timer.start()
            return timer.join

        def leave() -> None:
            for name in self.chance.sample(LOCKS, 2):
                (git / name).touch()
            (server.data / "tmp" / f"{self.chance.getrandbits(64):016x}").write_bytes(b"x" * 1000)

        server.before_start = leave
        server.kill()
        server.before_start = lambda: None
        return lambda: None

    def _race(self, repo: str) -> int:
        pushes = [self._new() for _ in range(RACERS)]
        threads = [
            threading.Thread(target=self._guarded, args=(repo, push, number % 2 == 0))
            for number, push in enumerate(pushes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for push in pushes:
            push.forget()
        return RACERS - 1  # one of them meets nobody

    def _guarded(self, repo: str, push: Push, bare: bool) -> None:
        try:
            self._push(repo, push, bare)
        except Exception as error:
            self.problems.append(f"push {push.number}: {type(error).__name__}: {error}")

    # Pushes --------------------------------------------------------------------------------

    def _new(self) -> Push:
        self.pushes += 1
        return Push(self.pushes, self.chance, self.files)

    def _push(self, repo: str, push: Push, bare: bool, undo=lambda: None) -> None:
        """Push until it has worked, as a user runs it again who was told that it failed."""
        for attempt in range(TRIES):
            try:
                sha = (self._bare if bare else self._ours)(repo, push)
            except Exception as error:  # whatever the client makes of it
                if isinstance(error, Broken):
                    raise
                if attempt == TRIES - 1:
                    raise
                self.again += 1
                undo()
                time.sleep(0.1 * (attempt + 1))  # somebody who runs it again is no faster
                self.server.up.wait(30)
                continue
            with self.lock:
                self.acknowledged[repo][sha] = push.number
            return

    def _ours(self, repo: str, push: Push) -> str:
        remote = Remote(Destination(repo, self.server.url, self.token))
        head = remote.head()
        if self._number(repo, head) == push.number:  # as push.py finds that nothing is left to do
            return head
        if earlier := self._earlier(repo, push):
            return earlier
        return remote.commit(f"push {push.number}", head, push.paths)

    def _bare(self, repo: str, push: Push) -> str:
        head = self.api.repo_info(repo).sha
        if earlier := self._earlier(repo, push):
            return earlier
        adding = [CommitOperationAdd(name, io.BytesIO(content)) for name, content in push.files.items()]
        sha = self.api.create_commit(repo, adding, commit_message=f"push {push.number}", parent_commit=head).oid
        if self._number(repo, sha) != push.number:
            raise Broken(f"{repo}: push {push.number} was acknowledged as {sha}, which holds something else")
        return sha

    def _earlier(self, repo: str, push: Push) -> str | None:
        """The commit of an earlier try, whose answer was lost."""
        found = [c.commit_id for c in self.api.list_repo_commits(repo) if c.title == f"push {push.number}"]
        if len(found) > 1:
            raise Broken(f"{repo}: push {push.number} is there {len(found)} times")
        return found[0] if found else None

    # What has to hold ----------------------------------------------------------------------

    def _number(self, repo: str, sha: str) -> int | None:
        """The number of the push whose files a commit holds, all of them and whole; None for the first commit."""
        if sha in self.known:
            return self.known[sha]
        entries = {e.path: e for e in self.api.list_repo_tree(repo, revision=sha)}
        if "manifest.json" not in entries:
            if set(entries) != {".gitattributes"}:
                raise Broken(f"{repo} at {sha}: a partial tree, {sorted(entries)}")
            self.known[sha] = None
            return None
        told = json.loads(self._content(repo, sha, "manifest.json"))
        for name, wanted in told["files"].items():
            if _sha256(self._content(repo, sha, name)) != wanted:
                raise Broken(f"{repo} at {sha}: {name} is not what the manifest of push {told['number']} says")
        self.known[sha] = told["number"]
        return told["number"]

    def _content(self, repo: str, sha: str, name: str) -> bytes:
        from huggingface_hub.utils import get_session

        answer = get_session().get(f"{self.server.url}/{repo}/resolve/{sha}/{name}", timeout=60)
        answer.raise_for_status()
        return answer.content

    def _read(self) -> None:
        """Look at what anybody sees, all the time."""
        chance = random.Random(1)
        while not self.over.is_set():
            repo = chance.choice(self.repos)
            try:
                self._number(repo, self.api.repo_info(repo).sha)
                self.looked += 1
            except Broken as error:
                self.problems.append(str(error))
                return
            except Exception:  # the server is down at times
                time.sleep(0.05)
            time.sleep(0.02)

    def _check(self, repo: str) -> None:
        """Every acknowledged commit is in the history, and every push is there at most once."""
        for attempt in range(20):
            try:
                history = list(self.api.list_repo_commits(repo))
                break
            except Exception:
                if attempt == 19:
                    raise
                self.server.up.wait(30)
                time.sleep(0.2)
        shas = {commit.commit_id for commit in history}
        if lost := set(self.acknowledged[repo]) - shas:
            raise Broken(f"{repo}: {len(lost)} acknowledged commits are gone: {sorted(lost)[:3]}")
        titles = collections.Counter(commit.title for commit in history)
        if twice := [title for title, count in titles.items() if count > 1]:
            raise Broken(f"{repo}: {twice[0]} is there {titles[twice[0]]} times")

    def _after(self) -> None:
        """Nothing is broken on the disk, and gc leaves nothing that no commit needs."""
        data = str(self.server.data)

        def pinfold(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "pinfold", "hub", *arguments, "--data", data],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise Broken(f"pinfold hub {' '.join(arguments)}: {done.stdout[-500:]} {done.stderr[-500:]}")
            return done.stdout

        pinfold("verify")
        self.collected = pinfold("gc", "--older-than", "0").strip().splitlines()
        pinfold("verify")
        for repo in self.repos:
            git = self.server.data / "repos" / "models" / f"{repo}.git"
            found = subprocess.run(
                ["git", "-C", str(git), "fsck", "--full", "--strict", "--unreachable"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            lines = [line for line in found.stdout.splitlines() if line.startswith("unreachable")]
            if found.returncode or lines:
                raise Broken(f"{repo}: git fsck: {found.stdout[:300]} {found.stderr[:300]}")
            there = {path.name for path in (git / "lfs" / "objects").rglob("*") if path.is_file()}
            needed = self._pointers(git)
            if there != needed:
                raise Broken(f"{repo}: {len(there - needed)} large files too many, {len(needed - there)} too few")
        left = [path for path in (self.server.data / "tmp").rglob("*") if path.is_file()]
        if left:
            raise Broken(f"{len(left)} temporary files are left: {left[:3]}")

    def _pointers(self, git: Path) -> set[str]:
        """The large files that some commit names."""
        listed = ["git", "-C", str(git), "rev-list", "--all"]
        found = set()
        for sha in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split():
            shown = ["git", "-C", str(git), "show", f"{sha}:weights.safetensors"]
            text = subprocess.run(shown, capture_output=True, text=True, check=False).stdout
            found |= {line.removeprefix("oid sha256:") for line in text.splitlines() if line.startswith("oid ")}
        return found


def _free_port() -> int:
    """One that no client gets for its own end of a connection, while the server is down."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise Broken("no port is free")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def storm(faults: int, seed: int, work: Path, progress=lambda done, met: None) -> Storm:
    """Run one; Broken says what did not hold."""
    disable_progress_bars()
    logging.set_verbosity_error()
    it = Storm(work, seed)
    try:
        it.run(faults, progress)
    finally:
        it.over.set()
        if not it.server.stopping:
            it.server.stop()
    return it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()

    def progress(done: int, met) -> None:
        print(f"\r{done} faults, {time.monotonic() - started:.0f} s", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="storm-") as work:
        try:
            it = storm(args.faults, args.seed, Path(work), progress)
        except (Broken, UserError) as error:
            print(f"\nbroken: {error}")
            return 1
    print(f"\n{sum(it.met.values())} rounds with {args.faults} faults, seed {args.seed}: nothing broken")
    print(", ".join(f"{name}: {count}" for name, count in it.met.most_common()))
    print(f"{it.pushes} pushes, {it.again} of them run again; {it.server.starts - 1} restarts; {it.looked} looks")
    print("\n".join(it.collected))
    return 0


if __name__ == "__main__":
    sys.exit(main())
