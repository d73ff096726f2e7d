"""What the process with a folder's code says: changed in each place, it is refused or shown, and never a traceback."""

import contextlib
import copy
import json
import struct

import pytest
import safetensors.torch
from helpers import tiny
from helpers.forks import in_forks

from pinfold.common.errors import UserError, plain_line
from pinfold.fence import process as fence
from pinfold.fence.handed import parse_load
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import judge as judging
from pinfold.verify import verify

MAIN = "AutoModelForSequenceClassification"
BUFFER = {
    "        self.mixer = Mixer(config.width)\n": (
        '        self.register_buffer("steps", __import__("torch").arange(4), persistent=False)\n'
    ),
    "    def _init_weights(self, module):\n": (
        '        if hasattr(module, "steps"):\n            module.steps = __import__("torch").arange(4)\n'
    ),
}


class Files:
    """Handed-over files of an earlier run, as ``Handed`` gives them."""

    def __init__(self, contents):
        self.contents = contents

    @property
    def files(self):
        return dict.fromkeys(self.contents, "x")

    def load(self, name):
        return parse_load(self.contents[f"{name}.safetensors"])

    def with_facts(self, name, change):
        content = self.contents[name]
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        facts = json.loads(header["__metadata__"]["facts"])
        header["__metadata__"]["facts"] = json.dumps(change(facts))
        text = json.dumps(header).encode()
        return Files({**self.contents, name: struct.pack("<Q", len(text)) + text + content[8 + size :]})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_checkpoint):
    """A folder with a buffer that no file holds, staged; and a place to work in."""
    place = tmp_path_factory.mktemp("claims")
    source = tiny.MODELING
    for mark, more in BUFFER.items():
        source = source.replace(mark, mark + more)
    folder = tiny.write_folder(place / "f", modeling_tiny=source)
    (place / "work" / "staged").mkdir(parents=True)
    return stage(read_folder(folder), tiny_checkpoint, place / "work" / "staged"), tiny_checkpoint, place / "work"


@pytest.fixture(scope="module")
def loaded(forks, prepared):
    """What one honest load gave to the judge."""
    staged, checkpoint, work = prepared
    kept = {}

    def seen(job, expected, answer, handed, release):
        contents = {name: handed.read(name) for name in handed.files if name != "answer.json"}
        kept.update(job=job, expected=expected, answer=answer, files=Files(contents), release=release)
        return judging.judge(job, expected, answer, handed, release)

    with in_forks(forks), pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "judge", seen)
        verify.staged_load(staged, verify.reference(staged, checkpoint, work), work)
    return kept


def judged(loaded, answer=None, files=None):
    return judging.judge(
        loaded["job"],
        loaded["expected"],
        copy.deepcopy(loaded["answer"]) if answer is None else answer,
        files or loaded["files"],
        loaded["release"],
    )


def changed(loaded, **more):
    return {**copy.deepcopy(loaded["answer"]), **more}


def test_an_honest_load_passes(loaded):
    answer = judged(loaded)
    assert answer["failures"] == [] and answer["checks"]["D02"] == answer["checks"]["D05"] == "ok"


@pytest.mark.parametrize("part", ["D02", "D05", "D07", "accumulation", "bf16"])
@pytest.mark.parametrize("excuse", ["none", "one"])
def test_a_check_of_its_own_that_is_not_made_has_failed(loaded, part, excuse):
    looked = [name for name in loaded["answer"]["looked"] if name != part]
    skipped = {part: "no time"} if excuse == "one" else {}
    contents = {name: each for name, each in loaded["files"].contents.items() if name != f"half-{part}.safetensors"}
    answer = judged(loaded, changed(loaded, looked=looked, skipped=skipped), Files(contents))
    if part == "bf16" and excuse == "one":  # a CPU may have no kernel for it: the report shows the reason
        assert answer["checks"][part] == "skipped: no time" and not answer["failures"]
        return
    (failure,) = answer["failures"]
    assert failure["part"] == part and ("was not checked" in failure["line"] or "without a result" in failure["line"])


@pytest.mark.parametrize("part", ["D01", "D03", "D04", "D06", "loss"])
def test_what_is_compared_outside_cannot_be_left_out(loaded, part):
    answer = judged(loaded, changed(loaded, looked=[], skipped={part: "no time"}))
    assert answer["checks"][part] == "ok" and answer["failures"]
    files = {name: each for name, each in loaded["files"].contents.items() if not name.startswith("again-")}
    (failure,) = judged(loaded, changed(loaded, skipped={"D06": "no time"}), Files(files))["failures"]
    assert failure["check"] == "D06" and "without a result" in failure["line"]


@pytest.mark.parametrize("release", ["4.48.3", "99", None, 5])
def test_another_release_than_the_one_it_ran_in_is_refused(loaded, release):
    with pytest.raises(UserError, match=r"it claims transformers .* and ran in"):
        judged(loaded, changed(loaded, transformers=release))


def test_buffers_of_its_own_constructor_excuse_nothing_in_the_same_release(loaded):
    name = f"buffers-{MAIN}.safetensors"
    content = loaded["files"].contents[name]
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    buffer = next(key for key in header if key.startswith("buffer/"))
    start, end = (8 + size + offset for offset in header[buffer]["data_offsets"])
    other = content[:start] + b"\x01" * (end - start) + content[end:]
    header[buffer.replace("buffer/", "fresh/")] = header[buffer]
    text = json.dumps(header).encode()
    forged = struct.pack("<Q", len(text)) + text + other[8 + size :]
    failures = judged(loaded, files=Files({**loaded["files"].contents, name: forged}))["failures"]
    assert failures and {failure["check"] for failure in failures} == {"D04"}


def edited(content, edit):
    """A load's file with other tensors: edit(name -> tensor) changes them in place."""
    tensors = safetensors.torch.load(content)
    edit(tensors)
    return safetensors.torch.save(tensors, {"facts": json.dumps(parse_load(content).facts)})


def emptied(tensors):
    for name in tensors:
        tensors[name] = tensors[name][:0].clone()


HALVES = {
    "no output at all": ("half-bf16", dict.clear, "is not there in its shape"),
    "an output less": ("half-fp16", lambda each: each.pop(next(iter(each))), "is not there in its shape"),
    "outputs of no size": ("half-bf16", emptied, "is not there in its shape"),
    "buffers without a constructor's": (
        "buffers-bf16",
        lambda each: [each.pop(name) for name in list(each) if name.startswith("fresh/")],
        "steps was handed over without what a fresh constructor makes of it",
    ),
}


@pytest.mark.parametrize("how", HALVES)
def test_what_a_load_in_half_precision_leaves_out_has_failed(loaded, how):
    name, edit, words = HALVES[how]
    contents = dict(loaded["files"].contents)
    contents[f"{name}.safetensors"] = edited(contents[f"{name}.safetensors"], edit)
    failures = judged(loaded, files=Files(contents))["failures"]
    assert failures and all(words in failure["line"] for failure in failures)
    assert {failure["part"] for failure in failures} == {name.split("-")[1]}


def test_a_load_in_half_precision_that_hands_over_no_buffers_has_failed(loaded):
    contents = {name: each for name, each in loaded["files"].contents.items() if name != "buffers-bf16.safetensors"}
    (failure,) = judged(loaded, files=Files(contents))["failures"]
    assert (failure["check"], failure["part"]) == ("D04", "bf16") and "no buffers" in failure["line"]


def test_its_words_are_plain_lines(loaded):
    bad = "\x1b[31m\u202e\nok\r" + "x" * 9000
    failures = [{"check": "D03", "line": bad}, {"check": "D05", "line": bad, "part": bad}]
    answer = changed(loaded, failures=failures, notes=[bad], fails_in={"bfloat16": bad}, formula={MAIN: [bad]})
    said = judged(loaded, answer | {"skipped": {"D08": bad, "bf16": bad}})
    lines = [failure["line"] for failure in said["failures"]]
    for text in [*lines, *said["notes"], *said["fails_in"].values(), *said["formula"][MAIN], said["checks"]["D08"]]:
        assert not set("\x1b\u202e\n\r") & set(text) and len(text) <= 2020


WRONG = [None, 5, -1, 1e400, float("nan"), "x", [], [5], [[]], {}, {"a": 5}, {MAIN: 5}, {MAIN: [5]}, [{}], True]


def places(value, depth=3):
    """The keys that lead to each value inside of another."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in list(pairs)[:6]:
        yield (key,)
        if depth:
            yield from ((key, *more) for more in places(inner, depth - 1))


def put(value, place, new):
    """The value with another one at a place."""
    value = copy.deepcopy(value)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return value


def survives(call):
    try:
        call()
    except UserError as error:
        assert "\n" not in str(error)


def test_values_of_other_types_are_never_a_traceback(loaded):
    for place in places(loaded["answer"]):
        for wrong in WRONG:
            survives(lambda: judged(loaded, put(loaded["answer"], place, wrong)))  # noqa: B023


def test_facts_of_other_types_are_never_a_traceback(loaded):
    names = [name for name in loaded["files"].contents if MAIN in name]
    assert {name.split("-")[0] for name in names} == {"buffers", "load", "again", "class"}
    for name in names:
        facts = parse_load(loaded["files"].contents[name]).facts
        for place in places({"": facts}):
            for wrong in WRONG:
                change = lambda facts: put({"": facts}, place, wrong)[""]  # noqa: B023, E731
                survives(lambda: judged(loaded, files=loaded["files"].with_facts(name, change)))  # noqa: B023


def file_with(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def tensor(shape, offsets, dtype="F32"):
    return json.dumps({"output/x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


LIES = {
    "no header": b"",
    "a header beyond the end": struct.pack("<Q", 1 << 62) + b"{}",
    "not JSON": file_with(b"{{"),
    "a list": file_with(b"[]"),
    "nested too deep": file_with(b'{"a":' * 100_000),
    "facts nested too deep": file_with(json.dumps({"__metadata__": {"facts": "[" * 100_000}}).encode()),
    "facts that are no JSON": file_with(json.dumps({"__metadata__": {"facts": "{"}}).encode()),
    "metadata of numbers": file_with(b'{"__metadata__": {"facts": 5}}'),
    "offsets beyond the end": file_with(tensor([2], [0, 8])),
    "negative offsets": file_with(tensor([1], [-4, 0]), b"1234"),
    "offsets the other way round": file_with(tensor([1], [4, 0]), b"1234"),
    "a gigantic shape": file_with(tensor([1 << 40, 1 << 40], [0, 4]), b"1234"),
    "a negative shape": file_with(tensor([-1], [0, 4]), b"1234"),
    "an unknown type of no size": file_with(tensor([1 << 30], [0, 4], "X9"), b"1234"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_a_value_error(lie):
    with pytest.raises(ValueError, match=r"\w"):
        parse_load(LIES[lie])


def test_a_header_of_many_megabytes_is_not_read():
    with pytest.raises(ValueError, match="at most"):
        parse_load(file_with(b" " * (33 << 20)))


# --- the reference ---


@contextlib.contextmanager
def forged(change):
    real = fence.sandboxed

    @contextlib.contextmanager
    def sandboxed(*arguments, **options):
        with real(*arguments, **options) as outcome:
            yield fence.Outcome(change(copy.deepcopy(outcome.answer)), outcome.handed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fence, "sandboxed", sandboxed)
        yield


def left_out(answer):
    del answer["probes"][MAIN]
    answer["skipped_heads"] = [{"auto": MAIN, "name": "X", "why": "no time"}]


REFERENCES = {
    "no class at all": (lambda a: a.update(probes={}), "AutoModel, .*Classification is not in it"),
    "a class less": (lambda a: a["probes"].pop("AutoModel"), "AutoModel is not in it"),
    "the main class left out": (left_out, "AutoModelForSequenceClassification is not in it"),
    "no probe": (lambda a: a["probes"].update(AutoModel=[]), "AutoModel has run no probe"),
    "a probe without outputs": (lambda a: a["probes"].update(AutoModel=["x"]), "has no output for probe x"),
    "probes of another type": (lambda a: a["probes"].update(AutoModel=5), "AutoModel has run no probe"),
    "another release": (lambda a: a.update(transformers="4.48.3"), "it claims transformers 4.48.3"),
    "endless parameters": (lambda a: a.update(parameters=float("inf")), "is not a count"),
    "fewer than none": (lambda a: a.update(parameters=-5), "is not a count"),
    "a probe whose name is a number": (lambda a: a["probes"]["AutoModel"].append(5), "AutoModel has run no probe"),
    "attention of nothing": (lambda a: a.update(attention={}), "KeyError"),
    "attention of another form": (lambda a: a["attention"].update(AutoModel=5), "not the name of one"),
    "attention from a repository": (
        lambda a: a["attention"].update(AutoModel={"": "other/kernels"}),
        "not the name of one",
    ),
    "attention of parts of another form": (
        lambda a: a["attention"].update(AutoModel={"": None, "part": {"": ["x"]}}),
        "not the name of one",
    ),
    "a probe of its own": (lambda a: a["probe"].update(x={"shape": [1]}), "the probe of x was changed"),
}


@pytest.mark.parametrize("how", REFERENCES)
def test_a_reference_that_leaves_something_out_is_refused(forked, prepared, how):
    change, words = REFERENCES[how]
    staged, checkpoint, work = prepared
    with forged(lambda answer: (change(answer), answer)[1]), pytest.raises(UserError, match=words) as caught:
        verify.reference(staged, checkpoint, work)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_reference_of_other_types_is_never_a_traceback(forked, prepared):
    staged, checkpoint, work = prepared
    answers = []
    with forged(lambda answer: (answers.append(answer), answer)[1]):
        verify.reference(staged, checkpoint, work)
    (answer,) = answers
    keys = [key for key in answer if key not in ("failures", "measured")]
    for number, key in enumerate(keys):
        for wrong in WRONG[number % 3 :: 3]:
            with forged(lambda answer: answer | {key: wrong}):  # noqa: B023
                survives(lambda: verify.reference(staged, checkpoint, work))


def test_buffers_that_are_said_to_be_drawn_are_shown(forked, prepared):
    staged, checkpoint, work = prepared
    with forged(lambda answer: answer | {"drawn": {auto: ["steps\x1b"] for auto in answer["probes"]}, "notes": []}):
        notes = verify.reference(staged, checkpoint, work).notes
    assert "AutoModel: buffer steps\\x1b is random, so it was not compared" in notes


def test_long_texts_are_cut():
    assert plain_line("a\n b" + "c" * 50, 10) == "a bcccccc…"
