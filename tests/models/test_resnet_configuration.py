"""ResnetConfig: what it refuses, and that labels survive every way of giving them."""

import copy
import json

import pytest
from transformers import AutoConfig

from resnet_model.configuration_resnet import ResnetConfig


def saved_and_loaded(config: ResnetConfig, directory, **kwargs) -> ResnetConfig:
    config.save_pretrained(directory)
    return ResnetConfig.from_pretrained(directory, **kwargs)


def test_defaults_are_resnet50():
    config = ResnetConfig()
    assert (config.block_type, config.layers, config.num_classes) == ("bottleneck", [3, 4, 6, 3], 1000)
    assert (config.input_channels, config.cardinality, config.base_width) == (3, 1, 64)
    assert (config.stem_width, config.stem_type, config.avg_down) == (64, "", False)


def test_the_order_of_positional_arguments_is_that_of_the_tutorial():
    config = ResnetConfig("bottleneck", [2, 2, 2, 2], 10, 1, 32, 4, 32, "deep", True)
    assert (config.num_labels, config.input_channels, config.cardinality, config.base_width) == (10, 1, 32, 4)
    assert (config.stem_width, config.stem_type, config.avg_down) == (32, "deep", True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"block_type": "bottle"}, "block_type='bottle' is not known; use 'basic' or 'bottleneck'"),
        ({"block_type": None}, "block_type=None is not known"),
        ({"stem_type": "deeper"}, "stem_type='deeper' is not known"),
        ({"avg_down": 1}, "avg_down=1 is not known; use False or True"),
        ({"layers": [3, 4, 6]}, r"layers=\[3, 4, 6\] must be four positive integers"),
        ({"layers": [3, 4, 6, 0]}, "must be four positive integers"),
        ({"layers": [3, 4, 6, 3.0]}, "must be four positive integers"),
        ({"layers": 3}, "must be four positive integers"),
        ({"input_channels": 0}, "input_channels=0 must be a positive integer"),
        ({"cardinality": True}, "cardinality=True must be a positive integer"),
        ({"base_width": 4.5}, "base_width=4.5 must be a positive integer"),
        ({"stem_width": "64"}, "stem_width='64' must be a positive integer"),
        ({"stem_width": 3, "stem_type": "deep_tiered"}, "stem_width=3 is too narrow"),
        ({"block_type": "basic", "cardinality": 2}, "cardinality=2 needs block_type='bottleneck'"),
        ({"block_type": "basic", "base_width": 128}, "base_width=128 needs block_type='bottleneck'"),
        ({"num_classes": 0}, "num_classes=0 must be a positive integer"),
        ({"num_labels": -1}, "num_labels=-1 must be a positive integer"),
        ({"num_classes": 10, "num_labels": 3}, "num_classes says 10, num_labels says 3; give one of them"),
        ({"num_classes": 10, "id2label": {0: "a", 1: "b"}}, "num_classes says 10, id2label says 2"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "label2id contradicts id2label"),
        ({"id2label": {1: "a", 2: "b"}}, "ids 0 to 1 a name of its own"),
        ({"id2label": {0: "a", 1: "a"}}, "ids 0 to 1 a name of its own"),
    ],
)
def test_refuses_what_timm_cannot_build(fields, told):
    with pytest.raises(ValueError, match=told):
        ResnetConfig(**fields)


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", ["num_classes", "num_labels"])
def test_the_number_of_labels_survives_saving(count, name, tmp_path):
    config = saved_and_loaded(ResnetConfig(**{name: count}), tmp_path)
    assert config.num_classes == config.num_labels == len(config.id2label) == len(config.label2id) == count
    original, loaded = ResnetConfig(**{name: count}).to_diff_dict(), config.to_diff_dict()
    assert loaded.pop("auto_map") == {"AutoConfig": "configuration_resnet.ResnetConfig"}
    assert loaded == original


def test_every_field_survives_saving(tmp_path):
    fields = {
        "block_type": "bottleneck",
        "layers": [1, 2, 1, 2],
        "input_channels": 1,
        "cardinality": 4,
        "base_width": 8,
    }
    fields |= {"stem_width": 16, "stem_type": "deep_tiered", "avg_down": True, "id2label": {0: "cat", 1: "dog"}}
    fields |= {"problem_type": "multi_label_classification"}
    config = saved_and_loaded(ResnetConfig(**fields), tmp_path)
    assert {name: getattr(config, name) for name in fields} == fields
    assert config.label2id == {"cat": 0, "dog": 1}
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "custom_resnet"


def test_labels_given_at_loading_replace_the_stored_ones(tmp_path):
    config = ResnetConfig(num_classes=10)
    assert saved_and_loaded(config, tmp_path, num_labels=5).num_classes == 5
    assert saved_and_loaded(config, tmp_path, num_classes=2).num_labels == 2
    named = saved_and_loaded(config, tmp_path, id2label={0: "a", 1: "b", 2: "c"}, num_labels=3)
    assert named.num_classes == 3 and named.label2id == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(ValueError, match="contradictory"):
        saved_and_loaded(config, tmp_path, id2label={0: "a", 1: "b"}, num_labels=3)


def test_labels_set_after_construction_stay_one_thing(tmp_path):
    config = ResnetConfig()
    config.num_labels = 5
    assert config.num_classes == len(config.id2label) == len(config.label2id) == 5
    config.num_classes = 2
    assert config.num_labels == len(config.id2label) == len(config.label2id) == 2
    config.id2label = {0: "a", 1: "b", 2: "c"}
    assert config.num_classes == 3 and config.label2id == {"a": 0, "b": 1, "c": 2}
    assert saved_and_loaded(config, tmp_path).id2label == config.id2label
    assert copy.deepcopy(config).to_dict() == config.to_dict()


def test_labels_can_be_given_by_label2id_alone():
    assert ResnetConfig(label2id={"a": 0, "b": 1}).id2label == {0: "a", 1: "b"}


def test_registration_as_in_the_tutorial():
    AutoConfig.register("custom_resnet", ResnetConfig, exist_ok=True)
    assert isinstance(AutoConfig.for_model("custom_resnet", num_classes=4), ResnetConfig)
    with pytest.raises(ValueError, match="custom_resnet"):  # the library's own check of the name
        AutoConfig.register("custom_net", ResnetConfig)
