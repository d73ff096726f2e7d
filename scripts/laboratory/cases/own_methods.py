"""Methods of a folder's classes that transformers calls in the place of its own."""

from cases.base import ARGUMENTS, EXPOSED, GET_INPUT, IMPORTS, LAST_SET, POST, REMOVED, C, M, case

# save_pretrained

SAVES = (
    "    def save_pretrained(self, save_directory, **kwargs):\n"
    "        super().save_pretrained(save_directory, **kwargs)\n"
    '        torch.save(self.state_dict(), f"{save_directory}/parts.pt")\n\n'
)
SAVES_APART = (
    "    def save_pretrained(self, save_directory, **kwargs):\n"
    "        self.config.save_pretrained(save_directory)\n"
    '        torch.save(self.state_dict(), f"{save_directory}/parts.pt")\n\n'
)
case("P57.writes_elsewhere", (M, SAVES, SAVES_APART), right=((M, GET_INPUT, SAVES + GET_INPUT),))

# GenerationConfig.validate

OWN_SETTINGS = "\n\nclass LabGenerationConfig(GenerationConfig):\n    def validate(self{more}):\n        return None\n"
OWN_CONSTRUCTOR = """
    def __init__(self, **kwargs):
        self.__dict__.update(GenerationConfig(**kwargs).__dict__)
"""
WITH_SETTINGS = (
    (M, "import DynamicCache, ", "import DynamicCache, GenerationConfig, "),
    (M, IMPORTS, IMPORTS + OWN_SETTINGS.format(more=", *args, **kwargs")),
    (M, POST, POST + "        self.generation_config = LabGenerationConfig(use_cache=False)\n"),
)
case(  # the constructor of transformers does not run
    "P61.no_strict_own_constructor",
    (M, "def validate(self, *args, **kwargs)", "def validate(self, is_init=False)"),
    right=(
        *WITH_SETTINGS[:1],
        (M, IMPORTS, IMPORTS + OWN_SETTINGS.format(more=", *args, **kwargs") + OWN_CONSTRUCTOR),
        *WITH_SETTINGS[2:],
    ),
)

# get_text_config

INNER = """class InnerConfig(PretrainedConfig):
    model_type = "lab-bench-inner"

    def __init__(self, vocab_size=24, num_hidden_layers=1, tie_word_embeddings=False, **kwargs):
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class LabConfig(PretrainedConfig):
"""
KEEPS = "        self.inner = InnerConfig(**(inner or {}))\n"
SUPER = "        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)\n"
FIRST_SET = "        self.vocab_size = vocab_size\n        self.hidden_size"
SAYS_WHICH = "\n    def get_text_config(self, decoder=False, **kwargs):\n        return self.inner\n"
OUTER = (
    (C, "class LabConfig(PretrainedConfig):\n", INNER),
    (C, "        use_cache=False,\n", "        use_cache=False,\n        inner=None,\n"),
    (C, SUPER + FIRST_SET, KEEPS + SUPER + FIRST_SET),
    (C, LAST_SET, LAST_SET + SAYS_WHICH),
)
case(
    "P62.text_config_after_super",
    (C, KEEPS + SUPER, SUPER + KEEPS),
    right=OUTER,
)
# The outer settings say nothing of ties, and those of the text say that nothing is tied

case(
    "P63.outer_ties",
    (C, ARGUMENTS + "        **kwargs,\n    ):\n        self.inner", "        **kwargs,\n    ):\n        self.inner"),
    (C, KEEPS + SUPER, KEEPS + "        super().__init__(**kwargs)\n"),
    right=(*OUTER, (M, GET_INPUT, EXPOSED + GET_INPUT)),
    faulty_settings={"tie_word_embeddings": REMOVED},
)
