"""A drawing: read, checked, written as config.json and read again; what it becomes in Python source."""

import ast
import copy
import json
import keyword

import pytest
from helpers.builder.drawings import random_state

from pinfold.builder.drawing.architectures import ARCHITECTURES
from pinfold.builder.drawing.check import check
from pinfold.builder.drawing.problems import problems, warnings
from pinfold.builder.drawing.schema import schema
from pinfold.builder.drawing.state import BUILDER, read_config, read_state
from pinfold.builder.export.modular import modular_text
from pinfold.common.errors import UserError

BOTH = sorted(ARCHITECTURES)


def changed(architecture: str, **fields) -> dict:
    state = schema()["architectures"][architecture]["default"]
    names = {name: fields.pop(name) for name in ("prefix", "model_type", "heads", "unknown") if name in fields}
    return {**state, **names, "config": {**state["config"], **fields}}


def lines(state: dict, batch: int = 1, length: int = 16) -> list[str]:
    return [problem.line() for problem in problems(read_state(state), batch, length)]


def saved(state: dict) -> str:
    """config.json as an export writes it: by the configuration's own class."""
    drawing = read_state(state)
    config = drawing.of.config_class(**drawing.configuration())
    return json.dumps({**json.loads(config.to_json_string()), **drawing.config_json()}, sort_keys=True)


@pytest.mark.parametrize("architecture", BOTH)
def test_a_drawing_comes_back_from_its_config_json_exactly(architecture):
    for seed in range(500):
        state = random_state(seed, architecture)
        assert lines(state) == [], (seed, state)
        again, notes = read_config(saved(state))
        assert again == read_state(state), seed
        heads = again.heads
        assert heads[0] == state["heads"][0] and set(heads) == set(state["heads"]), seed
        assert again.state() == {**state, "heads": heads}, seed
        assert notes == []


@pytest.mark.parametrize("architecture", BOTH)
def test_keys_that_are_not_drawn_are_kept_and_named(architecture):
    more = {"citation": "<script>alert(1)</script>", "nested": {"a": [1, None, 0.5]}, "output_hidden_states": True}
    again, notes = read_config(saved(changed(architecture, unknown=more)))
    assert again.unknown == more
    assert "3 keys" in notes[0] and "citation" in notes[0] and "kept unchanged" in notes[0]


def test_names_of_classes_are_kept_and_have_to_fit_their_number():
    names = {"id2label": {"0": "no", "1": "yes", "2": "maybe"}, "label2id": {"no": 0, "yes": 1, "maybe": 2}}
    again, _ = read_config(saved(changed("encoder", unknown=names, num_labels=3)))
    assert again.config["num_labels"] == 3 and again.unknown == names
    assert "names 3 classes" in lines(changed("encoder", unknown=names, num_labels=4))[0]


@pytest.mark.parametrize("names", [["no", "yes"], {"no": 0, "yes": 1}, {"1": "a", "2": "b"}, "no"])
def test_names_of_classes_that_are_no_such_table_are_a_problem(names):
    state = changed("encoder", unknown={"id2label": names})
    assert "does not name the classes 0 to 1 (id2label)" in lines(state)[0]


def test_several_last_tokens_are_kept_until_another_first_one_is_drawn():
    again, _ = read_config(saved(changed("decoder", unknown={"eos_token_id": [2, 7]}, eos_token_id=2)))
    assert again.unknown == {"eos_token_id": [2, 7]} and again.config["eos_token_id"] == 2
    assert (
        "several last tokens ([2, 7])"
        in lines(changed("decoder", unknown={"eos_token_id": [2, 7]}, eos_token_id=5))[0]
    )


def test_a_mark_of_byte_order_is_read():
    assert read_config("\ufeff" + saved(changed("decoder")))[0].state() == changed("decoder")


def test_scaled_rotary_positions_are_kept_beside_the_base_that_is_drawn():
    rotary = {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}
    again, _ = read_config(saved(changed("decoder", unknown=rotary, rope_theta=5000.0)))
    assert again.unknown == rotary and again.config["rope_theta"] == 5000.0


@pytest.mark.parametrize("rotary", [
    {"rope_theta": 777.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 777.0}},
])  # fmt: skip
def test_rotary_settings_of_transformers_4_and_5_are_read(rotary):
    drawing, _ = read_config(json.dumps({"model_type": "custom_decoder", **rotary}))
    assert drawing.config["rope_theta"] == 777.0
    values = drawing.of.config_class(**drawing.configuration()).rope_parameters
    assert values["rope_type"] == "linear" and values["factor"] == 4.0 and values["rope_theta"] == 777.0


def test_a_stock_bert_opens_and_asks_for_a_name():
    stock = {"model_type": "bert", "architectures": ["BertForTokenClassification"], "hidden_size": 384,
             "num_hidden_layers": 6, "num_attention_heads": 12, "position_embedding_type": "absolute",
             "is_decoder": False, "bos_token_id": None, "add_cross_attention": False}  # fmt: skip
    drawing, notes = read_config(json.dumps(stock))
    assert drawing.heads == ["AutoModelForTokenClassification"] and drawing.config["hidden_act"] == ["gelu"] * 6
    assert len(notes) == 1 and "name of its own" in notes[0] and lines(drawing.state()) == []


@pytest.mark.parametrize(("text", "words"), [
    ("{", "cannot be read"), ("[]", "not an object"), ("nul", "cannot be read"), ("[" * 100_000, "cannot be read"),
    ('{"model_type": "vit"}', "'vit', which cannot be drawn"), ("{}", "cannot be drawn"),
    (" " * 2_000_000, "more than a configuration can"), ('{"model_type": "bert", "a": NaN}', "cannot be read"),
    ('{"model_type": "bert", "hidden_size": 1e999}', "cannot be read"),
    ('{"model_type": "bert", "\\ud800": 1}', "cannot be read"),
])  # fmt: skip
def test_a_config_json_that_cannot_be_drawn_is_refused_in_one_line(text, words):
    with pytest.raises(UserError) as refused:
        read_config(text)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("fields", "say", "cure"), [
    ({"num_attention_heads": 5}, "hidden_size 128 is not divisible by 5 heads.", "Choose 1, 2, 4, 8 or 16."),
    ({"attention_window": 0}, "attention_window 0 is less than 1.", "Give a whole number from 1"),
    ({"num_hidden_layers": 10_000}, "num_hidden_layers 10000 is more than 200.", "Give a whole number from 1 to 200."),
    ({"hidden_size": "128"}, "hidden_size '128' is not a whole number.", "Give"),
    ({"hidden_size": True}, "hidden_size True is not a whole number.", "Give"),
    ({"hidden_size": None}, "hidden_size is empty.", "Give"),
    ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob nan is not a number.", "Give"),
    ({"hidden_act": ["gelu", "os.system"]}, "Layer 2: hidden_act 'os.system' is not known.", "Use gelu"),
    ({"attention_type": ["full"]}, "attention_type has 1 words for 2 layers.", "Give one for each layer."),
    ({"pooling": "max"}, "pooling 'max' is not known.", "Use cls, mean."),
    ({"pad_token_id": 30522}, "pad_token_id 30522 is not in a vocabulary of 30522.", "Use 0 to 30521"),
    ({"prefix": "None"}, "'None' is a keyword of Python.", "Use a capital letter"),
    ({"prefix": "my model"}, "'my model' cannot begin the name of a class.", "Use a capital letter"),
    ({"prefix": "A\nimport os"}, "cannot begin the name of a class.", "Use a capital letter"),
    ({"prefix": "Bert"}, "BertConfig is a class of transformers itself.", "such as MyBert"),
    ({"prefix": "Random"}, "RandomAttention is a class that bert_model has already.", "such as MyRandom"),
    ({"model_type": "class"}, "'class' is a keyword of Python.", "Use a small letter"),
    ({"model_type": "bert"}, "bert is a model type of transformers itself.", "such as my_bert"),
    ({"model_type": "../up"}, "'../up' cannot name the files.", "Use a small letter"),
])  # fmt: skip
def test_a_problem_is_said_with_its_cure(fields, say, cure):
    first = lines(changed("encoder", **fields))[0]
    assert say in first and cure in first


@pytest.mark.parametrize(("fields", "say"), [
    ({"num_key_value_heads": 3}, "4 attention heads cannot share 3 key-value heads evenly."),
    ({"head_dim": 7}, "A head's size is 7, which is odd"),
    ({"rope_theta": 0.0}, "rope_theta 0.0 is less than 1"),
    ({"use_bidirectional_attention": True}, "its tokens see both ways. Turn it off"),
    ({"unknown": {"rope_parameters": {"rope_type": "yarn"}}}, "rope_type='yarn' needs factor"),
])  # fmt: skip
def test_problems_of_a_decoder(fields, say):
    assert say in lines(changed("decoder", **fields))[0]


@pytest.mark.parametrize("unknown", [
    {"hidden_size": 64}, {"auto_map": {"AutoConfig": "a--b.C"}}, {"model_type": "bert"}, {"eos_token_id": 3},
])  # fmt: skip
def test_what_is_drawn_is_not_said_a_second_time(unknown):
    with pytest.raises(UserError, match=f"the drawing has {next(iter(unknown))} among the keys that are not drawn"):
        read_state(changed("decoder", unknown=unknown))


@pytest.mark.parametrize("architecture", BOTH)
def test_a_key_that_asks_for_what_is_not_there_is_a_problem_with_its_cure(architecture):
    kept = {"attn_implementation": "not_an_attention"}
    answer = check({"state": changed(architecture, unknown=kept), "length": 16, "shapes": True})
    (problem,) = answer["problems"]
    assert "not_an_attention" in problem["say"] and "keys that this page does not draw" in problem["cure"]
    assert not answer["ok"] and answer["costs"] is None and answer["rows"] == []
    assert check({"state": changed(architecture), "length": 16, "shapes": True})["ok"]


def test_rows_that_are_too_long_or_too_many():
    assert "Sequence 600 is longer than max_position_embeddings 512." in lines(changed("encoder"), 1, 600)[0]
    assert lines(changed("encoder", position_embedding_type="sinusoidal"), 1, 600) == []
    assert "batch 0 cannot be run here." in lines(changed("encoder"), 0, 16)[0]
    assert "length '7' cannot be run here." in lines(changed("encoder"), 1, "7")[0]


@pytest.mark.parametrize(("fields", "length", "say"), [
    ({"attention_type": ["full", "local"]}, 48, "Layer 2: window 64 covers the whole 48-token sequence"),
    ({"attention_type": ["strided", "full"], "attention_stride": 1}, 48, "Layer 1: stride 1 sees every token"),
    ({"attention_type": ["random", "full"]}, 64, "Layer 1: 64 random keys for 64 tokens"),
    ({"attention_type": ["local", "full"], "num_global_tokens": 48}, 48, "Layer 1: all 48 tokens are global"),
])  # fmt: skip
def test_what_is_allowed_but_surprising_is_a_warning(fields, length, say):
    drawing = read_state(changed("encoder", **fields))
    assert problems(drawing, 1, length) == []
    assert say in warnings(drawing, length)[0].line()


def test_what_is_called_surprising_is_true():
    """The masks of the warned layers are full, or as dense as full ones."""
    from pinfold.builder.attention.masks import layer_masks

    for fields in ({"attention_window": 64}, {"attention_type": ["strided", "full"], "attention_stride": 1}):
        state = changed("encoder", **{"attention_type": ["local", "full"], **fields})
        assert layer_masks(read_state(state).configuration(), 0, 48)["density"] == 1.0


@pytest.mark.parametrize("state", [
    None, [], {}, {"architecture": "vit"}, {"architecture": "encoder"}, {"architecture": ["encoder"]},
])  # fmt: skip
def test_what_is_not_a_drawing_is_refused(state):
    with pytest.raises(UserError):
        read_state(state)


@pytest.mark.parametrize("change", [
    {"heads": []}, {"heads": ["AutoModel"]}, {"heads": ["AutoModelForMaskedLM"] * 2}, {"heads": [["x"]]},
    {"config": {}}, {"unknown": []}, {"prefix": 3},
])  # fmt: skip
def test_a_drawing_with_a_part_of_another_kind_is_refused(change):
    with pytest.raises(UserError):
        read_state({**changed("encoder"), **change})
    more = changed("encoder")
    more["config"]["__class__"] = "x"
    with pytest.raises(UserError, match="not a field"):
        read_state(more)


@pytest.mark.parametrize("architecture", BOTH)
def test_only_names_numbers_and_words_of_the_schema_enter_the_source(architecture):
    poison = "PO\"'''\\ISON"
    for seed in range(40):
        state = copy.deepcopy(random_state(seed, architecture))
        state["unknown"] = {poison: poison, "note": [poison]}
        text = modular_text(read_state(state))
        assert "POISON" not in text and 'PO"' not in text
        words = {
            n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        }
        fields = ARCHITECTURES[architecture].fields.values()
        known = {option[0] for field in fields for option in field.options}
        free = {word for word in words if word not in known and not word.startswith(("A model that was", "Sizes and"))}
        assert free <= {state["model_type"], "4.48", "id2label", "num_labels", "problem_type", "rope_theta"}
        names = {n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef)}
        assert all(name.startswith(state["prefix"]) and not keyword.iskeyword(name) for name in names)


def test_the_schema_has_what_the_page_draws():
    answer = schema()
    assert answer["start"] in answer["architectures"]
    for name, of in answer["architectures"].items():
        fields = of["fields"]
        shown = [*of["sizes"], *of["attention"], *of["more"], "num_labels", "problem_type", "num_hidden_layers"]
        shown += [f for row in of["rows"] for f in (*row.get("fields", ()), *row.get("each", ()))]
        assert sorted(set(shown)) == sorted(fields), name
        for preset in of["presets"]:
            assert lines(preset["state"], 2, 64) == [], preset["label"]
        for item in (item for group in of["palette"] for item in group["items"]):
            assert item["slot"] in {row["slot"] for row in of["rows"]}
            assert set(item.get("set", {})) <= set(fields) and item.get("head", of["heads"][0]["auto"]) in {
                head["auto"] for head in of["heads"]
            }


def test_a_check_brings_its_number_back_and_says_what_it_costs():
    answer = check({"state": changed("encoder"), "batch": 2, "length": 32, "shapes": True, "number": 17})
    assert answer["ok"] and answer["number"] == 17 and answer["problems"] == []
    assert sum(row["parameters"] for row in answer["rows"]) == answer["costs"]["parameters"]
    layers = [row for row in answer["rows"] if row["slot"] == "layers"]
    assert [row["shape"] for row in layers] == [[2, 32, 128]] * 2
    bad = check({"state": changed("encoder", num_attention_heads=5), "number": 18})
    assert not bad["ok"] and bad["costs"] is None and bad["problems"][0]["field"] == "num_attention_heads"


@pytest.mark.parametrize("architecture", BOTH)
def test_shapes_are_there_for_every_row_of_every_head(architecture):
    for head in ARCHITECTURES[architecture].heads:
        state = {**random_state(3, architecture), "heads": [head]}
        rows = check({"state": state, "batch": 2, "length": 10, "shapes": True})["rows"]
        assert [row["name"] for row in rows if row["shape"] is None] == [], head


def test_shapes_of_a_stack_come_from_one_layer_of_each_kind_and_are_those_of_all():
    """Against a forward of the whole stack."""
    from pinfold.builder.cost.totals import costs
    from pinfold.builder.drawing import shapes

    for architecture in BOTH:
        state = random_state(8, architecture)
        drawing = read_state(state)
        rows = costs(architecture, drawing.config, drawing.main, 2, 9).rows
        key = json.dumps([architecture, drawing.main, drawing.configuration()], sort_keys=True)
        whole = shapes._shapes(key, tuple(row.name for row in rows), 2, 9)
        assert shapes.shapes(drawing, rows, 2, 9) == whole and len(whole) == len(rows)


def test_config_json_says_what_it_was_drawn_as():
    stored = json.loads(saved(random_state(1, "decoder")))
    assert stored[BUILDER] == "decoder" and stored["auto_map"]["AutoConfig"].startswith("configuration_")
