"""Configuration of a ResNet that timm's `timm.models.resnet.ResNet` can build.

- Papers: He et al. 2015 (https://arxiv.org/abs/1512.03385), Xie et al. 2016 (ResNeXt,
  https://arxiv.org/abs/1611.05431), He et al. 2018 (C, D stems, https://arxiv.org/abs/1812.01187).
- The fields mean what they mean in timm. `num_classes`, transformers' `num_labels` and the
  labels themselves are one thing here: giving one gives all, a contradiction is an error.
"""

from typing import Any

from transformers import PretrainedConfig

CODE_DIGEST = ""  # filled in the published copy, so that two versions of this code never share loaded modules
REQUIREMENTS = ("timm", "pillow")  # what to install beside torch and transformers

BLOCK_TYPES = ("basic", "bottleneck")
STEM_TYPES = ("", "deep", "deep_tiered")
LABEL_FIELDS = ("num_classes", "num_labels", "id2label", "label2id")


class ResnetConfig(PretrainedConfig):
    """Depth, width and variant of a ResNet; the defaults are ResNet-50.

    Raises ValueError for a value or a combination that timm cannot build.
    """

    model_type = "custom_resnet"
    attribute_map = {"num_classes": "num_labels"}  # noqa: RUF012 (transformers reads a plain dict)

    def __init__(
        self,
        block_type: str = "bottleneck",
        layers: list[int] | tuple[int, ...] = (3, 4, 6, 3),  # blocks in each of the four stages
        num_classes: int | None = None,  # 1000 unless num_labels or the labels say otherwise
        input_channels: int = 3,
        cardinality: int = 1,  # groups of the 3x3 convolution: 32 in a ResNeXt
        base_width: int = 64,  # width of a bottleneck's 3x3 convolution, per group, in the first stage
        stem_width: int = 64,  # read by the deep stems only
        stem_type: str = "",  # "" is one 7x7 convolution; the deep ones are three 3x3
        avg_down: bool = False,  # average pooling before a shortcut's projection: the D variants
        **kwargs: Any,
    ):
        self.block_type = block_type
        self.layers = list(layers) if isinstance(layers, (list, tuple)) else layers
        self.input_channels = input_channels
        self.cardinality = cardinality
        self.base_width = base_width
        self.stem_width = stem_width
        self.stem_type = stem_type
        self.avg_down = avg_down
        self.check_architecture()
        given = {name: kwargs.pop(name, None) for name in LABEL_FIELDS[1:]}
        super().__init__(**labels(num_classes=num_classes, **given), **kwargs)

    def check_architecture(self) -> None:
        """Raise ValueError when timm cannot build what the fields say.

        The model calls it once more: `from_pretrained(..., layers=...)` sets fields after construction.
        """
        for name, allowed in (("block_type", BLOCK_TYPES), ("stem_type", STEM_TYPES), ("avg_down", (False, True))):
            value = getattr(self, name)
            if type(value) is not type(allowed[0]) or value not in allowed:
                raise ValueError(f"{name}={value!r} is not known; use {' or '.join(map(repr, allowed))}")
        if not isinstance(self.layers, list) or len(self.layers) != 4 or not all(map(is_count, self.layers)):
            raise ValueError(f"layers={self.layers!r} must be four positive integers; ResNet-50 is [3, 4, 6, 3]")
        for name in ("input_channels", "cardinality", "base_width", "stem_width"):
            if not is_count(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive integer; leave it out if unsure")
        for name, only in (("cardinality", 1), ("base_width", 64)):
            value = getattr(self, name)
            if self.block_type == "basic" and value != only:
                raise ValueError(f"{name}={value} needs block_type='bottleneck'; a basic block has {name}={only}")
        if self.stem_type == "deep_tiered" and self.stem_width < 4:
            raise ValueError(f"stem_width={self.stem_width} is too narrow for stem_type='deep_tiered'; use 4 or more")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "id2label" and value is not None:
            super().__setattr__("label2id", {label: int(i) for i, label in value.items()})

    def to_diff_dict(self) -> dict[str, Any]:
        # transformers 5 leaves out labels that equal its own default of two, and would then read our default of 1000
        return {**super().to_diff_dict(), "id2label": self.id2label, "label2id": self.label2id}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        # Labels given to from_pretrained replace the stored ones (fine-tuning). transformers 4 would set them after
        # construction and transformers 5 some of them before it, where they would contradict the stored ones.
        given = {name: kwargs.pop(name) for name in LABEL_FIELDS if name in kwargs}
        if given:
            config_dict = {name: value for name, value in config_dict.items() if name not in LABEL_FIELDS} | given
        return super().from_dict(config_dict, **kwargs)


def is_count(value: Any) -> bool:
    """True for an integer of at least one; True and False are no counts."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def labels(num_classes: Any, num_labels: Any, id2label: dict | None, label2id: dict | None) -> dict[str, dict]:
    """Complete id2label and label2id from whichever of the four was given; 1000 classes if none was."""
    sizes = {"num_classes": num_classes, "num_labels": num_labels}
    sizes |= {"id2label": id2label and len(id2label), "label2id": label2id and len(label2id)}
    sizes = {name: size for name, size in sizes.items() if size is not None} or {"num_classes": 1000}
    for name, size in sizes.items():
        if not is_count(size):
            raise ValueError(f"{name}={size!r} must be a positive integer; a classifier of two classes has 2")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} says {size}" for name, size in sizes.items())
        raise ValueError(f"the number of classes is contradictory: {told}; give one of them")
    if id2label is None:
        inverse = label2id or {f"LABEL_{i}": i for i in range(next(iter(sizes.values())))}
        id2label = {i: label for label, i in inverse.items()}
    id2label = {int(i): label for i, label in id2label.items()}  # JSON turns the ids into strings
    inverse = {label: i for i, label in id2label.items()}
    if sorted(id2label) != list(range(len(id2label))) or len(inverse) < len(id2label):
        raise ValueError(f"id2label must give each of the ids 0 to {len(id2label) - 1} a name of its own")
    if label2id is not None and label2id != inverse:
        raise ValueError("label2id contradicts id2label; give one of them")
    return {"id2label": id2label, "label2id": inverse}


ResnetConfig.register_for_auto_class()
