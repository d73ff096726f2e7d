"""The commands of docs/models.md, train.md, tokenizer.md, summarize.md and convert.md run."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import SHA, block
from helpers.processes import ROOT

pytestmark = pytest.mark.slow
# First what needs no demo: the files of pages begin together on two workers, and one of them makes it for both.


def test_the_bert_snippet_computes_states():
    done = subprocess.run(
        [sys.executable, "-c", block("models", "python", "BERTConfig(") + "\nassert states.shape == (1, 2048, 64)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_modular_file_becomes_a_folder_that_computes(tmp_path):
    folder = tmp_path / "my_model"
    folder.mkdir()
    (folder / "modular_my.py").write_text(block("convert", "python", "LlamaRMSNorm"))
    assert block("convert", "bash", "python main.py").startswith("python main.py ")
    command = [sys.executable, str(ROOT / "main.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "configuration_my.py, modeling_my.py" in done.stdout, done.stderr
    code = (
        "import torch; from my_model.configuration_my import MyConfig; from my_model.modeling_my import MyForCausalLM;"
        "c = MyConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8);"
        "print(MyForCausalLM(c)(torch.arange(6)[None]).logits.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "[1, 6, 9]" in done.stdout, done.stderr


def test_training_tokenizers_and_adding_to_one(tmp_path, overlay):
    """The lines as they stand, on sources of Python's own library; the checkpoint is a small one of bert_model."""
    for version in ("4.48.3", "4.57.6", "5.0.0"):
        overlay(version)
    for name in ("corpus", "src", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs" / "overlays").symlink_to(ROOT / "runs" / "overlays")
    for number, path in enumerate(sorted(Path(os.__file__).parent.glob("*.py"))[::4]):
        text = path.read_text(encoding="utf-8")
        (tmp_path / "corpus" / f"{path.stem}.txt").write_text(text, encoding="utf-8")
        (tmp_path / "src" / path.name).write_text(text if number % 2 else "", encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "corpus").iterdir())]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    for name in ("bert_model", "pinfold"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = block("tokenizer", "bash", "pinfold tokenizer train").splitlines()
    assert len(lines) == 4
    small = (
        "from bert_model.configuration_bert import BERTConfig; from bert_model.modeling_bert import BERTForMaskedLM;"
        "from transformers import AutoTokenizer as A; n = len(A.from_pretrained('runs/tokenizer'));"
        "c = BERTConfig(n, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8);"
        "BERTForMaskedLM(c).save_pretrained('runs/bert')"
    )
    for line in lines:
        if " add " in line:
            subprocess.run([sys.executable, "-c", small], cwd=tmp_path, check=True, timeout=120)
        command = [sys.executable, "-m", *shlex.split(line)]
        if "'src/**/*.py'" in line:
            assert "src/**/*.py" in command  # quoted: pinfold finds the files, not the shell
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "runs" / "wider" / "model.safetensors").exists()


def write_notes(cwd: Path) -> None:
    """Some of Python's own documentation as notes/*.txt."""
    from pydoc_data.topics import topics

    (cwd / "notes").mkdir(exist_ok=True)
    for name in ("for", "while", "compound"):
        (cwd / "notes" / f"{name}.txt").write_text(topics[name], encoding="utf-8")


def test_training_on_a_directory_of_pictures(place):
    cwd, shell, *_ = place
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i in range(60):
        folder = cwd / "photos" / f"class-{digits.target[i] % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype("uint8")).save(folder / f"{i}.png")
    shell(block("models", "bash", "--data photos"))
    assert (cwd / "runs" / "photos" / "model.safetensors").exists()


def test_converting_from_timm(place):
    """The first line needs the internet; its answer without one is one line. The second works from a file."""
    cwd, shell, *_ = place
    import timm
    from safetensors.torch import save_file

    published, from_file = block("models", "bash", "convert_resnet.py").splitlines()
    done = shell(published, check=False, HF_HUB_OFFLINE="1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    save_file(timm.create_model("resnet18").state_dict(), cwd / "resnet18.safetensors")
    shell(from_file)
    assert (cwd / "runs" / "resnet18" / "model.safetensors").exists()


def test_the_decoder_is_trained_pushed_and_writes(place):
    """The lines as they stand, but for a shorter training of a smaller model."""
    cwd, shell, _, address, _ = place
    train, push, _ = block("models", "bash", "train decoder_model").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-decoder"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    shell(f"{train} --epochs 1 --vocab-size 300 --batch-size 64 --set num_hidden_layers=1 --set hidden_size=32")
    pushed = shell(f"{push} --versions newest").stdout
    assert "audit    nothing found" in pushed and "Published local/decoder-demo at " in pushed
    code = SHA.sub(SHA.search(pushed)[0], block("models", "python", '"text-generation"'))
    (cwd / "write.py").write_text(code)
    assert shell("python write.py", **address).stdout.startswith("The for statement")


@pytest.mark.sweep  # bert_model is trained from a checkpoint and on one's own texts in every run
def test_the_decoder_is_trained_further_on_texts_of_ones_own(place):
    cwd, shell, *_ = place
    train, _, tune = block("models", "bash", "train decoder_model").splitlines()
    if not (cwd / "runs" / "decoder-demo").exists():
        shell(f"{train} --epochs 1 --vocab-size 300 --batch-size 64 --set num_hidden_layers=1 --set hidden_size=32")
    write_notes(cwd)
    assert "held-out perplexity" in shell(f"{tune} --epochs 1").stdout


@pytest.fixture(scope="module")
def sentiment(place):
    """What the training of the page prints, shorter and of a smaller model; then runs/sentiment-demo is there."""
    train, *_ = block("models", "bash", "train sentiment_model --data vader").splitlines()
    small = "--epochs 1 --vocab-size 2000 --max-length 32 --set hidden_dim=24 --set embedding_dim=24"
    return place[1](f"{train} {small}").stdout


def test_the_sentiment_analyzer_is_trained_on_ratings_and_on_texts_of_ones_own(place, sentiment):
    """The lines as they stand, but for shorter trainings."""
    cwd, shell, *_ = place
    train, _, own = block("models", "bash", "train sentiment_model --data vader").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-sentiment"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    share = float(re.search(r"a bag of words has ([\d.]+)%", sentiment)[1])
    assert 65 < share < 67  # as README says, whatever is trained
    rows = "".join(f"{'good' if n % 2 else 'poor'} hotel {n},{n % 2}\n" for n in range(60))
    (cwd / "reviews.csv").write_text(f"review,stars\n{rows}")
    assert "held-out accuracy" in shell(f"{own} --epochs 1 --vocab-size 70").stdout


@pytest.mark.sweep  # the decoder goes the same way in every run, and test_sentiment_push.py pushes a sentiment_model
def test_the_sentiment_analyzer_is_pushed_and_judges(place, sentiment):
    cwd, shell, _, address, _ = place
    push = block("models", "bash", "train sentiment_model --data vader").splitlines()[1]
    pushed = shell(f"{push} --versions newest").stdout
    assert "audit    nothing found" in pushed and "Published local/sentiment-demo at " in pushed
    code = SHA.sub(SHA.search(pushed)[0], block("models", "python", '"text-classification"'))
    (cwd / "judge.py").write_text(code)
    answer = ast.literal_eval(shell("python judge.py", **address).stdout)
    assert answer[0]["label"] in ("negative", "neutral", "positive")


def test_bert_is_trained_tuned_trained_by_two_processes_and_summarized(place):
    """The lines as they stand, but for shorter trainings of a smaller model."""
    cwd, shell, _, _, _ = place
    train, tune, two = block("train", "bash", "torchrun").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-bert"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    small = "--epochs 1 --set num_hidden_layers=1 --set hidden_size=32 --set intermediate_size=64"
    assert "held-out perplexity" in shell(f"{train} {small} --vocab-size 600").stdout
    rows = [f"{word} {i},{word}" for i in range(20) for word in ("good", "bad")]
    (cwd / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    tuned = shell(f"{tune} --epochs 1").stdout
    assert "held-out accuracy" in tuned and "of them trained)" in tuned
    write_notes(cwd)
    assert "held-out perplexity" in shell(f"{two} {small} --vocab-size 200 --block-size 32").stdout
    assert "FLOPs" in shell(block("summarize", "bash", "pinfold summarize")).stdout and (cwd / "bert.png").is_file()
