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

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.rules.pickle_text import CROSSES, STEPS, TOO_LONG, what_it_names
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
    "a number with a sign": b"Np-0\n" + COMMAND,
    "a number with a plus": b"Np+1\n" + COMMAND,
    "a number with an underscore": b"Np1_0\n" + COMMAND,
    "a number with blanks": b"Np \t7 \n0g+7\n" + COMMAND,
    "a number with many zeros": b"Np" + b"0" * 40 + b"1\n" + COMMAND,
    "a number far behind blanks": b"I" + b" " * 298 + b"0x1\n" + COMMAND,
    "a text in a long line": b"S'" + b"a" * 70_000 + b"'\n" + COMMAND,
    "an escape across what is read of a line": b"V" + b"a" * 65_534 + b"\\u006f\n" + COMMAND,
    "a frame without a protocol": b"\x95" + struct.pack("<Q", 5) + b"N0N0Ncsome.package\nRunner\n",
    "a frame that is longer than the file": b"\x95" + b"\xff" * 8 + COMMAND,
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
    "a number that no memo has": b"Np-1\n" + COMMAND,
    "a number in two words": b"Np1 0\n" + COMMAND,
    "a number of other digits": "Np\u0661\n".encode() + COMMAND,
    "a title": b"Introduction\n0cos\nsystem\n",
}


@pytest.mark.parametrize("shape", PLAIN)
def test_text_that_begins_like_a_pickle_is_none(tmp_path, shape):
    assert findings(tmp_path, PLAIN[shape]) == []


def test_no_file_of_data_is_taken_for_a_pickle():
    count = 0
    for place in (Path(sklearn.__file__).parent / "datasets", Path(__file__).parents[2], Path(pickle.__file__).parent):
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
    assert [finding.severity for finding in results] == ([] if content[:1] in b"V]" else [WARNING])


@pytest.mark.parametrize("content", [b"\x88" * 300_000, b"N" * 300_000 + b"\n", b"N0" * STEPS + b"GATTACA"])
@pytest.mark.parametrize(("head", "severity"), [(b"", WARNING), (b"\x80\x04", ERROR), (b"csome\nname\n", ERROR)])
def test_what_is_too_long_is_an_error_after_the_beginning_of_a_pickle(tmp_path, content, head, severity):
    (finding,) = findings(tmp_path, head + content)
    assert finding.severity == severity and "too many to be followed" in finding.sentence


FRAME = b"\x95" + struct.pack("<Q", 5)


@pytest.mark.parametrize(
    "content",
    [
        FRAME + b"V\\u000\n" + COMMAND + b".",
        b"\x80\x04" + FRAME + b"N0I12\n0" + COMMAND + b".",
        FRAME + b"N0S'a'\n0" + COMMAND + b".",
        FRAME + b"N0X\x01\x00\x00\x00a0" + COMMAND + b".",
        FRAME + b"NNN" + FRAME + COMMAND + b".",
        b"N." + FRAME + b"N0N\x8a\x01x0" + COMMAND + b".",
    ],
)
def test_an_operation_across_the_end_of_a_frame_is_reported(tmp_path, content):
    assert what_it_names(io.BytesIO(content)) == CROSSES
    (finding,) = findings(tmp_path, content)
    assert finding.severity == ERROR and "across the end of a frame" in finding.sentence


@pytest.mark.parametrize("protocol", [4, 5])
def test_the_frames_of_a_real_pickle_end_between_its_operations(protocol):
    plain = [list(range(50_000)), "a" * 200_000, {str(n): b"b" * n for n in range(300)}]
    assert what_it_names(io.BytesIO(pickle.dumps(plain, protocol))) == ""
    assert what_it_names(io.BytesIO(pickle.dumps([plain, Act()], protocol))) in ("posix.system", "nt.system", TOO_LONG)


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
    before += [b"Np-0\n0", b"Np+1_0\n0g 10\n0", FRAME + b"N0N00", FRAME + b"N0V\\u00ab\n0"]
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
