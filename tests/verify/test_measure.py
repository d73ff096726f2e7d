"""Folders of other people, measured in several releases: a row for each release, whatever happens in it."""

import json
from importlib import metadata

import pytest
import torch
from helpers import tiny
from safetensors.torch import load_file, save_file

from pinfold.cli import compat
from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.verify import judge, matrix, pickled

OLD, NEW = "4.48.3", metadata.version("transformers")
NEWER = 'int(__import__("transformers").__version__.split(".")[0]) > 4'


@pytest.fixture
def old(overlay):
    """The older release is at hand."""
    return overlay(OLD)


def write_stranger(tmp_path, *changes, configuration=()):
    """A folder with code and weights as other people have them: without a digest.

    Args:
        changes, configuration: (old, new) in its files; the weights are those of before.
    """
    folder = tiny.write_folder(tmp_path / "source")
    directory = tiny.save_checkpoint(folder, tmp_path / "their_model")
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "modeling_tiny.TinyModel"
    (directory / "config.json").write_text(json.dumps(config))
    for name, pairs in (("modeling_tiny.py", changes), ("configuration_tiny.py", configuration)):
        source = (directory / name).read_text()
        for before, after in pairs:
            assert before in source, before
            source = source.replace(before, after)
        (directory / name).write_text(source)
    return directory


def measured(directory, tmp_path, versions=(OLD, NEW)):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    with compat.open_target(str(directory), None, work) as target:
        return matrix.measure(target, list(versions), work)


FORWARD = "    def forward(self, input_ids, attention_mask=None):\n"
HIDDEN = "self.mixer(self.embedding(input_ids))"
RETURN = f"        return BaseModelOutput(last_hidden_state={HIDDEN})\n"
LOGITS = "        return SequenceClassifierOutput(loss=loss, logits=logits)\n"


# --- releases that cannot build it ---

BREAKS = {
    "an import": (
        [("from torch import nn\n", f"from torch import nn\nif {NEWER}:\n    from transformers import Gone\n")],
        "cannot import name 'Gone'",
    ),
    "the constructor": (
        [
            (
                "        self.mixer = ",
                f"        if {NEWER}:\n            raise KeyError('no such field')\n        self.mixer = ",
            )
        ],
        "KeyError: 'no such field'",
    ),
    "forward": ([(FORWARD, f"{FORWARD}        if {NEWER}:\n            input_ids = input_ids.gone()\n")], "'gone'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BREAKS)
def test_a_release_that_cannot_build_it_is_a_row_that_fails(tmp_path, forked, old, what):
    changes, words = BREAKS[what]
    rows = measured(write_stranger(tmp_path, *changes), tmp_path)
    assert [row.version for row in rows] == [OLD, NEW]
    assert not rows[0].failure and rows[0].hashes, rows[0].failure
    assert words in rows[1].failure and rows[1].checks["D01"] not in ("ok", None) and not matrix.agree(rows)
    assert f"passes in {OLD}; fails in {NEW}: D01" in matrix.summary(rows)


@pytest.mark.parametrize("what", BREAKS)
def test_where_none_builds_there_is_a_table_all_the_same(tmp_path, forked, what, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    changes, words = BREAKS[what]
    changes = [(before, after.replace(NEWER, "True")) for before, after in changes]
    directory, report = write_stranger(tmp_path, *changes), tmp_path / "report.json"
    code = main(["check", str(directory), "--run", "--versions", "newest", "--json", str(report)])
    out = capsys.readouterr().out
    assert code == 1 and "| FAILS " in out and words in out and "measured: passes in no release" in out, out
    value = json.loads(report.read_text())
    assert value["code"] == 1 and words in value["rows"][0]["failure"] and value["rows"][0]["version"] == NEW
    assert list((tmp_path / "runs" / "compat").glob("*.md"))


def test_a_release_that_loads_it_and_cannot_build_it_fails(tmp_path, forked, monkeypatch):
    """A class that raises where its package is that of the reference."""
    once = "        self.mixer = "
    raising = (
        f"        if __name__.startswith('_folder') and {NEWER}:\n            raise KeyError('only there')\n{once}"
    )
    directory = write_stranger(tmp_path, (once, raising))
    monkeypatch.setattr(matrix, "find_overlay", lambda version: None)  # the newest, under two names
    answers = iter([None, "a reference"])
    compute = matrix.verify.reference

    def reference(*arguments, **options):
        if next(answers):
            (directory / "modeling_tiny.py").write_text((tmp_path / "source" / "modeling_tiny.py").read_text())
        return compute(*arguments, **options)

    monkeypatch.setattr(matrix.verify, "reference", reference)
    rows = measured(directory, tmp_path)
    assert "only there" in rows[1].failure and rows[1].hashes and rows[1].checks["D02"] == "ok"


def test_what_no_release_changes_is_one_line(tmp_path, forked):
    directory = write_stranger(tmp_path)
    (directory / "probe.json").write_text("[]")
    with pytest.raises(UserError, match="must be an object whose names are arguments"):
        measured(directory, tmp_path, [NEW])


def test_a_table_that_cannot_be_kept_is_shown(tmp_path, forked, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file in the way")
    code = main(["check", str(write_stranger(tmp_path)), "--run", "--versions", "newest"])
    out = capsys.readouterr().out
    assert code == 0 and "| D01 loads" in out and "table: not kept" in out and "measured: passes" in out, out


# --- the cache ---

PAIRS = f"""        out = {HIDDEN}
        half = out[:, None] * (2.0 if {NEWER} else 1.0)
"""
WITH_CACHE = FORWARD.replace("attention_mask=None", "attention_mask=None, use_cache=None")
CACHES = {
    "a field": "        return {'last_hidden_state': out, 'past_key_values': ((half, half),)}\n",
    "a tuple": "        return (out, ((half, half), (half, half)))\n",
    "transformers' own in one release": (
        "        from transformers import DynamicCache\n"
        "        cache = DynamicCache()\n"
        "        cache.update(half, half, 0)\n"
        f"        return {{'last_hidden_state': out, 'past_key_values': cache if {NEWER} else ((half, half),)}}\n"
    ),
    "none in one release": (
        f"        return {{'last_hidden_state': out, 'past_key_values': None if {NEWER} else ((half, half),)}}\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", CACHES)
def test_another_cache_beside_the_same_outputs_is_a_note(tmp_path, forked, old, how):
    head = (
        "self.tiny(input_ids, attention_mask).last_hidden_state",
        "self.tiny.mixer(self.tiny.embedding(input_ids))",
    )
    rows = measured(write_stranger(tmp_path, (FORWARD, WITH_CACHE), (RETURN, PAIRS + CACHES[how]), head), tmp_path)
    assert [row.failure for row in rows] == ["", ""] and matrix.agree(rows)
    notes = [note for note in rows[0].notes if "the cache (past_key_values) is not that of" in note]
    assert len(notes) == 1 and notes[0].startswith("AutoModel: its outputs are the same"), rows[0].notes
    assert not [note for note in rows[1].notes if "past_key_values" in note]


@pytest.mark.slow
def test_other_outputs_fail_beside_another_cache_too(tmp_path, forked, old):
    returned = CACHES["a field"].replace("'last_hidden_state': out", "'last_hidden_state': half[:, 0]")
    head = (
        "self.tiny(input_ids, attention_mask).last_hidden_state",
        "self.tiny.mixer(self.tiny.embedding(input_ids))",
    )
    rows = measured(write_stranger(tmp_path, (FORWARD, WITH_CACHE), (RETURN, PAIRS + returned), head), tmp_path)
    assert "last_hidden_state: output differs between" in rows[0].failure and not rows[1].failure


# --- tolerances ---

TABLE = f"""        table = 1 + torch.zeros(input_ids.shape[1]) + (3e-7 if {NEWER} else 0)
"""
GROWS = {
    "a plain attribute": "        self.table = table\n",
    "a buffer": '        self.register_buffer("table", table, persistent=False)\n',
    "in a table": "        self.tables = {'cos': table}\n",
}


def with_table(tmp_path, kept):
    changes = [
        ("from torch import nn\n", "import torch\nfrom torch import nn\n"),
        (RETURN, TABLE + kept + RETURN.replace(HIDDEN, f"{HIDDEN} * table[:, None]")),
    ]
    return write_stranger(tmp_path, *changes)


@pytest.mark.slow
@pytest.mark.parametrize("how", GROWS)
def test_a_small_difference_is_allowed_beside_a_buffer_that_grows(tmp_path, forked, old, how):
    rows = measured(with_table(tmp_path, GROWS[how]), tmp_path)
    assert [row.failure for row in rows] == ["", ""] and matrix.agree(rows), [row.failure for row in rows]
    assert "AutoModel" in rows[0].close and not rows[1].close
    note = next(note for note in rows[0].notes if note.startswith("AutoModel: outputs differ by"))
    assert "up to 1e-05 is allowed, because" in note and "grows while forward runs" in note
    assert "~" in "\n".join(matrix.lines(rows)) and "within the tolerance" in matrix.summary(rows)
    assert any(line.startswith(f"note  {OLD}: AutoModel: outputs differ by") for line in matrix.notes(rows))


@pytest.mark.slow
def test_a_small_difference_without_a_reason_fails(tmp_path, forked, old):
    rows = measured(with_table(tmp_path, ""), tmp_path)
    assert "output differs between" in rows[0].failure and not matrix.agree(rows)


@pytest.mark.slow
def test_a_large_difference_fails_beside_a_buffer_that_grows(tmp_path, forked, old):
    rows = measured(with_table(tmp_path, "        table = table + 100 * (table - 1)\n" + GROWS["a buffer"]), tmp_path)
    assert "output differs between" in rows[0].failure and not rows[0].close


# --- an own from_pretrained ---

OWN = """
    @classmethod
    def from_pretrained(cls, *arguments, **kwargs):
        {body}

    def __init__(self, config):
        super().__init__(config)
        self.tiny = """
BODIES = {
    "the argument dropped": (
        "kwargs.pop('output_loading_info', None); return super().from_pretrained(*arguments, **kwargs)"
    ),
    "the first of two": (
        "loaded = super().from_pretrained(*arguments, **kwargs); "
        "return loaded[0] if isinstance(loaded, tuple) else loaded"
    ),
    "asked for none": (
        "kwargs['output_loading_info'] = False; "
        "model = super().from_pretrained(*arguments, **kwargs); return model.eval()"
    ),
}
BEFORE = """
    def __init__(self, config):
        super().__init__(config)
        self.tiny = """


@pytest.mark.parametrize("how", BODIES)
def test_a_from_pretrained_that_returns_one_value_is_called_so(tmp_path, forked, how):
    (row,) = measured(write_stranger(tmp_path, (BEFORE, OWN.format(body=BODIES[how]))), tmp_path, [NEW])
    assert not row.failure and row.checks["D02"] == "ok"
    assert any("TinyForSequenceClassification.from_pretrained returns one value" in note for note in row.notes)


def test_the_cure_of_a_from_pretrained_works(tmp_path, forked):
    body = "return super().from_pretrained(*arguments, **kwargs)"
    (row,) = measured(write_stranger(tmp_path, (BEFORE, OWN.format(body=body))), tmp_path, [NEW])
    assert not row.failure and not any("returns one value" in note for note in row.notes)


def test_a_from_pretrained_that_returns_no_model_fails(tmp_path, forked):
    (row,) = measured(write_stranger(tmp_path, (BEFORE, OWN.format(body="return 'nothing'"))), tmp_path, [NEW])
    assert "from_pretrained with output_loading_info=True returned str" in row.failure


# --- pickles ---


def pickle_weights(directory, shards=1):
    """Put pickles in the place of the safetensors."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    if shards == 1:
        torch.save(tensors, directory / "pytorch_model.bin")
        return directory
    places = {name: f"pytorch_model-{number % shards}.bin" for number, name in enumerate(tensors)}
    for file in set(places.values()):
        torch.save({name: tensor for name, tensor in tensors.items() if places[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return directory


def state(directory):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("apart", [False, True])
def test_pickles_are_read_through_a_copy(tmp_path, forked, monkeypatch, capsys, shards, apart):
    monkeypatch.chdir(tmp_path)
    directory = pickle_weights(write_stranger(tmp_path), shards)
    before = state(directory)
    target = [tmp_path / "source", "--checkpoint", directory] if apart else [directory]
    code = main(["check", *map(str, target), "--run", "--versions", "newest"])
    out = capsys.readouterr().out
    assert "its weights are a pickle; it is read as tensors alone" in out and "measured: passes in" in out, out
    assert code == (0 if apart else 1)  # the audit of a folder with pickles has its own error
    assert state(directory) == before


class Payload:
    def __reduce__(self):
        return (print, ("it ran",))


UNREADABLE = {
    "code": lambda path: torch.save({"a": Payload()}, path),
    "a list": lambda path: torch.save([torch.zeros(1)], path),
    "nested": lambda path: torch.save({"state_dict": {"a": torch.zeros(1)}}, path),
    "no pickle": lambda path: path.write_bytes(b"nothing of the kind"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_pickle_that_transformers_cannot_read_fails_in_every_row(tmp_path, forked, old, monkeypatch, capsys, what):
    monkeypatch.chdir(tmp_path)
    directory = write_stranger(tmp_path)
    (directory / "model.safetensors").unlink()
    UNREADABLE[what](directory / "pytorch_model.bin")
    monkeypatch.setattr(matrix, "find_overlay", lambda version: None)
    code = main(["check", str(directory), "--run", "--versions", OLD, "newest"])
    out = capsys.readouterr().out
    assert code == 1 and f"| {OLD} " in out and f"| {NEW} " in out and "it ran" not in out.split("S06")[-1]
    assert "cannot be read with weights_only=True" in out and "passes in no release" in out, out


def test_a_table_of_shards_that_are_not_there_is_one_line(tmp_path):
    for places, words in (({"a": "../x.bin"}, r"\.\./x\.bin"), ({"a": "absent.bin"}, "absent.bin"), ({}, "no files")):
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
        with pytest.raises(UserError, match=words):
            pickled.pickles(tmp_path)


def test_safetensors_come_before_pickles(tmp_path):
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert pickled.pickles(tmp_path) == [tmp_path / "pytorch_model.bin"]
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert pickled.pickles(tmp_path) == [] and pickled.readable(tmp_path, tmp_path) == tmp_path


# --- two copies ---


def test_two_copies_without_a_digest_are_a_note_beside_other_failures(tmp_path, forked):
    """In the newest release two local copies of one name share their code."""
    hidden = ("self.tiny(input_ids, attention_mask)", "self.tiny(input_ids, attention_mask, __name__)")
    forward = FORWARD.replace("attention_mask=None", "attention_mask=None, name=''")
    other = RETURN.replace(HIDDEN, f"{HIDDEN} * (2 if name.startswith('transformers_modules') else 1)")
    directory = write_stranger(tmp_path, hidden, (FORWARD, forward), (RETURN, other))
    (row,) = measured(directory, tmp_path, [NEW])
    assert row.failure.startswith("D03") and "D07" not in row.failure and "two copies" not in row.failure
    assert row.checks["D07"].startswith("skipped: no CODE_DIGEST")
    assert any(line.startswith("note  D07 left out: no CODE_DIGEST") for line in matrix.notes([row]))


COPIES = {"check": "D07", "part": "D07", "line": "AutoModel: the same class"}
OTHERS = {
    "what a trainer does": {"check": "P18", "part": "accumulation", "line": "gradients"},
    "what a load does": {"check": "D02", "part": "D02", "line": "missing keys"},
    "what is saved": {"check": "D06", "part": "D06", "line": "save failed"},
}


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("what", OTHERS)
def test_two_copies_come_last_and_count_where_there_is_a_digest(what, digest):
    answer = {"looked": ["D02", "D07"], "skipped": {}, "notes": [], "transformers": NEW}
    answer["failures"] = [COPIES, OTHERS[what]]
    expected = judge.Expected({}, {}, {}, {}, None, None, NEW, "float32")
    judged = judge.judge({"models": {}, "second": "x", "digest": digest}, expected, answer, None, NEW)
    codes = [failure["check"] for failure in judged["failures"]]
    assert codes == [OTHERS[what]["check"], *["D07"] * digest]
    assert judged["checks"]["D07"] == (COPIES["line"] if digest else f"skipped: {judge.NO_DIGEST}")


# --- text and pictures ---

SEES = """    def forward(self, input_ids, pixel_values=None, attention_mask=None):
        if ((input_ids == 7).sum(-1) != {places}).any() or len(pixel_values) != len(input_ids):
            raise ValueError("tokens and features do not match")
"""


@pytest.mark.parametrize("places", [1, 4, 17])
def test_a_picture_gets_the_places_that_forward_takes(tmp_path, forked, places):
    """The configuration says 16; encoders merge places, or put one in front."""
    directory = write_stranger(tmp_path, (FORWARD, SEES.format(places=places)))
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"].pop("AutoModelForSequenceClassification")
    tensors = load_file(directory / "model.safetensors")
    own = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("tiny.")}
    save_file(own, directory / "model.safetensors", {"format": "pt"})
    config |= {"architectures": ["TinyModel"], "image_token_id": 7, "image_size": 16, "patch_size": 4}
    (directory / "config.json").write_text(json.dumps(config))
    (row,) = measured(directory, tmp_path, [NEW])
    assert not row.failure and row.checks["D03"] == "ok", row.failure
    assert any(note.startswith('the inputs were {"input_ids"') and "pixel_values" in note for note in row.notes)


def test_where_no_picture_fits_a_ready_probe_is_said(tmp_path, forked):
    directory = write_stranger(tmp_path, (FORWARD, SEES.format(places=-1)))
    (row,) = measured(directory, tmp_path, [NEW])
    assert "put probe.json beside card.md; correct the shapes in this one" in row.failure and row.failure[:3] == "D03"
