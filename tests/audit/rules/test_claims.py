"""P30: what a class says that it can do, and transformers cannot do with it."""

import pytest
from corpus.net_folder import INNER, LAYER, WORDS, findings

SAYS = "supports_gradient_checkpointing = True"
HAS = LAYER.replace("self.a = config.depth", "self.gradient_checkpointing = False")
LLAMA = "from transformers.models.llama.modeling_llama import LlamaDecoderLayer\n\n\n"
NORM = "from transformers.models.llama.modeling_llama import LlamaRMSNorm\n\n\n"


@pytest.mark.parametrize(
    ("layers", "build", "reported"),
    [
        ("", "pass", True),
        (HAS, "pass", False),
        ("from transformers.modeling_layers import GradientCheckpointingLayer\n", "pass", False),
        ("from transformers import BertModel\n", "self.net = BertModel(config.text)", False),
        (LLAMA, "self.a = nn.ModuleList([LlamaDecoderLayer(config, 0)])", False),
        (LLAMA.replace("Layer\n", "Layer as Own\n"), "self.a = Own(config, 0)", False),
        ("import transformers.models.gpt2.modeling_gpt2 as m\n\n\n", "self.a = m.GPT2Block(config)", False),
        ("class Own(LlamaDecoderLayer):\n    pass\n\n\n", "self.a = Own(config)", True),
        (NORM, "self.a = LlamaRMSNorm(8)", True),
        (LAYER.replace("Layer", "OwnBlock").replace("config.depth", "8"), "self.a = OwnBlock(config)", True),
    ],
)
def test_checkpointing_that_nothing_does(tmp_path, layers, build, reported):
    lines = findings(tmp_path, "P30", layers, build, SAYS)
    assert ["sets supports_gradient_checkpointing" in f.sentence for f in lines] == [True] * reported
    assert all(f.severity == "warning" for f in lines)


def test_a_class_that_says_that_it_cannot(tmp_path):
    assert findings(tmp_path, "P30", more=SAYS.replace("True", "False")) == []


SET = "\n    def set_input_embeddings(self, new):\n        self.words = new\n"
PREFIX = 'base_model_prefix = "{}"\n\n    ' + WORDS
BODY = (
    "class Body(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.{} = nn.Linear(1, 1)\n"
    "{}\n\n"
)
OTHER_NAME = '_input_embed_layer = "words"\n\n    ' + WORDS


@pytest.mark.parametrize(
    ("more", "layers", "build", "last"),
    [
        (WORDS, "", "pass", "5.24"),
        (WORDS + SET, "", "pass", ""),
        # by its name in the model, or by another name that the class says
        (WORDS, "", "self.embed_tokens = self.words", "4.53"),
        (OTHER_NAME, "", "pass", "4.53"),
        (OTHER_NAME.replace("words", "wte", 1), "", "self.wte = self.words", "4.53"),
        (OTHER_NAME.replace("words", "wte", 1), "", "self.embed_tokens = self.words", "5.24"),
        # in a part of a name that transformers knows
        (WORDS, BODY.format("embed_tokens", ""), "self.model = Body()", "4.53"),
        (WORDS, BODY.format("embed_tokens", ""), "self.embeddings = Body()", "4.57"),
        (WORDS, BODY.format("table", ""), "self.model = Body()", "5.24"),
        (WORDS, BODY.format("table", SET), "self.language_model = Body()", "5.8"),
        # in what base_model_prefix names, if it has the method
        (PREFIX.format("body"), BODY.format("table", SET), "self.body = Body()", ""),
        (PREFIX.format("body"), BODY.format("table", ""), "self.body = Body()", "5.24"),
        (PREFIX.format("other"), BODY.format("table", SET), "self.body = Body()", "5.24"),
        (PREFIX.format("net"), INNER, "self.net = Inner(config)", "4.53"),
        (WORDS, INNER, "self.net = Inner(config)", "5.24"),
    ],
)
def test_words_that_transformers_own_setter_finds(tmp_path, more, layers, build, last):
    lines = findings(tmp_path, "P30", layers, build, more)
    assert ["NetModel has get_input_embeddings and no set_input_embeddings" in f.sentence for f in lines] == (
        [True] * bool(last)
    )
    for line in lines:
        assert line.severity == "warning" and line.releases[-1].startswith(last)
        assert ("before transformers" in line.sentence) == (last != "5.24")
