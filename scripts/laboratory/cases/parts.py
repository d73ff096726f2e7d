"""Parts of a model: one without post_init, weights that a constructor makes, and a head that a part keeps."""

# ruff: noqa: E501 (lines of programs)

from cases.base import CLASS_BODY, GET_INPUT, LAST_SET, MIX_INNER, POST, SUM, TIED, C, M, case
from cases.generation import BASE_CALL, KEEPS, OTHER, TAKES

CLASS = "class LabForCausalLM(LabPreTrainedModel, GenerationMixin):\n"
PART = """class Part(LabPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.mix = Mix(config.hidden_size)
        self.post_init()

    def forward(self, x):
        return self.mix(x)


"""
HAS_PART = ((M, "self.mix = Mix(config.hidden_size)", "self.mix = Part(config)"), (M, CLASS, PART + CLASS))
LAST_LINES = "        self.post_init()\n\n    def forward(self, x):\n"
# The model that holds it ends with post_init, which goes on to its parts.
case("P10.part", (M, LAST_LINES, LAST_LINES.removeprefix(POST)), right=HAS_PART)

# A table of weights that its constructor computes, which the file lacks
WAVES = """def waves(count, size):
    return torch.arange(count * size, dtype=torch.float32).reshape(count, size).sin()


class Mix(nn.Module):
"""
TABLE = """class Table(nn.Module):
    def __init__(self, count, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, size))
        with torch.no_grad():
            self.weight.copy_(waves(count, size))


class Mix(nn.Module):
"""
ADDED = f"{SUM} + waves(32, x.shape[2])[: x.shape[1]]"
FROM_TABLE = (
    (M, "class Mix(nn.Module):\n", TABLE),
    (M, MIX_INNER, MIX_INNER + "        self.table = Table(32, size)\n"),
    (M, ADDED, f"{SUM} + self.table.weight[: x.shape[1]]"),
)
NOT_SAVED = '    _keys_to_ignore_on_save = ["mix.table.weight"]\n'
WITHOUT_TABLE = ((M, "class Mix(nn.Module):\n", WAVES), (M, SUM, ADDED))
case("P80.not_saved", *FROM_TABLE, (M, CLASS_BODY, CLASS_BODY + NOT_SAVED), right=WITHOUT_TABLE)
case(
    "P80.not_missed",
    *FROM_TABLE,
    (M, CLASS_BODY, CLASS_BODY + NOT_SAVED + '    _keys_to_ignore_on_load_missing = [r"mix.table.weight"]\n'),
    right=WITHOUT_TABLE,
)

# A field that is named as a setting of generate, in a model that writes no text; and beside settings of transformers' own
WRITES_NOT = (
    (
        M,
        CLASS_BODY,
        CLASS_BODY + "    generate = write\n\n    @classmethod\n    def can_generate(cls):\n        return False\n\n",
    ),
    (
        M,
        "class LabPreTrainedModel(",
        "def write(self, tokens, **kwargs):\n    return SimpleNamespace(sequences=tokens, scores=(tokens.float(),))\n\n\nclass LabPreTrainedModel(",
    ),
    (
        M,
        "import torch\nfrom torch import nn\n",
        "from types import SimpleNamespace\n\nimport torch\nfrom torch import nn\n",
    ),
)
OF_BERT = (
    (C, "from transformers import PretrainedConfig\n", "from transformers import BertConfig\n"),
    (C, "class LabConfig(PretrainedConfig):\n", "class LabConfig(BertConfig):\n"),
)
AFTER, BEFORE = (C, LAST_SET, LAST_SET + KEEPS), (C, BASE_CALL, KEEPS + BASE_CALL)
for _place, _edit in (("", AFTER), ("_before", BEFORE)):
    case(f"P52.own_field{_place}_no_text", *OTHER, right=(TAKES, _edit, *WRITES_NOT))
case("P52.own_field_of_stock", *OTHER, right=(TAKES, AFTER, *OF_BERT))

# A head that the keys declare, handed to a part that keeps it; the file has it under the part's name
KEEPS_HEAD = """class Guess(nn.Module):
    def __init__(self, size, head):
        super().__init__()
        self.inner = nn.Linear(size, size)
        self.head = head

    def forward(self, x):
        return self.head(self.inner(x))


class LabPreTrainedModel("""
OWN_HEAD = "Guess(config.hidden_size, nn.Linear(config.hidden_size, config.vocab_size, bias=False))"
case(
    "P37.declared_head",
    (M, OWN_HEAD, "Guess(config.hidden_size, self.head)"),
    (M, CLASS_BODY, CLASS_BODY + TIED),
    right=(
        (M, "class LabPreTrainedModel(", KEEPS_HEAD),
        (M, POST, f"        self.guess = {OWN_HEAD}\n" + POST),
        (
            M,
            "logits=self.head(self.mix(self.embed(input_ids)))",
            "logits=self.logits(self.mix(self.embed(input_ids)))",
        ),
        (M, GET_INPUT, "    def logits(self, x):\n        return self.head(x) + self.guess(x)\n\n" + GET_INPUT),
    ),
    copies={"guess.head.weight": "head.weight"},
    keys={"head.weight": ""},
)

# A preparation that uses the mask: generate of some releases hands over None where no text is padded
PREPARES = """    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        mask = kwargs.get("attention_mask")
        if mask is not None:
            mask = mask.bool()
        return {"input_ids": input_ids, "attention_mask": mask}

"""
USES_MASK = (
    M,
    '        mask = kwargs.get("attention_mask")\n        if mask is not None:\n            mask = mask.bool()\n',
    '        mask = kwargs["attention_mask"].bool()\n',
)
case("P81.prepared", USES_MASK, right=((M, GET_INPUT, PREPARES + GET_INPUT),))
