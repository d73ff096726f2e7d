"""Tied weights."""

# ruff: noqa: E501 (lines of programs)

from cases.base import (
    ARGUMENTS,
    CLASS_BODY,
    EXPOSED,
    GET_INPUT,
    INIT,
    NO_FLAG,
    POST,
    PUT_BACK,
    REMOVED,
    TIE,
    TIED,
    TIED_SETTINGS,
    C,
    M,
    case,
)

case("P11.list", (M, TIED, '    _tied_weights_keys = ["head.weight"]\n'), right=TIE, settings=TIED_SETTINGS)
case("P11.list_untied", (M, CLASS_BODY, CLASS_BODY + '    _tied_weights_keys = ["head.weight"]\n'))
case("P11g.plain", (M, PUT_BACK, ""), right=TIE, settings=TIED_SETTINGS)
case("P11.missing", (M, TIED, ""), right=TIE, settings=TIED_SETTINGS)
case(
    "P11b.no_flag",
    *NO_FLAG[1:],
    (C, "        tie_word_embeddings=True,\n", ""),
    right=TIE,
    settings=TIED_SETTINGS,
    faulty_settings={"tie_word_embeddings": REMOVED},
)
case(  # a list, and no word of the flag: transformers 4 ties, 5 does not
    "P11.list_no_flag",
    *NO_FLAG[1:],
    (C, "        tie_word_embeddings=True,\n", ""),
    (M, TIED, '    _tied_weights_keys = ["head.weight"]\n'),
    right=TIE,
    settings=TIED_SETTINGS,
    faulty_settings={"tie_word_embeddings": REMOVED},
)
case("P11b.not_exposed", (M, EXPOSED, ""), right=TIE, settings=TIED_SETTINGS)
TWICE = (
    (M, POST, "        self.again = Mix(config.hidden_size)\n" + POST),
    (M, "self.mix(self.embed(input_ids))", "self.again(self.mix(self.embed(input_ids)))"),
)
ONCE = (M, "        self.again = Mix(config.hidden_size)\n", "        self.again = self.mix\n")
TWICE_TENSORS = {"again.inner.weight": "mix.inner.weight", "again.inner.bias": "mix.inner.bias"}
TWICE_TIED = (
    '    _tied_weights_keys = {"again.inner.weight": "mix.inner.weight", "again.inner.bias": "mix.inner.bias"}\n'
)
case(  # one module under two names needs no tying: the declaration is for save_pretrained alone
    "P11b.module_twice",
    ONCE,
    (M, CLASS_BODY, CLASS_BODY + TWICE_TIED),
    right=(*TWICE, (C, ARGUMENTS, "        tie_word_embeddings=True,\n")),
    settings=TIED_SETTINGS,
    copies=TWICE_TENSORS,
    keys=dict.fromkeys(TWICE_TENSORS, ""),
)
case(  # the file has it once
    "P11c.in_loop",
    (M, POST, "        for each in [self.again]:\n            each.inner.weight = self.mix.inner.weight\n" + POST),
    right=TWICE,
    copies={"again.inner.weight": "mix.inner.weight"},
    keys={"again.inner.weight": ""},
)
case(
    "P11c.assigned",
    (M, TIED, ""),
    (M, EXPOSED, ""),
    (M, POST, "        self.head.weight = self.embed.weight\n" + POST),
    right=TIE,
    settings=TIED_SETTINGS,
)
OVERRIDES = "    def tie_weights(self{more}):\n        self.head.weight = self.embed.weight\n\n"
case("P11d.override", (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT), right=TIE, settings=TIED_SETTINGS)
case(
    "P11d.override_any_arguments",
    (M, GET_INPUT, OVERRIDES.format(more=", *args, **kwargs") + GET_INPUT),
    right=TIE,
    settings=TIED_SETTINGS,
)
case(
    "P11d.override_alone",
    (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT),
    (M, TIED, ""),
    right=TIE,
    settings=TIED_SETTINGS,
)
case(
    "P11d.override_without_post_init",
    (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT),
    (M, TIED, ""),
    (M, POST, ""),
    right=TIE,
    settings=TIED_SETTINGS,
)
INNER = """class LabInner(LabPreTrainedModel):
    _tied_weights_keys = {"head.weight": "embed.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.mix = Mix(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

    def forward(self, input_ids):
        return self.head(self.mix(self.embed(input_ids)))


class LabForCausalLM("""
OF_INNER = "    def get_output_embeddings(self):\n        return self.inner.get_output_embeddings()\n\n"
PARTS = (
    (M, INIT, PUT_BACK + INIT),
    (M, "class LabForCausalLM(", INNER),
    (
        M,
        "        super().__init__(config)\n        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)\n"
        "        self.mix = Mix(config.hidden_size)\n"
        "        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)\n        self.post_init()\n\n"
        "    def get_input_embeddings(self):\n        return self.embed\n\n    def set_input",
        "        super().__init__(config)\n        self.inner = LabInner(config)\n        self.post_init()\n\n"
        + OF_INNER
        + "    def get_input_embeddings(self):\n        return self.inner.embed\n\n    def set_input",
    ),
    (
        M,
        "    _supports_cache_class = True\n",
        '    _supports_cache_class = True\n    _tied_weights_keys = {"inner.head.weight": "inner.embed.weight"}\n',
    ),
    (M, "logits=self.head(self.mix(self.embed(input_ids)))", "logits=self.inner(input_ids)"),
    (M, "        self.embed = new\n", "        self.inner.embed = new\n"),
    (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
)
WHOLE_KEYS = '    _tied_weights_keys = {"inner.head.weight": "inner.embed.weight"}\n'
case("P11e.part_ties", (M, OF_INNER, ""), (M, WHOLE_KEYS, ""), right=PARTS, settings=TIED_SETTINGS)
case(
    "P11.list_of_part",
    (M, '    _tied_weights_keys = {"head.weight": "embed.weight"}\n', '    _tied_weights_keys = ["head.weight"]\n'),
    right=PARTS,
    settings=TIED_SETTINGS,
)
LM_HEAD = (
    (M, "        self.head = nn.Linear(", "        self.lm_head = nn.Linear("),
    (M, "logits=self.head(", "logits=self.lm_head("),
)
case(
    "P11f.lm_head",
    *NO_FLAG[1:],
    (C, ARGUMENTS, ""),
    right=LM_HEAD,
    faulty_settings={"tie_word_embeddings": REMOVED},
)
TIE_LM_HEAD = (
    *(
        (file, old, new.replace("self.head", "self.lm_head").replace("head.weight", "lm_head.weight"))
        for file, old, new in TIE
    ),
    *LM_HEAD,
)
EXPOSED_LM_HEAD = EXPOSED.replace("self.head", "self.lm_head")
TIED_LM_HEAD = TIED.replace("head.weight", "lm_head.weight")
case("P11b.not_exposed_lm_head", (M, EXPOSED_LM_HEAD, ""), right=TIE_LM_HEAD, settings=TIED_SETTINGS)
case(
    "P11c.assigned_lm_head",
    (M, TIED_LM_HEAD, ""),
    (M, EXPOSED_LM_HEAD, ""),
    (M, POST, "        self.lm_head.weight = self.embed.weight\n" + POST),
    right=TIE_LM_HEAD,
    settings=TIED_SETTINGS,
)
case(  # with an override that works everywhere, so that saving alone is judged
    "P11.dynamic_keys",
    (M, TIED, ""),
    (M, GET_INPUT, OVERRIDES.format(more=", *args, **kwargs") + GET_INPUT),
    (M, POST, '        self._dynamic_tied_weights_keys = ["head.weight"]\n' + POST),
    right=TIE,
    settings=TIED_SETTINGS,
)

# A part that is handed the embeddings, and keeps them under a name of its own

PART = """class Part(nn.Module):
    def __init__(self, embed, size):
        super().__init__()
        self.words = embed
        self.lin = nn.Linear(size, size)

    def forward(self, input_ids):
        return self.lin(self.words(input_ids))


class LabPreTrainedModel("""
PART_TENSORS = {"part.words.weight": "embed.weight"}
PART_TIED = '    _tied_weights_keys = {"part.words.weight": "embed.weight"}\n'
HANDED = "Part(self.embed, config.hidden_size)"
APART = "Part(nn.Embedding(config.vocab_size, config.hidden_size), config.hidden_size)"
WITH_PART = (
    (M, "class LabPreTrainedModel(", PART),
    (M, POST, f"        self.part = {APART}\n" + POST),
    (M, "self.mix(self.embed(input_ids))", "self.mix(self.embed(input_ids) + self.part(input_ids))"),
)
case(
    "P37.handed_to_part",
    (M, APART, HANDED),
    right=WITH_PART,
    copies=PART_TENSORS,
    keys=dict.fromkeys(PART_TENSORS, ""),
)
case(  # declared, it needs no head that is exposed
    "P11b.handed_to_part",
    (M, APART, HANDED),
    (M, CLASS_BODY, CLASS_BODY + PART_TIED),
    (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
    right=WITH_PART,
    settings=TIED_SETTINGS,
    copies=PART_TENSORS,
    keys=dict.fromkeys(PART_TENSORS, ""),
)
case(  # the keys say nothing about the head, which transformers 4 ties where it is exposed
    "P11.head_not_declared",
    (M, GET_INPUT, EXPOSED + GET_INPUT),
    right=(
        *WITH_PART,
        (M, APART, HANDED),
        (M, CLASS_BODY, CLASS_BODY + PART_TIED),
        (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
    ),
    settings=TIED_SETTINGS,
)
NO_HEAD = "    def get_output_embeddings(self):\n        return None\n\n"
case(  # what P11 says to write there
    "P11.head_is_none",
    (M, GET_INPUT, NO_HEAD + GET_INPUT),
    right=(
        *WITH_PART,
        (M, APART, HANDED),
        (M, CLASS_BODY, CLASS_BODY + PART_TIED),
        (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
    ),
    settings=TIED_SETTINGS,
)
