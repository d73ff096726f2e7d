"""A tiny configuration: each rule of the table has a field that it alone makes small."""

import pytest

from pinfold.fenced.tiny.config import choose_layers, shrink_values
from pinfold.fenced.tiny.media import PICTURE_GUESSES, SOUND_GUESSES
from pinfold.fenced.tiny.rules import RULES, Shrink, rule_for

INNER = {"model_type": "inner", "hidden_size": 64}
LAYERED = {"num_hidden_layers": 12}
# rule: (fields of the configuration, the field, what becomes of it, level). Widths are divided by 4.
FIELDS = {
    "a configuration inside": ({"text_config": INNER}, "text_config", {"hidden_size": 16}, 0),
    "dropout and noise, which would hide differences": ({"hidden_dropout": 0.1}, "hidden_dropout", 0.0, 0),
    "rotary positions": (
        {"rope_scaling": {"mrope_section": [16, 24, 24]}}, "rope_scaling", {"mrope_section": [4, 6, 6]}, 0,
    ),
    "one width a layer": ({**LAYERED, "intermediate_size": [64] * 12}, "intermediate_size", [16, 16], 0),
    "one item a layer": ({**LAYERED, "layer_types": ["a", "b"] * 6}, "layer_types", ["a", "b"], 0),
    "numbers of layers": ({**LAYERED, "out_indices": [0, 1, 11]}, "out_indices", [0, 1], 0),
    "the layer whose output is read": ({"vision_feature_layer": 7}, "vision_feature_layer", 1, 0),
    "the layer that is followed by another model": ({"insert_layer_id": 7}, "insert_layer_id", 1, 0),
    "a configuration a layer": (
        {**LAYERED, "per_layer_config": {"00": {"hidden_size": 64}, "01": {"hidden_size": 32}}},
        "per_layer_config", {"00": {"hidden_size": 16}, "01": {"hidden_size": 8}}, 0,
    ),
    "layers of each stage": ({"depths": [3, 4, 6, 1]}, "depths", [2, 2, 2, 1], 0),
    "the number of layers": (LAYERED, "num_hidden_layers", 2, 0),
    "the number of layers under another name": ({"n_layers": 12}, "n_layers", 2, 0),
    "the number of other layers": ({**LAYERED, "decoder_layers": 6}, "decoder_layers", 2, 0),
    "layers of another kind at the start": ({"first_k_dense_replace": 3}, "first_k_dense_replace", 1, 0),
    "experts": ({"num_experts": 64}, "num_experts", 8, 0),
    "the number of heads": ({"num_attention_heads": 16}, "num_attention_heads", 4, 1),
    "the size of heads": ({"head_dim": 64}, "head_dim", 64, 1),
    "groups of channels": ({"num_conv_norm_groups": 16}, "num_conv_norm_groups", 4, 0),
    "a special token": ({"eos_token_id": 50256}, "eos_token_id", 159, 0),
    "the vocabulary": ({"vocab_size": 50257}, "vocab_size", 160, 0),
    "positions of a sound or a text": ({"max_source_positions": 1500}, "max_source_positions", 64, 0),
    "positions": ({"max_position_embeddings": 4096}, "max_position_embeddings", 512, 0),
    "a picture's side": ({"image_size": 224, "patch_size": 16}, "image_size", 64, 0),
    "how far attention reaches": ({"sliding_window": 4096}, "sliding_window", 8, 0),
    "patches and samples": ({"max_num_patches": 256}, "max_num_patches", 64, 0),
    "queries": ({"num_queries": 100}, "num_queries", 12, 0),
    "a number whose name resembles a width": ({"num_pos_feats": 64}, "num_pos_feats", 16, 0),
    "a width": ({"hidden_size": 64}, "hidden_size", 16, 0),
    "widths": ({"hidden_sizes": [32, 64]}, "hidden_sizes", [8, 16], 0),
    "special tokens": ({"eos_token_id": [50256, 50257]}, "eos_token_id", [159, 158], 0),
    "a picture's sides": ({"image_size": [224, 448], "patch_size": 16}, "image_size", [64, 64], 0),
}  # fmt: skip


@pytest.mark.parametrize("what", FIELDS)
def test_each_rule_makes_a_field_small(what):
    values, name, expected, level = FIELDS[what]
    kept, layers = choose_layers(values)
    config = Shrink(values, level, 4, {}, layers, kept, dict)
    assert rule_for(config, name, values[name]).what == what
    small = shrink_values(values, level, 4, {})[name]
    if isinstance(expected, dict):  # of a configuration inside, only what the rule names
        for key, value in expected.items():
            assert small[key] == value if not isinstance(value, dict) else value.items() <= small[key].items()
    else:
        assert small == expected and type(small) is type(expected)


def test_every_rule_and_every_guess_has_a_name_that_no_other_has():
    assert list(FIELDS) == [rule.what for rule in RULES]
    names = [guess.name for guess in (*PICTURE_GUESSES, *SOUND_GUESSES)]
    assert len(set(names)) == len(names)


def test_a_field_that_two_rules_could_mean_belongs_to_the_first():
    values = {"num_hidden_layers": 12, "vocab_size": 50257, "pad_token_id": 50256, "num_mel_bins": 80}
    small = shrink_values(values, 0, 4, {})
    # vocab_size is not divided as widths are; what is a width of the data is left alone
    assert (small["vocab_size"], small["pad_token_id"], small["num_mel_bins"]) == (160, 159, 80)
    assert shrink_values(values, 4, 1, {})["vocab_size"] == 50257  # fewer layers only
