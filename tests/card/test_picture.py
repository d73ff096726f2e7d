"""The picture of an architecture: its numbers against the model's own, its rules against real masks, and its form."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import torch
from helpers.processes import ROOT, clean_environment
from torch import nn

from pinfold.card.picture import layout as picture_layout
from pinfold.card.picture import picture
from pinfold.card.picture import text as picture_text
from pinfold.fenced.cost import observe, sizes
from pinfold.fenced.drawing import attention_rules as picture_attention
from pinfold.fenced.drawing.stages import stages
from pinfold.train.classes import import_classes

SMALL = {
    "bert_model": {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 90,
        "max_position_embeddings": 128, "attention_type": ["full", "local", "strided", "random"],
        "attention_window": 6, "attention_stride": 5, "num_random_keys": 3, "num_global_tokens": 2,
    },
    "decoder_model": {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 48, "vocab_size": 90, "pad_token_id": 0,
    },
    "resnet_model": {"layers": [1, 2, 1, 3], "base_width": 8},
    "sentiment_model": {"vocab_size": 50, "embedding_dim": 12, "hidden_dim": 16},
}  # fmt: skip
CASES = [(folder, auto) for folder in SMALL for auto in import_classes(ROOT / folder) if auto.startswith("AutoModel")]
HOSTILE = [
    "<script>alert(1)</script>", 'a"b\'c&amp;<', "]]>--><!--",
    "\x00\x1b[31m\x7f\x85", "\u202eevil\u2066", "\ud800\udfff",
    "نموذج" * 30, "模型" * 60, "W" * 500, "i" * 500, "👩‍👩‍👧" * 40, "\ufffe\uffff", "e\u0301" * 100, "x y\nz\t", "",
]  # fmt: skip


def on_meta(folder: str, auto: str, **fields):
    cls = import_classes(ROOT / folder)[auto]
    with torch.device("meta"):
        return cls(cls.config_class(**{**SMALL[folder], **fields})).eval()


def passed(model, length: int | None = 40, pixels: int | None = 64, rows: int = 3) -> dict:
    """The stages after a pass, as the fenced process would read them."""
    pictures = model.main_input_name == "pixel_values"
    inputs = sizes.sized_inputs(model, {}, rows, None if pictures else length, pixels if pictures else None)
    device = next(model.parameters()).device
    inputs = {n: t.to(device) for n, t in inputs.items() if n != "attention_mask" or device.type != "meta"}
    return stages(model, observe.passing(model, inputs), inputs)


def titles(found: dict) -> list[str]:
    return [stage["title"] for stage in found["stages"]]


def sound(found: dict, model) -> None:
    """What holds for every picture."""
    assert json.loads(json.dumps(found)) == found
    assert sum(stage["parameters"] for stage in found["stages"]) == sum(p.numel() for p in model.parameters())
    assert sum(stage["share"] for stage in found["stages"]) == pytest.approx(1)
    if found["flops"]:
        assert sum(stage["flops_share"] or 0 for stage in found["stages"]) == pytest.approx(1)
    assert all(titles(found)) and len({stage["name"] for stage in found["stages"]}) == len(found["stages"])
    parsed(picture.svg(found))


def parsed(svg: str):
    """The SVG as XML, after a look at what must not be in it."""
    assert len(svg.encode()) < 40_000
    root = ET.fromstring(svg)
    names = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert names <= {"svg", "title", "desc", "style", "rect", "path", "text"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert attributes <= {
        *("width", "height", "viewBox", "role", "aria-labelledby", "id", "class", "x", "y", "rx", "d"),
        *("font-size", "style"),
    }
    style = root.find("{*}style").text
    assert "@import" not in style and "url(" not in style and "prefers-color-scheme:dark" in style
    assert root.get("role") == "img" and [root.find(f"{{*}}{tag}").text for tag in ("title", "desc")]
    return root


@pytest.mark.parametrize(("folder", "auto"), CASES)
def test_every_class_of_every_folder_is_drawn_with_all_of_its_parameters(folder, auto):
    model = on_meta(folder, auto)
    sound(stages(model), model)
    if folder != "sentiment_model":  # it looks at numbers
        sound(passed(model), model)


@pytest.mark.parametrize("folder", SMALL)
def test_shapes_are_those_of_the_models_hidden_states(folder):
    cls = import_classes(ROOT / folder)["AutoModel"]
    model = cls(cls.config_class(**SMALL[folder])).eval()
    found = passed(model)
    sound(found, model)
    pictures = folder == "resnet_model"
    inputs = sizes.sized_inputs(model, {}, 3, None if pictures else 40, 64 if pictures else None)
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    by_title = {stage["title"]: stage for stage in found["stages"]}
    states = [["batch", *state.shape[1:]] for state in output.hidden_states]
    if pictures:
        names = ["Stem", "Stage 1", "Stage 2", "Stage 3", "Stage 4"]
        assert [by_title[name]["shape"] for name in names] == states
        assert [by_title[name]["depth"] for name in names[1:]] == SMALL[folder]["layers"]
        assert "does not run" in by_title["Classifier"]["note"]
    else:
        stack = next(stage for stage in found["stages"] if "layers" in stage["title"])
        assert by_title["Embeddings"]["shape"] == states[0] and stack["shape"] == states[-1]
        assert stack["depth"] == len(states) - 1 and stack["width"] == states[-1][-1]
        assert by_title["Embeddings"]["begins"] and not stack["begins"]
    assert by_title.get("Pooler", by_title.get("Pooling", {"shape": None}))["shape"] in (
        None,
        ["batch", *(output["pooler_output"].shape[1:] if "pooler_output" in output else ())],
    )


def test_a_resnet_50_is_the_table_of_its_paper():
    cls = import_classes(ROOT / "resnet_model")["AutoModelForImageClassification"]
    with torch.device("meta"):
        model = cls(cls.config_class()).eval()
    found = passed(model, pixels=224)
    assert titles(found) == ["Stem", "Stage 1", "Stage 2", "Stage 3", "Stage 4", "Pooling", "Classifier"]
    rows = [(stage["depth"], stage["width"], stage["shape"][2:]) for stage in found["stages"]]
    assert rows[:5] == [
        (1, 64, [56, 56]), (3, 256, [56, 56]), (4, 512, [28, 28]), (6, 1024, [14, 14]), (3, 2048, [7, 7]),
    ]  # fmt: skip
    assert rows[5:] == [(1, 2048, []), (1, 1000, [])] and found["parameters"] == 25_557_032
    assert picture.sentence(found).startswith("ResnetModelForImageClassification with 25.6 M parameters, from input")
    assert "Stage 3 \u00d7 6 to batch \u00d7 1024 \u00d7 14 \u00d7 14, 27.8 %" in picture.sentence(found)


def test_tied_embeddings_count_once_and_are_told():
    for folder, auto, fields in (
        ("bert_model", "AutoModelForMaskedLM", {}),
        ("decoder_model", "AutoModelForCausalLM", {"tie_word_embeddings": True}),
    ):
        model = on_meta(folder, auto, **fields)
        model.tie_weights()
        head = passed(model)["stages"][-1]
        assert head["title"] == "Language-model head" and "shares a weight with" in head["note"]
        assert head["parameters"] < model.get_input_embeddings().weight.numel() and head["flops_share"] > 0


def test_kinds_of_attention_are_told_layer_by_layer_and_drawn_by_the_real_rule():
    kinds = ["full", "local", "strided", "full", "random", "local"]
    model = on_meta("bert_model", "AutoModel", attention_type=kinds, num_hidden_layers=6)
    stack = next(stage for stage in passed(model)["stages"] if stage["kinds"])
    assert stack["attention"] == [0, 1, 2, 0, 3, 1]
    assert [kind["rule"] for kind in stack["kinds"]] == ["full", "window", "strided", "random"]
    assert stack["kinds"][1]["label"] == "window of 6, 2 global"
    masks = sys.modules[type(model).__module__.replace("modeling", "attention")].attention_mask
    for layer, place in enumerate(stack["attention"]):
        kind, length = stack["kinds"][place], 40
        if kind["rule"] == "random":  # which keys, only the model knows
            continue
        rule = [
            [picture_attention.sees(kind["rule"], kind["numbers"], q, k) for k in range(length)] for q in range(length)
        ]
        assert rule == masks(model.config, layer, length)[0].tolist(), kind
    root = parsed(picture.svg(passed(model)))
    texts = [element.text for element in root.findall("{*}text")]
    assert "layers 0, 3" in texts and "layers 1, 5" in texts and "not to scale" in root.find("{*}desc").text


def test_a_field_that_no_model_reads_says_nothing_of_its_attention():
    """A decoder takes any field; that of another architecture does not change what it computes."""
    model = on_meta("decoder_model", "AutoModelForCausalLM", layer_types=["sliding_attention"] * 3, sliding_window=4)
    stack = passed(model)["stages"][1]
    assert stack["title"] == "Decoder layers" and [k["rule"] for k in stack["kinds"]] == ["causal"]
    assert stack["note"] == "4 heads, 2 for keys and values"
    free = on_meta("decoder_model", "AutoModel", use_bidirectional_attention=True)
    assert [kind["rule"] for kind in passed(free)["stages"][1]["kinds"]] == [None]


def test_a_decoder_with_sliding_windows_alternates_as_its_configuration_says():
    import transformers
    from transformers.masking_utils import sliding_window_causal_mask_function

    names = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = transformers.Gemma3TextConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=90, sliding_window=5, layer_types=names,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.Gemma3ForCausalLM(config).eval()
    found = passed(model)
    sound(found, model)
    stack = found["stages"][1]
    assert stack["attention"] == [0, 0, 1, 0]
    assert [k["label"] for k in stack["kinds"]] == ["causal window of 5", "causal attention"]
    real = sliding_window_causal_mask_function(5)
    for query in range(20):
        for key in range(20):
            drawn = picture_attention.sees("window", stack["kinds"][0]["numbers"], query, key)
            assert drawn == bool(real(0, 0, torch.tensor(query), torch.tensor(key)))


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])

    def forward(self, x):
        return x + self.inner[1](self.inner[0](x).relu())


class Unknown(nn.Module):
    """Nothing of transformers: an LSTM, nested blocks, a tied weight, a vector of its own and a layer that rests."""

    main_input_name = "words"

    def __init__(self, depth=3, width=16):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.words_in = nn.Embedding(30, width)
        self.reader = nn.LSTM(width, width // 2, 2, batch_first=True, bidirectional=True)
        self.trunk = nn.ModuleDict({"mixers": nn.Sequential(*[Mixer(width) for _ in range(depth)])})
        self.words_out = nn.Linear(width, 30, bias=False)
        self.words_out.weight = self.words_in.weight
        self.spare = nn.Linear(width, width)

    def forward(self, words):
        return self.words_out(self.trunk["mixers"](self.reader(self.words_in(words) * self.scale)[0]))


def unknown(depth=3) -> tuple:
    model = Unknown(depth).eval()
    inputs = {"words": torch.arange(14).reshape(2, 7)}
    return model, stages(model, observe.passing(model, inputs), inputs)


def test_an_architecture_of_nobodys_is_read_from_its_modules():
    model, found = unknown()
    sound(found, model)
    rows = {stage["name"]: stage for stage in found["stages"]}
    assert rows["reader"]["title"] == "LSTM" and rows["reader"]["depth"] == 2
    assert rows["reader"]["note"] == "both directions" and rows["reader"]["shape"] == ["batch", 7, 16]
    assert rows["trunk.mixers"]["depth"] == 3 and rows["trunk.mixers"]["class"] == "Mixer"
    assert rows["words_out"]["parameters"] == 0 and "words_in" in rows["words_out"]["note"]
    assert "does not run" in rows["spare"]["note"] and rows["spare"]["shape"] is None
    assert [name for name, row in rows.items() if not row["runs"]] == ["spare"]
    assert found["inputs"] == {"words": ["batch", 7]} and found["batch"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 200])
def test_one_layer_and_two_hundred_are_one_stage(depth):
    model, found = unknown(depth)
    sound(found, model)
    assert next(s for s in found["stages"] if s["name"] == "trunk.mixers")["depth"] == depth
    deep = on_meta(
        "bert_model", "AutoModel", num_hidden_layers=depth, attention_type=["full", "local"] * (depth // 2) or "full"
    )
    found = passed(deep)
    sound(found, deep)
    assert titles(found)[:2] == ["Embeddings", "Encoder layers" if depth > 1 else "Encoder layer"]


def test_without_a_pass_there_are_no_shapes_and_the_rest_is_the_same():
    model, found = unknown()
    blind = stages(model)
    sound(blind, model)
    assert all(stage["shape"] is None and stage["flops"] is None for stage in blind["stages"])
    kept = ("name", "title", "parameters", "depth")
    assert [[s[k] for k in kept] for s in blind["stages"]] == [[s[k] for k in kept] for s in found["stages"]]
    assert "FLOPs" not in picture.svg(blind) and "batch" not in picture.svg(blind)


def test_lists_are_divided_where_blocks_change_and_long_ones_stay_readable():
    class Layers(nn.Module):
        def __init__(self, blocks):
            super().__init__()
            self.layers = nn.ModuleList(blocks)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    def of(*blocks):
        model, inputs = Layers(blocks).eval(), {"x": torch.ones(2, 8)}
        found = stages(model, observe.passing(model, inputs), inputs)
        sound(found, model)
        return [(s["title"], s["name"], s["depth"]) for s in found["stages"]], found

    wide = [nn.Sequential(nn.Linear(8, 90), nn.Linear(90, 8)) for _ in range(2)]
    assert of(Mixer(8), Mixer(8), Mixer(8), *wide)[0] == [
        ("Layers 0\u20132", "layers.0-2", 3),
        ("Layers 3\u20134", "layers.3-4", 2),
    ]
    mixed, found = of(*[block for _ in range(5) for block in (Mixer(8), nn.Sequential(Mixer(8), Mixer(8)))])
    assert mixed == [("Layers", "layers", 10)] and found["stages"][0]["class"] == "5 Mixer, 5 Sequential"
    many = nn.Module()
    for number in range(40):
        many.add_module(f"part_{number}", nn.Linear(3, 3))
    found = stages(many)
    sound(found, many)
    assert len(found["stages"]) == 16 and titles(found)[-2:] == ["25 more parts", "Part 39"]


def test_a_block_that_runs_again_under_another_name_is_one_stage():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = Mixer(8)
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)])
            self.other = self.one

        def forward(self, x):
            x = self.one(x)
            for block in self.blocks:
                x = block(x)
            return self.other(x)

    model, inputs = Twice().eval(), {"x": torch.ones(3, 8)}
    found = stages(model, observe.passing(model, inputs), inputs)
    sound(found, model)
    assert [(s["name"], s["depth"], s["note"]) for s in found["stages"]] == [
        ("one.inner", 2, "runs 2 times"),
        ("blocks", 2, ""),
    ]


def test_stages_inside_of_a_list_are_told_apart_and_those_that_run_later_stand_lower():
    class Level(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.down = nn.Conv2d(width, 2 * width, 2, 2)
            self.blocks = nn.Sequential(
                *[nn.Sequential(nn.Conv2d(2 * width, 2 * width, 1), nn.ReLU()) for _ in range(depth)]
            )

        def forward(self, x):
            return self.blocks(self.down(x))

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(32, 5)  # made first, and run last
            self.stem = nn.Conv2d(3, 4, 4, 4)
            self.levels = nn.ModuleList([Level(4, 2), Level(8, 3), Level(16, 2)])

        def forward(self, pixels):
            x = self.stem(pixels)
            for level in self.levels:
                x = level(x)
            return self.head(x.mean((2, 3)))

    model, inputs = Pyramid().eval(), {"pixels": torch.ones(2, 3, 64, 64)}
    found = stages(model, observe.passing(model, inputs), inputs)
    sound(found, model)
    assert titles(found) == ["Stem", "Down", "Stage 1", "Down", "Stage 2", "Down", "Stage 3", "Head"]
    assert [s["shape"] for s in found["stages"] if s["title"].startswith("Stage")] == [
        ["batch", 8, 8, 8], ["batch", 16, 4, 4], ["batch", 32, 2, 2],
    ]  # fmt: skip
    assert [s["width"] for s in found["stages"]] == [4, 8, 8, 16, 16, 32, 32, 5]


def test_a_model_without_parameters_or_with_one_is_drawn():
    for model in (nn.Identity(), nn.Sequential(nn.ReLU()), nn.Linear(2, 2)):
        found = stages(model)
        parsed(picture.svg(found))
        assert sum(stage["parameters"] for stage in found["stages"]) == sum(p.numel() for p in model.parameters())


def hostile(text: str) -> dict:
    """What a folder's own code could have written."""
    kind = {"label": text, "rule": None, "numbers": {}}
    stage = {
        "name": text, "title": text, "class": text, "depth": 3, "width": 7, "shape": ["batch", text, 4],
        "parameters": 10**17, "share": 0.5, "flops": 1, "flops_share": 0.5, "note": text, "start": 0,
        "attention": [0, 1, None], "kinds": [kind, {**kind, "rule": "window"}],
    }  # fmt: skip
    whole = {"class": text, "parameters": 2 * 10**17, "flops": 10**20, "inputs": {text: ["batch", text]}, "batch": 1}
    return {**whole, "stages": [stage, {**stage, "depth": 1, "kinds": []}]}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_names_that_are_no_names_give_a_sound_picture(text, tmp_path):
    found = hostile(text)
    picture.draw(found, tmp_path / "it.svg")
    root = parsed((tmp_path / "it.svg").read_text(encoding="utf-8"))
    assert len(root.findall("{*}text")) > 4
    for element in root.findall("{*}text"):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", element.text)
        assert len(element.text) < 120
    assert not set(picture.sentence(found)) & set('<>[]()&"`*\\|!\n')
    assert picture.png(found, tmp_path / "it.png")


DAMAGED = [
    None, [], "text", {}, {"stages": None}, {"stages": [None, 3, "x", []]}, {"stages": [{}]}, {"inputs": [1]},
    {"stages": [{"depth": -1, "width": "x", "shape": 3, "share": float("nan"), "kinds": [[]], "attention": [[1]]}]},
    {"stages": [{"depth": 10**30, "share": 1e300, "parameters": float("inf"), "title": {"a": 1}, "start": -5}]},
    {"stages": [{"attention": [0, 99, -1, "x", True], "kinds": [{"rule": "none"}, {"rule": 3, "numbers": []}]}]},
    {"stages": [{}] * 5000, "class": ["a"], "parameters": "many", "flops": 10**400, "batch": -1},
    {"stages": [{"depth": 9999, "attention": [0, None] * 10**5, "kinds": [{"label": 1, "rule": "full"}] * 10**4}]},
]  # fmt: skip


@pytest.mark.parametrize("found", DAMAGED, ids=range(len(DAMAGED)))
def test_an_answer_that_is_none_is_drawn_as_far_as_it_goes(found, tmp_path):
    parsed(picture.svg(found))
    assert isinstance(picture.sentence(found), str) and picture.png(found, tmp_path / "it.png")


def test_the_png_is_the_same_picture_and_both_are_the_same_every_time(tmp_path):
    from PIL import Image

    found = passed(on_meta("bert_model", "AutoModelForMaskedLM"))
    for name in ("a", "b"):
        picture.draw(found, tmp_path / f"{name}.svg")
        assert picture.png(found, tmp_path / f"{name}.png")
    for kind in ("svg", "png"):
        one, other = ((tmp_path / f"{name}.{kind}").read_bytes() for name in "ab")
        assert one == other and len(one) < 60_000
    root = parsed((tmp_path / "a.svg").read_text())
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (2 * int(root.get("width")), 2 * int(root.get("height")))
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    wanted = [picture.LIGHT[role] for role in ("ground", "parameters", "flops", "kind0", "kind1", "kind2", "kind3")]
    assert {tuple(bytes.fromhex(colour[1:])) for colour in wanted} <= colours


def test_without_pillow_there_is_no_png(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert picture.png(unknown()[1], tmp_path / "it.png") is False and not list(tmp_path.iterdir())


def test_colours_have_contrast_in_light_and_dark():
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(a: str, b: str) -> float:
        low, high = sorted((light(a), light(b)))
        return (high + 0.05) / (low + 0.05)

    for palette in (picture.LIGHT, picture.DARK):
        assert palette.keys() == picture.CLASSES.keys()
        for ground in ("ground", "box"):
            assert all(contrast(palette[text], palette[ground]) >= 4.5 for text in ("ink", "soft"))
            kinds = [role for role in palette if role.startswith("kind")]
            assert all(contrast(palette[role], palette[ground]) >= 3 for role in ("parameters", "flops", *kinds))
        assert all(contrast(palette[role], palette["track"]) >= 3 for role in ("parameters", "flops"))


def test_numbers_are_rounded_to_three_digits():
    assert [picture_text.count(n) for n in (0, 1, 999, 1000, 9995, 99_950, 999_499, 999_500, 7_001_234_567)] == [
        "0", "1", "999", "1.00 k", "10.0 k", "100 k", "999 k", "1.00 M", "7.00 G",
    ]  # fmt: skip
    assert [picture_text.percent(share) for share in (0, 1e-9, 0.0005, 0.77749, 0.9999, 1)] == [
        "0 %", "<0.1 %", "0.1 %", "77.7 %", "100 %", "100 %",
    ]  # fmt: skip


SCRIPT = """
import importlib, json, sys, types
package = types.ModuleType("_inside")
package.__path__ = [sys.argv[1]]
sys.modules["_inside"] = package
sys.modules["pinfold"] = None
import torch, transformers
stages = importlib.import_module("_inside.drawing.stages").stages
observe = importlib.import_module("_inside.cost.observe")
fields = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, vocab_size=60)
given = {"input_ids": torch.ones(2, 9, dtype=torch.long)}
found = []
for name in ("Bert", "Llama", "Mistral"):
    config = getattr(transformers, name + "Config")(**fields, **({"sliding_window": 4} if name == "Mistral" else {}))
    if name != "Bert":
        config.num_key_value_heads = 1
    model = getattr(transformers, name + "Model")(config).eval()
    found.append(stages(model, observe.passing(model, given), given))
    assert sum(s["parameters"] for s in found[-1]["stages"]) == sum(p.numel() for p in model.parameters())
print(json.dumps([transformers.__version__, found]))
"""


@pytest.mark.slow
def test_stages_are_read_inside_the_fence_in_the_oldest_transformers(overlay, tmp_path):
    path = str(overlay("4.48.3"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT / "pinfold" / "fenced")],
        env=clean_environment(tmp_path / "home", PYTHONPATH=path), capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    version, (bert, llama, mistral) = json.loads(done.stdout.strip().splitlines()[-1])
    assert version == "4.48.3" and titles(bert) == ["Embeddings", "Encoder layers", "Pooler"]
    assert titles(llama) == ["Embeddings", "Decoder layers", "Final norm"]
    assert llama["stages"][1]["kinds"][0]["rule"] == "causal" and llama["stages"][1]["depth"] == 3
    assert mistral["stages"][1]["kinds"][0]["label"] == "causal window of 4"


MEASURE = """() => [...document.querySelectorAll('text')].map(t => {
  const b = t.getBBox(), s = getComputedStyle(t), r = t.getBoundingClientRect();
  return {x: b.x, y: b.y, width: b.width, height: b.height, fill: s.fill, text: t.textContent,
          seen: parseFloat(s.fontSize) * t.getScreenCTM().a, left: r.left, right: r.right};
})"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stays_in_its_place_in_a_browser_as_wide_as_a_telephone(browser, scheme):
    model = on_meta("bert_model", "AutoModelForMaskedLM")
    everything = [passed(model), passed(on_meta("resnet_model", "AutoModelForImageClassification")), unknown()[1]]
    everything += [hostile(text) for text in HOSTILE]
    context = browser.new_context(color_scheme=scheme, viewport={"width": 380, "height": 800})
    page = context.new_page()
    palette = picture.LIGHT if scheme == "light" else picture.DARK
    colours = {f"rgb({', '.join(map(str, bytes.fromhex(palette[r][1:])))})" for r in ("ink", "soft")}
    for found in everything:
        svg = picture.svg(found).replace("<svg ", '<svg style="width:100%;height:auto" ', 1)
        page.set_content(f'<meta charset="utf-8"><body style="margin:0">{svg}')
        shapes = [s for s in picture_layout.layout(found)[1] if isinstance(s, picture_layout.Text)]
        seen = page.evaluate(MEASURE)
        assert len(seen) == len(shapes) and shapes
        for shape, box in zip(shapes, seen, strict=True):
            assert box["width"] <= shape.room + 1, (shape, box)
            assert box["left"] >= 0 and box["right"] <= 380 and box["seen"] >= 11, box
            assert box["fill"] in colours
        for one in seen:  # nothing lies on anything else
            for other in seen:
                if one is not other and one["text"].strip() and other["text"].strip():
                    apart = (
                        one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
                        or one["y"] + one["height"] * 0.8 <= other["y"]
                        or other["y"] + other["height"] * 0.8 <= one["y"]
                    )  # fmt: skip
                    assert apart, (one, other)
    context.close()
