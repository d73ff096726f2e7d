"""The checker, on folders and on repositories of every kind that people have."""

import json
import os
import re
import shutil
import struct
import time

import pytest
import torch
from helpers import tiny
from huggingface_hub import CommitOperationAdd, HfApi
from safetensors.torch import save

from pinfold.cli import check_run
from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import matrix

CONFIGURATION = tiny.CONFIGURATION
TOO_NEW = 'MIN_TRANSFORMERS = "99.9"\n' + CONFIGURATION
STOCK = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8}


@pytest.fixture
def published(tiny_folder, tiny_checkpoint, tmp_path):
    """A staged directory, as it would be on the Hub."""
    (tmp_path / "published").mkdir()
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "published").directory


@pytest.fixture
def upload(hub, request, monkeypatch):
    """upload({"path": bytes}) -> (owner/name, its commit) on the embedded Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api = HfApi(endpoint=hub["url"], token=hub["token"])

    def run(files, name=None):
        name = name or re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
        api.create_repo(f"local/{name}")
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        return f"local/{name}", api.create_commit(f"local/{name}", operations, commit_message="all").oid

    return run


@pytest.fixture
def checked(hub, capsys):
    """checked(target, ...) -> (exit code, stdout, stderr) of the command."""

    def run(target, *arguments):
        code = main(["check", str(target), "--endpoint", hub["url"], *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def contents(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_folder_that_follows_the_contract_is_clean_and_told_what_it_runs(checked, tiny_folder):
    code, out, _ = checked(tiny_folder)
    assert code == 0 and "0 errors, 0 warnings; by its code it loads in 4.48-" in out
    runs = next(line for line in out.splitlines() if "runs on your machine" in line)
    assert all(f"{stem}_tiny.py" in runs for stem in ("configuration", "modeling", "layers"))
    assert "imports torch, transformers" in runs and "cannot see" in out


def test_a_fault_is_named_with_the_releases_that_it_breaks(checked, tmp_path):
    source = tiny.MODELING.replace("        self.post_init()\n", "")
    folder = tiny.write_folder(tmp_path / "broken", modeling_tiny=source)
    code, out, _ = checked(folder)
    assert code == 1 and "by its code it loads in 4.48-4.57, in 5.0-" in out and "it fails: P10 post_init" in out


def test_a_name_that_came_later_is_judged_release_by_release(checked, tmp_path):
    source = "from transformers.masking_utils import create_causal_mask\n" + tiny.MODELING.split('"""\n', 1)[1]
    folder = tiny.write_folder(tmp_path / "late", modeling_tiny=source)
    code, out, _ = checked(folder)
    assert code == 1 and re.search(r"it loads in 4\.53-5\.\d+, in 4\.48-4\.52 it fails: P09", out), out


def test_checking_imports_nothing(tiny_folder, tmp_path, checked):
    folder = shutil.copytree(tiny_folder, tmp_path / "traps")
    (folder / "setup.py").touch()
    (folder / "__init__.py").touch()
    for file in folder.glob("*.py"):
        mark = f"open({str(tmp_path / 'mark')!r} + '-{file.stem}', 'w').close()\n"
        file.write_text(mark + file.read_text())
    (folder / "sitecustomize.py").write_text(f"open({str(tmp_path / 'mark-site')!r}, 'w')")
    code, out, _ = checked(folder)
    assert code == 1 and "S07" in out
    assert list(tmp_path.glob("mark*")) == []


def test_a_repository_is_read_without_its_weights(checked, published, upload, tmp_path):
    files = contents(published)
    (length,) = struct.unpack("<Q", files["model.safetensors"][:8])
    header = json.loads(files["model.safetensors"][8 : 8 + length])
    end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    header["big"] = {"dtype": "U8", "shape": [100_000_000], "data_offsets": [end, end + 100_000_000]}
    text = json.dumps(header).encode()
    data = files["model.safetensors"][8 + length :] + bytes(100_000_000)
    name, sha = upload({**files, "model.safetensors": struct.pack("<Q", len(text)) + text + data})
    started = time.monotonic()
    code, out, _ = checked(f"{name}@{sha}")
    assert code == 0 and f"{name}@{sha}: 0 errors" in out and "100.0 MB" in out, out
    assert time.monotonic() - started < 10
    code, out, _ = checked(name)
    assert f"reading {name} at {sha}" in out


def test_the_header_of_remote_weights_is_audited(checked, published, upload):
    files = contents(published)
    cut = files["model.safetensors"][:-8]
    name, _ = upload({**files, "model.safetensors": cut})
    code, _, err = checked(name)
    assert code == 2 and "not a whole safetensors file" in err and len(err.strip().splitlines()) == 1


LORA_INSIDE = save({"base_model.model.q.lora_A.default.weight": torch.zeros(2, 2)}, {"format": "pt"})
KINDS = {
    "only pickles": (
        {"config.json": json.dumps(STOCK).encode(), "pytorch_model.bin": b"pickle"},
        1,
        ["P19", "only pickles (pytorch_model.bin)", "no Python code"],
    ),
    "pickles alone": (
        {"pytorch_model.bin": b"pickle"},
        1,
        ["no Python code: weights without a config.json that says of what model", "P19"],
    ),
    "no code": (
        {"config.json": json.dumps(STOCK).encode()},
        0,
        ["no Python code: a model of transformers' own; trust_remote_code is not needed"],
    ),
    "only a tokenizer": (
        {"tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}', "tokenizer.json": b"{}"},
        0,
        ["a tokenizer, no model"],
    ),
    "code elsewhere": (
        {"config.json": json.dumps({"model_type": "x-y", "auto_map": {"AutoModel": "a/b--m.X"}}).encode()},
        1,
        ["runs code of a/b for AutoModel; read that too: pinfold check a/b", "P03"],
    ),
    "settings that name code": (
        {"config.json": json.dumps({"model_type": "x-y", "auto_map": {"AutoModel": "modeling_m.X"}}).encode()},
        1,
        ["no Python code, though its settings name modeling_m.py: it is not loaded without that", "P02"],
    ),
    "an unknown type": (
        {"config.json": json.dumps({"model_type": "x-y", "architectures": ["XModel"]}).encode()},
        0,
        ["no Python code, and model_type 'x-y' is none of transformers' own: its code is missing"],
    ),
    "an adapter inside": (
        {"config.json": json.dumps(STOCK).encode(), "model.safetensors": LORA_INSIDE},
        0,
        ["an adapter is still inside the model (base_model.model.q.lora_A.default.weight)", "merge_and_unload()"],
    ),
    "nothing": ({"notes.txt": b"hello"}, 0, ["no Python code: no model", "no weights"]),
    "python that is no model": (
        {"train.py": b"import os\nos.system('ls')\n"},
        0,
        ["not loaded by from_pretrained: train.py"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_repository_gets_a_sensible_answer(checked, upload, kind):
    files, wanted, words = KINDS[kind]
    name, _ = upload(files)
    code, out, err = checked(name)
    assert code == wanted, out + err
    for word in words:
        assert word in out


def test_several_model_classes_are_all_looked_at(checked, published, upload):
    files = contents(published)
    config = json.loads(files["config.json"])
    config["auto_map"].pop("AutoModelForSequenceClassification")
    name, _ = upload({**files, "config.json": json.dumps(config).encode()})
    code, out, _ = checked(name)
    assert code == 1 and "P01" in out and "AutoModelForSequenceClassification" in out


@pytest.mark.slow
def test_run_loads_it_and_says_so_after_the_audit(checked, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = checked(published, "--run", "--versions", "newest", "--json", tmp_path / "report.json")
    assert code == 0, out + err
    assert out.index("runs on your machine") < out.index("running its code") < out.index("D01 loads")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["code"] == 0 and report["rows"][0]["checks"]["D05"] == "ok" and report["rows"][0]["hashes"]
    table = (tmp_path / "runs" / "compat").glob("*.md")
    assert "| D05 tensors" in next(table).read_text()


@pytest.mark.slow
def test_run_of_a_repository_whose_code_is_elsewhere(checked, published, upload, tmp_path, monkeypatch):
    """Weights in one repository, code in another."""
    monkeypatch.chdir(tmp_path)
    files = contents(published)
    code_repo, _ = upload({n: c for n, c in files.items() if n.endswith(".py") or n == "config.json"}, "the-code")
    config = json.loads(files["config.json"])
    config["auto_map"] = {auto: f"{code_repo}--{place}" for auto, place in config["auto_map"].items()}
    name, _ = upload(
        {"config.json": json.dumps(config).encode(), "model.safetensors": files["model.safetensors"]}, "the-weights"
    )
    code, out, err = checked(name, "--run", "--versions", "newest")
    assert code == 1 and "P03" in out and "passes in transformers" in out, out + err


def test_dangerous_code_is_not_run_where_it_cannot_be_fenced(checked, published, monkeypatch):
    path = published / "modeling_tiny.py"
    path.write_text(path.read_text() + "\nimport os\nos.system('true')\n")
    monkeypatch.setattr("pinfold.fence.sandbox.available", lambda: check_run.fence.Fence())
    code, out, err = checked(published, "--run", "--versions", "newest")
    assert code == 2 and "S02" in out and "cannot sandbox it" in err and "running its code" not in out


def test_fix_shows_a_diff_and_writes_only_when_told(checked, tmp_path, capsys):
    source = tiny.MODELING.replace("        self.post_init()\n", "", 1)
    folder = tiny.write_folder(tmp_path / "broken", modeling_tiny=source)
    code, out, _ = checked(folder, "--fix")
    assert code == 1 and "+        self.post_init()" in out and "nothing was written" in out
    assert (folder / "modeling_tiny.py").read_text() == source
    code, out, _ = checked(folder, "--fix", "--yes")
    assert code == 0 and "written: modeling_tiny.py (P10)" in out and "0 errors" in out
    code, out, _ = checked(folder, "--fix")
    assert code == 0 and "nothing to fix automatically" in out


def row(version, failure="", numbers="a", **checks):
    """What a release gave: D01 and D03 passed where nothing else is said."""
    return matrix.Row(version, {"AutoModel": numbers}, failure, 1.0, {"D01": "ok", "D03": "ok", **checks})


WORSE = {
    "a check that passed fails": ([row("5.0.0")], [row("5.0.0", "D03: other", D03="other")], ["5.0.0: D03: other"]),
    "other numbers": ([row("4.48.3")], [row("4.48.3", numbers="b")], ["4.48.3: other numbers than before"]),
    "nothing is built": (
        [row("4.48.3")],
        [matrix.Row("4.48.3", {}, "it cannot be built", 1.0, {"D01": "it cannot be built"})],
        ["4.48.3: it cannot be built"],
    ),
    "better": ([row("5.0.0", "D03: x", D03="x")], [row("5.0.0", numbers="b")], []),
    "nothing was built": ([matrix.Row("5.0.0", {}, "no", 1.0, {"D01": "no"})], [row("5.0.0")], []),
    "fails as before": ([row("5.0.0", "D03: x", D03="x")], [row("5.0.0", "D03: y", D03="y")], []),
    "one of two": (
        [row("4.48.3"), row("5.0.0", "D01: x", D01="x")],
        [row("4.48.3", "D03: y", D03="y"), row("5.0.0")],
        ["4.48.3: D03: y"],
    ),
}


@pytest.mark.parametrize("case", WORSE)
def test_with_run_nothing_is_written_where_a_release_does_worse(checked, tmp_path, monkeypatch, case):
    before, after, worse = WORSE[case]
    source = tiny.MODELING.replace("        self.post_init()\n", "", 1)
    folder = tiny.write_folder(tmp_path / "broken", modeling_tiny=source)

    def measured(args, directory):
        repaired = (directory / "modeling_tiny.py").read_text() != source
        assert repaired == (directory != folder)
        return after if repaired else before

    monkeypatch.setattr(check_run, "rows_of", measured)
    monkeypatch.setattr(check_run, "run_releases", lambda *rest: [])
    _, out, _ = checked(folder, "--fix", "--yes", "--run")
    assert [
        line.removeprefix("transformers ") for line in out.splitlines() if line.startswith("transformers ")
    ] == worse
    assert ((folder / "modeling_tiny.py").read_text() == source) == bool(worse)
    assert ("nothing was written: with these changes it would do worse" in out) == bool(worse)


def test_with_run_a_folder_is_loaded_before_and_after(checked, tiny_checkpoint, tmp_path):
    source = tiny.MODELING.replace("nn.init.normal_(module.weight, std=0.5)", "module.weight.data.normal_(std=0.5)")
    folder = tiny.write_folder(tmp_path / "writes", modeling_tiny=source)
    arguments = ("--run", "--versions", "5.0.0", "--checkpoint", tiny_checkpoint)
    code, out, _ = checked(folder, "--fix", "--yes", *arguments)
    assert code == 0, out
    places = [out.index(words) for words in ("without the changes:", "with the changes:", "written: modeling_tiny.py")]
    assert places == sorted(places) and "passes in transformers 5.0.0" in out
    assert (folder / "modeling_tiny.py").read_text() == tiny.MODELING


def test_what_an_author_says_about_a_finding_is_repeated_and_changes_nothing(checked, tmp_path):
    call = "    def forward(self, input_ids, attention_mask=None):\n"  # a write that nothing reaches is a warning
    modeling = tiny.MODELING.replace(call, f"{call}        notes(self.config.log)\n")
    modeling += "\n\ndef notes(path):\n    with open(path, 'w') as file:\n        file.write('x')\n"
    folder = tiny.write_folder(tmp_path / "writes", modeling_tiny=modeling)
    accept = 'accepted_findings:\n  "S07 modeling_tiny.py": keeps notes where the caller says\n---\n## Intended'
    (folder / "card.md").write_text(tiny.CARD.replace("---\n## Intended", accept))
    code, out, _ = checked(folder)
    assert code == 1 and "error    S07" in out
    assert "accepted by the author: S07 in modeling_tiny.py (keeps notes where the caller says)" in out
    (folder / "card.md").write_text("---\n- no table\n---\n")
    assert checked(folder)[0] == 1


def test_text_of_a_stranger_cannot_steer_the_terminal(checked, published):
    config = json.loads((published / "config.json").read_text())
    config["auto_map"]["AutoModel\x1b[2J"] = "evil\x1b]0;title\x07/x--m.X\u202e"
    (published / "config.json").write_text(json.dumps(config))
    code, out, err = checked(published)
    assert code == 1 and not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out + err)


SPECIAL = {
    "pipe": lambda d: os.mkfifo(d / "card.md"),
    "pipe for a template": lambda d: os.mkfifo(d / "chat.jinja"),
    "circle": lambda d: (d / "more.py").symlink_to("more.py"),
    "device": lambda d: (d / "card.md").symlink_to("/dev/zero"),
    "out of the folder": lambda d: (d / "card.md").symlink_to("/etc/passwd"),
    "directory": lambda d: (d / "card.md").mkdir(),
    "many classes": lambda d: (d / "c.py").write_text("".join(f"class C{i}: pass\n" for i in range(3000))),
    "floor above all": lambda d: (d / "configuration_tiny.py").write_text(TOO_NEW),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_one_line_and_no_wait(checked, tmp_path, kind):
    folder = tiny.write_folder(tmp_path / "folder", card=None)
    (folder / "card.md").unlink(missing_ok=True)
    SPECIAL[kind](folder)
    for arguments in ([], ["--fix"]) if kind != "floor above all" else ([],):
        code, _, err = checked(folder, *arguments)
        assert code == 2 and len(err.strip().splitlines()) == 1, err


def test_classes_that_derive_from_each_other_in_many_ways_take_no_time(checked, tmp_path):
    pairs = "".join(f"class D{i}(D{i + 1}, E{i + 1}): pass\nclass E{i}(D{i + 1}, E{i + 1}): pass\n" for i in range(60))
    folder = tiny.write_folder(tmp_path / "folder", layers_tiny=tiny.LAYERS + pairs)
    started = time.process_time()  # other programs of this machine do not count
    checked(folder)
    assert time.process_time() - started < 20


def test_a_floor_narrows_the_forecast(checked, tmp_path):
    source = 'MIN_TRANSFORMERS = "5.0"\n' + CONFIGURATION
    code, out, _ = checked(tiny.write_folder(tmp_path / "folder", configuration_tiny=source))
    assert code == 0 and "by its code it loads in 5.0-" in out


@pytest.mark.slow
def test_a_local_folder_without_a_digest_is_not_blamed_for_two_copies(checked, published, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = published / "configuration_tiny.py"
    path.write_text(re.sub(r"\n#[^\n]*\nCODE_DIGEST = .*\n", "", path.read_text()))
    code, out, err = checked(published, "--run", "--versions", "newest")
    assert code == 0 and "passes in transformers" in out and "left out" in out, out + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such folder"),
        (["a b/c"], "no such folder"),
        (["local/absent"], "is not on"),
        (["--versions", "5.0.0"], "--versions needs --run or --suite; add --run or --suite, or drop --versions"),
        (["--yes"], "--yes needs --fix; add --fix, or drop --yes"),
        (["--json", "/nowhere/at/all.json"], "the directory /nowhere/at does not exist"),
        (["local/absent", "--fix"], "Download it first"),
        (["--run", "--versions", "later"], "'later' is not a release of transformers"),
        (["--run"], "holds no weights to run it with"),
    ],
)
def test_what_cannot_be_checked_is_one_line(checked, tiny_folder, arguments, words):
    target = [] if not arguments[0].startswith("-") else [tiny_folder]
    code, _, err = checked(*target, *arguments)
    assert code == 2 and words in err and len(err.strip().splitlines()) == 1, err


def test_a_hub_that_names_files_outside_of_the_repository_is_not_followed(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from huggingface_hub.hf_api import RepoFile

    from pinfold.remote.client import Remote
    from pinfold.remote.snapshot import outline

    entry = RepoFile(path="../../evil.py", size=1, oid="0" * 40)
    remote = Remote(SimpleNamespace(repo="a/b", endpoint="http://127.0.0.1:9", token=None), "main")
    monkeypatch.setattr(remote.api, "list_repo_tree", lambda *a, **k: [entry])
    with pytest.raises(UserError, match="not a valid path in a repository"):
        outline(remote, "0" * 40, tmp_path / "outline")


@pytest.mark.parametrize("target", ["", "  "])
def test_an_empty_name_is_not_the_current_directory(pinfold, target):
    done = pinfold("check", target)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("pinfold check: an empty name; give a directory") and done.stderr.count("\n") == 1
