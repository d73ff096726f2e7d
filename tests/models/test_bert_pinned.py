"""bert_model loaded pinned from a Hub, in old and new transformers: stock BERT's numbers, pipelines, every Auto class.

One process for each version does everything (pinned_bert.py); the tests read what it said.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.forks import in_forks
from helpers.models.bert import build, converted_minilm
from helpers.processes import ROOT, clean_environment
from helpers.versions import VERSIONS
from transformers import AutoTokenizer

from pinfold.cli.main import main
from pinfold.folder.model_folder import read_folder
from pinfold.remote.client import Remote
from pinfold.remote.destination import Destination
from pinfold.staging.stage import stage

SCRIPT = ROOT / "tests" / "helpers" / "models" / "pinned_bert.py"
HEADS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
each_version = pytest.mark.parametrize("version", VERSIONS)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.versions,
]  # a push of the real model, and a process in each release


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    return converted_minilm(tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="module")
def published(hub, forks, minilm, tmp_path_factory):
    """Name -> commit: the real model by a whole push, small heads by its stage and its commit alone."""
    work, commits = tmp_path_factory.mktemp("pinned"), {}
    with pytest.MonkeyPatch.context() as patch, in_forks(forks):
        for name, value in clean_environment(work / "home", HF_TOKEN=hub["token"]).items():
            patch.setenv(name, value)
        given = ["--checkpoint", str(minilm[1]), "--versions", "newest", "--endpoint", hub["url"]]
        assert main(["push", str(ROOT / "bert_model"), "--repo", "local/minilm", *given]) == 0
        remote = Remote(Destination("local/minilm", hub["url"], hub["token"]))
        commits["minilm"] = re.search(r'revision="([0-9a-f]{40})"', remote.read("README.md", "main", work))[1]
        tokenizer = AutoTokenizer.from_pretrained(minilm[0])
        for head in HEADS:
            name, more = head.lower(), {"num_labels": 3} if "Classification" in head else {}
            build(head, vocab_size=len(tokenizer), **more).save_pretrained(work / "made" / name)
            for file in minilm[1].glob("tokenizer*.json"):  # in the portable form, as convert_bert.py writes it
                shutil.copyfile(file, work / "made" / name / file.name)
            (work / name).mkdir()
            staged = stage(read_folder(ROOT / "bert_model"), work / "made" / name, work / name)
            remote = Remote(Destination(f"local/{name}", hub["url"], hub["token"]))
            remote.create(private=False)
            files = {file: staged.directory / file for file in staged.files}
            commits[name] = remote.commit("Publish", remote.head(), files)
    return commits


def fresh(home, hub, *arguments, path=None):
    """Run Python as a reader of the Hub: nothing cached, no token, and the old transformers in front of the new."""
    environment = clean_environment(
        home, HF_ENDPOINT=hub["url"], HF_HUB_DISABLE_IMPLICIT_TOKEN="1", OMP_NUM_THREADS="1"
    )
    environment = {**environment, "PYTHONPATH": str(path)} if path else environment
    if not path:
        environment.pop("PYTHONPATH", None)
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{path}: {done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def said(published, minilm, hub, overlay, tmp_path_factory):
    """Version -> what its process found."""
    paths = {version: None if version == "newest" else overlay(version) for version in VERSIONS}

    def run(version):
        home = tmp_path_factory.mktemp("home")
        answer = home / "answer.json"
        fresh(home, hub, SCRIPT, json.dumps(published), minilm[0], answer, path=paths[version])
        return json.loads(answer.read_text())

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(VERSIONS, pool.map(run, VERSIONS), strict=True))


def test_each_process_ran_the_version_that_is_meant(said):
    assert [said[version]["version"] for version in VERSIONS[:-1]] == list(VERSIONS[:-1])
    assert len({found["version"] for found in said.values()}) == len(VERSIONS)


@each_version
def test_the_real_model_gives_stock_numbers(said, version):
    found = said[version]
    assert found["layers"] == 8 and found["padded"] > 0  # the embeddings, six layers and the pooler
    if version == "newest":
        assert found["equal"]["eager"]
    assert found["stock"]["eager"] < 1e-5, found["stock"]  # 4.x divides scores by sqrt(d), 5.x multiplies
    assert found["stock"]["sdpa"] < 1e-6, found["stock"]
    assert found["default"] == "sdpa" and found["sdpa"] < 1e-5  # stock eager and stock sdpa are 4.8e-6 apart
    assert found["unpadded"] < 1e-5 and found["pads"] == 0


@pytest.mark.parametrize("kind", ["eager", "sdpa", "unpadded"])
def test_outputs_are_the_same_bytes_in_every_version(said, kind):
    assert len({found["hashes"][kind] for found in said.values()}) == 1


def test_ids_and_heads_outputs_are_the_same_in_every_version(said):
    for key in ("ids", "names", "input names", "task_hashes"):
        assert all(found[key] == said["newest"][key] for found in said.values()), key


@each_version
def test_pipelines_give_what_a_forward_by_hand_gives(said, version):
    tasks = dict(said[version]["tasks"])
    # the newest transformers has no question-answering pipeline
    assert ("question-answering" in tasks) == (version != "newest")
    assert len(tasks) == 4 + (version != "newest")
    assert all(off < 1e-6 for off in tasks.values()), tasks  # scores are added up in numpy


@each_version
def test_attention_switches_and_the_named_function_runs(said, version):
    for kind, configured, called, off in said[version]["switched"]:
        assert (configured, called) == (kind, [kind]) and off < 1e-5


@each_version
def test_every_auto_class_of_the_repository_gives_its_class_with_the_pinned_weights(said, version):
    found = said[version]["heads"]
    assert len(found) == 8
    for auto, (name, same) in found.items():
        assert name == auto.replace("AutoModel", "BERT" if "For" in auto else "BERTModel") and same


def test_sentence_transformers_gives_the_stock_embeddings(published, minilm, hub, tmp_path):
    pytest.importorskip("sentence_transformers")
    texts = ast.literal_eval(re.search(r"TEXTS = (\[.*?\])", SCRIPT.read_text(), re.S)[1])
    code = (
        "import sys, json; from sentence_transformers import SentenceTransformer\n"
        "texts = json.loads(sys.argv[3])\n"
        "stock = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "ours = SentenceTransformer('local/minilm', revision=sys.argv[2], trust_remote_code=True, device='cpu')\n"
        "a, b = (m.encode(texts, convert_to_tensor=True) for m in (stock, ours))\n"
        "same = ((a @ a.T).argsort() == (b @ b.T).argsort()).all()\n"
        "name, modules = type(ours[0].auto_model).__name__, list(ours._modules) == list(stock._modules)\n"
        "said = [name, modules, ours.max_seq_length]\n"
        "print('RESULT', json.dumps([*said, stock.max_seq_length, float((a - b).abs().max()), bool(same)]))"
    )
    out = fresh(tmp_path / "home", hub, "-c", code, minilm[0], published["minilm"], json.dumps(texts))
    name, modules, longest, stock_longest, off, same_ranking = json.loads(out.split("RESULT")[1])
    assert name == "BERTModel" and modules and longest == stock_longest
    assert off < 1e-6 and same_ranking  # unpadded sums are in another order
