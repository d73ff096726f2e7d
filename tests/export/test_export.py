"""pinfold export: graphs that are right at every size are written, others are refused with the reason."""

import importlib.util
import json
import subprocess
import sys

import pytest
from helpers import tiny
from helpers.processes import ROOT, clean_environment

from pinfold.cli.main import main

CHANGED = {
    # the number of tokens is a number of Python's by then, so every graph keeps that of its sample
    "fixed length": (
        "return BaseModelOutput(last_hidden_state=self.mixer(self.embedding(input_ids)))",
        "hidden = self.mixer(self.embedding(input_ids))\n"
        "        steps = [0.1 * step for step in range(int(input_ids.shape[1]))]\n"
        "        return BaseModelOutput(last_hidden_state=hidden + hidden.new_tensor(steps)[:, None])",
    ),
}
SMALL = {
    "bert_model": ("BERTForMaskedLM", "BERTConfig", {
        "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 40,
    }),
    "decoder_model": ("DecoderForCausalLM", "DecoderConfig", {
        "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "pad_token_id": 0,
    }),
    "resnet_model": ("ResnetModelForImageClassification", "ResnetConfig", {
        "layers": [1, 1, 1, 1], "base_width": 8, "num_classes": 5,
    }),
    "sentiment_model": ("SentimentAnalyzer", "SentimentConfig", {
        "vocab_size": 50, "embedding_dim": 12, "hidden_dim": 16, "num_classes": 3,
    }),
}  # fmt: skip
RUN = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
ids = numpy.arange(3, 3 + 2 * 11).reshape(2, 11)
given = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
names = [each.name for each in session.get_inputs()]
(logits,) = session.run(["logits"], {name: given[name] for name in names})
print(logits.astype("f8").tolist())
"""


def saved(name: str, path, dtype: str = "float32"):
    """A small checkpoint of one of the repository's folders, with weights that make every part show."""
    import torch

    cls, config, fields = SMALL[name]
    stem = name.removesuffix("_model")
    modeling = importlib.import_module(f"{name}.modeling_{stem}")
    configuration = importlib.import_module(f"{name}.configuration_{stem}")
    torch.manual_seed(0)
    model = getattr(modeling, cls)(getattr(configuration, config)(**fields)).eval().to(getattr(torch, dtype))
    model.save_pretrained(path)
    return model


def exported(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["export", *map(str, arguments)])
    return code, *capsys.readouterr()


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "form"),
    [
        ("bert_model", "onnx"),
        ("decoder_model", "openvino"),
        ("decoder_model", "pt2"),
        ("resnet_model", "onnx"),
        ("sentiment_model", "onnx"),
        pytest.param("decoder_model", "onnx", marks=pytest.mark.sweep),
        pytest.param("bert_model", "openvino", marks=pytest.mark.sweep),
        pytest.param("bert_model", "pt2", marks=pytest.mark.sweep),
        pytest.param("resnet_model", "openvino", marks=pytest.mark.sweep),
        pytest.param("sentiment_model", "openvino", marks=pytest.mark.sweep),
    ],
)
def test_the_folders_of_the_repository_are_exported_and_proven(folder, form, tmp_path, capsys):
    needs("onnxruntime", "onnxscript", "openvino")
    saved(folder, tmp_path / "checkpoint")
    code, out, err = exported(
        capsys, ROOT / folder, "--checkpoint", tmp_path / "checkpoint", "--to", form, "--output", tmp_path / "out"
    )
    assert code == 0, out + err
    report = json.loads((tmp_path / "out" / form / "export_report.json").read_text())
    proof = report["proof"]
    assert len(proof["trials"]) >= 2 and max(proof["differences"].values()) <= 2e-5
    assert set(report["files"]) == {path.name for path in (tmp_path / "out" / form).iterdir()} - {"export_report.json"}
    assert report["time"]["pairs"] == 7 and "times as fast" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [form], "nothing of the work is left"


@pytest.mark.slow
def test_a_graph_runs_in_a_process_without_torch_and_gives_the_models_numbers(tmp_path, capsys):
    needs("onnxruntime", "onnxscript")
    import torch

    model = saved("bert_model", tmp_path / "checkpoint")
    folder = ROOT / "bert_model"
    usual = [folder, "--checkpoint", tmp_path / "checkpoint", "--to", "onnx", "--output", tmp_path / "out"]
    code, out, err = exported(capsys, *usual, "--int8", "--accept")
    assert code == 0, out + err
    assert (tmp_path / "out" / "onnx" / "model_quantized.onnx").is_file()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "out" / "onnx" / "model.onnx")],
        env=clean_environment(tmp_path / "home"), capture_output=True, text=True,
    )  # fmt: skip
    ids = torch.arange(3, 3 + 2 * 11).reshape(2, 11)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.double()
    actual = torch.tensor(json.loads(done.stdout), dtype=torch.double)
    assert (actual - expected).abs().max() <= 2e-5 * expected.abs().max(), "other sums in another order, no more"
    report = json.loads((tmp_path / "out" / "onnx" / "export_report.json").read_text())
    assert report["int8"]["loss"]["rows"] == sum(int(t.split()[1]) for t in report["proof"]["trials"])
    # once more in its place, as nothing in it was changed; then not, as something was
    assert (
        exported(
            capsys, folder, "--checkpoint", tmp_path / "checkpoint", "--to", "onnx", "--output", tmp_path / "out"
        )[0]
        == 0
    )
    assert not (tmp_path / "out" / "onnx" / "model_quantized.onnx").exists()
    (tmp_path / "out" / "onnx" / "notes.txt").write_text("mine")
    code, _, err = exported(capsys, *usual)
    assert code == 2 and "is not an export as it was written; move it away" in err
    assert (tmp_path / "out" / "onnx" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_graph_that_is_right_at_its_own_size_only_is_not_written(form, tmp_path, capsys):
    needs("onnxruntime", "onnxscript")
    before, after = CHANGED["fixed length"]
    assert before in tiny.MODELING
    folder = tiny.write_folder(tmp_path / "tiny", modeling_tiny=tiny.MODELING.replace(before, after))
    code, out, err = exported(capsys, folder, "--to", form, "--auto", "AutoModel", "--output", tmp_path / "out")
    assert code == 2 and f"no {form} graph of it is right at every size" in err and "Traceback" not in out + err
    assert len(err.strip().splitlines()) == 1 and not any((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_folder_of_somebody_else_is_exported(tmp_path, capsys):
    needs("onnxruntime", "onnxscript")
    folder = tiny.write_folder(tmp_path / "tiny")
    code, out, err = exported(capsys, folder, "--to", "onnx", "--output", tmp_path / "out")
    assert code == 0, out + err
    assert "weights are drawn, as a new model's" in out and "last_hidden_state: at most" in out


@pytest.mark.slow
def test_a_checkpoint_in_half_precision_becomes_a_graph_in_float32(tmp_path, capsys):
    needs("onnxruntime", "onnxscript")
    saved("decoder_model", tmp_path / "checkpoint", "bfloat16")
    code, out, err = exported(
        capsys,
        ROOT / "decoder_model",
        "--checkpoint",
        tmp_path / "checkpoint",
        "--to",
        "onnx",
        "--output",
        tmp_path / "o",
    )
    assert code == 0, out + err
    assert "the checkpoint is bfloat16; the graph holds and computes float32" in out and "parameters, float32)" in out


def bad_inputs(tmp_path):
    folder = tiny.write_folder(tmp_path / "tiny")
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "empty").mkdir()
    return {
        "missing": ([tmp_path / "nowhere", "--to", "onnx"], "no such folder; give a model folder or a checkpoint"),
        "file": ([folder / "modeling_tiny.py", "--to", "onnx"], f"is a file; give its folder, {folder}"),
        "format": ([folder, "--to", "tflite"], "invalid choice: 'tflite' (choose from"),
        "no format": ([folder], "the following arguments are required: --to"),
        "head": ([folder, "--to", "onnx", "--auto", "AutoModelForMaskedLM"], "does not have it; use one of AutoModel"),
        "int8": ([folder, "--to", "openvino", "--int8"], "--int8 is for --to onnx, not for openvino; leave it out"),
        "accept": ([folder, "--to", "onnx", "--accept"], "--accept is about what --int8 loses"),
        "texts": ([folder, "--to", "onnx", "--texts", tmp_path / "no.txt"], "give a UTF-8 file with one text a line"),
        "empty": ([folder, "--to", "onnx", "--texts", tmp_path / "empty.txt"], "0 texts; give 1 to 2,000"),
        "checkpoint": (
            [folder, "--to", "onnx", "--checkpoint", tmp_path / "no"],
            "no such directory; give what save_",
        ),
        "no weights": (
            [folder, "--to", "onnx", "--checkpoint", tmp_path / "empty"],
            "no such file; give a config.json",
        ),
        "output": ([folder, "--to", "onnx", "--output", folder / "modeling_tiny.py"], "is a file; name a directory"),
        "no model": ([tmp_path / "empty", "--to", "onnx"], "no file here defines a PreTrainedModel"),
    }


def test_mistakes_are_one_line(tmp_path, capsys):
    for name, (arguments, words) in bad_inputs(tmp_path).items():
        try:
            code, _, err = exported(capsys, "--output", tmp_path / "out", *arguments)
        except SystemExit as left:
            code, (_, err) = left.code, capsys.readouterr()
        assert code == 2 and words in err and len(err.strip().splitlines()) == 1, (name, err)
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_missing_is_named_with_its_pip_line(tmp_path, capsys, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "onnxscript" else there(name, *more)
    )
    folder = tiny.write_folder(tmp_path / "tiny")
    code, _, err = exported(capsys, folder, "--to", "onnx", "--output", tmp_path / "out")
    assert code == 2 and "--to onnx needs the package onnxscript; run: pip install 'pinfold[onnx]'" in err


def test_no_verb_imports_an_export_library_that_it_does_not_need(tmp_path):
    """Nor does this one before it is asked for a format."""
    code = (
        "import sys, pinfold.cli.push, pinfold.cli.check, pinfold.cli.train, pinfold.cli.export\n"
        "print([n for n in ('onnx', 'onnxscript', 'onnxruntime', 'openvino') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT)),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
