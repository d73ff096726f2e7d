"""P32, P34 and P35 where the fault is behind a function, a class or a name of the folder's own."""

# ruff: noqa: E501 (lines of programs)

import pytest
from corpus.net_folder import errors_of

LENGTH = "return 0 if {0} is None else {0}[0][0].shape[2]"
PREPARES = (
    "def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache=None, **kwargs):\n"
    "    return {'input_ids': input_ids[:, self._length(past_key_values) :], 'past_key_values': past_key_values}\n"
)


@pytest.mark.parametrize(
    "parts",
    [
        {
            "forward": "n = self._length(past_key_values)",
            "more": f"def _length(self, past):\n    {LENGTH.format('past')}",
        },
        {
            "forward": "n = self._length(w=1, past=cache)",
            "more": f"def _length(self, w, past=None):\n    {LENGTH.format('past')}",
        },
        {"forward": "n = length(past_key_values)", "top": f"def length(state):\n    {LENGTH.format('state')}\n"},
        {
            "forward": "n = self._length(past_key_values)",
            "more": f"@staticmethod\ndef _length(state):\n    {LENGTH.format('state')}",
        },
        {
            "forward": "n = self._ids(past_key_values)",
            "more": f"def _ids(self, past):\n    return self._length(past) + 1\n\ndef _length(self, held):\n    {LENGTH.format('held')}",
        },
        {"more": f"{PREPARES}\ndef _length(self, past):\n    {LENGTH.format('past')}"},
    ],
)
def test_a_helper_that_takes_the_cache_for_tuples(parts, tmp_path):
    assert errors_of(tmp_path, **parts) == ["P32"]


@pytest.mark.parametrize(
    "parts",
    [
        {
            "forward": "n = self._length(past_key_values)",
            "more": "def _length(self, past):\n    return past.get_seq_length()",
        },
        {
            "forward": "n = self._length(past_key_values)",
            "more": "def _length(self, past):\n    if isinstance(past, Cache):\n        return past.get_seq_length()\n    return past[0][0].shape[2]",
        },
        {"forward": "n = self._length(input_ids)", "more": "def _length(self, ids):\n    return ids[0].shape[0]"},
        {"forward": "n = self._length([past_key_values])", "more": "def _length(self, many):\n    return many[0]"},
        {
            "forward": "n = len(past_key_values or ())",
            "more": f"def _length(self, past):\n    {LENGTH.format('past')}",
        },
    ],
)
def test_a_helper_that_does_not(parts, tmp_path):
    assert "P32" not in errors_of(tmp_path, **parts)


MIXIN = "class {}(GenerationMixin):\n    {}\n"
BASE = "class {}(PreTrainedModel{}):\n    config_class = TextConfig\n"


@pytest.mark.parametrize(
    ("top", "bases", "codes"),
    [
        (MIXIN.format("Writing", "pass"), ", Writing", ["P34"]),
        (MIXIN.format("Writing", "def tell(self, ids):\n        return self.generate(ids)"), ", Writing", ["P34"]),
        (MIXIN.format("Writing", "pass") + "\n\nclass Late(Writing):\n    pass\n", ", Late", ["P34"]),
        (MIXIN.format("TextGenerationMixin", "pass"), ", TextGenerationMixin", []),
        (MIXIN.format("Writing", "pass"), ", Writing, GenerationMixin", []),
        (MIXIN.format("Writing", "def generate(self, ids):\n        return ids"), ", Writing", []),
        (
            MIXIN.format(
                "Writing", "def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {}"
            ),
            ", Writing",
            [],
        ),
        ("from transformers import GenerationMixin as Writes\n", ", Writes", []),
    ],
)
def test_generation_from_an_own_class(top, bases, codes, tmp_path):
    assert errors_of(tmp_path, top=top, mixin=bases) == codes


@pytest.mark.parametrize(
    ("top", "base", "codes"),
    [
        (BASE.format("TextPreTrainedModel", ", GenerationMixin"), "TextPreTrainedModel", ["P34"]),
        (BASE.format("TextBase", ", GenerationMixin"), "TextBase", []),
        (BASE.format("TextBase", ", GenerationMixin") + "\n\nclass Late(TextBase):\n    pass\n", "Late", []),
        (
            BASE.format("TextBase", ", GenerationMixin") + "\n\nclass OwnPreTrainedModel(TextBase):\n    pass\n",
            "OwnPreTrainedModel",
            ["P34"],
        ),
        (BASE.format("TextPreTrainedModel", ", GenerationMixin"), "TextPreTrainedModel, GenerationMixin", []),
    ],
)
def test_generation_from_the_model_that_a_class_derives_from(top, base, codes, tmp_path):
    assert errors_of(tmp_path, top=top, base=base, mixin="") == codes


READS = "@property\ndef _supports_sdpa(self):\n    "


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (f"{READS}model = self\n    return model.words is not None", ["P35"]),
        (f"{READS}model = self\n    me = model\n    return bool(me.words)", ["P35"]),
        ("@property\ndef _supports_sdpa(this):\n    return this.words is not None", ["P35"]),
        (f"{READS}return self._inner() is not None\n\ndef _inner(self):\n    return self.words", ["P35"]),
        (f"{READS}return bool(self.inner)\n\n@property\ndef inner(self):\n    return self.words", ["P35"]),
        (f"{READS}model = self.config\n    return model.words is not None", []),
        (f"{READS}model = self\n    return bool(model.config.width)", []),
        (
            f"{READS}return self._inner()\n\ndef _inner(self):\n    return hasattr(self, 'words') and bool(self.words)",
            [],
        ),
    ],
)
def test_a_part_that_is_read_through_another_name(body, codes, tmp_path):
    assert errors_of(tmp_path, body=body) == codes
