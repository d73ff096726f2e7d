"""Parts of a model: without post_init (P10), with weights that a constructor computes (P80), with a head (P37).

Also a part that is built through an Auto class (P49), a cache that a part does not get (P56), and fields beside those
of a configuration of transformers' own (P52).
"""

import pytest
from corpus.net_folder import text_findings

from pinfold.audit.examine import examine
from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.ranges import harm
from pinfold.folder.releases import release_ranges


def said(tmp_path, code, **parts):
    return [(f.case, f.severity) for f in text_findings(tmp_path, **parts) if f.code == code]


TRUNK = """

class Trunk({base}):
    config_class = TextConfig

    def __init__(self, config):
        super().__init__(config)
        self.mix = nn.Linear(config.width, config.width)

    def forward(self, x):
        return self.mix(x)

"""
BASE = "\n\nclass Base(PreTrainedModel):\n    config_class = TextConfig\n"


@pytest.mark.parametrize(
    ("top", "init"),
    [
        (TRUNK.format(base="PreTrainedModel"), "self.trunk = Trunk(config)"),
        (BASE + TRUNK.format(base="Base"), "self.trunk = Trunk(config) if config.width else None"),
        (TRUNK.format(base="PreTrainedModel"), "self.trunks = nn.ModuleList([Trunk(config) for _ in range(2)])"),
    ],
)
def test_a_part_without_post_init_stops_no_load(tmp_path, top, init):
    parts = {"top": top, "init": init}
    assert said(tmp_path, "P10", **parts) == [("P10.part", WARNING)]
    assert "P10" not in examine(tmp_path / "text", "text").forecast


@pytest.mark.parametrize(
    ("architecture", "forecast"), [("TextForCausalLM", False), ("Trunk", True)], ids=["a part", "what is loaded"]
)
def test_an_entry_without_post_init(tmp_path, architecture, forecast):
    auto_map = {
        "AutoConfig": "configuration_text.TextConfig",
        "AutoModel": "modeling_text.Trunk",
        "AutoModelForCausalLM": "modeling_text.TextForCausalLM",
    }
    config = {"auto_map": auto_map, "architectures": [architecture]}
    parts = {"top": TRUNK.format(base="PreTrainedModel"), "init": "self.trunk = Trunk(config)", "config": config}
    assert said(tmp_path, "P10", **parts) == [("" if forecast else "P10.part", ERROR)]
    assert ("P10" in examine(tmp_path / "text", "text").forecast) is forecast


TABLE = """

def waves(weight):
    return weight.new_ones(weight.shape).cumsum(0).sin()


class Table({base}):
    def __init__(self, count, size):
        super().__init__({handed})
        {makes}

    @staticmethod
    def fill(out):
        out.requires_grad = False
        out[:, 0:4] = 1.0
        return out

"""
EMBEDDING, MODULE = ("nn.Embedding", "count, size"), ("nn.Module", "")
EMPTY = "self.weight = nn.Parameter(torch.empty(count, size))"
FILLS = "self.weight = self.fill(self.weight)"
COPIES = f"{EMPTY}\n        with torch.no_grad():\n            self.weight.copy_(waves(self.weight))"
COMPUTES = "self.weight = nn.Parameter(torch.linspace(0, 1, count * size).reshape(count, size))"
NOT_SAVED = "_keys_to_ignore_on_save = ['places.weight']\n"
NOT_MISSED = "_keys_to_ignore_on_load_missing = [r'places\\.weight']\n"
WRITES = "def _init_weights(self, module):\n    if isinstance(module, {0}):\n        {1}\n"
PASSES = (
    WRITES.format("Table", "pass") + "    elif isinstance(module, nn.Embedding):\n        module.weight.fill_(1.0)\n"
)


@pytest.mark.parametrize(
    ("base", "makes", "more"),
    [
        (EMBEDDING, FILLS, PASSES),
        (MODULE, COPIES, ""),
        (MODULE, COMPUTES, WRITES.format("nn.Linear", "module.weight.fill_(1.0)")),
        (EMBEDDING, "self.weight.data = waves(self.weight)", PASSES),
    ],
)
@pytest.mark.parametrize(("missed", "case"), [("", "P80.not_saved"), (NOT_MISSED, "P80.not_missed")])
def test_weights_that_a_constructor_computes(tmp_path, base, makes, more, missed, case):
    top = TABLE.format(base=base[0], handed=base[1], makes=makes)
    parts = {"top": top, "init": "self.places = Table(32, config.width)", "body": NOT_SAVED + missed, "more": more}
    found = text_findings(tmp_path, **parts)
    assert [(f.case, f.severity) for f in found if f.code == "P80"] == [(case, ERROR)]
    assert [f for f in found if f.code == "P57"] == []


@pytest.mark.parametrize(
    ("base", "makes", "more", "codes"),
    [
        (MODULE, EMPTY, "", ["P57"]),  # nothing makes them again
        (MODULE, "self.weight = nn.Parameter(torch.randn(count, size))", "", ["P57"]),
        (EMBEDDING, FILLS, WRITES.format("nn.Embedding", "module.weight.fill_(1.0)"), ["P57"]),
        (MODULE, COPIES, WRITES.format("Table", "module.weight.copy_(waves(module.weight))"), ["P57"]),
    ],
)
def test_weights_that_are_not_computed_or_written_again(tmp_path, base, makes, more, codes):
    top = TABLE.format(base=base[0], handed=base[1], makes=makes)
    parts = {"top": top, "init": "self.places = Table(32, config.width)", "body": NOT_SAVED, "more": more}
    assert [f.code for f in text_findings(tmp_path, **parts) if f.code in ("P57", "P80")] == codes


GUESS = """
from transformers import {base}


class Guess(nn.Module):
    def __init__(self, config, head):
        super().__init__()
        self.lin = nn.Linear(config.width, config.width)
        {keeps}

    def forward(self, x):
        return self.lin(x)

"""
EACH = "self.guesses = nn.ModuleList([Guess(config, self.lm_head) for _ in range(2)])"


@pytest.mark.parametrize(
    ("base", "init", "keeps", "cases"),
    [
        ("Qwen2ForCausalLM", EACH, "self.lm_head = head", ["P37.declared_head"]),
        ("LlamaForCausalLM", "self.guess = Guess(config, self.lm_head)", "self.out = head", ["P37.declared_head"]),
        ("MistralForCausalLM", "self.again = self.lm_head", "pass", ["P37.declared_head"]),
        ("LlamaForCausalLM", "self.guess = Guess(config, self.lm_head)", "self.out = [head]", []),
        ("LlamaModel", "self.lm_head = nn.Linear(8, 40)", "pass", []),
    ],
)
def test_a_head_of_transformers_under_another_name(tmp_path, base, init, keeps, cases):
    parts = {"top": GUESS.format(base=base, keeps=keeps), "init": init, "base": base, "mixin": ""}
    assert [case for case, _ in said(tmp_path, "P37", **parts)] == cases


ATTENDS = """
from transformers import {names}


class Attends(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.lin = nn.Linear(config.width, config.width)

    def forward(self, hidden_states, past_key_value=None, **kwargs):
        if past_key_value is not None:
            hidden_states, _ = past_key_value.update(hidden_states, hidden_states, 0)
        return self.lin(hidden_states), None


class Trunk({trunk}):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn = Attends(config)
        self.post_init()

"""


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Mistral"])
def test_a_cache_under_another_name_where_a_class_of_transformers_writes_text(tmp_path, kind):
    top = ATTENDS.format(names=f"{kind}ForCausalLM, {kind}Model", trunk=f"{kind}Model")
    parts = {"top": top, "init": "self.model = Trunk(config)", "base": f"{kind}ForCausalLM", "mixin": ""}
    assert ("P56.text", ERROR) in said(tmp_path, "P56", **parts)


def test_a_cache_under_another_name_where_nothing_writes_text(tmp_path):
    top = ATTENDS.format(names="LlamaModel, LlamaPreTrainedModel", trunk="LlamaModel")
    parts = {"top": top, "init": "self.model = Trunk(config)", "base": "LlamaPreTrainedModel", "mixin": ""}
    assert said(tmp_path, "P56", name="Model", **parts) == []


SIGHT = """
from transformers import {auto}, MistralConfig, MistralModel

KIND = "sees-all"


class SightConfig(MistralConfig):
    model_type = {kind}


class Sight(MistralModel):
    config_class = SightConfig

    def _update_causal_mask(self, attention_mask, *args, **kwargs):
        return None

{registers}

"""
REGISTERS = "{auto}.register(SightConfig, Sight)"


@pytest.mark.parametrize(
    ("auto", "kind", "registers", "stored", "cases"),
    [
        ("AutoModel", "KIND", REGISTERS, "sees-all", ["P49.always"]),
        ("AutoModel", '"sees-all"', REGISTERS.replace("Sight)", "Sight, exist_ok=True)"), "sees-all", ["P49.always"]),
        ("AutoModelForCausalLM", '"sees-all"', REGISTERS, "sees-all", ["P49.always"]),
        ("AutoModel", '"sees-all"', REGISTERS, "mistral", []),
        ("AutoModel", '"sees-all"', "", "sees-all", []),
    ],
)
def test_a_part_that_an_auto_class_builds(tmp_path, auto, kind, registers, stored, cases):
    top = SIGHT.format(auto=auto, kind=kind, registers=registers.format(auto=auto))
    parts = {"top": top, "init": f"self.sight = {auto}.from_config(config.text_config)"}
    config = {"text_config": {"model_type": stored}}
    assert [case for case, _ in said(tmp_path, "P49", config=config, **parts)] == cases


CONFIGURATION = """
from transformers import {base}


class TextConfig({base}):
    model_type = "text-tiny"

    def __init__(self, {name}=1.5, **kwargs):
        super().__init__(**kwargs)
        self.{name} = {name}


TextConfig.register_for_auto_class()
"""


@pytest.mark.parametrize(
    ("base", "name", "cases"),
    [
        ("BertConfig", "temperature", ["P52.own_field_no_text"]),
        ("LlamaConfig", "top_k", ["P52.own_field_no_text"]),
        ("T5Config", "top_p", ["P52.own_field_no_text"]),
        ("BartConfig", "forced_eos_token_id", []),  # a field of Bart's own
        ("TapasConfig", "temperature", []),
        ("BertConfig", "experts", []),
    ],
)
def test_a_setting_of_sampling_beside_fields_of_transformers(tmp_path, base, name, cases):
    configuration = CONFIGURATION.format(base=base, name=name)
    found = said(tmp_path, "P52", configuration=configuration, name="Model", mixin="")
    assert [case for case, _ in found] == cases


def test_a_setting_of_sampling_in_a_model_that_writes_text(tmp_path):
    configuration = CONFIGURATION.format(base="LlamaConfig", name="temperature")
    assert ("P52.own_field", ERROR) in said(tmp_path, "P52", configuration=configuration)


def test_the_releases_of_each_part():
    assert harm("P10.part") == {}
    assert release_ranges(list(harm("P80.not_saved"))).startswith("4.5")
    assert harm("P80.not_missed")["4.54.1"] == "forward"


PREPARES = (
    "def prepare_inputs_for_generation(self, input_ids, {takes}):\n    {body}\n    return dict(input_ids=input_ids)\n"
)


@pytest.mark.parametrize(
    ("takes", "body", "cases"),
    [
        ("**kwargs", "mask = kwargs['attention_mask'].bool()", ["P81.prepared"]),
        ("attention_mask=None, **kwargs", "places = attention_mask.long().cumsum(-1) - 1", ["P81.prepared"]),
        ("**kwargs", "mask = kwargs.get('attention_mask')\n    length = mask.shape[1]", ["P81.prepared"]),
        ("attention_mask=None, **kwargs", "last = attention_mask[:, -1:]", ["P81.prepared"]),
        ("attention_mask=None, **kwargs", "if attention_mask is not None:\n        attention_mask.bool()", []),
        ("**kwargs", "mask = kwargs.get('attention_mask')\n    mask = mask.bool() if mask is not None else None", []),
        ("attention_mask=None, **kwargs", "known = attention_mask is not None and attention_mask.all()", []),
        ("attention_mask=None, **kwargs", "kwargs['attention_mask'] = attention_mask", []),
    ],
)
def test_a_mask_that_a_preparation_uses(tmp_path, takes, body, cases):
    found = said(tmp_path, "P81", more=PREPARES.format(takes=takes, body=body))
    assert [case for case, _ in found] == cases


@pytest.mark.parametrize(
    "parts",
    [
        {"config": {"is_encoder_decoder": True}},
        {"body": "def generate(self, input_ids, **kwargs):\n    return input_ids\n"},
    ],
)
def test_a_mask_that_is_not_dropped(tmp_path, parts):
    more = PREPARES.format(takes="**kwargs", body="mask = kwargs['attention_mask'].bool()")
    assert said(tmp_path, "P81", more=more, **parts) == []
