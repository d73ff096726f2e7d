"""`pinfold compare`: numbers, words, JSON and pictures. No test depends on how fast this machine is."""

import copy
import json
import sys
import xml.etree.ElementTree as ET

import pytest

from pinfold.builder.attention import measure, words
from pinfold.builder.attention.compare import compare
from pinfold.builder.attention.settings import Settings
from pinfold.cli.main import main

SMALL = ["--length", "128", "--window", "8", "--heads", "2", "--width", "8", "--repeats", "2"]


@pytest.fixture(scope="module")
def result():
    """All four kinds, small."""
    kinds = ("full", "local", "strided", "random")
    return compare(Settings(kinds, length=256, window=8, heads=2, width=8, layers=3, repeats=2, lengths=(64, 128)))


def with_ratios(result, **ratios):
    """The result with other ratios at the longest length, and 0.5 elsewhere."""
    changed = copy.deepcopy(result)
    for kind, facts in changed["kinds"].items():
        for at in facts["measured"]:
            ratio = ratios.get(kind, 0.5) if at["length"] == 256 else 0.5
            at["ratio"] = {"median": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio}
        facts["say"] = words.sentence(facts, 256)
    return changed


def test_the_result_is_json_without_nan(result):
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert list(result["kinds"]) == ["full", "local", "strided", "random"]
    for kind, facts in result["kinds"].items():
        assert facts["kind"] == facts["map"]["kind"] == kind
        assert facts["density"] == facts["seen"] / 256**2 == facts["reach"][0]
        assert len(facts["reach"]) == 3 and [at["length"] for at in facts["measured"]] == [64, 128, 256]
        assert facts["difference"]["outputs"] < 1e-5 and facts["difference"]["gradients"] < 1e-5
        for at in facts["measured"]:
            for spread in (at["milliseconds"], at["ratio"]):
                assert 0 < spread["low"] <= spread["median"] <= spread["high"]
            assert at["bytes"] > 0
    assert all(at["ratio"] == {"median": 1, "low": 1, "high": 1} for at in result["kinds"]["full"]["measured"])
    assert result["machine"]["torch"] and result["machine"]["threads"] >= 1


def test_kinds_take_turns_and_each_is_first_as_often():
    calls = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    measure.SHORTEST, before = 0.0, measure.SHORTEST
    try:
        seconds = measure.turns(runs, repeats=3)
    finally:
        measure.SHORTEST = before
    assert calls[-9:] == list("abcbcacab")
    assert [len(times) for times in seconds] == [3, 3, 3]


def test_peak_memory_is_what_torch_allocates():
    import torch

    held = torch.zeros(1000)
    # the number is a tensor of some bytes, too
    assert 8000 <= measure.peak(lambda: [held + 1, held + 1]) < 8100
    assert 4000 <= measure.peak(lambda: [(held + 1).sum(), (held + 1).sum()]) < 4100


def test_full_attention_is_measured_although_it_is_not_named():
    result = compare(Settings(("local", "strided"), length=64, window=4, heads=2, width=8, repeats=2, lengths=(64,)))
    assert list(result["kinds"]) == ["local", "strided"]
    assert [at["ratio"]["median"] for at in result["yardstick"]] == [1]


def test_the_words_say_that_a_sparse_kind_is_slower(result):
    changed = with_ratios(result, local=1.5, strided=0.2)
    say = {kind: facts["say"] for kind, facts in changed["kinds"].items()}
    assert "1.50 (1.35 to 1.65) of full attention's time at 256 tokens, which is slower" in say["local"]
    assert "0.20 (0.18 to 0.22) of full attention's time at 256 tokens;" in say["strided"]
    assert words.warnings(changed).endswith("Slower than full attention on this machine: local at 256 tokens.")
    text = "\n".join(words.lines(changed))
    assert text.count("  slower\n") == 1
    assert max(len(line) for line in text.splitlines()) <= 100


def test_where_the_spread_reaches_one_nothing_is_called_slower(result):
    changed = with_ratios(result, local=1.05, random=0.95)
    assert words.warnings(changed) == ""
    for kind in ("local", "random"):
        assert "as fast within the spread" in changed["kinds"][kind]["say"]


def test_slower_elsewhere_is_said_too(result):
    facts = copy.deepcopy(result["kinds"]["random"])
    for at, ratio in zip(facts["measured"], (3.0, 2.0, 0.5), strict=True):
        at["ratio"] = {"median": ratio, "low": ratio, "high": ratio}
    say = words.sentence(facts, 256)
    assert say.endswith("Random is slower than full attention at 64 and 128 tokens, though it sees less.")


@pytest.mark.parametrize(
    ("layers", "tried", "say"),
    [
        (1, None, "every token sees every token after 1 layer"),
        (16, None, "every token sees every token after 16 layers"),
        (None, None, "some tokens never see each other, however many layers"),
        (None, 64, "not every token sees every token after 64 layers"),
    ],
)
def test_the_receptive_field_in_words(layers, tried, say):
    assert words.depth({"layers_to_all": layers, "layers_tried": tried}) == say


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100 %"), (0.99999, "over 99.9 %"), (0.5, "50 %"), (0.0312, "3.1 %"), (0.00021, "0.021 %"), (0, "0 %")],
)
def test_shares_are_never_rounded_to_all_or_nothing(share, text):
    assert words.percent(share) == text


def test_the_command_end_to_end(pinfold):
    done = pinfold("compare", "full", "local", *SMALL)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "local: sees 12.8 % of the pairs, " in done.stdout
    assert " of full attention's time at 128 tokens" in " ".join(done.stdout.split())
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_json_is_all_that_is_printed(pinfold):
    done = pinfold("compare", "random", "strided", *SMALL, "--globals", "1", "--pads", "5", "--no-measure", "--json")
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    assert answer["kinds"]["random"]["measured"] == [] and answer["settings"]["pads"] == 5
    assert answer["kinds"]["strided"]["layers_to_all"] == 2  # by way of the global token


WRONG = {
    "an unknown kind": (
        ["full", "diagonal"],
        "'diagonal' is not a kind of attention; choose from full, local, strided, random",
    ),
    "window 0": (["full", "local", "--window", "0"], "--window: '0' must be a whole number from 1 to 16384"),
    "one kind": (["local"], "local: give 2 to 4 kinds, out of full, local, strided, random"),
    "no kind": ([], "no kind is named: give 2 to 4 kinds"),
    "the same kind twice": (["full", "local", "full"], "full is named 2 times; name each kind once"),
    "five kinds": (["full", "local", "strided", "random", "local"], "local is named 2 times"),
    "length 0": (["full", "local", "--length", "0"], "--length: '0' must be a whole number from 1 to 16384"),
    "too long": (["full", "local", "--length", "16385"], "--length: '16385' must be a whole number from 1 to 16384"),
    "a length that is a word": (
        ["full", "local", "--lengths", "64,x"],
        "--lengths: 'x' must be a whole number from 1",
    ),
    "one turn": (["full", "local", "--repeats", "1"], "--repeats: '1' must be a whole number from 2 to 1000"),
    "only padding": (
        ["full", "local", "--length", "64", "--pads", "64"],
        "pads 64 leaves no token of a row of 64; give at most 63",
    ),
    "another ending": (
        ["full", "local", "--picture", "a.jpg"],
        "--picture a.jpg: only PNG and SVG are drawn; name a file that",
    ),
    "no directory": (
        ["full", "local", "--picture", "none/a.png"],
        "--picture none/a.png: the directory none does not exist",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line_and_nothing_is_measured(name, capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "costs", lambda *arguments: pytest.fail("measured"))
    arguments, say = WRONG[name]
    try:
        code = main(["compare", *arguments])
    except SystemExit as ended:
        code = ended.code
    out, error = capsys.readouterr()
    assert code == 2 and not out and say in error and error.count("\n") == 1, error


def test_without_matplotlib_the_pip_line_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code = main(["compare", "full", "local", "--picture", str(tmp_path / "a.png")])
    assert code == 2
    assert capsys.readouterr().err == (
        "pinfold compare: compare --picture needs the package matplotlib; run: pip install 'pinfold[viz]'\n"
    )


def test_the_picture_opens_and_its_words_can_be_found(result, tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    from pinfold.builder.attention.picture import draw

    changed = with_ratios(result, strided=2.0)
    draw(changed, tmp_path / "a.svg")
    text = " ".join(" ".join(ET.parse(tmp_path / "a.svg").getroot().itertext()).split())
    assert (
        "Seeing less is not being faster. Slower than full attention on this machine: strided at 256 tokens." in text
    )
    machine = result["machine"]
    assert f"torch {machine['torch']}, transformers {machine['transformers']}" in text and "float32" in text
    for word in (
        "window",
        "stride",
        "random",
        "full, or itself",
        "Receptive field",
        "Measured time",
        "slower than full",
    ):
        assert word in text, word
    draw(changed, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    draw(changed, tmp_path / "a.PNG")
    with Image.open(tmp_path / "a.PNG") as image:
        image.load()
        assert image.format == "PNG" and image.width > 1000 and image.getpixel((2, 2)) is not None
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_words_of_a_picture_do_not_lie_on_each_other(result, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from pinfold.builder.attention.picture import draw

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *arguments, **more: figures.append(figure))
    draw(with_ratios(result, local=2.0), tmp_path / "a.svg")
    (figure,) = figures
    figure.canvas.draw()
    texts = set(figure.findobj(Text)) - set(labels_out_of_view(figure))
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if shown(text)]
    assert len(boxes) > 50
    overlapping = [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if cover(one, other)]
    assert overlapping == []
    ink, page = figure.get_tightbbox(), figure.bbox_inches
    assert page.x0 <= ink.x0 and page.y0 <= ink.y0 and ink.x1 <= page.x1 and ink.y1 <= page.y1


def labels_out_of_view(figure):
    """Labels of ticks beyond an axis's ends: they have a place, and are not drawn."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def shown(text):
    return bool(text.get_text()) and text.get_visible() and (text.axes is None or text.axes.get_visible())


def cover(one, other):
    """Whether two boxes share more than their edges."""
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1


def test_progress_is_said_and_can_end_the_comparison():
    said = []

    class Stop(Exception):
        pass

    def progress(done, steps, say):
        said.append((done, steps, say))
        if len(said) == 3:
            raise Stop

    with pytest.raises(Stop):
        compare(Settings(("full", "local"), length=64, heads=2, width=8, repeats=2), progress)
    assert [done for done, _, _ in said] == [0, 1, 2] and said[0][1:] == (8, "full: which token sees which")
