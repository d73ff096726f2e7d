"""A module that a part is handed and keeps: one module under two names (P37), and heads that keys leave out (P11)."""

import pytest
from corpus.net_folder import findings

PARTS = """
class Encoder(nn.Module):
    def __init__(self, config, embed=None):
        super().__init__()
        {keeps}


class Outer(nn.Module):
    def __init__(self, config, words):
        super().__init__()
        self.inner = Encoder(config, words)


class ByName(nn.Module):
    def __init__(self, config, words):
        super().__init__()
        self.inner = Encoder(config, embed=words)

"""
KEYS = '_tied_weights_keys = {"encoder.embed.weight": "words.weight"}\n'
HEAD = "    def get_output_embeddings(self):\n        return {}\n"


def handed(tmp_path, code, keeps, build="self.encoder = Encoder(config, self.words)", more=""):
    more = more or "def get_input_embeddings(self):\n        return self.words\n"
    return findings(tmp_path, code, PARTS.format(keeps=keeps), build, more, "tie_word_embeddings=True, ")


@pytest.mark.parametrize(
    ("keeps", "build", "names"),
    [
        ("self.embed = embed", "self.encoder = Encoder(config, self.words)", "self.words and self.encoder.embed"),
        ("self.embed = embed", "self.encoder = Encoder(config, embed=self.words)", "self.encoder.embed"),
        ("self.embed = embed", "self.outer = Outer(config, self.words)", "self.words and self.outer.inner.embed"),
        ("self.embed = embed", "self.outer = ByName(config, self.words)", "self.words and self.outer.inner.embed"),
        (
            "self.embed = embed if embed is not None else nn.Embedding(9, 9)",
            "self.encoder = Encoder(config, self.words)",
            "self.encoder.embed",
        ),
        (
            "self.embed = nn.Embedding(9, 9)\n        if embed:\n            self.embed.weight = embed.weight",
            "self.encoder = Encoder(config, self.words)",
            "self.encoder.embed",
        ),
    ],
)
def test_a_part_that_keeps_what_it_is_handed_cannot_be_saved(keeps, build, names, tmp_path):
    (finding,) = handed(tmp_path, "P37", keeps, build)
    assert names in finding.sentence and "_tied_weights_keys = {" in finding.fix


@pytest.mark.parametrize(
    ("keeps", "build"),
    [
        ("self.size = embed.num_embeddings", "self.encoder = Encoder(config, self.words)"),
        ("self.embed = embed or nn.Embedding(9, 9)", "self.encoder = Encoder(config)"),
        ("self.__dict__['embed'] = embed", "self.encoder = Encoder(config, self.words)"),
        ("self.embed = nn.Embedding(9, 9)", "self.encoder = Encoder(config, self.words)"),
        ("self.embed = embed", "self.encoder = Encoder(config, nn.Embedding(9, 9))"),
    ],
)
def test_what_is_not_kept_is_one_module(keeps, build, tmp_path):
    assert handed(tmp_path, "P37", keeps, build) == []


def test_one_module_that_is_declared_needs_no_head(tmp_path):
    assert handed(tmp_path, "P11b", "self.embed = embed", more=KEYS) == []
    assert handed(tmp_path, "P37", "self.embed = embed", more=KEYS) == []


@pytest.mark.parametrize(("head", "count"), [("self.head", 1), ("None", 0), ("self.words", 0)])
def test_a_head_that_the_keys_leave_out_is_tied_by_transformers_4_alone(head, count, tmp_path):
    more = KEYS + "\n    def get_input_embeddings(self):\n        return self.words\n\n" + HEAD.format(head)
    build = "self.encoder = Encoder(config, self.words)\n        self.head = nn.Linear(9, 9)"
    found = [f for f in handed(tmp_path, "P11", "self.embed = embed", build, more) if "head" in f.case]
    assert len(found) == count and all(f.releases == () or f.releases[-1].startswith("4.57") for f in found)


@pytest.mark.parametrize(
    "key", ['"head.weight": "words.weight"', '"words.weight": "head.weight"', r'r"head\.weight": "words.weight"']
)
def test_a_head_that_the_keys_name_is_tied_in_all(key, tmp_path):
    more = KEYS.replace("{", "{" + key + ", ") + "\n" + HEAD.format("self.head")
    build = "self.encoder = Encoder(config, self.words)\n        self.head = nn.Linear(9, 9)"
    assert [f for f in handed(tmp_path, "P11", "self.embed = embed", build, more) if "head" in f.case] == []


HEAD_WITH_BIAS = """
class Head(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.decoder = nn.Linear(9, 9)
        self.bias = nn.Parameter(torch.zeros(9))
        self.decoder.bias = self.bias

"""


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ('["head.decoder.weight", "head.decoder.bias"]', 0),
        ('("head.decoder.bias",)', 0),
        (r'[r"head\.decoder\.bias"]', 0),
        ('["head.decoder.weight"]', 1),
        ("[]", 1),
    ],
)
def test_what_a_list_of_keys_declares_is_no_fault_beside_the_list(keys, count, tmp_path):
    more = f"_tied_weights_keys = {keys}\n"
    assert len(findings(tmp_path, "P11c", HEAD_WITH_BIAS, "self.head = Head(config)", more)) == count
