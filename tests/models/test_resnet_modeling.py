"""ResnetModel and its classifier: timm's numbers, timm's initial weights, and correct training."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from helpers.processes import ROOT
from safetensors.torch import load_file, save_file
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import AutoModel, AutoModelForImageClassification, Trainer, TrainingArguments

from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from resnet_model.configuration_resnet import ResnetConfig
from resnet_model.convert_resnet import AUTO_MAP, configuration, probe
from resnet_model.modeling_resnet import ResnetModel, ResnetModelForImageClassification

SMALL = {"block_type": "basic", "layers": [1, 1, 1, 1], "stem_type": "deep", "stem_width": 8, "num_classes": 5}
CLASSES = [ResnetModel, ResnetModelForImageClassification]
NAMES = ["resnet18", "resnet50d", "resnext50_32x4d", "resnet26t"]


def with_every_tensor_changed(model: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter and statistic a value of its own, so that a tensor that is lost is seen."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if name.endswith(("running_var", "bn1.weight", "bn2.weight")) else (-0.1, 0.1)
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
        else:
            tensor.fill_(7)
    return model


@pytest.fixture(scope="module")
def small() -> ResnetModelForImageClassification:
    return with_every_tensor_changed(ResnetModelForImageClassification(ResnetConfig(**SMALL)))


@pytest.fixture(scope="module")
def checkpoint(small, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("resnet") / "small"
    small.config.auto_map = dict(AUTO_MAP)  # of both classes, as staging does
    small.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_timms_bit_for_bit_in_memory_and_staged(name, tmp_path):
    reference = with_every_tensor_changed(timm.create_model(name)).eval()
    config = configuration(name, reference)
    state = {f"model.{key}": tensor for key, tensor in reference.state_dict().items()}
    model = ResnetModelForImageClassification(config).eval()
    model.load_state_dict(state)  # strict: that prefix and nothing else
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "staged").mkdir()
    stage(read_folder(ROOT / "resnet_model"), tmp_path / "saved", tmp_path / "staged")
    pixels = probe(2, 3, 64, 64)
    with torch.no_grad():
        logits, features = reference(pixels), reference.forward_features(pixels)
        stages = reference.forward_intermediates(pixels, intermediates_only=True)[1:]
        pooled = reference.forward_head(features, pre_logits=True)
        loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "staged", trust_remote_code=True).eval()
        for classifier in (model, loaded):
            output = classifier(pixels, output_hidden_states=True)
            assert torch.equal(output.logits, logits)
            assert len(output.hidden_states) == 5
            assert all(map(torch.equal, output.hidden_states[1:], stages))
        output = ResnetModel.from_pretrained(tmp_path / "staged").eval()(pixels, output_hidden_states=True)
        assert torch.equal(output.last_hidden_state, features)
        assert torch.equal(output.pooler_output, pooled)
        assert all(map(torch.equal, output.hidden_states[1:], stages))


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_fresh_model_has_timms_initial_weights_for_the_same_seed(cls, block):
    torch.manual_seed(3)
    kind = {"basic": BasicBlock, "bottleneck": Bottleneck}[block]
    reference = ResNet(kind, (1, 1, 1, 1), num_classes=4, stem_type="deep", stem_width=8).state_dict()
    after = torch.rand(3)
    torch.manual_seed(3)
    model = cls(ResnetConfig(block_type=block, layers=[1, 1, 1, 1], num_classes=4, stem_type="deep", stem_width=8))
    assert torch.equal(torch.rand(3), after)  # not a number more was drawn
    state = model.state_dict()
    assert state.keys() == {f"model.{key}" for key in reference}
    assert all(torch.equal(state[f"model.{key}"], tensor) for key, tensor in reference.items())


@pytest.mark.parametrize("saver", CLASSES)
@pytest.mark.parametrize("loader", CLASSES)
def test_a_checkpoint_of_either_class_loads_completely_in_the_other(saver, loader, checkpoint, tmp_path):
    saver.from_pretrained(checkpoint).save_pretrained(tmp_path)
    model, found = loader.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"] and not found["mismatched_keys"]
    stored = load_file(checkpoint / "model.safetensors")
    assert model.state_dict().keys() == stored.keys()
    assert all(torch.equal(tensor, stored[key]) for key, tensor in model.state_dict().items())


def test_what_a_checkpoint_lacks_is_drawn_and_the_rest_is_left_alone(small, checkpoint, tmp_path):
    dropped = {
        "model.layer1.0.conv1.weight": lambda t: 0.02 < t.std() < 0.2,
        "model.layer2.0.bn2.weight": lambda t: (t == 0).all(),  # the last norm of a block
        "model.layer2.0.bn1.weight": lambda t: (t == 1).all(),
        "model.layer3.0.bn1.running_var": lambda t: (t == 1).all(),
        "model.layer3.0.bn1.num_batches_tracked": lambda t: t == 0,
        "model.fc.weight": lambda t: 0.01 < t.std() < 0.1,
        "model.fc.bias": lambda t: t.abs().max() <= 512**-0.5,
    }
    small.save_pretrained(tmp_path)
    stored = load_file(checkpoint / "model.safetensors")
    kept = {key: tensor for key, tensor in stored.items() if key not in dropped}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, found = ResnetModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert set(found["missing_keys"]) == dropped.keys()
    state = model.state_dict()
    assert [key for key in kept if not torch.equal(state[key], kept[key])] == []
    assert [key for key, right in dropped.items() if not right(state[key])] == []


def test_pixel_values_may_be_positional_and_the_output_a_tuple(small):
    pixels, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 4])
    output = small.eval()(pixels, labels)
    loss, logits = small(pixels, labels, return_dict=False)
    assert torch.equal(loss, output.loss) and torch.equal(logits, output["logits"])
    assert set(output) == {"loss", "logits"} and output.logits.shape == (2, 5)
    features = ResnetModel(small.config).eval()(pixels)
    assert features.pooler_output.shape == (2, 512) and features.last_hidden_state.shape == (2, 512, 1, 1)


@pytest.mark.parametrize(
    ("fields", "labels", "expected"),
    [
        ({"num_classes": 3}, torch.tensor([2, 0]), lambda x, y: torch.nn.functional.cross_entropy(x, y)),
        ({"num_classes": 1}, torch.tensor([2.0, 0.5]), lambda x, y: ((x[:, 0] - y) ** 2).mean()),
        ({"num_classes": 1}, torch.tensor([[2.0], [0.5]]), lambda x, y: ((x - y) ** 2).mean()),
        (
            {"num_classes": 2, "problem_type": "regression"},
            torch.tensor([[2.0, 1.0], [0.5, 0.0]]),
            lambda x, y: ((x - y) ** 2).mean(),
        ),
        (
            {"num_classes": 2},
            torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
            lambda x, y: torch.nn.functional.binary_cross_entropy_with_logits(x, y),
        ),
    ],
)
def test_losses(fields, labels, expected):
    model = ResnetModelForImageClassification(ResnetConfig(**{**SMALL, **fields})).eval()
    before = model.config.to_dict()
    output = model(torch.rand(2, 3, 32, 32), labels=labels)
    torch.testing.assert_close(output.loss, expected(output.logits, labels))
    whole = model(torch.rand(2, 3, 32, 32), labels=labels, num_items_in_batch=4 * labels.numel())
    assert whole.loss.dim() == 0
    assert model.config.to_dict() == before  # the kind of loss is not remembered from one batch to the next


def gradients_and_statistics(model, pixels, labels) -> tuple[dict, dict]:
    model.zero_grad()
    model(pixels, labels=labels).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}, {n: b.clone() for n, b in model.named_buffers()}


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_gradient_checkpointing_changes_neither_gradients_nor_running_statistics(block, use_reentrant):
    plain = ResnetModelForImageClassification(ResnetConfig(**{**SMALL, "block_type": block, "layers": [2, 1, 1, 2]}))
    plain = with_every_tensor_changed(plain).train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    assert saving.is_gradient_checkpointing
    for step in range(2):
        pixels, labels = torch.rand(3, 3, 32, 32) + step, torch.tensor([0, 1, 4])
        (grads, statistics), (saved_grads, saved_statistics) = (
            gradients_and_statistics(model, pixels, labels) for model in (plain, saving)
        )
        assert all(torch.equal(saved_grads[name], grads[name]) for name in grads)
        assert all(torch.equal(saved_statistics[name], statistics[name]) for name in statistics)
        assert statistics["model.bn1.num_batches_tracked"] == 8 + step
    norms = [m for m in saving.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and norm.num_batches_tracked is not None for norm in norms)
    saving.gradient_checkpointing_disable()
    assert not saving.is_gradient_checkpointing


def test_gradient_checkpointing_leaves_norms_intact_when_the_second_pass_fails():
    model = ResnetModelForImageClassification(ResnetConfig(**SMALL)).train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    loss = model(torch.rand(2, 3, 32, 32), labels=torch.tensor([0, 1])).loss
    block = model.model.layer4[0]
    block.act2.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert block.bn1.momentum == 0.1 and block.bn1.num_batches_tracked == 1


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_with_a_frozen_stem_still_trains_the_blocks(use_reentrant):
    model = ResnetModelForImageClassification(ResnetConfig(**SMALL)).train()
    for part in (model.model.conv1, model.model.bn1):
        part.requires_grad_(False)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    model(torch.rand(2, 3, 32, 32), labels=torch.tensor([0, 1])).loss.backward()
    assert model.model.layer1[0].conv1.weight.grad is not None


@pytest.mark.slow
def test_compiles_as_one_graph_with_the_same_numbers(small):
    pixels, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    compiled = torch.compile(small.eval(), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected, found = small(pixels, labels, True), compiled(pixels, labels, True)
    assert torch.equal(found.logits, expected.logits) and torch.equal(found.loss, expected.loss)
    assert all(map(torch.equal, found.hidden_states, expected.hidden_states))


def test_gradients_of_four_accumulated_steps_equal_those_of_one_batch(tmp_path):
    """Batch norm is in eval mode here: statistics of four small batches are not those of a large one."""

    class Frozen(ResnetModelForImageClassification):
        def train(self, mode: bool = True):
            super().train(mode)
            for module in self.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
            return self

    class Recorder(Trainer):
        def create_optimizer(self, *args, **kwargs):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
            original = self.optimizer.step

            def step(*args, **kwargs):
                self.seen = {name: p.grad.clone() for name, p in self.model.named_parameters()}
                return original(*args, **kwargs)

            self.optimizer.step = step
            return self.optimizer

    torch.manual_seed(0)
    data = [{"pixel_values": torch.rand(3, 32, 32), "labels": i % 5} for i in range(8)]
    start = with_every_tensor_changed(Frozen(ResnetConfig(**SMALL)))
    seen = []
    for steps in (1, 4):
        trainer = Recorder(
            model=copy.deepcopy(start),
            args=TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=8 // steps,
                gradient_accumulation_steps=steps,
                max_steps=1,
                max_grad_norm=0.0,
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=data,
        )
        trainer.train()
        seen.append(trainer.seen)
    for name, gradient in seen[0].items():
        torch.testing.assert_close(seen[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_registration_as_in_the_tutorial(checkpoint):
    from transformers import AutoConfig

    AutoConfig.register("custom_resnet", ResnetConfig, exist_ok=True)
    AutoModel.register(ResnetConfig, ResnetModel, exist_ok=True)
    AutoModelForImageClassification.register(ResnetConfig, ResnetModelForImageClassification, exist_ok=True)
    assert type(AutoModel.from_config(ResnetConfig(**SMALL))) is ResnetModel
    with pytest.raises(ValueError, match="config_class"):  # the library's own error
        AutoModel.register(type("OtherConfig", (ResnetConfig,), {}), ResnetModel)


CHECKOUT = """
import os, sys, torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
config = AutoConfig.from_pretrained(".", trust_remote_code=True)
torch.manual_seed(0)
model = AutoModelForImageClassification.from_config(config, trust_remote_code=True)
base = AutoModel.from_config(config, trust_remote_code=True)
print(config.num_labels, type(model).__name__, type(base).__name__, sum(p.numel() for p in model.parameters()))
"""


@pytest.mark.slow
def test_the_checkout_itself_loads(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", CHECKOUT],
        cwd=ROOT,
        env={"HF_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    parameters = sum(p.numel() for p in timm.create_model("resnet50d").parameters())
    assert run.stdout.split() == ["1000", "ResnetModelForImageClassification", "ResnetModel", str(parameters)], (
        run.stderr
    )


IN_ANOTHER_VERSION = """
import hashlib, json, sys, torch, transformers
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline
directory, picture = sys.argv[1:]
digest = lambda x: hashlib.sha256(x.detach().numpy().tobytes()).hexdigest()[:16]
load = dict(trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained(directory, **load)
model, found = AutoModelForImageClassification.from_pretrained(directory, output_loading_info=True, **load)
base, base_found = AutoModel.from_pretrained(directory, output_loading_info=True, **load)
pixels = processor(picture, return_tensors="pt")["pixel_values"]
torch.manual_seed(5)
fresh = AutoModelForImageClassification.from_config(model.config, **load).state_dict()
answers = pipeline("image-classification", model=directory, image_processor=directory, **load)(picture)
model.save_pretrained(sys.argv[1] + "-again")
again = AutoModelForImageClassification.from_pretrained(sys.argv[1] + "-again", **load)
wide = AutoModelForImageClassification.from_pretrained(directory, num_labels=9, ignore_mismatched_sizes=True, **load)
state = model.eval().state_dict()
result = dict(
    pixels=digest(pixels),
    logits=digest(model(pixels).logits),
    features=digest(base.eval()(pixels).last_hidden_state),
    again=digest(again.eval()(pixels).logits),
    fresh=hashlib.sha256(b"".join(fresh[k].numpy().tobytes() for k in sorted(fresh))).hexdigest()[:16],
    loss=model(pixels, labels=torch.tensor([1])).loss.item(),
    keys=[sorted(map(str, info[k])) for info in (found, base_found) for k in ("missing_keys", "unexpected_keys")],
    answers=[[a["label"], round(a["score"], 6)] for a in answers],
    labels=[model.config.num_labels, wide.config.num_labels, len(wide.config.id2label)],
)
model.train().gradient_checkpointing_enable()
model(pixels.repeat(2, 1, 1, 1), labels=torch.tensor([1, 2])).loss.backward()
result["gradient"] = digest(model.model.layer1[0].conv1.weight.grad)
result["statistics"] = digest(model.model.layer4[0].bn2.running_var)
print("RESULT", json.dumps(result))
"""


@pytest.mark.sweep  # make compat loads a published ResNet in the same four
def test_four_versions_of_transformers_agree(checkpoint, overlay, tmp_path):
    import numpy as np
    from PIL import Image

    from resnet_model.image_processing_resnet import ResnetImageProcessor

    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(picture)
    ResnetImageProcessor(image_size=32).save_pretrained(checkpoint)
    results = {}
    for version in (None, "4.48.3", "4.57.6", "5.0.0"):
        path = str(overlay(version)) if version else ""
        environment = {"HF_HOME": str(tmp_path / str(version)), "PYTHONPATH": path, "PATH": "", "HF_HUB_OFFLINE": "1"}
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # on a busy machine, spinning threads make it crawl
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", IN_ANOTHER_VERSION, str(checkpoint), str(picture)],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        results[version] = json.loads(run.stdout.split("RESULT")[1])
    assert results[None]["keys"] == [[], [], [], []]
    assert results[None]["logits"] == results[None]["again"]
    assert results[None]["labels"] == [5, 9, 9]
    for version, result in results.items():
        assert result == results[None], version
