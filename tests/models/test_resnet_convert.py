"""Conversion from timm: which networks, which files, and the same logits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification

from resnet_model.convert_resnet import AUTO_MAP, CannotConvert, configuration, convert, main, preprocessing, probe

SCRIPT = Path(__file__).resolve().parents[2] / "resnet_model" / "convert_resnet.py"
SUPPORTED = [
    *(
        "resnet10t",
        "resnet14t",
        "resnet18",
        "resnet18d",
        "resnet26",
        "resnet26d",
        "resnet26t",
        "resnet34",
        "resnet34d",
    ),
    *("resnet50", "resnet50c", "resnet50d", "resnet50s", "resnet50t", "resnet101", "resnet101c", "resnet101d"),
    *("resnet101s", "resnet152", "resnet152c", "resnet152d", "resnet152s", "resnet200", "resnet200d"),
    *("resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_32x16d"),
    *("resnext101_32x32d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
]
REFUSED = {
    "seresnet50": "channel attention",
    "ecaresnet50t": "channel attention",
    "senet154": "channel attention, another shortcut",
    "resnetblur50": "anti-aliasing",
    "resnetaa50": "anti-aliasing",
    "resnetrs50": "another stem pooling, channel attention",
    "resnet50_gn": "another normalisation",
    "test_resnet": "BasicBlock and Bottleneck",
    "res2net50_26w_4s": "Bottle2neck",
    "skresnet18": "SelectiveKernelBasic",
    "resnetv2_50": "timm's ResNetV2",
    "vit_tiny_patch16_224": "timm's VisionTransformer",
}


def on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights of a ResNet-10t fine-tuned to five classes."""
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=5).state_dict()


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_network_that_the_configuration_can_express_is_rebuilt_exactly(name):
    configuration(name, on_meta(name))  # compares layer by layer, and refuses what differs


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_other_networks_by_naming_what_is_missing(name):
    with pytest.raises(CannotConvert, match=REFUSED[name]):
        configuration(name, on_meta(name))


@pytest.mark.parametrize("wrap", ["safetensors", "pth", "wrapped", "half"])
def test_a_file_of_weights_becomes_a_checkpoint_with_timms_logits(wrap, state, tmp_path):
    file = tmp_path / ("weights.safetensors" if wrap == "safetensors" else "weights.pth")
    if wrap == "safetensors":
        save_file(state, file)
    elif wrap == "wrapped":  # as training scripts write it
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    else:
        half = {key: t.half() if wrap == "half" and t.is_floating_point() else t for key, t in state.items()}
        torch.save(half, file)
    facts = convert("resnet10t", tmp_path / "out", file)
    assert (
        facts["max_abs_logit_difference"] == 0.0
        and facts["source"] == file.name
        and facts["probe"] == [1, 3, 176, 176]
    )
    assert facts == json.loads((tmp_path / "out" / "conversion.json").read_text())
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert stored.keys() == {f"model.{key}" for key in state}
    if wrap != "half":
        assert all(torch.equal(stored[f"model.{key}"], tensor) for key, tensor in state.items())
    reference = timm.create_model("resnet10t", num_classes=5).eval()
    reference.load_state_dict({key: stored[f"model.{key}"] for key in state})
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "out", trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned, as in the reference: see stage.py
    with torch.no_grad():
        assert torch.equal(model(probe(1, 3, 64, 64)).logits, reference(probe(1, 3, 64, 64)))
    assert model.config.auto_map == AUTO_MAP and model.config.num_labels == 5
    AutoModel.from_pretrained(tmp_path / "out", trust_remote_code=True)
    processor = AutoImageProcessor.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert processor.image_size == 176


@pytest.mark.parametrize(
    "name", ["resnet18.a1_in1k", "resnet50.tv_in1k", "resnet50d.ra2_in1k", "resnext50_32x4d.a3_in1k"]
)
@pytest.mark.parametrize("test_size", [False, True])
def test_the_image_processor_equals_timms_evaluation_transform(name, test_size):
    import numpy as np
    from PIL import Image

    model = on_meta(name)
    transform = create_transform(**resolve_model_data_config(model, use_test_size=test_size), is_training=False)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (333, 500, 3), dtype=np.uint8))
    found = preprocessing(name, model, test_size)(picture, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(found, transform(picture))


def test_classes_of_imagenet_are_named_where_the_tag_says_so():
    config = configuration("resnet18.a1_in1k", on_meta("resnet18.a1_in1k"))
    assert config.id2label[1].startswith("goldfish") and len(set(config.id2label.values())) == 1000
    assert configuration("resnet18", on_meta("resnet18")).id2label[1] == "LABEL_1"


@pytest.mark.slow
def test_runs_as_a_script_from_any_directory(state, tmp_path):
    save_file(state, tmp_path / "weights.safetensors")
    command = [sys.executable, SCRIPT, "resnet10t", "made/here", "--weights", "weights.safetensors"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "weights.safetensors: logits equal timm's bit for bit; wrote made/here\n"
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["here"]
    names = {"config.json", "configuration_resnet.py", "conversion.json", "image_processing_resnet.py"}
    names |= {"model.safetensors", "modeling_resnet.py", "preprocessor_config.json"}
    assert {path.name for path in (tmp_path / "made" / "here").iterdir()} == names


def nan(state: dict) -> dict:
    return state | {"fc.bias": state["fc.bias"] * float("nan")}


MISTAKES = {
    "unknown": (["resnet10x"], None, "knows no 'resnet10x'; similar: resnet10t"),
    "unsupported": (["seresnet18"], None, "seresnet18 has channel attention, which ResnetConfig cannot express"),
    "no ResNet": (["vit_tiny_patch16_224"], None, "vit_tiny_patch16_224 is not built by timm.models.resnet"),
    "unknown tag": (["resnet18.nobody"], None, "Invalid pretrained tag"),
    "other network": (["resnet18"], lambda s: s, "tensors do not fit resnet18: "),
    "tensor missing": (
        ["resnet10t"],
        lambda s: {k: v for k, v in s.items() if k != "bn1.bias"},
        "bn1.bias is missing",
    ),
    "not a number": (["resnet10t"], nan, "logits differ from timm's by nan"),
    "no state dict": (["resnet10t"], lambda s: [1, 2], "no state dict in it"),
    "pickled code": (["resnet10t"], lambda s: {"state_dict": Path("x")}, "holds more than tensors"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake, state, tmp_path, capsys):
    arguments, weights, told = MISTAKES[mistake]
    if weights is not None:
        torch.save(weights(state), tmp_path / "w.pth")
        arguments = [*arguments, "--weights", str(tmp_path / "w.pth")]
    assert main([arguments[0], str(tmp_path / "out"), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("convert_resnet: ") and told in error
    assert not {path.name for path in tmp_path.iterdir()} - {"w.pth"}


def test_an_existing_output_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["resnet10t", str(tmp_path)]) == 2
    assert "exists; choose a new directory" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"
