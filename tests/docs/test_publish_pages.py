"""The commands of docs/publish.md, check.md, hub.md and load.md run."""

import re
import shutil
import subprocess
import sys

import pytest
from helpers.pages import SHA, block, until_newest
from helpers.processes import ROOT, clean_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(place):
    """What the line that publishes under a name of one's own prints: me/resnet-digits, with its code."""
    return place[1](block("publish", "bash", "--repo me/resnet-digits"), **place[4]).stdout


def test_publishing_under_a_name_of_ones_own(published):
    assert "Published me/resnet-digits at " in published


def test_publishing_from_python(place, tmp_path):
    (place[0] / "snippet.py").write_text(block("publish", "python", "from pinfold.push import push"))
    out = place[1]("python snippet.py", **place[4]).stdout
    assert re.search(r"^[0-9a-f]{40} from transformers import", out, re.MULTILINE)


@pytest.mark.sweep  # as the line above, for a folder that lies elsewhere
def test_publishing_a_folder_from_elsewhere(place):
    _, push = block("publish", "bash", 'pip install ".[').splitlines()
    assert "Published local/checkpoint at " in place[1](push).stdout


def test_checking_a_repository_and_a_folder(place, published):
    """Three lines: a repository, a folder that is also run, and the fixer, which finds nothing to do."""
    shell = place[1]
    repository, run, fix = block("check", "bash", "pinfold check some-org").splitlines()
    repository = repository.replace("some-org/some-model", "me/resnet-digits")
    assert re.search(r"me/resnet-digits@[0-9a-f]{40}: 0 errors, 0 warnings", shell(repository, **place[4]).stdout)
    out = shell(run).stdout
    assert "D04 buffers" in out and "measured: passes in transformers" in out
    assert "nothing to fix automatically" in shell(fix).stdout
    # What the README shows was printed beside the newest release of its day; a newer one changes nothing else.
    shown = until_newest(block("check", "text", "runs on your machine")).splitlines()
    printed = until_newest(shell("pinfold check resnet_model").stdout).splitlines()
    assert [line for line in shown if line and line not in printed] == []


@pytest.mark.sweep  # test_suite.py runs the same command on a folder of one class
def test_the_suite_runs_on_the_classes_that_the_page_names(place):
    shown = place[1](block("check", "bash", "pinfold check --suite")).stdout
    assert "SentimentAnalyzer (AutoModelForSequenceClassification)" in shown
    assert re.search(r"sentiment_model: .*; suite: \d+ passed, 0 failed, \d+ not applicable", shown)


def test_a_finding_is_accepted_as_the_page_says(tmp_path):
    from pinfold.folder.human_half import read_human_half

    lines = block("publish", "yaml", "accepted_findings")
    (tmp_path / "card.md").write_text(f"---\nlicense: mit\n{lines}---\nText\n")
    accepted = read_human_half(tmp_path).accepted
    assert accepted == {"S07 tokenization_x.py": "writes its cache where the caller says"}


def test_publishing_weights_for_code_that_is_published(place, published):
    cwd, shell, _, _, account = place
    directory = cwd / "more-weights"
    shutil.copytree(cwd / "runs" / "resnet-digits", directory)
    shutil.copyfile(ROOT / "resnet_model" / "card.md", directory / "card.md")
    line = (
        block("publish", "bash", "--code-from me/the-code")
        .replace("me/the-code", "me/resnet-digits")
        .replace("DIR", "more-weights")
        .replace("SHA", SHA.search(published)[0])
    )
    assert f'code_revision="{SHA.search(published)[0]}"' in shell(line, **account).stdout


@pytest.mark.parametrize("words", ['from_pretrained("."', "AutoConfig.register"])
def test_the_ways_in_without_a_push(words, tmp_path):
    code = block("load", "python", words) + "\nprint('DONE')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert "DONE" in done.stdout, done.stderr


def test_huggingface_hubs_own_command_works_with_the_embedded_hub(place):
    shutil.rmtree(place[0] / "notes", ignore_errors=True)  # of the pages on training, where they ran before
    lines = block("hub", "bash", "hf upload").replace("http://127.0.0.1:7870", place[3]["HF_ENDPOINT"])
    done = place[1](lines)
    assert "me/notes" in done.stdout + done.stderr
    assert (place[0] / "notes" / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()
    done = place[1](block("hub", "bash", "pinfold hub import"))
    assert "me/resnet-code is at" in done.stdout and "no fault" in done.stderr
