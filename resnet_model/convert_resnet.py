"""Convert a ResNet of timm, with its weights and its preprocessing, to a checkpoint of this folder.

    python resnet_model/convert_resnet.py resnet50d.ra2_in1k runs/resnet50d
    python resnet_model/convert_resnet.py resnet50d runs/mine --weights mine.safetensors

- The names of the weights stay: each is prefixed with `model.`, and nothing else changes.
- The configuration is read off the network that timm builds. What the configuration cannot express
  (channel attention, anti-aliasing, other norms, ...) is named and refused.
- The written files are loaded again, and must give the logits of timm bit for bit; else nothing is left behind.
"""

import argparse
import difflib
import hashlib
import json
import logging
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import timm
import torch
from safetensors.torch import load_file
from timm.data import ImageNetInfo, resolve_model_data_config
from timm.models import is_model_in_modules
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from transformers.utils.logging import disable_progress_bar

if not __package__:  # run as a script: let it find its siblings, from whatever directory it is called
    __package__ = Path(__file__).resolve().parent.name
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from .configuration_resnet import ResnetConfig
from .image_processing_resnet import ResnetImageProcessor
from .modeling_resnet import ResnetModelForImageClassification

AUTO_MAP = {
    "AutoConfig": "configuration_resnet.ResnetConfig",
    "AutoModel": "modeling_resnet.ResnetModel",
    "AutoModelForImageClassification": "modeling_resnet.ResnetModelForImageClassification",
}
FEATURES = {  # what a layer differs in, by the beginning of a part of its name in timm's ResNet
    "se": "channel attention",
    "aa": "anti-aliasing",
    "maxpool": "another stem pooling",
    "drop": "dropout inside the blocks",
    "downsample": "another shortcut",
    "global_pool": "another pooling before the classifier",
    "bn": "another normalisation",
    "act": "another activation",
    "": "other convolutions",
}


class CannotConvert(Exception):
    """One line for the user: what was given, what is allowed, what to do."""


class OneLineParser(argparse.ArgumentParser):
    """argparse without the lines of usage above an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"convert_resnet: {' '.join(message.split())}; see --help\n")


def main(arguments: list[str] | None = None) -> int:
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="timm's name of the network, with the tag of the weights: resnet50d.ra2_in1k")
    parser.add_argument("output", type=Path, help="directory to make")
    parser.add_argument("--weights", type=Path, help="safetensors, or a .pth of tensors, instead of a download")
    parser.add_argument(
        "--test-size", action="store_true", help="timm's larger picture size for testing, if it has one"
    )
    args = parser.parse_args(arguments)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries: what came of them is said in one line
    disable_progress_bar()
    try:
        facts = convert(args.name, args.output, args.weights, args.test_size)
    except CannotConvert as error:
        print(f"convert_resnet: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{facts['source']}: logits equal timm's bit for bit; wrote {args.output}")
    return 0


def convert(name: str, output: Path, weights: Path | None = None, test_size: bool = False) -> dict:
    """Write a checkpoint, its image processor and conversion.json; return what conversion.json says.

    Raises:
        CannotConvert: unknown or unsupported network, weights that do not fit, or an output that cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CannotConvert(f"{output} exists; choose a new directory or remove it")
    reference = network(name, weights).eval()
    config = configuration(name, reference)
    processor = preprocessing(name, reference, test_size)
    config.auto_map = dict(AUTO_MAP)  # complete, where transformers would name only the class that it saves
    model = ResnetModelForImageClassification(config)
    model.load_state_dict({f"model.{key}": tensor for key, tensor in reference.state_dict().items()})

    partial = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        shape = (1, config.input_channels, processor.image_size, processor.image_size)
        reloaded = ResnetModelForImageClassification.from_pretrained(partial).eval()
        # Loaded tensors are mapped from the file, at odd places, and a matrix product rounds by alignment: the same
        # numbers at the places where a new model has them.
        for tensor in (*reloaded.parameters(), *reloaded.buffers()):
            tensor.data = tensor.data.clone()
        with torch.no_grad():
            difference = (reloaded(probe(*shape)).logits - reference(probe(*shape))).abs().max().item()
        if difference != 0.0:  # also true of NaN
            raise CannotConvert(
                f"{name}: logits differ from timm's by {difference}; check the weights for NaN and infinity"
            )
        facts = source(reference, weights) | {
            "max_abs_logit_difference": difference,
            "probe": list(shape),
            "dtype": "float32",
            "versions": {"timm": timm.__version__, "torch": torch.__version__},
            "weights": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in partial.glob("*.safetensors")},
        }
        (partial / "conversion.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's is private
        os.replace(partial, output)
    except OSError as error:
        raise CannotConvert(f"{output}: {error.strerror or error}; choose a directory that you may write") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return facts


def network(name: str, weights: Path | None) -> nn.Module:
    """Build timm's network with its published weights, or with those of a file."""
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise CannotConvert(
            f"timm {timm.__version__} knows no {architecture!r}; similar: {', '.join(near) or 'nothing'}"
        )
    if not is_model_in_modules(architecture, ["resnet"]):
        raise CannotConvert(
            f"{architecture} is not built by timm.models.resnet; choose a ResNet, ResNeXt or Wide ResNet"
        )
    try:
        with torch.device("meta"):
            configuration(name, timm.create_model(name))  # refuse before a download
        if weights is None:
            return timm.create_model(name, pretrained=True)
    except CannotConvert:
        raise
    except Exception as error:  # unknown tag, no weights published, or any of the errors of a network
        raise CannotConvert(f"{name}: {error}; without the internet, pass the file with --weights FILE") from None
    state = read_weights(weights)
    classes = {"num_classes": len(state["fc.weight"])} if "fc.weight" in state else {}  # it may have been fine-tuned
    model = timm.create_model(name, **classes)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    stored = {key: tuple(tensor.shape) for key, tensor in state.items()}
    if wrong := [key for key in sorted(shapes | stored) if shapes.get(key) != stored.get(key)]:
        details = "; ".join(
            f"{key} is {stored.get(key, 'missing')}, should be {shapes.get(key, 'absent')}" for key in wrong[:3]
        )
        raise CannotConvert(f"{weights}: {len(wrong)} tensors do not fit {name}: {details}")
    model.load_state_dict(state)
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict, also from under the keys and prefixes that training scripts put around it."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has errors of its own
        told = "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise CannotConvert(
            f"{path}: cannot be read ({told}); give safetensors, or a .pth that holds only tensors"
        ) from None
    for wrapper in ("state_dict_ema", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CannotConvert(f"{path}: no state dict in it; save model.state_dict()")
    for prefix in ("module.", "model."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def configuration(name: str, model: nn.Module) -> ResnetConfig:
    """Read the configuration off timm's network; refuse a network that it would not rebuild exactly."""
    blocks = {BasicBlock: "basic", Bottleneck: "bottleneck"}
    if type(model) is not ResNet or not (
        kinds := {type(b) for i in (1, 2, 3, 4) for b in getattr(model, f"layer{i}")}
    ):
        raise CannotConvert(f"{name} is timm's {type(model).__name__}; only its ResNet is supported")
    if len(kinds) > 1 or not kinds <= blocks.keys():
        told = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise CannotConvert(
            f"{name} is built of {told}; only BasicBlock throughout or Bottleneck throughout is supported"
        )
    if model.num_classes == 0:
        raise CannotConvert(f"{name} has no classifier; choose weights that have one")
    block = blocks[kinds.pop()]
    deep = isinstance(model.conv1, nn.Sequential)
    widths = [layer.out_channels for layer in model.conv1 if isinstance(layer, nn.Conv2d)] if deep else []
    middle = model.layer1[0].conv2
    config = ResnetConfig(
        block_type=block,
        layers=[len(getattr(model, f"layer{i}")) for i in (1, 2, 3, 4)],
        input_channels=(model.conv1[0] if deep else model.conv1).in_channels,
        cardinality=middle.groups,
        base_width=64 if block == "basic" else middle.out_channels // middle.groups,
        stem_type="" if not deep else "deep" if widths[0] == widths[1] else "deep_tiered",
        stem_width=widths[1] if deep else 64,
        avg_down=not isinstance(model.layer2[0].downsample[0], nn.Conv2d),
        **class_names(name, model.num_classes),
    )
    with torch.device("meta"):
        ours = layers(ResnetModelForImageClassification(config).model)
    theirs = layers(model)
    if wrong := [place for place in theirs | ours if theirs.get(place) != ours.get(place)]:
        told = ", ".join(dict.fromkeys(feature(place) for place in wrong))
        raise CannotConvert(
            f"{name} has {told}, which ResnetConfig cannot express ({wrong[0]} is {theirs.get(wrong[0], 'missing')}); "
            "choose a plain ResNet, ResNeXt or Wide ResNet"
        )
    return config


def feature(place: str) -> str:
    """Name what another layer at this place means: channel attention for layer1.0.se.conv."""
    return next(told for start, told in FEATURES.items() if any(part.startswith(start) for part in place.split(".")))


def layers(model: nn.Module) -> dict[str, str]:
    """Each layer without parts, and how it prints itself: kind, widths, strides and all."""
    return {place: repr(layer) for place, layer in model.named_modules() if not list(layer.children())}


def class_names(name: str, num_classes: int) -> dict:
    """The names of ImageNet's classes, for weights whose tag says that they were made for those."""
    if num_classes != 1000 or not name.endswith("in1k"):
        return {"num_classes": num_classes}
    info = ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(i) for i in range(num_classes)]
    return {
        "id2label": {
            i: n if names.count(n) == 1 else f"{n} ({info.index_to_label_name(i)})" for i, n in enumerate(names)
        }
    }


def preprocessing(name: str, model: nn.Module, test_size: bool) -> ResnetImageProcessor:
    """The image processor that equals timm's evaluation transform for these weights."""
    data = resolve_model_data_config(model, use_test_size=test_size)
    _, height, width = data["input_size"]
    if height != width or data["crop_mode"] != "center":
        raise CannotConvert(
            f"{name} is tested on {height}x{width}, crop {data['crop_mode']!r}; only square centre crops work"
        )
    try:
        return ResnetImageProcessor(
            image_size=height,
            crop_pct=data["crop_pct"],
            interpolation=data["interpolation"],
            image_mean=data["mean"],
            image_std=data["std"],
        )
    except ValueError as error:
        raise CannotConvert(f"{name}: {error}") from None


def source(model: nn.Module, weights: Path | None) -> dict:
    """Where the weights come from; of a file, no more is known than the file."""
    cfg = model.pretrained_cfg
    if weights is not None:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        return {"source": weights.name, "sha256": digest, "architecture": cfg["architecture"]}
    facts = {"source": cfg.get("hf_hub_id") or cfg.get("url"), "architecture": cfg["architecture"]}
    return facts | {key: cfg[key] for key in ("license", "origin_url", "paper_ids") if cfg.get(key)}


def probe(batch: int, channels: int, height: int, width: int) -> Tensor:
    """A picture that needs no file: sin(i) + cos(j), shifted a little from channel to channel."""
    i, j = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    picture = torch.stack([torch.sin(i + c) + torch.cos(j - c) for c in range(channels)])
    return picture.expand(batch, channels, height, width).contiguous()


if __name__ == "__main__":
    sys.exit(main())
