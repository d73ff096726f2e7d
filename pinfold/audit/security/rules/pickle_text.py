"""Whether a file would act when it is unpickled: its operations followed without doing them.

An unpickler does each operation as it comes to it, and so acts before it finds that the rest is damaged, or that an
end is missing. What is followed here is which operations are possible with what was put on the stack before them: a
list of words or a picture begins like a pickle sooner or later, and soon holds an operation that no unpickler can do.
"""

import _compat_pickle
import codecs
import pickletools
import re
import sys
import warnings
from typing import BinaryIO

from pinfold.audit.security.tables.library import STANDARD, read_table
from pinfold.audit.security.tables.names import acts

OPERATIONS = {ord(each.code): each for each in pickletools.opcodes}
LENGTHS = {  # of an argument that says its own: how many bytes say it
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
TEXTS = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
)
TUPLES = frozenset(("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))
CALLS = frozenset(("REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX"))
REFUSED = frozenset(  # without what a reader of its own gives to the unpickler
    ("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
)
NUMBER = re.compile(rb"[+-]?(?:0[xXoObB][\da-fA-F_]*|[\d_]*)L?")  # without the blanks around it
FRACTION = re.compile(rb"[\d+\-._eE]*")  # what one with a fraction is made of
MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
KNOWN = frozenset((*STANDARD, *_compat_pickle.IMPORT_MAPPING))
MARK, TUPLE, LONG_TEXT, OTHER = "a mark", "a tuple", "a long text", "another object"
LONGEST_NAME = 300
CHUNK = 1 << 16
STEPS = 1 << 18  # operations that are followed; a longer line or text counts for several
TOO_LONG = "operations of a pickle that are too many to be followed"
BEGINS = "what can be operations of a pickle, too many to be followed"  # of which nothing shows that it is one
CROSSES = "operations of a pickle across the end of a frame, which readers of pickles follow differently"


class Impossible(ValueError):
    """An operation that no unpickler can do here."""


class NotFollowed(ValueError):
    """An argument of which the beginning alone was read, and which an unpickler may accept."""


def what_it_names(file: BinaryIO, siblings: frozenset[str] = frozenset()) -> str:
    """What a file would import or call when it is unpickled; "" where it would do neither.

    Args:
        siblings: modules of the folder, which can be imported where Python is started in it.
    """
    unpickling = _Unpickling(file, siblings)
    try:
        return unpickling.follow()
    except NotFollowed:
        return TOO_LONG
    except Impossible:
        # Readers lose their place at such a frame in their own ways, so to one of them it can be possible.
        return CROSSES if unpickling.crosses() else ""


class _Unpickling:
    """One file while it is followed."""

    def __init__(self, file: BinaryIO, siblings: frozenset[str]):
        self.file, self.siblings = file, siblings
        self.steps = STEPS
        self.frame = 0  # where the last frame ends
        self.start = 0  # of the operation at hand
        self.begin()

    def begin(self) -> None:
        """A pickle ends where the next one can begin: some readers take several out of one file."""
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.named = ""
        self.known = False  # a module of Python or of a well-known library is among what is named
        self.protocol = False  # it begins as every pickle of the last twenty years does

    def follow(self) -> str:
        """The first name that decides.

        Raises:
            Impossible: an operation is not one, or cannot be done here.
        """
        first = True
        while code := self.file.read(1):
            self.spend(1)
            if self.steps < 0:
                return TOO_LONG if self.protocol or self.named else BEGINS
            self.start = self.file.tell() - 1 if self.frame else 0
            operation = OPERATIONS.get(code[0])
            if operation is None or operation.name in REFUSED:
                raise Impossible
            if operation.name in ("PROTO", "FRAME"):
                self.opens(operation.name, first)
            elif operation.name == "STOP":
                self.top()
                if self.named:
                    return self.named
                self.begin()
            elif self.decides(operation):
                return self.named
            if self.crosses():
                return CROSSES
            first = operation.name == "STOP"
        return ""

    def opens(self, name: str, first: bool) -> None:
        """What a pickle of today begins with: the number of the protocol, and how much is to be read at once."""
        if name == "PROTO":
            version = self.exactly(1)
            if version[0] > 5:
                raise Impossible
            self.protocol |= first
            return
        end = int.from_bytes(self.exactly(8), "little") + self.file.tell()
        if end > self.size():
            return  # C's reader refuses it, and Python's reads what there is
        if self.start < self.frame < end:  # a frame in a frame, and longer than that
            raise Impossible
        self.frame = max(self.frame, end)
        self.protocol |= first

    def size(self) -> int:
        """The bytes of the file."""
        here = self.file.tell()
        end = self.file.seek(0, 2)
        self.file.seek(here)
        return end

    def crosses(self) -> bool:
        """Whether the operation at hand begins in a frame, and ends behind it."""
        return self.start < self.frame < self.file.tell()

    def spend(self, steps: int) -> None:
        """Count what was followed, so that a large file takes as long as a small one."""
        self.steps -= steps

    def decides(self, operation: pickletools.OpcodeInfo) -> bool:
        """Do an operation; whether something is imported or called by now."""
        name = operation.name
        if name in ("GLOBAL", "INST"):
            if name == "INST":
                self.pop_to_mark()
            module = self.line().decode("utf-8", "replace")
            return self.names(module, self.line().decode("utf-8", "replace"), name == "INST")
        argument = self.argument(operation)
        if name == "STACK_GLOBAL":
            attribute, owner = self.pop(), self.pop()
            if LONG_TEXT in (attribute, owner):
                self.named = f"a name of more than {LONGEST_NAME} characters"
                return True
            if not isinstance(owner, bytes) or not isinstance(attribute, bytes):
                raise Impossible
            return self.names(owner.decode("utf-8", "replace"), attribute.decode("utf-8", "replace"), False)
        if name in CALLS:
            return self.calls(name)
        self.move(operation, argument)
        return False

    def names(self, module: str, attribute: str, at_once: bool) -> bool:
        """A name is looked up, and called at once or perhaps later."""
        if not MODULE.fullmatch(module) or not MODULE.fullmatch(attribute):
            raise Impossible
        self.named = self.named or f"{module}.{attribute}"[:LONGEST_NAME]
        self.stack.append(OTHER)
        top = module.split(".")[0]
        known = top in KNOWN or top in read_table()["made_from"]
        self.known |= known
        return self.protocol or top in self.siblings or acts(f"{module}.{attribute}") or (at_once and known)

    def calls(self, name: str) -> bool:
        """Something that was looked up is called: nothing else can be."""
        if not self.named:
            if name != "BUILD":
                raise Impossible
            self.pop()  # of a plain object nothing is built, and with None that is right
            self.top()
            return False
        if name == "OBJ":
            self.pop_to_mark()
        else:
            keywords = self.pop() if name == "NEWOBJ_EX" else None
            arguments = self.pop()
            self.pop()
            if name != "BUILD" and (arguments != TUPLE or isinstance(keywords, bytes)):
                raise Impossible
        self.stack.append(OTHER)
        return self.known or name not in ("OBJ", "BUILD")  # of words that look like names, more is asked

    def move(self, operation: pickletools.OpcodeInfo, argument: bytes) -> None:
        """What any other operation takes from the stack and puts there."""
        name = operation.name
        if name == "POP":
            if not self.stack:
                raise Impossible
            self.stack.pop()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(self.memo) if name == "MEMOIZE" else _index(name, argument)
            self.memo[place] = self.top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            place = _index(name, argument)
            if place not in self.memo:
                raise Impossible
            self.stack.append(self.memo[place])
        elif name == "DUP":
            self.stack.append(self.top())
        else:
            before = operation.stack_before
            if pickletools.markobject in before:
                self.pop_to_mark()
                before = before[: before.index(pickletools.markobject)]
            for _ in before:
                self.pop()
            if operation.stack_after:
                self.stack.append(_pushed(name, argument))

    def top(self) -> object:
        """What the last operation gave."""
        if not self.stack or self.stack[-1] == MARK:
            raise Impossible
        return self.stack[-1]

    def pop(self) -> object:
        value = self.top()
        self.stack.pop()
        return value

    def pop_to_mark(self) -> None:
        while self.stack and self.stack[-1] != MARK:
            self.stack.pop()
        if not self.stack:
            raise Impossible
        self.stack.pop()

    # Arguments

    def argument(self, operation: pickletools.OpcodeInfo) -> bytes:
        """The argument as far as it matters; one that cannot be read as what it must be is impossible."""
        form = operation.arg
        if form is None:
            return b""
        if form.n == pickletools.UP_TO_NEWLINE:
            return _checked(operation.name, self.line())
        if form.n >= 0:
            return self.exactly(form.n)
        size = int.from_bytes(self.exactly(LENGTHS[form.n]), "little")
        if size <= LONGEST_NAME:
            return self.exactly(size)
        try:
            self.file.seek(size - 1, 1)
        except (OSError, OverflowError):
            raise Impossible from None
        return b" " * LONGEST_NAME + self.exactly(1)  # its last byte has to be there

    def exactly(self, size: int) -> bytes:
        content = self.file.read(size)
        if len(content) < size:
            raise Impossible
        return content

    def line(self) -> bytes:
        """A line without its end; of a long one the beginning."""
        start = content = self.file.readline(CHUNK)
        while len(content) == CHUNK and not content.endswith(b"\n") and self.steps > 0:
            self.spend(64)
            content = self.file.readline(CHUNK)
        if not content.endswith(b"\n") and self.steps > 0:
            raise Impossible
        return start.removesuffix(b"\n")


def _checked(name: str, line: bytes) -> bytes:
    """The argument of an operation that is written as text: a number or a text in quotes, mostly."""
    if len(line) == CHUNK:
        return _begun(name, line)
    try:
        if name == "UNICODE":
            return line.decode("raw-unicode-escape").encode("utf-8", "replace")
        number = line.partition(b"\0")[0]  # as C reads it
        if name == "FLOAT":
            float(number)
            return line
        text = line.strip()
        if name == "STRING" and len(text) > 1 and text[:1] == text[-1:] and text[:1] in (b"'", b'"'):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd escapes are read all the same
                return codecs.escape_decode(text[1:-1])[0]  # type: ignore[attr-defined]
    except ValueError:
        raise Impossible from None
    if name == "STRING" or not NUMBER.fullmatch(number.strip()):
        raise Impossible
    return number


def _begun(name: str, line: bytes) -> bytes:
    """The same of a line that is longer than what is read of it: it may be right from there on."""
    if name == "UNICODE" or (name == "STRING" and line.lstrip()[:1] in (b"'", b'"', b"")):
        return line
    form = FRACTION if name == "FLOAT" else NUMBER
    if name == "STRING" or not form.fullmatch(line.partition(b"\0")[0].strip()):
        raise Impossible
    raise NotFollowed


def _pushed(name: str, argument: bytes) -> object:
    if name == "MARK":
        return MARK
    if name in TUPLES:
        return TUPLE
    if name not in TEXTS:
        return OTHER
    return argument if len(argument) <= LONGEST_NAME else LONG_TEXT


def _index(name: str, argument: bytes) -> int:
    """The place in the memo, written out as Python's int() reads a number, or as bytes."""
    if name not in ("PUT", "GET"):
        return int.from_bytes(argument, "little")
    try:
        place = int(argument, 10)  # with a sign, blanks and underscores
    except ValueError:
        raise Impossible from None
    if not 0 <= place <= sys.maxsize:
        raise Impossible
    return place
