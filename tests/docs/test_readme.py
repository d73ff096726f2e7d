"""Every snippet of the README runs, in the order in which a newcomer meets them."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.processes import ROOT, clean_environment
from packaging.version import Version

from pinfold.common.front_matter import read_front_matter
from pinfold.remote import destination

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHA = re.compile(r"\b[0-9a-f]{40}\b")


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


def block(language, words):
    """The one block of a language that contains these words."""
    found = [text for text in blocks(language) if words in text]
    assert len(found) == 1, f"{len(found)} {language} blocks with {words!r}"
    return found[0]


def until_newest(text):
    """Ranges of releases that reach the newest, whichever that is: "4.48-5.23" is "4.48-newest"."""
    return re.sub(r"(?<=loads in )4\.48-5\.\d+", "4.48-newest", text)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory like a fresh checkout, with a short training in runs/, two accounts, and the Hub serving."""
    cwd = tmp_path_factory.mktemp("readme")
    for name in (
        "resnet_model",
        "bert_model",
        "decoder_model",
        "sentiment_model",
        "push.py",
        "README.md",
        "config.json",
    ):
        (cwd / name).symlink_to(ROOT / name)
    (cwd / "path" / "to").mkdir(parents=True)
    (cwd / "path" / "to" / "my_model").symlink_to(ROOT / "resnet_model")
    scripts = Path(sys.executable).parent  # what an activated environment has in front of PATH
    environment = clean_environment(
        cwd / "home", PYTHONPATH=str(ROOT), PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}"
    )

    def shell(text, check=True, **more):
        done = subprocess.run(
            ["bash", "-euc", text], cwd=cwd, env=environment | more, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0 or not check, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        return done

    train = block("bash", "--data photos").splitlines()
    shell(train[0].replace("runs/my-digits", "runs/resnet-digits"))
    pushed = shell("python push.py").stdout
    shutil.copytree(cwd / "runs" / "resnet-digits", cwd / "path" / "to" / "checkpoint")
    token = shell("pinfold hub token me --role write").stdout.strip()
    with destination.running(cwd / "runs" / "hub") as server:
        address = {"HF_ENDPOINT": f"http://127.0.0.1:{server['port']}"}
        yield cwd, shell, pushed, address, address | {"HF_TOKEN": token}


def test_the_front_matter_makes_the_checkout_a_repository():
    front = read_front_matter(README)
    assert README.startswith("---\n") and front["license"] == "apache-2.0" and front["library_name"] == "transformers"
    assert yaml.safe_load(yaml.safe_dump(front)) == front


def test_every_snippet_is_pinned_or_local():
    for text in blocks("python"):
        for call in re.findall(r"from_pretrained\((.*?)\)", text):
            assert call.startswith('"."') or SHA.search(call), call


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"(?<!compat )\bmake ([a-z-]+)", README))
    for target in targets - {"a", "it"}:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, target


def test_every_file_in_the_tree_exists_and_every_link_leads_somewhere():
    tree = re.search(r"## What is where\n\n(.*?)\n\n[A-Z]", README, re.DOTALL)[1]
    for line in tree.splitlines():
        name, inner = line.strip().split()[0], line.startswith("        ")
        assert (ROOT / ("pinfold" if inner else "") / name).exists(), name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_output_on_the_first_screen_is_what_a_push_prints(place):
    def shape(text):
        text = re.sub(r"\b[0-9a-f]{12,40}\b", "HEX", text)
        return re.sub(r"[\d.]+|\(sandboxed:[^)]*\)", "N", re.sub(r"; (partly )?sandboxed[^)]*\)", ")", text)).strip()

    shown = [shape(line) for line in block("text", "push to local").splitlines() if line]
    printed = [shape(line) for line in place[2].splitlines()]
    # how far a machine fences is its own matter; that it says so is not
    assert any("sandboxed: " in line for line in printed)
    assert [line for line in shown if line not in printed and "sandboxed: " not in line] == []


def test_the_lines_that_serve_and_the_snippet_are_what_a_push_prints(place):
    printed = SHA.sub("HEX", place[2])
    for line in SHA.sub("HEX", block("python", "local/resnet-digits")).splitlines():
        assert line in printed
    serve, export = block("bash", "--port 7870   #").splitlines()
    assert serve.removeprefix(".venv/bin/") in printed and export in printed


def test_the_snippet_loads_from_another_folder(place, tmp_path):
    _, _, pushed, address, _ = place
    code = SHA.sub(SHA.search(pushed)[0], block("python", "local/resnet-digits"))
    code += "\nprint('LOADED', type(model).__name__, type(processor).__name__)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(tmp_path / "home", **address),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "LOADED ResnetModelForImageClassification ResnetImageProcessor" in done.stdout, done.stderr
    offline = block("bash", "HF_HUB_OFFLINE").split("export ")[1].strip().split("=")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(tmp_path / "home", **dict([offline])),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "LOADED" in done.stdout, done.stderr


def test_publishing_under_a_name_of_ones_own(place):
    out = place[1](block("bash", "--repo me/resnet-digits"), **place[4]).stdout
    assert "Published me/resnet-digits at " in out


def test_publishing_from_python(place, tmp_path):
    (place[0] / "snippet.py").write_text(block("python", "from pinfold.push import push"))
    out = place[1]("python snippet.py", **place[4]).stdout
    assert re.search(r"^[0-9a-f]{40} from transformers import", out, re.MULTILINE)


def test_publishing_a_folder_from_elsewhere(place):
    install, push = block("bash", 'pip install ".[').splitlines()
    assert re.match(r'pip install "\.\[[a-z,]+\]"', install)
    extras = re.search(r"\[([a-z,]+)\]", install)[1].split(",")
    assert all(re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.M) for extra in extras)
    assert "Published local/checkpoint at " in place[1](push).stdout


def test_checking_a_repository_and_a_folder(place):
    """Three lines: a repository, a folder that is also run, and the fixer, which finds nothing to do."""
    shell = place[1]
    shell("pinfold push resnet_model --checkpoint runs/resnet-digits --repo me/checked", **place[4])
    repository, run, fix = block("bash", "pinfold check some-org").splitlines()
    repository = repository.replace("some-org/some-model", "me/checked")
    assert re.search(r"me/checked@[0-9a-f]{40}: 0 errors, 0 warnings", shell(repository, **place[4]).stdout)
    out = shell(run).stdout
    assert "D04 buffers" in out and "measured: passes in transformers" in out
    assert "nothing here can be mended mechanically" in shell(fix).stdout
    # What the README shows was printed beside the newest release of its day; a newer one changes nothing else.
    shown = until_newest(block("text", "runs on your machine")).splitlines()
    printed = until_newest(shell("pinfold check resnet_model").stdout).splitlines()
    assert [line for line in shown if line and line not in printed] == []


def test_the_classes_of_a_folder_are_asked_what_the_readme_says(place):
    shown = place[1](block("bash", "pinfold check --suite")).stdout
    assert "SentimentAnalyzer (AutoModelForSequenceClassification)" in shown
    assert re.search(r"sentiment_model: .*; suite: \d+ passed, 0 failed, \d+ not applicable", shown)


def test_a_finding_is_accepted_as_the_readme_says(tmp_path):
    from pinfold.folder.human_half import read_human_half

    lines = block("yaml", "accepted_findings")
    (tmp_path / "card.md").write_text(f"---\nlicense: mit\n{lines}---\nText\n")
    accepted = read_human_half(tmp_path).accepted
    assert accepted == {"S07 tokenization_x.py": "writes its cache where the caller says"}


def test_publishing_weights_for_code_that_is_published(place):
    cwd, shell, _, _, account = place
    out = shell("pinfold push resnet_model --checkpoint runs/resnet-digits --repo me/the-code", **account).stdout
    directory = cwd / "more-weights"
    shutil.copytree(cwd / "runs" / "resnet-digits", directory)
    shutil.copyfile(ROOT / "resnet_model" / "card.md", directory / "card.md")
    line = block("bash", "--code-from me/the-code").replace("DIR", "more-weights").replace("SHA", SHA.search(out)[0])
    assert f'code_revision="{SHA.search(out)[0]}"' in shell(line, **account).stdout


def test_the_table_of_versions_is_the_one_that_compat_writes():
    """Its header and its claim; the hashes come from a sweep of minutes (make compat)."""
    from pinfold.folder import releases
    from pinfold.verify import matrix

    table = re.search(r"^\| transformers \| checks passed .*?\n\n", README, re.MULTILINE | re.DOTALL)[0].splitlines()
    rows = [matrix.Row(v, {"AutoModel": "0", "AutoModelForImageClassification": "1"}, "", 1.0) for v in ("5.0.0",)]
    assert table[:2] == matrix.brief(rows)[:2] and len(table) == 4
    newest, count = re.search(r"4\.48-([\d.]+) \((\d+) releases\)", table[2]).groups()
    assert int(count) == len([v for v in releases.every_minor() if Version(v).release[:2] <= Version(newest).release])


def test_training_on_a_directory_of_pictures(place):
    cwd, shell, *_ = place
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i in range(60):
        folder = cwd / "photos" / f"class-{digits.target[i] % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype("uint8")).save(folder / f"{i}.png")
    (cwd / "runs" / "my-digits").symlink_to(cwd / "runs" / "resnet-digits")
    shell(block("bash", "--data photos").splitlines()[1])
    assert (cwd / "runs" / "photos" / "model.safetensors").exists()


def test_converting_from_timm(place):
    """The first line needs the internet; its answer without one is one line. The second works from a file."""
    cwd, shell, *_ = place
    import timm
    from safetensors.torch import save_file

    published, from_file = block("bash", "convert_resnet.py").splitlines()
    done = shell(published, check=False, HF_HUB_OFFLINE="1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    save_file(timm.create_model("resnet18").state_dict(), cwd / "resnet18.safetensors")
    shell(from_file)
    assert (cwd / "runs" / "resnet18" / "model.safetensors").exists()


@pytest.mark.parametrize("words", ['from_pretrained("."', "AutoConfig.register"])
def test_the_ways_in_without_a_push(words, tmp_path):
    code = block("python", words) + "\nprint('DONE')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert "DONE" in done.stdout, done.stderr


def test_huggingface_hubs_own_command_works_with_the_embedded_hub(place):
    lines = block("bash", "hf upload").replace("http://127.0.0.1:7870", place[3]["HF_ENDPOINT"])
    done = place[1](lines)
    assert "me/notes" in done.stdout + done.stderr
    assert (place[0] / "notes" / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()
    done = place[1](block("bash", "pinfold hub import"))
    assert "me/resnet-code is at" in done.stdout and "no fault" in done.stderr


def test_the_lines_for_windows_are_those_of_the_makefile():
    windows = block("powershell", "py -m venv")
    makefile = (ROOT / "Makefile").read_text()
    assert '-m pip install -e ".[dev]"' in windows and 'pip install -e ".[dev]"' in makefile
    assert "train resnet_model --data digits" in windows and "train resnet_model --data digits" in makefile


def test_the_bert_snippet_computes_states():
    done = subprocess.run(
        [sys.executable, "-c", block("python", "BERTConfig(") + "\nassert states.shape == (1, 2048, 64)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_modular_file_becomes_a_folder_that_computes(tmp_path):
    folder = tmp_path / "my_model"
    folder.mkdir()
    (folder / "modular_my.py").write_text(block("python", "LlamaRMSNorm"))
    assert block("bash", "python main.py").startswith("python main.py ")
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


def test_the_decoder_is_trained_pushed_and_writes(place):
    """The lines as they stand, but for a shorter training of a smaller model."""
    from pydoc_data.topics import topics

    cwd, shell, _, address, _ = place
    train, push, tune = block("bash", "train decoder_model").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-decoder"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    shell(f"{train} --epochs 1 --vocab-size 300 --batch-size 64 --set num_hidden_layers=1 --set hidden_size=32")
    pushed = shell(f"{push} --versions newest").stdout
    assert "audit    nothing found" in pushed and "Published local/decoder-demo at " in pushed
    (cwd / "notes").mkdir(exist_ok=True)
    for name in ("for", "while", "compound"):
        (cwd / "notes" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    assert "held-out perplexity" in shell(f"{tune} --epochs 1").stdout
    code = SHA.sub(SHA.search(pushed)[0], block("python", '"text-generation"'))
    (cwd / "write.py").write_text(code)
    assert shell("python write.py", **address).stdout.startswith("The for statement")


def test_the_sentiment_analyzer_is_trained_pushed_and_judges(place):
    """The lines as they stand, but for a shorter training of a smaller model."""
    cwd, shell, _, address, _ = place
    train, push, own = block("bash", "train sentiment_model --data vader").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-sentiment"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    small = "--epochs 1 --vocab-size 2000 --max-length 32 --set hidden_dim=24 --set embedding_dim=24"
    told = shell(f"{train} {small}").stdout
    assert 65 < float(re.search(r"a bag of words has ([\d.]+)%", told)[1]) < 67  # as README says, whatever is trained
    pushed = shell(f"{push} --versions newest").stdout
    assert "audit    nothing found" in pushed and "Published local/sentiment-demo at " in pushed
    rows = "".join(f"{'good' if n % 2 else 'poor'} hotel {n},{n % 2}\n" for n in range(60))
    (cwd / "reviews.csv").write_text(f"review,stars\n{rows}")
    assert "held-out accuracy" in shell(f"{own} --epochs 1 --vocab-size 70").stdout
    code = SHA.sub(SHA.search(pushed)[0], block("python", '"text-classification"'))
    (cwd / "judge.py").write_text(code)
    answer = ast.literal_eval(shell("python judge.py", **address).stdout)
    assert answer[0]["label"] in ("negative", "neutral", "positive")


def test_bert_is_trained_tuned_trained_by_two_processes_and_summarized(place):
    """The lines as they stand, but for shorter trainings of a smaller model."""
    from pydoc_data.topics import topics

    cwd, shell, _, _, _ = place
    train, tune, two = block("bash", "torchrun").splitlines()
    made = subprocess.run(["make", "-Bn", "demo-bert"], cwd=ROOT, capture_output=True, text=True).stdout
    assert train in made
    small = "--epochs 1 --set num_hidden_layers=1 --set hidden_size=32 --set intermediate_size=64"
    assert "held-out perplexity" in shell(f"{train} {small} --vocab-size 600").stdout
    rows = [f"{word} {i},{word}" for i in range(20) for word in ("good", "bad")]
    (cwd / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    tuned = shell(f"{tune} --epochs 1").stdout
    assert "held-out accuracy" in tuned and "of them trained)" in tuned
    (cwd / "notes").mkdir(exist_ok=True)
    for name in ("for", "while", "compound"):
        (cwd / "notes" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    assert "held-out perplexity" in shell(f"{two} {small} --vocab-size 200 --block-size 32").stdout
    assert "FLOPs" in shell(block("bash", "pinfold summarize")).stdout and (cwd / "bert.png").is_file()


def test_training_tokenizers_and_adding_to_one(tmp_path, overlay):
    """The lines as they stand, on sources of Python's own library; the checkpoint is a small one of bert_model."""
    for version in ("4.48.3", "4.57.6", "5.0.0"):
        overlay(version)
    for name in ("corpus", "src", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs" / "overlays").symlink_to(ROOT / "runs" / "overlays")
    for number, path in enumerate(sorted(Path(os.__file__).parent.glob("*.py"))):
        text = path.read_text(encoding="utf-8")
        (tmp_path / "corpus" / f"{path.stem}.txt").write_text(text, encoding="utf-8")
        (tmp_path / "src" / path.name).write_text(text if number % 2 else "", encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "corpus").iterdir())]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    for name in ("bert_model", "pinfold"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = block("bash", "pinfold tokenizer train").splitlines()
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
