"""card.md's include: data that is published beside a model, and what is refused as such."""

import io
import re

import numpy
import pytest

from pinfold.common.errors import UserError
from pinfold.folder.human_half import read_human_half
from pinfold.staging.included import listed, stage_included


@pytest.fixture
def places(tmp_path):
    for name in ("folder", "checkpoint", "staged"):
        (tmp_path / name).mkdir()
    return tmp_path / "folder", tmp_path / "checkpoint", tmp_path / "staged"


def card(folder, *paths):
    lines = "".join(f"- {path}\n" for path in paths)
    (folder / "card.md").write_text(f"---\nlicense: mit\ninclude:\n{lines}---\nWords.\n")


def array(values, **options):
    buffer = io.BytesIO()
    numpy.save(buffer, values, **options)
    return buffer.getvalue()


def test_listed_files_are_copied_from_the_folder_or_else_the_checkpoint(places):
    folder, checkpoint, staged = places
    (folder / "data").mkdir()
    (folder / "data" / "elements.txt").write_text("C\nN\n")
    (checkpoint / "scale.npy").write_bytes(array(numpy.ones(5)))
    card(folder, "data/elements.txt", "scale.npy")
    assert stage_included(*places) == [("data/elements.txt", 4), ("scale.npy", 168)]
    assert (staged / "data" / "elements.txt").read_text() == "C\nN\n" and (staged / "scale.npy").is_file()
    assert "include" not in read_human_half(folder).metadata


def test_a_card_that_lists_nothing_publishes_nothing(places):
    folder, *_ = places
    assert stage_included(*places) == []
    (folder / "card.md").write_text("---\nlicense: mit\n---\nWords.\n")
    assert stage_included(*places) == [] and listed(folder) == []


BAD = {
    "above": ("../secret.txt", b"x", "relative path"),
    "absolute": ("/etc/hostname", b"x", "relative path"),
    "hidden": (".env", b"x", "without hidden files"),
    "in a hidden folder": ("data/.git/x", b"x", "without hidden files"),
    "missing": ("gone.txt", None, "is neither in"),
    "code": ("more.py", b"x = 1", "is code"),
    "a library": ("kernel.so", b"x", "is code"),
    "a pickle": ("a.pkl", b"x", "can run code when it is read"),
    "weights of torch": ("a.bin", b"x", "can run code when it is read"),
    "an archive of arrays": ("a.npz", b"x", "can run code when it is read"),
    "objects": ("a.npy", array(numpy.array([{}], dtype=object), allow_pickle=True), "holds Python objects"),
    "a token": ("a.txt", b"hf_" + b"a" * 34, "looks like a token of the Hugging Face Hub"),
    "a private key": ("a.txt", b"-----BEGIN RSA PRIVATE KEY-----", "looks like a private key"),
    "a key of a cloud": ("a.json", b'{"id": "AKIA' + b"A" * 16 + b'"}', "looks like a key of AWS"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_data_stops_the_push_with_its_name(name, places):
    path, content, words = BAD[name]
    folder, _, staged = places
    card(folder, path)
    if content is not None and not path.startswith(("..", "/")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    with pytest.raises(UserError, match=f"include: {re.escape(path)}.*{words}"):
        stage_included(*places)
    assert list(staged.iterdir()) == []


def test_links_and_names_of_the_model_are_refused(places):
    folder, checkpoint, staged = places
    (checkpoint / "real").mkdir()
    (checkpoint / "real" / "a.txt").write_text("x")
    (folder / "link").symlink_to(checkpoint / "real")
    card(folder, "link/a.txt")
    with pytest.raises(UserError, match="is reached through a link"):
        stage_included(*places)
    (staged / "config.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    card(folder, "config.json")
    with pytest.raises(UserError, match="is already published without this line"):
        stage_included(*places)


@pytest.mark.parametrize("value", ["data.txt", "{a: b}", "[1, 2]"])
def test_a_list_that_is_none_is_said(places, value):
    folder, *_ = places
    (folder / "card.md").write_text(f"---\nlicense: mit\ninclude: {value}\n---\nWords.\n")
    with pytest.raises(UserError, match="is not a list of paths"):
        listed(folder)
