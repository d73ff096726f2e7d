"""Run two checkouts of pinfold side by side on the same inputs, and show where they differ.

For a redesign that must not change what pinfold does:

    git worktree add ../old COMMIT && make -C ../old install
    python scripts/compare_checkouts.py ../old .

Compared through the command line of each checkout, with its own environment:
- ``check --json`` of the four model folders and of every folder of the corpora (code, file, line, severity, releases);
- ``convert`` of every file in tests/corpus/modular_users: the bytes of all that is written, and the exit code;
- ``push`` of a small checkpoint of each model folder to an embedded Hub: the bytes of every published file;
- ``hub``: status, type and body of requests to the Hub that holds these pushes, served by each from a copy.

Sentences may differ where they were reworded: such differences are counted, and shown with --words. Everything
else that differs is listed, and makes the exit code 1.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("resnet_model", "bert_model", "decoder_model", "sentiment_model")
# Runs commands in one process, as starting one for each of a thousand would take an hour.
DRIVER = """
import contextlib, io, json, os, sys
from pinfold.__main__ import main
results = []
for directory, command in json.load(open(sys.argv[1])):
    os.chdir(directory)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(command)
        except SystemExit as error:
            code = error.code
        except Exception as error:
            code = f"traceback: {error!r}"
    results.append([code, out.getvalue(), err.getvalue()])
json.dump(results, open(sys.argv[2], "w"))
"""
# Small checkpoints of the four folders, and the folders of the corpora: written once, by the newer checkout.
MAKER = """
import sys
from pathlib import Path
root, work = Path(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = [str(root), str(root / "tests")]
import torch
from corpus import bad_folders
from corpus.bad_cases import BAD
from corpus.good_cases import GOOD
edits = {f"bad-{n:03}": bad.edits for n, bad in enumerate(BAD.values())}
edits |= {f"good-{n:03}": [e for e in good if not isinstance(e, dict)] for n, good in enumerate(GOOD.values())}
for name, each in edits.items():
    bad_folders.write(work / "corpus" / name, each)
from corpus.malicious import HARMLESS, MALICIOUS
from helpers.tiny import write_folder
for kind, table in (("malicious", MALICIOUS), ("harmless", HARMLESS)):
    for number, case in enumerate(table.values()):
        folder = write_folder(work / "corpus" / f"{kind}-{number:03}")
        source = case[1] if isinstance(case, tuple) else case
        (folder / "extra.py").write_text(source)
        text = (folder / "modeling_tiny.py").read_text()
        (folder / "modeling_tiny.py").write_text(text.replace("\\nclass ", "\\nfrom . import extra\\n\\nclass ", 1))
torch.manual_seed(0)
from bert_model.configuration_bert import BERTConfig
from bert_model.modeling_bert import BERTForMaskedLM
from decoder_model.configuration_decoder import DecoderConfig
from decoder_model.modeling_decoder import DecoderForCausalLM
from resnet_model.configuration_resnet import ResnetConfig
from resnet_model.modeling_resnet import ResnetModelForImageClassification
from sentiment_model.configuration_sentiment import SentimentConfig
from sentiment_model.modeling_sentiment import SentimentAnalyzer
sizes = dict(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
models = {
    "resnet_model": ResnetModelForImageClassification(ResnetConfig("basic", [1, 1, 1, 1], num_classes=3)),
    "bert_model": BERTForMaskedLM(BERTConfig(**sizes)),
    "decoder_model": DecoderForCausalLM(DecoderConfig(**sizes, num_key_value_heads=1)),
    "sentiment_model": SentimentAnalyzer(SentimentConfig(vocab_size=60, embedding_dim=8, hidden_dim=8)),
}
for name, model in models.items():
    model.save_pretrained(work / "checkpoints" / name)
"""


def run(checkout: Path, program: str, *arguments: object) -> None:
    """A program in the checkout's own environment; its errors are ours."""
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", program, *map(str, arguments)]
    environment = {"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir()}
    environment["PINFOLD_HUB"] = "runs/hub"  # where each push looks for it, in its own directory
    subprocess.run(command, env=environment | {"OMP_NUM_THREADS": "1"}, cwd=tempfile.gettempdir(), check=True)


def drive(checkout: Path, work: Path, commands: list[tuple[Path, list[str]]]) -> list[list]:
    """[exit code, stdout, stderr] of each command, run in its directory."""
    (work / "commands.json").write_text(json.dumps([[str(directory), command] for directory, command in commands]))
    run(checkout, DRIVER, work / "commands.json", work / "results.json")
    return json.loads((work / "results.json").read_text())


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, relative path -> bytes."""
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def checks(checkout: Path, inputs: Path, work: Path) -> dict[str, object]:
    """Folder -> exit code and findings. The sentence stands apart, under its own key."""
    folders = [ROOT / name for name in FOLDERS] + sorted((inputs / "corpus").iterdir())
    work.mkdir()
    commands = [(work, ["check", str(f), "--json", str(work / f"{f.name}.json")]) for f in folders]
    facts: dict[str, object] = {}
    for folder, (code, _, err) in zip(folders, drive(checkout, work, commands), strict=True):
        report = work / f"{folder.name}.json"
        findings = json.loads(report.read_text())["findings"] if report.exists() else []
        facts[f"check {folder.name}"] = (
            code,
            sorted((f["code"], f["file"], f["line"], f["severity"], tuple(f["releases"])) for f in findings),
        )
        facts[f"words {folder.name}"] = sorted(f["sentence"] for f in findings), err
    return facts


def conversions(checkout: Path, inputs: Path, work: Path) -> dict[str, object]:
    """Modular file -> exit code, and what was written."""
    sources = sorted((ROOT / "tests" / "corpus" / "modular_users").glob("*.py"))
    work.mkdir()
    commands = []
    for source in sources:
        folder = work / f"{source.stem}_model"
        folder.mkdir()
        shutil.copyfile(source, folder / f"modular_{source.stem}.py")
        commands.append((work, ["convert", str(folder.relative_to(work) / f"modular_{source.stem}.py")]))
    facts: dict[str, object] = {}
    for source, (code, _, err) in zip(sources, drive(checkout, work, commands), strict=True):
        facts[f"convert {source.stem}"] = code, files_of(work / f"{source.stem}_model")
        facts[f"words convert {source.stem}"] = err
    return facts


def pushes(checkout: Path, inputs: Path, work: Path) -> dict[str, object]:
    """Published file -> its bytes; of the card, without hashes, dates and seconds."""
    work.mkdir()
    facts: dict[str, object] = {}
    for name in FOLDERS:
        checkpoint = str(inputs / "checkpoints" / name)
        command = [
            "push",
            str(ROOT / name),
            "--checkpoint",
            checkpoint,
            "--endpoint",
            "embedded",
            "--versions",
            "newest",
        ]
        ((code, out, err),) = drive(checkout, work, [(work, command)])
        facts[f"push {name}"] = code
        said = (out + err).replace(f"{work}/", "")
        facts[f"words push {name}"] = re.sub(r"[\d.]+ s\]|[0-9a-f]{12,40}|\d+\.\d MB", "N", said)
        store = work / "runs" / "hub" / "repos" / "models" / "local" / f"{name}.git"
        listed = subprocess.run(
            ["git", "-C", store, "ls-tree", "-r", "--name-only", "main"], capture_output=True, text=True
        )
        for file in listed.stdout.splitlines():
            content = subprocess.run(["git", "-C", store, "show", f"main:{file}"], capture_output=True).stdout
            if file in ("README.md", "pinfold.json"):
                content = re.sub(rb"[0-9a-f]{40,64}|\d{4}-\d\d-\d\d", b"N", content)
            facts[f"push {name}: {file}"] = content
    return facts


def addresses(store: Path) -> Iterator[str]:
    """Requests to the four repositories: API, pages, files, ranges are left to the tests."""
    yield from (
        "/",
        "/api/models",
        "/models",
        "/api/whoami-v2",
        "/nowhere",
        "/api/models/local/nowhere",
        "/api/nonsense",
    )
    for name in FOLDERS:
        repo = f"local/{name}"
        for api in (
            "",
            "/tree/main",
            "/tree/main?recursive=true",
            "/refs",
            "/commits/main",
            "/revision/main",
            "/discussions",
        ):
            yield f"/api/models/{repo}{api}"
        for page in (
            "",
            "/tree/main",
            "/commits/main",
            "/blob/main/config.json",
            "/blob/main/README.md",
            "/discussions",
        ):
            yield f"/{repo}{page}"
        for file in ("config.json", "README.md", "model.safetensors", "pinfold.json", "missing.txt"):
            yield f"/{repo}/resolve/main/{file}"
            yield f"/{repo}/raw/main/{file}"


def answers(checkout: Path, store: Path, work: Path) -> dict[str, object]:
    """Request -> status, content type, and the body without addresses, times and identifiers."""
    shutil.copytree(store, work)
    command = [str(checkout / ".venv" / "bin" / "python"), "-m", "pinfold", "hub", "--data", str(work), "--port", "0"]
    environment = {"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir()}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        facts: dict[str, object] = {}
        for address in addresses(store):
            try:
                with urllib.request.urlopen(url + address) as response:
                    status, kind, body = response.status, response.headers["content-type"], response.read()
            except urllib.error.HTTPError as error:
                status, kind, body = error.code, error.headers["content-type"], error.read()
            body = re.sub(rb"127\.0\.0\.1:\d+", b"HOST", body)
            body = re.sub(
                rb'"(?:_id|requestId|id)": ?"[^"]*"|[?&]v=[0-9a-f]+|Signature=[^"&]+|Expires=\d+', b"N", body
            )
            facts[f"GET {address}"] = status, kind, body
        return facts
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Print what differs; 0 where only words do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--words", action="store_true", help="also show the sentences that differ")
    parser.add_argument("--only", choices=("check", "convert", "push"), action="append")
    args = parser.parse_args()
    old, new = args.old.resolve(), args.new.resolve()
    parts = {"check": checks, "convert": conversions, "push": pushes}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="compare-") as temporary:
        inputs = Path(temporary) / "inputs"
        inputs.mkdir()
        run(new, MAKER, new, inputs)
        for part in args.only or parts:
            before, after = (
                parts[part](checkout, inputs, Path(temporary) / f"{part}-{side}")
                for side, checkout in (("old", old), ("new", new))
            )
            wrong += compare(part, before, after, args.words)
        if not args.only or "push" in args.only:
            store = Path(temporary) / "push-new" / "runs" / "hub"
            before, after = (
                answers(checkout, store, Path(temporary) / f"hub-{side}")
                for side, checkout in (("old", old), ("new", new))
            )
            wrong += compare("hub", before, after, args.words)
    return 1 if wrong else 0


def compare(part: str, before: dict[str, object], after: dict[str, object], show_words: bool) -> int:
    """Print one part's differences; how many there are, sentences aside."""
    same = [key for key in before if before[key] == after.get(key)]
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    reworded = [key for key in differing if key.startswith("words ")]
    real = [key for key in differing if key not in reworded]
    print(f"{part}: {len(same)} equal, {len(real)} different, {len(reworded)} with other words", flush=True)
    for key in real + (reworded if show_words else []):
        print(f"  {key}\n    old: {str(before.get(key))[:1000]}\n    new: {str(after.get(key))[:1000]}")
    return len(real)


if __name__ == "__main__":
    sys.exit(main())
