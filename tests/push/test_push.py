"""Pushes against a real server with the real client.

Verification starts processes that take seconds, and has tests of its own; where a test is about what happens on the
Hub, the fixture ``quick`` stands in for it.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import tiny
from helpers.processes import ROOT, clean_environment
from huggingface_hub import HfApi

from pinfold.card import card
from pinfold.cli.main import main
from pinfold.common.files import sha256_of_file
from pinfold.remote import destination


@pytest.fixture
def copies(tiny_folder, tiny_checkpoint, tmp_path):
    """A folder and a checkpoint that the test may change."""
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny_model")
    return folder, shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def repo(hub, request):
    """A repository's name of this test's own, and a client for it."""
    name = f"local/{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())[:60].strip('-')}"
    return name, HfApi(endpoint=hub["url"], token=hub["token"])


@pytest.fixture
def push(hub, copies, repo, capsys, monkeypatch):
    """push("--tag", "v1") -> (exit code, stdout, stderr) of a push of the copies to the test's repository."""

    def run(*arguments, folder=copies[0], checkpoint=copies[1], name=repo[0], token=hub["token"]):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        where = ["--repo", name, "--endpoint", hub["url"]]
        code = main(["push", str(folder), "--checkpoint", str(checkpoint), *where, *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(autouse=True)
def _no_xet(monkeypatch):
    """For the uploads that tests make by hand; a push finds out by itself."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


def commits(repo, revision="main"):
    name, api = repo
    return api.list_repo_commits(name, revision=revision)


def read(repo, path, revision, tmp_path):
    name, api = repo
    return Path(api.hf_hub_download(name, path, revision=revision, cache_dir=tmp_path / "read")).read_text()


def pinned(out):
    return re.search(r'revision="([0-9a-f]{40})"', out)[1]


def test_one_commit_for_everything_and_a_second_for_the_card(quick, push, repo, copies, tmp_path):
    code, out, _ = push()
    assert code == 0
    pin, files, first = commits(repo)
    sha = pinned(out)
    assert files.commit_id == sha and first.title == "initial commit"
    name, api = repo
    at_sha = {e.path: e for e in api.list_repo_tree(name, revision=sha, recursive=True)}
    assert set(at_sha) == {
        ".gitattributes",
        "config.json",
        "configuration_tiny.py",
        "layers_tiny.py",
        "model.safetensors",
        "modeling_tiny.py",
        "pinfold.json",
    }
    at_pin = {e.path: e.blob_id for e in api.list_repo_tree(name, revision=pin.commit_id, recursive=True)}
    assert {p for p in at_pin if p not in at_sha or at_pin[p] != at_sha[p].blob_id} == {"README.md"}
    assert at_sha["model.safetensors"].lfs is not None
    readme = read(repo, "README.md", pin.commit_id, tmp_path)
    assert set(card.PIN.findall(readme)) == {sha}


def test_downloaded_files_are_the_staged_files(quick, push, repo, tmp_path):
    sha = pinned(push()[1])
    name, api = repo
    snapshot = api.snapshot_download(name, revision=sha, cache_dir=tmp_path / "cache")
    manifest = json.loads(Path(snapshot, "pinfold.json").read_text())["files"]
    assert len(manifest) == 5
    for file, expected in manifest.items():
        assert sha256_of_file(tmp_path.joinpath(snapshot, file)) == expected


def test_pushing_the_same_twice_makes_no_commit_and_says_so(quick, push, repo):
    first = pinned(push()[1])
    before = commits(repo)
    code, out, _ = push()
    assert code == 0 and pinned(out) == first
    assert "nothing changed" in out and "already pins" in out
    assert [c.commit_id for c in commits(repo)] == [c.commit_id for c in before]


def test_a_changed_card_md_makes_a_card_commit_only(quick, push, repo, copies, tmp_path):
    sha = pinned(push()[1])
    (copies[0] / "card.md").write_text(tiny.CARD + "\nNew words.\n")
    assert pinned(push()[1]) == sha
    titles = [c.title for c in commits(repo)]
    assert titles.count(f"Pin the card to {sha[:12]}") == 2 and len(titles) == 4
    assert "New words." in read(repo, "README.md", "main", tmp_path)


def test_a_push_removes_only_what_an_earlier_push_wrote(quick, push, repo, copies):
    push()
    name, api = repo
    api.upload_file(path_or_fileobj=b"GGUF", path_in_repo="model.gguf", repo_id=name, commit_message="by hand")
    folder = copies[0]
    source = tiny.MODELING.replace("from .layers_tiny import Mixer\n", "from .blocks_tiny import Mixer\n")
    (folder / "modeling_tiny.py").write_text(source)
    (folder / "layers_tiny.py").rename(folder / "blocks_tiny.py")
    code, out, _ = push()
    assert code == 0 and "left alone on the Hub: model.gguf" in out and "1 deleted" in out
    files = set(api.list_repo_files(name))
    assert "layers_tiny.py" not in files and {"blocks_tiny.py", "model.gguf", ".gitattributes"} <= files


def test_stale_weights_of_somebody_else_that_would_win_stop_the_push(quick, push, repo):
    push()
    name, api = repo
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="model.safetensors.index.json", repo_id=name)
    before = commits(repo)
    code, _, err = push()
    assert code == 2 and "model.safetensors.index.json, which would be loaded instead" in err
    assert len(commits(repo)) == len(before)


def test_prune_asks_first_and_needs_a_terminal(quick, push, repo):
    push()
    name, api = repo
    api.upload_file(path_or_fileobj=b"GGUF", path_in_repo="model.gguf", repo_id=name)
    code, _, err = push("--prune")
    assert code == 2 and "--prune asks before it deletes" in err
    assert "model.gguf" in api.list_repo_files(name)


def test_prune_deletes_after_a_yes(quick, push, repo, monkeypatch):
    push()
    name, api = repo
    api.upload_file(path_or_fileobj=b"GGUF", path_in_repo="model.gguf", repo_id=name)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, stays in (("n", True), ("y", False)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert push("--prune")[0] == 0
        assert ("model.gguf" in api.list_repo_files(name)) is stays


def test_dry_run_shows_the_differences_and_leaves_no_trace(quick, push, repo, copies):
    name, api = repo
    code, out, _ = push("--dry-run")
    assert code == 0 and "+ modeling_tiny.py" in out and "nothing was uploaded" in out
    assert not api.repo_exists(name)
    push()
    (copies[0] / "layers_tiny.py").write_text(tiny.LAYERS.replace("tanh", "sigmoid"))
    before = commits(repo)
    _, out, _ = push("--dry-run")
    assert "~ layers_tiny.py" in out and "+        return x + self.inner(x).sigmoid()" in out
    assert [c.commit_id for c in commits(repo)] == [c.commit_id for c in before]


def test_a_tag_names_the_commit_of_the_files(quick, push, repo):
    out = push("--tag", "v1.0")[1]
    name, api = repo
    assert [(t.name, t.target_commit) for t in api.list_repo_refs(name).tags] == [("v1.0", pinned(out))]


def test_a_tag_that_names_another_commit_is_refused(quick, push, copies):
    push("--tag", "v1.0")
    (copies[0] / "layers_tiny.py").write_text(tiny.LAYERS.replace("tanh", "sigmoid"))
    code, _, err = push("--tag", "v1.0")
    assert code == 2 and "--tag=v1.0 already exists and points to " in err


def test_a_branch_is_made_and_main_stays_as_it_was(quick, push, repo):
    push()
    before = [c.commit_id for c in commits(repo)]
    code, out, _ = push("--branch", "experiment")
    assert code == 0
    assert [c.commit_id for c in commits(repo)] == before
    assert pinned(out) in [c.commit_id for c in commits(repo, "experiment")]


def test_a_pull_request_leaves_main_alone_and_can_be_pinned_later(quick, push, repo, tmp_path):
    push()
    before = [c.commit_id for c in commits(repo)]
    (tmp_path / "tiny_model" / "layers_tiny.py").write_text(tiny.LAYERS.replace("tanh", "sigmoid"))
    code, out, _ = push("--create-pr")
    assert code == 0 and [c.commit_id for c in commits(repo)] == before
    sha = re.search(r"pull request's commit is ([0-9a-f]{40})", out)[1]
    code, out, _ = push("--pin", sha)
    assert code == 0 and pinned(out) == sha
    assert set(card.PIN.findall(read(repo, "README.md", "main", tmp_path))) == {sha}


def test_pin_refuses_a_commit_that_holds_other_files(quick, push, repo):
    push()
    initial = commits(repo)[-1].commit_id
    code, _, err = push("--pin", initial)
    assert code == 2 and "does not hold what was sent" in err


def test_a_private_repository_is_made_private(quick, push, repo):
    assert push("--private")[0] == 0
    name, api = repo
    assert api.repo_info(name).private is True


def test_private_on_a_public_repository_is_refused(quick, push):
    push()
    code, _, err = push("--private")
    assert code == 2 and "exists and is public" in err


def test_a_licence_that_differs_from_the_hubs_is_refused_before_any_commit(quick, push, repo, copies):
    push()
    before = commits(repo)
    (copies[0] / "card.md").write_text(tiny.CARD.replace("mit", "apache-2.0"))
    (copies[0] / "layers_tiny.py").write_text(tiny.LAYERS.replace("tanh", "sigmoid"))
    code, _, err = push()
    assert code == 2 and "license=apache-2.0 in card.md, mit on the Hub" in err
    assert len(commits(repo)) == len(before)


def test_an_audit_finding_stops_the_push_before_the_hub_sees_anything(quick, push, repo, copies):
    (copies[0] / "modeling_tiny.py").write_text("from . import layers_tiny\n" + tiny.MODELING)
    code, _, err = push()
    assert code == 2 and "P06 modeling_tiny.py:1" in err
    assert not repo[1].repo_exists(repo[0])


@pytest.mark.parametrize(
    "name", ["a b/c", "a/b/c", "me/" + "x" * 97, "../x", "me/x.git", "me/-x", "onlyname", "me/x--y"]
)
def test_a_name_that_the_hub_would_refuse_is_one_line(quick, push, name):
    code, _, err = push(name=name)
    assert code == 2 and len(err.strip().splitlines()) == 1 and "--repo=" in err and "owner/name" in err


def test_somebody_elses_namespace_is_refused_before_any_work(quick, push):
    code, out, err = push(name="stranger/model")
    assert code == 2 and "may not create stranger/model; use local/model" in err and "stage" not in out


def test_a_read_token_is_refused_before_any_work(quick, push, hub, capsys, monkeypatch):
    main(["hub", "--data", str(hub["data"]), "token", "reader", "--role", "read"])
    token = capsys.readouterr().out.strip()
    code, out, err = push(name="reader/model", token=token)
    assert code == 2 and "the token of reader may only read" in err and "stage" not in out and token not in out + err


def test_a_bad_token_is_one_line(quick, push):
    code, out, err = push(token="hf_" + "x" * 34)
    assert code == 2 and "does not accept the token" in err and "stage" not in out


def test_no_token_is_one_line(quick, push, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    code, _, err = push("--endpoint", "http://127.0.0.1:9", token=None)
    assert code == 2 and "no token for http://127.0.0.1:9; run `hf auth login` or set HF_TOKEN" in err


def test_a_hub_that_does_not_answer_is_one_line(quick, push):
    code, _, err = push("--endpoint", "http://127.0.0.1:9")
    assert code == 2 and "cannot reach http://127.0.0.1:9" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "https://user:secret@host"])
def test_an_endpoint_that_is_none_is_one_line(quick, push, url):
    code, _, err = push("--endpoint", url)
    assert code == 2 and "is not the address of a Hub" in err


@pytest.mark.slow
def test_the_snippet_of_a_real_push_loads_in_a_new_process(pinfold, tiny_folder, tiny_checkpoint, tmp_path, hub):
    """End to end, nothing replaced: the command line, the embedded Hub that it starts, and the printed lines."""
    done = pinfold("push", tiny_folder, "--checkpoint", tiny_checkpoint)
    assert done.returncode == 0, done.stderr
    sha = pinned(done.stdout)
    snippet = done.stdout[done.stdout.index("from transformers import") :]
    data = tmp_path / "runs" / "hub"
    assert re.search(rf"^push to local/tiny-three on the embedded Hub in {re.escape(str(data))}\n", done.stdout)
    assert "export HF_ENDPOINT=http://127.0.0.1:7870" in done.stdout and f"--data {data} --port 7870" in done.stdout
    with destination.running(data) as server:
        environment = clean_environment(tmp_path / "user", HF_ENDPOINT=f"http://127.0.0.1:{server['port']}")
        code = (
            snippet + "\nimport torch\nprint(model(torch.arange(6)[None] % 40).logits.shape, model.config.id2label)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path / "user", env=environment, capture_output=True, text=True
        )
        assert "torch.Size([1, 3]) {0: 'no', 1: 'perhaps', 2: 'yes'}" in ran.stdout, ran.stderr
        download = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", "local/tiny-three"]
        ran = subprocess.run(
            [*download, "--revision", sha, "--local-dir", "copy"],
            cwd=tmp_path / "user",
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
    manifest = json.loads((tmp_path / "user" / "copy" / "pinfold.json").read_text())["files"]
    assert all(sha256_of_file(tmp_path / "user" / "copy" / name) == value for name, value in manifest.items())
    assert not (data / "server.json").exists(), "the server that the push started is gone"


@pytest.mark.sweep  # test_demo.py takes both generations of the client in every run
def test_a_push_with_the_older_generation_of_the_client(pinfold, overlay, tiny_folder, tiny_checkpoint, tmp_path):
    """huggingface_hub 0.36 and transformers 4.57: another HTTP library, and no Xet."""
    old = overlay("4.57.6")
    done = pinfold("push", tiny_folder, "--checkpoint", tiny_checkpoint, overlay=old)
    assert done.returncode == 0, done.stderr
    assert "transformers 4.57.6" in done.stdout and pinned(done.stdout)


@pytest.mark.sweep  # the pages' own lines publish from Python in every run
def test_push_from_python_publishes_the_model_in_memory(tmp_path, tiny_folder, hub):
    """In a process of its own, as a script or a notebook would."""
    script = f"""
import sys, types, importlib, torch
package = types.ModuleType("mine"); package.__path__ = [{str(tiny_folder)!r}]; sys.modules["mine"] = package
config = importlib.import_module("mine.configuration_tiny").TinyConfig(num_labels=2)
model = importlib.import_module("mine.modeling_tiny").TinyForSequenceClassification(config)
with torch.no_grad():
    model.classifier.bias.add_(0.125)  # only memory holds this
from pinfold.push import push
result = push(model, repo="local/from-memory", endpoint={hub["url"]!r}, token={hub["token"]!r})
print("REVISION", result.revision, result.changed)
from transformers import AutoModelForSequenceClassification as Auto
again = Auto.from_pretrained("local/from-memory", revision=result.revision, trust_remote_code=True)
ids = torch.arange(8)[None]
print("EQUAL", torch.equal(model.eval()(ids).logits, again(ids).logits))
print("THREADS", torch.get_num_threads())
"""
    environment = clean_environment(tmp_path / "user", HF_ENDPOINT=hub["url"], PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert "EQUAL True" in done.stdout and re.search(r"REVISION [0-9a-f]{40} True", done.stdout), done.stderr


def test_a_docstring_never_becomes_a_package_to_install(quick, push, repo, copies, tmp_path):
    prose = '"""Notes.\n\nfrom the paper of nobody, and\nimport evilpkg now.\n"""\n'
    (copies[0] / "layers_tiny.py").write_text(prose + tiny.LAYERS.split("\n", 1)[1])
    assert push()[0] == 0
    assert 'pip install "torch" "transformers>=4.48"\n' in read(repo, "README.md", "main", tmp_path)


def test_the_line_for_pip_names_the_release_that_the_folder_declares(quick, push, repo, copies, tmp_path):
    text = (copies[0] / "configuration_tiny.py").read_text()
    (copies[0] / "configuration_tiny.py").write_text(
        text.replace("\n\n\nclass", '\n\nMIN_TRANSFORMERS = "5.0"\n\n\nclass')
    )
    assert push()[0] == 0
    assert 'pip install "torch" "transformers>=5.0"\n' in read(repo, "README.md", "main", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("```python\nAutoModel.from_pretrained('a/b', trust_remote_code=True)\n```", "card: card.md: P23"),
        ("[a](missing.md)", "missing.md is linked but not published"),
        ("More Information Needed", "is in the text"),
    ],
)
def test_a_card_that_a_reader_would_find_broken_stops_before_anything_is_there(
    quick, push, repo, copies, change, words
):
    with (copies[0] / "card.md").open("a") as file:
        file.write(f"\n{change}\n")
    code, _, err = push()
    assert code == 2 and words in err and err.count("\n") == 1
    assert not repo[1].repo_exists(repo[0])


def test_words_that_a_hub_does_not_know_stop_at_once(quick, push, repo, copies):
    text = (copies[0] / "card.md").read_text()
    for old, new, words in (
        ("license: mit", "license: mti", "license='mti' is not a license the Hub knows (is it mit?)"),
        ("text-classification", "text-clasification", "is not a task the Hub knows (is it text-classification?)"),
    ):
        (copies[0] / "card.md").write_text(text.replace(old, new))
        code, out, err = push()
        assert code == 2 and words in err and err.count("\n") == 1 and "verify" not in out


def test_weights_under_another_licence_than_the_cards_are_not_published(quick, push, repo, copies):
    weights = {p.name: sha256_of_file(p) for p in copies[1].glob("*.safetensors")}
    told = {"source": "o/base", "license": "cc-by-nc-4.0", "weights": weights}
    (copies[1] / "conversion.json").write_text(json.dumps(told))
    code, _, err = push()
    assert code == 2 and "license=mit in card.md, cc-by-nc-4.0 in conversion.json; make them agree" in err
    (copies[1] / "conversion.json").write_text(json.dumps(told | {"license": "mit"}))
    assert push()[0] == 0


def test_an_unpinned_snippet_that_somebody_wrote_on_the_hub_is_said_and_stays(quick, push, repo, copies):
    assert push()[0] == 0
    card = read(repo, "README.md", "main", copies[0].parent)
    card += "\n```python\nAutoModel.from_pretrained('a/b', trust_remote_code=True)\n```\n"
    repo[1].upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo[0])
    (copies[0] / "layers_tiny.py").write_text(tiny.LAYERS + "\n# changed\n")
    code, out, _ = push()
    assert code == 0 and "README.md on the Hub: P23" in out


def test_a_persons_own_snippet_in_the_card_is_no_pin_of_ours(quick, push, repo, copies):
    (copies[0] / "card.md").write_text(f'{tiny.CARD}\n`from_pretrained("x/y", revision="{"a" * 40}")`\n')
    push()
    before = commits(repo)
    code, out, err = push()
    assert code == 0 and "already pins" in out, err
    assert len(commits(repo)) == len(before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pin", "main"),
        ("--pin", "1234567"),
        ("--branch", "bad name"),
        ("--tag", "a..b"),
        ("--max-shard-size", "²GB"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_before_any_work(quick, push, repo, arguments):
    code, out, err = push(*arguments)
    assert code == 2 and arguments[0] in err and len(err.strip().splitlines()) == 1 and "stage" not in out
    assert not repo[1].repo_exists(repo[0])


def test_a_commit_that_is_not_there_cannot_be_pinned(quick, push):
    push()
    code, _, err = push("--pin", "0" * 40)
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_a_used_tag_is_refused_before_the_commit(quick, push, repo, copies):
    push("--tag", "v1.0")
    before = commits(repo)
    (copies[0] / "layers_tiny.py").write_text(tiny.LAYERS.replace("tanh", "sigmoid"))
    assert push("--tag", "v1.0")[0] == 2 and len(commits(repo)) == len(before)


def test_after_a_prune_the_pin_stays_where_it_is(quick, push, repo, monkeypatch):
    push()
    name, api = repo
    api.upload_file(path_or_fileobj=b"x", path_in_repo="foreign.txt", repo_id=name)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    sha = pinned(push("--prune")[1])
    before = commits(repo)
    assert pinned(push()[1]) == sha and len(commits(repo)) == len(before)


def test_a_pull_request_of_nothing_is_not_opened(quick, push):
    push()
    code, out, _ = push("--create-pr")
    assert code == 0 and "no pull request was opened" in out


def test_a_hub_that_was_started_for_one_push_serves_the_other_to_its_end(tmp_path):
    data = tmp_path / "hub"
    first, second = destination.running(data), destination.running(data)
    one, two = first.__enter__(), second.__enter__()
    assert one["pid"] == two["pid"]
    first.__exit__(None, None, None)
    assert destination.find(data)["pid"] == two["pid"]
    second.__exit__(None, None, None)
    for _ in range(100):
        if not destination.find(data):
            break
        time.sleep(0.1)
    assert not destination.find(data)


def test_a_token_is_never_printed(quick, push, hub):
    _, out, err = push()
    assert hub["token"] not in out + err
