"""P15: a configuration that is built without arguments, and whose tables something else may fill."""

import pytest
from corpus.net_folder import findings


@pytest.mark.parametrize(
    ("arguments", "first", "words"),
    [
        ("inner=None, ", "inner = inner or {}; kind = inner['architectures'][0]; ", "inner is an empty table"),
        ("inner=None, ", "kind = inner['a']; ", "inner is None there"),
        ("inner=None, ", "kind = inner.get('a'); ", "inner is None there"),
        ("inner=None, ", "kind = dict(**inner); ", "inner is None there"),
        ("inner={}, ", "kind = inner['a']; ", "inner is an empty table"),
        ("inner=None, ", "kind = inner.get('a') if inner is not None else 0; ", ""),
        ("inner=None, ", "kind = inner and inner['a']; ", ""),
        ("inner=None, ", "inner = inner or {}; kind = inner.get('a'); ", ""),
        ("inner=None, ", "inner = inner or {}; inner.update(a=1); kind = inner['a']; ", ""),
        ("inner=None, ", "inner = inner or {'a': 1}; kind = inner['a']; ", ""),
        ("inner=4, ", "kind = inner['a']; ", ""),
    ],
)
def test_a_configuration_that_raises_without_arguments(tmp_path, arguments, first, words):
    lines = [f for f in findings(tmp_path, "P15", arguments=arguments, first=first) if "() fails" in f.sentence]
    assert len(lines) == bool(words) and all(words in f.sentence and f.releases[-1] == "5.19.0" for f in lines)


def test_a_guard_in_a_configuration_is_followed(tmp_path):
    guarded = "if inner is None:\n            inner = {'a': 1}\n        kind = inner['a']\n        "
    assert findings(tmp_path, "P15", arguments="inner=None, ", first=guarded) == []
    returns = "if not inner:\n            return\n        kind = inner['a']\n        "
    assert findings(tmp_path, "P15", arguments="inner=None, ", first=returns) == []


@pytest.mark.parametrize(
    ("arguments", "first", "words"),
    [
        # a table that something else may fill
        ("inner={}, ", "fill(inner); kind = inner['a']; ", ""),
        ("inner={}, ", "done = fill(table=inner); kind = inner['a']; ", ""),
        ("inner={}, ", "self.inner = inner; self.inner['a'] = 1; kind = inner['a']; ", ""),
        ("inner={}, ", "other = inner; other['a'] = 1; kind = inner['a']; ", ""),
        ("inner={}, ", "other = inner; inner['a'] = 1; kind = other['a']; ", ""),
        ("inner={}, ", "pair = [inner]; pair[0]['a'] = 1; kind = inner['a']; ", ""),
        ("", "one = other = {}; one['a'] = 1; kind = other['a']; ", ""),
        ("inner={}, ", "size = len(inner); kind = inner['a']; ", "inner is an empty table"),
        ("inner={}, ", "other = dict(inner); kind = inner['a']; ", "inner is an empty table"),
        ("inner={}, ", "other = {**inner}; kind = inner['a']; ", "inner is an empty table"),
        ("inner=None, ", "fill(inner); kind = inner['a']; ", "inner is None there"),  # None cannot be filled
        # a class of which None may be an instance
        ("inner=None, ", "inner = {'a': 1} if isinstance(inner, type(None)) else inner; kind = inner['a']; ", ""),
        ("inner=None, ", "inner = {'a': 1} if isinstance(inner, NoneType) else inner; kind = inner['a']; ", ""),
        ("inner=None, ", "inner = {'a': 1} if isinstance(inner, (str, EMPTY)) else inner; kind = inner['a']; ", ""),
        ("inner=None, ", "kind = inner['a'] if isinstance(inner, dict) else 0; ", ""),
        ("inner=None, ", "kind = 0 if isinstance(inner, (dict, str)) else inner['a']; ", "inner is None there"),
    ],
)
def test_what_may_have_been_filled_is_not_reported(tmp_path, arguments, first, words):
    lines = [f for f in findings(tmp_path, "P15", arguments=arguments, first=first) if "() fails" in f.sentence]
    assert len(lines) == bool(words) and all(words in f.sentence for f in lines)


@pytest.mark.parametrize(
    ("before", "reported"),
    [
        ("if not kwargs:\n            super().__init__()\n            return", 0),
        ("if not kwargs:\n            raise ValueError", 0),
        ("for key in kwargs:\n            return", 0),
        ("try:\n            size = 1\n        finally:\n            return", 0),
        ("if not kwargs:\n            size = 1", 1),
        ("def inside():\n            return 1", 1),
    ],
)
def test_what_may_not_be_reached_is_not_reported(tmp_path, before, reported):
    first = f"{before}\n        kind = inner['a']\n        "
    lines = findings(tmp_path, "P15", arguments="inner=None, ", first=first)
    assert len(["() fails" in f.sentence for f in lines]) == reported


@pytest.mark.parametrize(
    ("read", "cure"),
    [
        ("config.max_length", 'getattr(config, "max_length", 20)'),
        ("self.config.top_k", 'getattr(self.config, "top_k", 50)'),
        ("getattr(config, 'do_sample')", 'getattr(config, "do_sample", False)'),
        ("config.temperature", 'getattr(config, "temperature", 1.0)'),
        ("config.forced_bos_token_id", 'getattr(config, "forced_bos_token_id", None)'),
        ("config.is_decoder", ""),
        ("config.pad_token_id", ""),
        ("config.depth", ""),
    ],
)
def test_settings_of_generate_are_read_with_a_default(tmp_path, read, cure):
    (finding,) = findings(tmp_path, "P15", build=f"self.x = {read}")
    assert finding.fix.startswith(f"Read it with a default, {cure}" if cure else "Take ")
