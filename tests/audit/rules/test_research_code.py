"""Habits of published research code: what is a fault in them, and what only looks like one."""

import numpy
import pytest
from corpus.net_folder import INNER, LAYER, OUTER, WORDS, findings
from safetensors.numpy import save_file

from pinfold.audit.reachable import calls
from pinfold.audit.rules import weights
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

UNDER = OUTER.replace("Outer", "_Outer")
TUNER = "class Tuner:\n    def bench(self, *args, config, **meta):\n        return config.depth\n"
DATA = """
class Data:
    def __init__(self, config):
        self.config = config

    def read(self):
        return self.config.depth
"""


@pytest.mark.parametrize(
    ("layers", "build", "reported"),
    [
        (LAYER, "self.a = Layer(config)", True),
        (LAYER, "self.a = Layer(config=self.config)", True),
        (LAYER + OUTER, "self.a = Outer(config)", True),
        (LAYER, "self.a = {'layer': Layer}", True),
        (LAYER, "self.a = Layer(Namespace(**config.vision_config))", False),
        (LAYER + OUTER, "self.a = Outer(Namespace(**config.vision_config))", False),
        (LAYER, "other = NetConfig(); self.a = Layer(other)", False),
        (LAYER, "self.a = Layer(config.vision_config)", False),
        (TUNER, "self.a = Tuner()", False),
        (DATA, "self.a = Data(Namespace(depth=2))", False),
        (DATA, "self.a = Data(config)", True),
        # a layer whose name begins with an underscore hands on what it has itself
        (LAYER + UNDER, "self.a = _Outer(Namespace(**config.vision_config))", False),
        (LAYER + UNDER, "self.a = _Outer(config)", True),
        (LAYER + OUTER.replace("Outer", "outer"), "self.a = outer(config.vision_config)", False),
        # an entry of the configuration, and another one under its name
        (LAYER, "self.a = Layer(config['vision'])", False),
        (LAYER, "self.a = Layer(config=self.config[0])", False),
        (LAYER, "config = Namespace(depth=4); self.a = Layer(config)", False),
        (LAYER, "config = config['vision']; self.a = Layer(config)", False),
        (LAYER, "config = self.config; self.a = Layer(config)", True),
        (LAYER, "self.config = config.vision_config; self.a = Layer(self.config)", False),
    ],
)
def test_only_the_folders_own_configuration_has_to_have_what_is_read(tmp_path, layers, build, reported):
    assert ["depth is read" in f.sentence for f in findings(tmp_path, "P15", layers, build)] == [True] * reported


@pytest.mark.parametrize(
    ("first", "passed", "reported"),
    [
        ("", "", True),
        ("", "depth=2, ", False),
        ("table = read_defaults(); ", "**table, ", False),
        ("table = {}; table.update(kwargs); ", "**table, ", False),
        ("", "**{'depth': 2}, ", False),
    ],
)
def test_a_constructor_that_passes_on_a_table_may_set_anything(tmp_path, first, passed, reported):
    lines = findings(tmp_path, "P15", build="self.depth = config.depth", first=first, passed=passed)
    assert ["depth is read" in f.sentence for f in lines] == [True] * reported


@pytest.mark.parametrize("name", ["pad_token_id", "is_decoder", "max_length", "tie_word_embeddings"])
def test_what_transformers_4_sets_itself_fails_from_5_on(tmp_path, name):
    (finding,) = findings(tmp_path, "P15", build=f"self.x = config.{name}")
    assert finding.releases[0].startswith("5.0") and str(finding).endswith("transformers 4 sets it, and 5 does not.")
    (tmp_path / "configuration_net.py").unlink()
    assert findings(tmp_path, "P15", build="self.x = config.use_return_dict") == []


CALLS = "def talk(self, ids):\n        return self.{name}(ids)"
PREPARES = "def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {}\n\n    "


@pytest.mark.parametrize(
    ("more", "reported"),
    [
        (CALLS.format(name="generate"), True),
        (CALLS.format(name="_get_logits_processor"), True),
        (PREPARES + CALLS.format(name="generate"), False),
        (PREPARES + CALLS.format(name="_get_stopping_criteria"), False),
        (PREPARES + CALLS.format(name="_extract_past_from_model_output"), True),  # gone from the mixin too
        (PREPARES + CALLS.format(name="get_head_mask"), True),
    ],
)
def test_an_auto_class_adds_what_generates(tmp_path, more, reported):
    assert len(findings(tmp_path, "P09", more=more)) == reported


@pytest.mark.parametrize(
    ("base", "name", "reported"),
    [
        ("LlamaForCausalLM", "generate", False),
        ("Qwen2ForCausalLM", "lm_head", False),
        ("BertModel", "get_head_mask", True),
        ("LlamaModel", "embed_tokens", False),
    ],
)
def test_a_model_of_transformers_own_brings_its_members(tmp_path, base, name, reported):
    text = f"from transformers import {base}\n\n\nclass Own({base}):\n    def talk(self, ids):\n        "
    text += f"self.{name}(ids)\n"
    (tmp_path / "modeling_own.py").write_text(text)
    lines = [f for f in audit(tmp_path, read_modules(tmp_path)) if f.code == "P09" and name in f.sentence]
    assert len(lines) == reported


HEAD = "self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)"
GIVES = WORDS + "\n    def get_output_embeddings(self):\n        return None\n"
# What a model without words does, as transformers' own base class does.
RAISES = "def get_input_embeddings(self):\n        raise NotImplementedError\n"
DECLARES = WORDS + "\n    _tied_weights_keys = {'lm_head.weight': 'words.weight'}\n"


@pytest.mark.parametrize(
    ("build", "more", "layers", "arguments", "passed", "reported"),
    [
        (HEAD, WORDS, "", "", "", True),
        (HEAD + "; self.embed_tokens = nn.Embedding(9, 9)", "", "", "", "", True),
        (HEAD + "; self.model = Inner(config)", "", INNER, "", "", True),
        (HEAD + "; self.net = Inner(config)", "base_model_prefix = 'net'", INNER, "", "", True),
        (HEAD + "; self.other = Inner(config)", "", INNER, "", "", False),
        (HEAD, RAISES, "", "", "", False),
        (HEAD, "", "", "", "", False),
        (HEAD, GIVES, "", "", "", False),
        (HEAD, DECLARES, "", "", "", False),
        (HEAD.replace("lm_head", "head"), WORDS, "", "", "", False),
        (HEAD, WORDS, "", "tie_word_embeddings=False, ", "tie_word_embeddings=tie_word_embeddings, ", False),
    ],
)
def test_a_head_that_transformers_ties_by_its_name(tmp_path, build, more, layers, arguments, passed, reported):
    lines = findings(tmp_path, "P11f", layers, build, more, arguments, passed)
    assert len(lines) == reported
    assert all((f.releases[0], f.releases[-1]) == ("4.54.1", "4.57.6") for f in lines)


@pytest.mark.parametrize(
    ("build", "severity"),
    [
        ("self.a = nn.Linear(8, 8); self.b = nn.Linear(8, 8)", "error"),
        ("self.a = nn.Linear(8, 8); self.b = copy.deepcopy(self.a)", "warning"),
        ("self.a = nn.Linear(8, 8); self.b = nn.Linear(8, 8); self.b.load_state_dict(self.a.state_dict())", "warning"),
        (
            "for a, b in zip(self.words.parameters(), self.other.parameters(), strict=True): b.data.copy_(a.data)",
            "warning",
        ),
        ("self.register_buffer('weight', torch.randn(8, 8))", "warning"),
    ],
)
def test_equal_tensors_that_the_code_copies_are_not_called_tied(tmp_path, build, severity):
    drawn = numpy.random.default_rng(0).standard_normal((40, 40)).astype("float32")
    save_file({"a.weight": drawn, "b.weight": drawn.copy()}, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text("{}")
    assert [f.severity for f in findings(tmp_path, "P19c", build=build)] == [severity]


def test_rotary_settings_are_passed_on(tmp_path):
    (finding,) = findings(tmp_path, "P15", build="self.a = config.rope_scaling")
    assert "super().__init__(rope_scaling=rope_scaling, **kwargs)" in str(finding)
    passed = {"arguments": "rope_scaling=None, ", "passed": "rope_scaling=rope_scaling, "}
    assert findings(tmp_path, "P15", build="self.a = config.rope_scaling", **passed) == []


@pytest.mark.parametrize("build", ["pass", "self.b = copy.deepcopy(self.words)", "self.register_buffer('b', None)"])
def test_the_code_is_walked_once_for_all_equal_tensors(tmp_path, monkeypatch, build):
    drawn = [numpy.random.default_rng(seed).standard_normal((16, 8)).astype("float32") for seed in range(20)]
    tensors = {f"{side}.{i}.weight": value.copy() for side in "ab" for i, value in enumerate(drawn)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text("{}")
    walked = []
    monkeypatch.setattr(weights, "calls", lambda node: walked.append(node) or iter(calls(node)))
    lines = findings(tmp_path, "P19c", build=build)
    assert len(lines) == 20 and len(walked) <= 2  # one for each file
