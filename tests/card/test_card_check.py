"""A card that a Hub would refuse, or a reader find broken, is told so before anything is pushed."""

import pytest

from pinfold.card import card
from pinfold.card import check as card_check
from pinfold.card import facts as card_facts
from pinfold.folder import human_half
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage

SHA = "a" * 40
RESULT = {"task": {"type": "t"}, "dataset": {"name": "d"}, "metrics": [{"type": "a", "value": float("nan")}]}


@pytest.fixture(scope="module")
def staged(tiny_folder, tiny_checkpoint, tmp_path_factory):
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path_factory.mktemp("staged"))


def checked(staged, text="## Uses\n\nTests.", change=lambda text: text, **metadata):
    half = human_half.HumanHalf({"license": "mit", **metadata}, text)
    whole = change(card.render(staged, half, "me/tiny", SHA, card.Facts(410, '"torch"', ["5.0.0"])))
    return card_check.problems(whole, card.generated_region(whole), staged.directory, card_facts.sums(staged))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"license": "apache2"}, "license='apache2' is not a license the Hub knows (is it apache-2.0?)"),
        ({"license": "other"}, "license: other needs license_name"),
        ({"pipeline_tag": "image-clasification"}, "is not a task the Hub knows (is it image-classification?)"),
        ({"license": "other", "license_name": "mine", "license_link": "LICENSE"}, "LICENSE is linked"),
        ({"base_model": "o/x", "base_model_relation": "cousin"}, "base_model_relation='cousin'"),
        ({"base_model": "./runs/base"}, "base_model='./runs/base' is not the name of a repository"),
        ({"base_model": ["o/x", "/home/me/x"]}, "base_model='/home/me/x'"),
        ({"datasets": "a/b/c"}, "datasets='a/b/c'"),
        ({"datasets": [3]}, "datasets=3"),
        ({"language": {"en": 1}}, "is not a list of words"),
        ({"model-index": [{"name": "x", "results": []}]}, "model-index cannot be read"),
        ({"model-index": 3}, "model-index cannot be read"),
        (
            {"model-index": [{"name": "x", "results": [RESULT]}]},
            "a metric whose value is nan",
        ),
    ],
)
def test_metadata_that_a_hub_refuses(staged, metadata, words):
    found = checked(staged, **metadata)
    assert any(words in line for line in found), found
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a](missing.md)", "missing.md is linked but not published"),
        ("![a](../secret.png)", "../secret.png is linked"),
        ('<img src="x/y.png">', "x/y.png is linked"),
        ("![a](missing.png 'title')", "missing.png is linked"),
        ("More Information Needed", "'More Information Needed' is in the text"),
        ("TODO: write this", "'TODO:' is in the text"),
        ("Hello {{ name }}", "'{{ name }}' is in the text"),
        ("<img src=x.png>", "x.png is linked"),
        ("[b]\n\n[b]: missing.md", "missing.md is linked"),
        ('<picture><source srcset="a.svg 2x"></picture>', "a.svg is linked"),
        ("![a](demo.mp4)", "(allowed: png, svg, "),
    ],
)
def test_text_that_is_not_finished(staged, text, words):
    found = checked(staged, text)
    assert any(words in line for line in found), found


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://e.org/x) [b](#use) [c](config.json) ![d](modeling_tiny.py) [e](README.md#use) <a@e.org>",
        "```\n[a](missing.md) TODO {{ x }}\n```",
        "`[a](missing.md)` and `{{ x }}`",
        "\\[a\\](missing.md)",
        "~~~\n[a](missing.md) {{ x }}\n~~~",
        "````\n```\n[a](missing.md)\n```\n````",
        "- in a list\n\n  ```\n  {{ x }} [a](missing.md)\n  ```",
        "    {{ x }}",
        "``{{ x }} ` ``",
        "<!-- TODO: later -->",
        "the TODO dataset, $\\frac{{a}}{b}$",
        "[a](discussions) [b](tree/main) [c](resolve/main/config.json) [d](/owner/repo) [e](modeling%5Ftiny.py)",
    ],
)
def test_text_that_is_right(staged, text):
    assert checked(staged, text) == []


def test_changed_bytes_and_numbers_are_noticed(staged, tmp_path):
    assert checked(staged) == []
    digest = next(iter(card_facts.sums(staged).values()))[1]
    assert any("table of files" in line for line in checked(staged, change=lambda t: t.replace(digest, "0" * 64)))
    found = checked(staged, change=lambda t: t.replace(f'revision="{SHA}"', 'revision="main"'))
    assert any("pins revision='main', which is not a commit" in line for line in found)
    assert any(
        "is not Python" in line for line in checked(staged, change=lambda t: t.replace("from transformers", "from"))
    )
    assert checked(staged, change=lambda t: "\n" + t) == ["the card does not begin with ---"]
    assert "not valid YAML" in checked(staged, change=lambda t: t.replace("license: mit", "license: [mit"))[0]


def test_lists_of_words_are_dated_and_whole():
    assert {"apache-2.0", "mit", "other", "cc-by-4.0", "llama3"} <= card_check.LICENCES
    assert {"text-classification", "fill-mask", "image-classification", "text-generation"} <= card_check.PIPELINES
    assert "November 2026" in card_check.WORDS["_comment"]
    assert set(card.TASKS.values()) | (set(card.BASE_TASKS.values()) - {None}) <= card_check.PIPELINES
