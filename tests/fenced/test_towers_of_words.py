"""Several arguments of token ids: what goes in is the folder's own tokenizer's, and so is the card's example."""

import inspect
import types
from types import SimpleNamespace

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from pinfold.card import snippet
from pinfold.fenced.card import example
from pinfold.fenced.probe import declared, processor
from pinfold.folder.model_folder import read_modules


def pooled(self, ids, mask=None):
    mask = torch.ones_like(ids) if mask is None else mask
    assert mask.shape == ids.shape
    return (self.words(ids) * mask[..., None]).sum(1)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.config, self.words = types.SimpleNamespace(), nn.Embedding(9, 4)


class Duo(Towers):
    def forward(self, query_input_ids, document_input_ids, query_attention_mask=None, document_attention_mask=None):
        assert query_input_ids.shape != document_input_ids.shape
        query = pooled(self, query_input_ids, query_attention_mask)
        return {"scores": query @ pooled(self, document_input_ids, document_attention_mask).T}


class Pair(Towers):
    def forward(self, input_ids_a, input_ids_b, attention_mask_a, attention_mask_b):
        return {"o": pooled(self, input_ids_a, attention_mask_a) - pooled(self, input_ids_b, attention_mask_b)}


class Triplet(Towers):
    def forward(self, anchor_input_ids, positive_input_ids, negative_input_ids, margin=1.0):
        every = (anchor_input_ids, positive_input_ids, negative_input_ids)
        return {"o": sum(pooled(self, ids) for ids in every) + margin}


def arguments_of(cls):
    return list(inspect.signature(cls.forward).parameters)[1:]


MASKS = {
    Duo: {"query_attention_mask", "document_attention_mask"},
    Pair: {"attention_mask_a", "attention_mask_b"},
    Triplet: set(),
}
SOURCE = """from transformers import PreTrainedModel


class Net(PreTrainedModel):
    def forward(self, {takes}):
        return x
"""


def tokenizer(pad="[PAD]"):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "what": 1, "[PAD]": 2, "is": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token=pad)


@pytest.mark.parametrize("pad", ["[PAD]", None])
@pytest.mark.parametrize("cls", MASKS)
def test_words_go_into_every_tower_and_fill_its_mask(tmp_path, cls, pad):
    tokenizer(pad).save_pretrained(tmp_path)
    own = processor.probe_of_processor(cls(), str(tmp_path))
    takes = arguments_of(cls)
    ids = [name for name in takes if "input_ids" in name]
    assert list(own) == ids and declared.checked(own) == own
    probe = declared.through_files(own, str(tmp_path), takes, str(tmp_path / declared.INPUTS))
    assert set(probe) == {*ids, *MASKS[cls]}
    inputs = {name: declared.made(words) for name, words in probe.items()}
    assert len({inputs[name].shape[1] for name in ids}) == len(ids)
    masks = [inputs[name] for name in MASKS[cls]]
    assert all((mask.sum(1)[0] < mask.sum(1)[1]) == (pad is not None) for mask in masks)


def test_without_a_tokenizer_and_for_ids_alone_nothing_is_made(tmp_path):
    class Alone(Towers):
        def forward(self, input_ids, attention_mask=None):
            return pooled(self, input_ids, attention_mask)

    assert processor.probe_of_processor(Duo(), str(tmp_path)) == {}
    tokenizer().save_pretrained(tmp_path)
    assert processor.probe_of_processor(Alone(), str(tmp_path)) == {}


@pytest.mark.parametrize("own", [None, '{"%s": {"text": ["is what is", "is"]}}'])
@pytest.mark.parametrize("cls", MASKS)
def test_the_example_reads_words_with_the_tokenizer(tmp_path, monkeypatch, cls, own):
    tokenizer().save_pretrained(tmp_path)
    takes = arguments_of(cls)
    ids = [name for name in takes if "input_ids" in name]
    (tmp_path / "modeling_net.py").write_text(SOURCE.format(takes=", ".join(takes)))
    if own:
        (tmp_path / "probe.json").write_text(own % ids[0])
    staged = SimpleNamespace(
        directory=tmp_path, folder=read_modules(tmp_path), architecture="Net", tokenizer_only=False, code_from=None,
        auto_map={"AutoModel": "modeling_net.Net"}, config={},
    )  # fmt: skip
    shapes = {name: ["int64", [2, 12]] for name in ids}
    programs = snippet.examples(staged, "me/net", "0" * 40, shapes)
    assert programs[0].count("= tokenizer(") == len(ids) and f'tokenizer("{snippet.QUESTION}"' in programs[0]
    assert "is what is" not in programs[0]  # an author's own text never gets into a program
    assert all(f'"{mask}": ' in programs[0] for mask in MASKS[cls])
    assert "arange" not in programs[0] and "torch.ones" not in programs[0]
    # it runs as it is shown
    model = cls()
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", lambda *a, **k: model)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *a, **k: tokenizer())
    ran = example.run_first(programs)
    assert ran["program"] == 0 and "(1" in ran["output"], ran


@pytest.mark.parametrize("auto", ["AutoModelForCausalLM", "AutoModelForSeq2SeqLM"])
@pytest.mark.parametrize("written", ["sea" + 20 * " ", "sea\n\nand wind ", ""])
def test_what_is_written_is_shown_with_its_spaces(tmp_path, monkeypatch, auto, written):
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "modeling_net.py").write_text(SOURCE.format(takes="input_ids"))
    staged = SimpleNamespace(
        directory=tmp_path, folder=read_modules(tmp_path), architecture="Net", tokenizer_only=False, code_from=None,
        auto_map={auto: "modeling_net.Net"}, config={},
    )  # fmt: skip
    words = tokenizer()
    monkeypatch.setattr(words, "decode", lambda *a, **k: written, raising=False)
    writes = SimpleNamespace(generate=lambda **inputs: torch.ones(1, 3))
    monkeypatch.setattr(getattr(transformers, auto), "from_pretrained", lambda *a, **k: writes)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *a, **k: words)
    ran = example.run_first(snippet.examples(staged, "me/net", "0" * 40, {"input_ids": ["int64", [2, 12]]}))
    assert snippet.printed(ran["output"]) == [f"# {written!r}"]
