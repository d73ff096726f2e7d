"""Steps of generate: a cache that is taken for filled (P59), places that are not passed (P60), own caches (P51, P09).

In which releases is in ranges.json; here are other shapes, and what looks like one and does no harm.
"""

import pytest
from corpus.net_folder import text_findings

from pinfold.audit.finding import ERROR, WARNING

PREPARES = """
def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache_position=None, {more}**kwargs):
{does}
    return {{"input_ids": input_ids, "past_key_values": past_key_values}}
"""


def said(tmp_path, code, **parts):
    return [(f.severity, f.case) for f in text_findings(tmp_path, **parts) if f.code == code]


def prepared(tmp_path, code, does, more="", body="", **parts):
    text = "\n".join(f"    {line}" for line in does.splitlines())
    return said(tmp_path, code, more=PREPARES.format(does=text, more=more), body=body, **parts)


LAST = "    input_ids = input_ids[:, -1:]"


@pytest.mark.parametrize(
    ("does", "case"),
    [
        (f"if past_key_values is not None and len(past_key_values) > 0:\n{LAST}", "P59.length"),
        (f"if len(past_key_values):\n{LAST}", "P59.length"),
        ("if len(past_key_values) != 0:\n    input_ids = input_ids[:, -1].unsqueeze(-1)", "P59.length"),
        ("if past_key_values:\n    input_ids = input_ids[:, -1:]", "P59.truth"),
        ("input_ids = input_ids[:, -1:] if past_key_values else input_ids", "P59.truth"),
        (f"if past_key_values and use_cache:\n{LAST}", "P59.truth"),
    ],
)
def test_an_empty_cache_that_is_taken_for_filled(tmp_path, does, case):
    assert prepared(tmp_path, "P59", does, more="use_cache=None, ") == [(ERROR, case)]


@pytest.mark.parametrize(
    "does",
    [
        f"if past_key_values is not None and past_key_values.get_seq_length() > 0:\n{LAST}",
        "if past_key_values:\n    input_ids = input_ids[:, past_key_values.get_seq_length() :]",
        "seen = past_key_values.get_seq_length() if past_key_values else 0\ninput_ids = input_ids[:, seen:]",
        f"if len(input_ids) > 0:\n{LAST}",
        f"if past_key_values and past_key_values.get_seq_length():\n{LAST}",
    ],
)
def test_a_cache_that_is_asked_for_its_words(tmp_path, does):
    assert prepared(tmp_path, "P59", does) == []


LENGTH = "past_key_values.get_seq_length()"


@pytest.mark.parametrize(
    "does",
    [
        f"if past_key_values is not None and {LENGTH} > 0:\n{LAST}",
        f"if past_key_values and {LENGTH}:\n    input_ids = input_ids[:, -1].unsqueeze(-1)",
        f"input_ids = input_ids[:, -1:] if past_key_values is not None and {LENGTH} else input_ids",
        f"if past_key_values is None or {LENGTH} == 0:\n    pass\nelif past_key_values is not None:\n{LAST}",
    ],
)
def test_the_last_word_alone(tmp_path, does):
    assert prepared(tmp_path, "P70", does) == [(WARNING, "")]


@pytest.mark.parametrize(
    "does",
    [
        f"if past_key_values is not None and {LENGTH} > 0:\n    input_ids = input_ids[:, {LENGTH} :]",
        f"if past_key_values is not None:\n    input_ids = input_ids[:, {LENGTH} :]\nlast = input_ids[:, -1:]",
        f"if len(input_ids) > 0:\n{LAST}",
        f"if past_key_values:\n{LAST}",  # P59
    ],
)
def test_as_many_words_as_the_cache_lacks(tmp_path, does):
    assert prepared(tmp_path, "P70", does) == []


def test_an_empty_cache_is_named_with_both_cures(tmp_path):
    parts = {"more": PREPARES.format(does=f"    if past_key_values:\n    {LAST}", more="")}
    (fix,) = [f.fix for f in text_findings(tmp_path, **parts) if f.code == "P59"]
    assert f"{LENGTH} > 0" in fix and f"input_ids[:, {LENGTH} :]" in fix


@pytest.mark.parametrize(
    "parts",
    [{"body": "_is_stateful = True"}, {"cache": False}, {"config": {"use_cache": False}}],
)
def test_no_cache_is_handed_over(tmp_path, parts):
    assert prepared(tmp_path, "P59", f"if past_key_values:\n{LAST}", **parts) == []


GIVEN = "if past_key_values is not None:\n    "


@pytest.mark.parametrize(
    ("does", "case"),
    [
        (GIVEN + "input_ids = input_ids[:, -cache_position.shape[0] :]", "P60.shape"),
        (GIVEN + "input_ids = input_ids[:, cache_position]", "P60.index"),
        (
            "if past_key_values is not None:\n    if inputs_embeds is not None:\n        pass\n"
            "    elif input_ids.shape[1] != cache_position.shape[0]:\n        input_ids = input_ids[:, -1:]",
            "P60.shape",
        ),
        (
            "empty = past_key_values is None\nif not empty:\n    if input_ids.shape[1] != cache_position.shape[0]:\n"
            "        input_ids = input_ids[:, cache_position]",
            "P60.shape",
        ),
        ("first = cache_position[0] == 0", "P60.always"),
        ("if cache_position[0] > 0:\n    input_ids = input_ids[:, -1:]", "P60.always"),
    ],
)
def test_places_that_are_not_passed(tmp_path, does, case):
    assert prepared(tmp_path, "P60", does, more="inputs_embeds=None, ") == [(ERROR, case)]


@pytest.mark.parametrize(
    "does",
    [
        "if cache_position is None:\n    cache_position = torch.arange(input_ids.shape[1])\nfirst = cache_position[0]",
        "seen = 0 if cache_position is None else cache_position[0]",
        "if cache_position is not None and cache_position[0] == 0:\n    pass",
        "if kwargs.get('pixels') is not None:\n    first = cache_position[0]",
        "if inputs_embeds is not None:\n    input_ids = input_ids[:, -cache_position.shape[0] :]",
        "kwargs['cache_position'] = cache_position",
        "try:\n    first = cache_position[0]\nexcept TypeError:\n    first = 0",
    ],
)
def test_places_that_are_asked_for(tmp_path, does):
    assert prepared(tmp_path, "P60", does, more="inputs_embeds=None, ") == []


UPDATES = """
def _update_model_kwargs_for_generation(self, outputs, model_kwargs, is_encoder_decoder=False, num_new_tokens=1):
    model_kwargs["past_key_values"] = outputs.past_key_values
{does}
    return model_kwargs
"""
NEXT = 'model_kwargs["cache_position"] = model_kwargs["cache_position"][-1:] + num_new_tokens'


@pytest.mark.parametrize(
    ("does", "harms"),
    [
        (f"    {NEXT}", True),
        (f'    if model_kwargs.get("use_cache", True):\n        {NEXT}', True),
        ('    last = model_kwargs["cache_position"][-1]', True),
        (f'    if "cache_position" in model_kwargs:\n        {NEXT}', False),
        (f'    if model_kwargs.get("cache_position") is not None:\n        {NEXT}', False),
        (f"    if self.config.segments:\n        {NEXT}", False),
        ('    last = model_kwargs.pop("cache_position", None)', False),
    ],
)
def test_an_update_of_the_places(tmp_path, does, harms):
    found = said(tmp_path, "P60", more=UPDATES.format(does=does))
    assert found == ([(ERROR, "P60.update")] if harms else [])


HOLDS = "from transformers import DynamicCache\n\n\nclass Holds(DynamicCache):\n{body}"
READS = """    def update(self, key, value, index, more=None):
        self.key_cache.append(key)
        return key, value"""


OWN = "def own(self, past):\n    {first}return Holds()\n"


@pytest.mark.parametrize(
    ("forward", "own", "severity"),
    [
        ("cache = self.own(past_key_values)", "", ERROR),
        ("past_key_values = self.own(past_key_values) if self.config.width == 8 else None", "", ERROR),
        ("cache = self.own(past_key_values)", "if isinstance(past, Holds):\n        return past\n    ", ERROR),
        ("cache = self.own(past_key_values)", "if torch.is_grad_enabled():\n        return past\n    ", WARNING),
        ("cache = self.own(past_key_values) if self.training else None", "", WARNING),
    ],
)
def test_an_own_cache_that_forward_makes(tmp_path, forward, own, severity):
    parts = {"top": HOLDS.format(body=READS), "more": OWN.format(first=own), "forward": forward}
    assert said(tmp_path, "P51", config={"width": 8}, **parts) == [(severity, "P51.reads_lists")]


ATTENDS = """

class Attends(nn.Module):
    def forward(self, x, memory=None, past_key_value=None):
        {first}
        if {test}:
            keys = past_key_value.cross_attention_cache.key_cache[0]
        else:
            keys, _ = past_key_value.self_attention_cache.update(x, x, 0)
        return x + keys
"""


@pytest.mark.parametrize(
    ("first", "test", "expected"),
    [
        ("pass", "past_key_value is not None and past_key_value.is_updated.get(0)", "P09.generate"),
        ("is_updated = past_key_value.is_updated.get(0)", "memory is not None and is_updated", "P09.generate"),
        ("pass", "memory is not None and past_key_value.is_updated[0]", "P09.generate"),
        ("pass", "memory is not None and self.training", ""),
    ],
)
def test_what_a_decoder_keeps_of_the_encoder(tmp_path, first, test, expected):
    top = "from transformers import DynamicCache, EncoderDecoderCache\n" + ATTENDS.format(first=first, test=test)
    body = "made = EncoderDecoderCache"
    cases = [case for _, case in said(tmp_path, "P09", top=top, body=body, init="self.a = Attends()")]
    assert cases == [expected]
