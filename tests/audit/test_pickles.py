"""A file that would act when it is unpickled is found whatever its name and its end are; other files are not."""

import io
import os
import pickle
import random
import struct
import time
import warnings
from pathlib import Path

import pytest
import sklearn

from pinfold.audit.finding import ERROR
from pinfold.audit.security.rules.pickle_text import STEPS, what_it_names
from pinfold.audit.security.rules.pickles import hidden_pickles

COMMAND = b"cos\nsystem\n(S'id'\ntR"


class Act:
    """What every pickle of an attacker is made with."""

    def __reduce__(self):
        return os.system, ("id",)


def findings(place, content, name="notes.txt", others=()):
    (place / name).write_bytes(content)
    return list(hidden_pickles(place, [*others, name]))


ACTING = {
    "a damaged end": COMMAND + b"\xff",
    "a missing end": COMMAND,
    "a long text before the end": COMMAND + b"X" + struct.pack("<I", 2_000_000) + b"a" * 2_000_000 + b"0.",
    "a number before it": b"I1\n0" + COMMAND + b".",
    "a text before it": b"\x80\x02Va\n0" + COMMAND + b".",
    "bytes before it": b"\x80\x04B\x02\x00\x00\x00ab0" + COMMAND + b".",
    "a long text before it": b"X" + struct.pack("<I", 2_000_000) + b"a" * 2_000_000 + b"0" + COMMAND + b".",
    "a long line before it": b"V" + b"a" * 2_000_000 + b"\n0" + COMMAND + b".",
    "another pickle before it": b"N." + pickle.dumps(Act()),
    "an object by INST": b"(S'id'\nios\nsystem\n",
    "an object by OBJ": b"(cos\nsystem\nS'id'\no",
    "a name on the stack": b"\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R",
    "a name with escapes": b"V\\u006fs\nS's\\x79stem'\n\x93(VX\ntR",
    "a name out of the memo": b"Vsystem\np7\n0Vos\ng7\n\x93(VX\ntR",
    "a name of Python 2": b"ccommands\ngetoutput\n(S'id'\ntR",
    "a name that only leads there": b"coperator\nattrgetter\n(S'system'\ntR\xff",
    "a package that is not known": b"csome.package\nRunner\n(S'id'\ntR\xff",
    "a module of the folder": b"chelper\nrun\n\xff",
    "a name that is very long": b"\x8c\x02osX" + struct.pack("<I", 400) + b"path." * 80 + b"\x93",
}


@pytest.mark.parametrize("shape", ACTING)
def test_a_file_that_acts_before_its_end_is_found(tmp_path, shape):
    (finding,) = findings(tmp_path, ACTING[shape], others=["helper.py"])
    assert (finding.code, finding.severity, finding.file) == ("S06", ERROR, "notes.txt")
    assert "a pickle under another name (" in finding.sentence


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_followed_and_the_name_is_said(tmp_path, protocol):
    (finding,) = findings(tmp_path, pickle.dumps([1, {"a": Act()}], protocol))
    assert f"({os.system.__module__}.system)" in finding.sentence


PLAIN = {
    "words": b"can\nyou\nread this\n",
    "words that are modules": b"cast\nline\ncode\nsystem\n",
    "words in brackets": b"(in\nthe\nfile)\n(is\nit\n",
    "numbers": b"I1\nI2\nI3\n",
    "one letter": b"N" * 5000,
    "brackets": b"()()[]{}" * 500,
    "JSON": b'{"a": [1, 2, "cos\\nsystem"]}',
    "a vocabulary": "\n".join(["c", "cat", "code", "os", "is", "inspect", "Nb", "t", "R", "."]).encode(),
    "an end at once": b".cos\nsystem\n",
    "a name of letters that no import has": b"c\x00os\nsys tem\n(S'id'\ntR.",
    "a call of nothing": b"N(tR" + COMMAND,
    "a title": b"Introduction\n0cos\nsystem\n",
}


@pytest.mark.parametrize("shape", PLAIN)
def test_text_that_begins_like_a_pickle_is_none(tmp_path, shape):
    assert findings(tmp_path, PLAIN[shape]) == []


def test_no_file_of_data_is_taken_for_a_pickle():
    count = 0
    for place in (Path(sklearn.__file__).parent / "datasets", Path(__file__).parents[1], Path(pickle.__file__).parent):
        paths = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
        paths = [path for path in paths if not path.startswith(("site-packages", "test/"))]
        count += len(paths)
        assert list(hidden_pickles(place, paths)) == [], place
    assert count > 500


def test_random_bytes_are_none():
    generator = random.Random(0)
    assert not any(what_it_names(io.BytesIO(generator.randbytes(500))) for _ in range(20_000))


@pytest.mark.parametrize("content", [b"N" * 3 * STEPS, b"K\x01" * 3 * STEPS, b"V" + b"a" * 10_000_000, b"]a" * STEPS])
def test_a_file_is_followed_in_bounded_time(tmp_path, content):
    start = time.monotonic()
    results = findings(tmp_path, content)
    assert time.monotonic() - start < 10
    assert [finding.severity for finding in results] == ([] if content[:1] in b"V]" else [ERROR])


def test_what_an_unpickler_reaches_is_found_however_the_file_is_damaged():
    class Reached(Exception):
        """A name was looked up."""

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            raise Reached if (module, name) in ((os.system.__module__, "system"), ("os", "system")) else ValueError

    def reaches(data):
        try:
            Reader(io.BytesIO(data)).load()
        except Reached:
            return True
        except Exception:  # damaged as it is, anything can come of it
            return False

    warnings.simplefilter("ignore")  # about odd escapes
    generator = random.Random(3)
    before = [b"", b"I1\n0", b"Va\n0", b"(I1\nI2\nt0", b"K\x01p5\n0g5\n0", b"\x8a\x01\x050", b"(dp0\n0", b"\x80\x03"]
    bodies = [pickle.dumps([1, {"a": Act()}], protocol) for protocol in range(6)]
    bodies += [content for content in ACTING.values() if len(content) < 100]
    count = 0
    for _ in range(3000):
        data = bytearray(b"".join(generator.choices(before, k=2)) + generator.choice(bodies))
        data[generator.randrange(len(data))] = generator.choice(b"\x00\n0123(tI.NRclVS)]}aKp\x80\x93")
        if reaches(bytes(data)):
            count += 1
            assert what_it_names(io.BytesIO(data)), bytes(data)
    assert count > 500
