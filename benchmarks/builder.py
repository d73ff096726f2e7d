"""The builder's page: what the first paint loads, how fast numbers follow a change, and an export beside a dry push.

    python benchmarks/builder.py [--changes 50] [--pairs 3]

Exports and pushes take turns; a push is `pinfold push FOLDER --dry-run` of the exported folder, with the releases that
are installed. Medians and spread of one run, on this machine.
"""

import argparse
import copy
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LARGE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}


def send(address: str, path: str, value: dict | None = None) -> bytes:
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=900) as answer:
        return answer.read()


def drawing(address: str, layers: int, name: str) -> dict:
    """An encoder of BERT's width with one word classifier."""
    state = json.loads(send(address, "/api/schema"))["architectures"]["encoder"]["default"]
    state = copy.deepcopy(state) | {"prefix": name.capitalize(), "model_type": name}
    state["config"] |= {**LARGE, "num_hidden_layers": layers}
    for field, words in (("attention_type", ["full", "local", "strided", "random"]), ("hidden_act", ["gelu"])):
        state["config"][field] = [words[i % len(words)] for i in range(layers)]
    return state


def first_paint(address: str) -> None:
    """What the page itself asks for before its first answer of the API."""
    html = send(address, "/")
    scripts = re.findall(rb'src="([\w.]+)"', html)
    sizes = [len(html), *(len(send(address, "/" + name.decode())) for name in scripts)]
    print(f"first paint: {len(sizes)} requests, {sum(sizes):,} bytes before compression")


def changes(address: str, count: int) -> None:
    """Milliseconds from a change to fresh numbers, over HTTP, and to shapes."""
    state = drawing(address, 24, "speed")
    for shapes, most in ((False, 50), (True, 500)):
        times = []
        for number in range(count):
            layer = number % 24
            state["config"]["attention_type"][layer] = ("full", "local", "strided", "random")[number // 24 % 4]
            state["config"]["attention_window"] = 8 + number
            started = time.perf_counter()
            answer = json.loads(send(address, "/api/check", {"state": state, "length": 512, "shapes": shapes}))
            times.append((time.perf_counter() - started) * 1e3)
            assert answer["ok"], answer["problems"]
        median, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        what = "with shapes" if shapes else "parameters, FLOPs, memory"
        print(f"24 layers, {what}: median {median:.1f} ms, 95th percentile {late:.1f} ms (at most {most})")


def exports(address: str, output: Path, work: Path, pairs: int) -> None:
    """Seconds of an export of 12 layers and of a dry push of what it wrote, in turns."""
    state = drawing(address, 12, "twelve")
    environment = {**os.environ, "PINFOLD_HUB": str(work / "hub"), "PYTHONPATH": str(ROOT)}
    ratios = []
    for _ in range(pairs):
        started = time.perf_counter()
        last = json.loads(send(address, "/api/export", {"state": state}).splitlines()[-1])
        mine = time.perf_counter() - started
        assert last["event"] == "result", last
        command = [sys.executable, "-m", "pinfold", "push", str(output / "twelve"), "--dry-run"]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        push = time.perf_counter() - started
        assert done.returncode == 0, done.stdout + done.stderr
        ratios.append(mine / push)
        print(f"12 layers of 768: export {mine:.1f} s, dry push {push:.1f} s, ratio {mine / push:.2f}", flush=True)
    print(f"ratio of export to dry push: median {statistics.median(ratios):.2f} (at most 1.2)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, float32, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        command = [sys.executable, "-m", "pinfold", "builder", "--port", "0", "--output", str(work / "out")]
        server = subprocess.Popen(
            command, cwd=work, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        try:
            address = re.search(r"http://[\w.:]+", server.stdout.readline())[0]
            send(address, "/api/schema")
            first_paint(address)
            changes(address, args.changes)
            if args.pairs:
                exports(address, work / "out", work, args.pairs)
        finally:
            server.terminate()
            server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
