"""The one reader of YAML front matter."""

import pytest
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from pinfold.common.front_matter import FrontMatterError, read_front_matter, split_front_matter

LICENSED = "---\nlicense: mit\n---\n"


@pytest.mark.parametrize("before", ["", "\n", "\n\n  \n", "\r\n", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_the_hub_takes_for_front_matter_is_read(before, end):
    text = before + f"---{end}license: mit{end}tags: [a]{end}---\n# Title"
    assert REGEX_YAML_BLOCK.search(text)
    assert read_front_matter(text) == {"license": "mit", "tags": ["a"]}
    assert split_front_matter(text)[1] == "# Title"


@pytest.mark.parametrize("text", [f"\ufeff{LICENSED}", "--- \nlicense: mit\n---  \n", "---\nlicense: mit\n---"])
def test_a_byte_order_mark_and_spaces_change_nothing(text):
    assert read_front_matter(text) == {"license": "mit"} and split_front_matter(text)[1] == ""


@pytest.mark.parametrize(
    "text", ["", "# Title", "Text\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", "----\na: b\n----\n"]
)
def test_a_text_without_front_matter_is_its_own_body(text):
    assert read_front_matter(text) == {} and split_front_matter(text) == ("", text)


def test_an_empty_block_is_no_metadata():
    assert read_front_matter("---\n---\nText") == {} and split_front_matter("---\n---\nText")[1] == "Text"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("license: [mit", "not valid YAML: "),
        ("a: &a [x]\nb: [*a, *a]", r"aliases \(\*name\) are not supported"),
        ("just words", "a str, not a mapping of names to values"),
        ("- a", "a list, not a mapping of names to values"),
        ("a: " + "x" * 2**18, "longer than 262144 characters"),
        ("a: !!timestamp x", "not valid YAML: "),
    ],
)
def test_what_cannot_be_used_is_one_line(block, words):
    with pytest.raises(FrontMatterError, match=words) as caught:
        read_front_matter(f"---\n{block}\n---\n")
    assert "\n" not in str(caught.value)


def test_an_endless_number_stays_a_text():
    assert read_front_matter(f"---\na: {'9' * 2000}\nb: 12\n---\n") == {"a": "9" * 2000, "b": 12}
