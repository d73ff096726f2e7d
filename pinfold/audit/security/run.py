"""Report what a folder's code and settings could do to the machine that loads it. Nothing is imported or executed.

An interpreter follows values through the folder's programs (interpreter.py). bandit or semgrep alone would not do:
they match calls as they are spelled, file by file, and so see neither ``getattr(os, "sys" + "tem")`` nor a module that
reaches its call through an argument, an attribute or a sibling file, which is how code hides; and they take a
parameter that is called eval for the builtin. tests/audit/security/test_security.py holds what bandit's rules find.

Codes stay the same from release to release:
S01 text run as a program, S02 other programs, S03 network, S04 code by computed names, S05 native code, S06 pickles,
S07 writes and deletions, S08 secrets, S09 the environment, S10 encoded text that is run, S11 changes of installed
modules, S12 code at import, S13 methods that Python calls by itself, S14 settings that choose code, S15 hidden names.
"""

import contextlib
import functools
import io
import re
import sys
import tokenize
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.security.interpreter import READINGS, Interpreter
from pinfold.audit.security.rules.pickles import hidden_pickles
from pinfold.audit.security.rules.settings import setting_findings, template_files
from pinfold.audit.security.values import printable_excerpt
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import ModelFolder, Module

CODES = tuple(f"S{number:02d}" for number in range(1, 16))
UNSEEN = (
    "An audit reads text. It cannot see what values the code meets at run time, what installed packages and compiled\n"
    "extensions do when they are called, or what the weights make a model say.\n"
    "No finding means that nothing known was found, not that the code is harmless."
)
BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069]")
COOKIE_BYTES = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
DEPTH = 1000  # Python's own recursion limit
MOST_ALIKE = 50
MOST_SENTENCE = 2000
MOST_SOURCE = 1 << 21  # characters that are split into tokens


def security_findings(
    folder: ModelFolder, modules: Iterable[Module], configs: dict[str, dict], reached: bool = True
) -> list[Finding]:
    """Findings S01 to S15, by file and line.

    Args:
        folder: gives the place of templates and further files; its code is not read from disk again.
        modules: the programs to read; only these.
        configs: file name -> its parsed JSON.
        reached: a load runs these modules; others are read once, and the templates are left out.
    """
    modules = list(modules)
    with _same_depth():
        reader = Interpreter(modules, configs.get("config.json"))
        findings = reader.findings(READINGS if reached else 1)
    for module in modules:
        findings += _source_findings(module)
    findings = _shortened(findings)
    order = {module.file: number for number, module in enumerate(modules)}
    findings.sort(key=lambda f: (order.get(f.file, len(order)), f.line, f.code))
    findings += settings_findings(configs, folder.path)
    if reached:
        findings += template_files(folder.path)
    return [_printable(finding) for finding in findings]


def _printable(finding: Finding) -> Finding:
    sentence = printable_excerpt(finding.sentence, MOST_SENTENCE)
    return replace(finding, sentence=sentence, file=printable_excerpt(finding.file, MOST_SENTENCE))


@contextlib.contextmanager
def _same_depth() -> Iterator[None]:
    """Python's own recursion limit, which torch's compiler raises: what is too deep to be read is so everywhere."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _shortened(findings: list[Finding]) -> list[Finding]:
    """At most so many of one kind in one file; the last of them says how many there are."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.file, finding.code, finding.severity), []).append(finding)
    shortened: list[Finding] = []
    for group in groups.values():
        shortened += group[:MOST_ALIKE]
        if len(group) > MOST_ALIKE:
            more = f"There are {len(group) - MOST_ALIKE} more of this kind in this file."
            shortened[-1] = replace(shortened[-1], sentence=f"{shortened[-1].sentence} {more}")
    return shortened


def accepted(findings: list[Finding], accept: dict[str, str]) -> list[Finding]:
    """The findings, where those that a maintainer accepts are warnings with the reason given.

    Args:
        accept: "S05" (everywhere) or "S05 modeling_x.py" -> why it is right here.

    Raises:
        UserError: a code that does not exist or cannot be accepted, or no reason.
    """
    reasons: dict[tuple[str, str], str] = {}
    for key, reason in accept.items():
        code, _, file = str(key).strip().partition(" ")
        if code not in CODES:
            about_loading = code[:1] in ("P", "D")
            what = "is about loading, not about trust, and cannot be" if about_loading else "is not a code that can be"
            codes = f"use one of {CODES[0]} to {CODES[-1]}"
            raise UserError(f"accept: {printable_excerpt(key)} {what} accepted; {codes}")
        if not isinstance(reason, str) or not reason.strip():
            excerpt = printable_excerpt(key)
            raise UserError(f"accept: {excerpt} has no reason; write in a sentence why this is right here")
        reasons[code, file.strip()] = " ".join(reason.split())
    return [_with_reason(finding, reasons) for finding in findings]


def _with_reason(finding: Finding, reasons: dict[tuple[str, str], str]) -> Finding:
    reason = reasons.get((finding.code, finding.file)) or reasons.get((finding.code, ""))
    return replace(finding, severity=WARNING, reason=printable_excerpt(reason, 300)) if reason else finding


def _source_findings(module: Module) -> Iterator[Finding]:
    """What is in the text and not in the syntax tree: its encoding, the direction of writing, other letters."""
    source = module.source
    for number, line in enumerate(source[:2000].split("\n")[:2], 1):
        match = COOKIE.match(line)
        if match and _encoding(match[1]) not in ("utf-8", "utf8", "ascii", *(("iso-8859-1",) * source.isascii())):
            encoding = printable_excerpt(match[1], 30)
            yield _hidden(
                module, number, f'declares the encoding "{encoding}": Python reads a different text than you see.'
            )
    yield from _read_differently(module)
    if source.isascii():
        return
    if match := BIDIRECTIONAL.search(source):
        number = source.count("\n", 0, match.start()) + 1
        words = f"U+{ord(match[0]):04X} makes text look different from what Python reads."
        yield _hidden(module, number, words)
    if len(source) > MOST_SOURCE or not any(map(_looks_like_ascii, set(source))):
        return
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not token.string.isascii():
                name = unicodedata.normalize("NFKC", token.string)  # as Python does
                if name.isascii():
                    words = f'spells the name "{printable_excerpt(name, 30)}" in other letters.'
                    yield _hidden(module, token.start[0], words)
    except (tokenize.TokenError, SyntaxError, RecursionError):
        return


def _looks_like_ascii(letter: str) -> bool:
    """Whether a letter of another alphabet is one of ASCII's to Python."""
    if letter.isascii():
        return False
    plain = unicodedata.normalize("NFKC", letter)
    return plain.isascii() and f"_{plain}".isidentifier()


def _encoding(name: str) -> str:
    """An encoding as Python's tokenizer reads its name."""
    name = name.lower().replace("_", "-")
    if name[:12] == "utf-8" or name[:12].startswith("utf-8-"):
        return "utf-8"
    latin = ("latin-1", "iso-8859-1", "iso-latin-1")
    return "iso-8859-1" if name[:12] in latin or name[:12].startswith(tuple(f"{each}-" for each in latin)) else name


def _read_differently(module: Module) -> Iterator[Finding]:
    """Lines that say another thing in the encoding that the file declares than in the one that people see."""
    if "coding" not in module.source[:2000] or not module.path.is_file():
        return
    lines = module.path.read_bytes()[:MOST_SOURCE].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    names = [_encoding(match[1].decode()) for line in lines[:2] if (match := COOKIE_BYTES.match(line))]
    for number, line in enumerate(lines, 1):
        seen = line.decode("utf-8", "replace")
        try:
            run = line.decode(names[0]) if names else seen
        except (UnicodeError, LookupError):
            continue
        if run != seen:
            yield _hidden(
                module, number, f'Python reads "{printable_excerpt(run, 80)}" here, which is not what you see.'
            )


def _hidden(module: Module, line: int, words: str) -> Finding:
    return Finding("S15", f"{module.file}:{line}: {words}", module.file, line)


def settings_findings(configs: Mapping[str, object], directory: Path, top: bool = True) -> list[Finding]:
    """What the JSON files choose. Keys at the top of a file that P03 and P05 name are left to them.

    Args:
        directory: where the files are.
        top: they are those that the rules about loading read too.
    """

    @functools.lru_cache(maxsize=1)
    def text_of(file: str) -> str:
        try:
            return (directory / file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    return [_printable(finding) for finding in setting_findings(configs, top, text_of)]


def pickle_findings(directory: Path, paths: list[str]) -> list[Finding]:
    """Files that hold pickles under other names."""
    return [_printable(finding) for finding in hidden_pickles(directory, paths)]
