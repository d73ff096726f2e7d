"""Report what a folder's code and settings could do to the machine that loads it. Nothing is imported or executed.

An interpreter follows values through the folder's programs (interpreter.py). bandit or semgrep alone would not do:
they match calls as they are spelled, file by file, and so see neither ``getattr(os, "sys" + "tem")`` nor a module that
reaches its call through an argument, an attribute or a sibling file, which is how code hides; and they take a
parameter that is called eval for the builtin. bandit's other rules are used as a second opinion (bandit.py).

Codes stay the same from release to release:
S01 text run as a program, S02 other programs, S03 network, S04 code by computed names, S05 native code, S06 pickles,
S07 writes and deletions, S08 secrets, S09 the environment, S10 encoded text that is run, S11 changes of installed
modules, S12 code at import, S13 methods that Python calls by itself, S14 settings that choose code, S15 hidden names.
"""

import contextlib
import io
import re
import sys
import tokenize
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.bandit import second_opinion
from pinfold.audit.security.interpreter import Interpreter
from pinfold.audit.security.templates import sandbox_escape
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
COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
KERNEL = re.compile(r"^[^/:]+/[^/:]+(?:@[^/:]+)?(?::[^/:]+)?$")  # what transformers takes for a repository of kernels
RUNS_CODE = ("trust_remote_code", "_attn_implementation_internal")
DEPTH = 1000  # Python's own recursion limit
MOST_ENTRIES = 200_000
MOST_ALIKE = 50
MOST_SENTENCE = 2000
MOST_SOURCE = 1 << 21  # characters that are split into tokens


def security_findings(
    folder: ModelFolder, modules: Iterable[Module], configs: dict[str, dict], own_files: bool = True
) -> list[Finding]:
    """Findings S01 to S15, by file and line.

    Args:
        folder: gives the place of templates and further files; its code is not read from disk again.
        modules: the programs to read; only these.
        configs: file name -> its parsed JSON.
        own_files: read the templates too.

    Raises:
        UserError: bandit is not installed.
    """
    modules = list(modules)
    with _same_depth():
        findings = Interpreter(modules).findings()
    for module in modules:
        findings += _source_findings(module)
    findings += _not_yet_reported(second_opinion(modules), findings)  # after ours, whose sentences say more
    findings = _shortened(findings)
    order = {module.file: number for number, module in enumerate(modules)}
    findings.sort(key=lambda f: (order.get(f.file, len(order)), f.line, f.code))
    findings += settings_findings(configs)
    if own_files:
        findings += _other_files(folder)
    return [_printable(finding) for finding in findings]


def _printable(finding: Finding) -> Finding:
    sentence = printable_excerpt(finding.sentence, MOST_SENTENCE)
    return replace(finding, sentence=sentence, file=printable_excerpt(finding.file, MOST_SENTENCE))


def _not_yet_reported(candidates: Iterable[Finding], findings: list[Finding]) -> list[Finding]:
    """Those of a line and code that has no finding yet, one each."""
    seen = {(finding.file, finding.line, finding.code) for finding in findings}
    new: dict[tuple[str, int, str], Finding] = {}
    for finding in candidates:
        key = (finding.file, finding.line, finding.code)
        if key not in seen:
            new.setdefault(key, finding)
    return list(new.values())


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
        if match and match[1].lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
            encoding = printable_excerpt(match[1], 30)
            yield _hidden(
                module, number, f'declares the encoding "{encoding}": Python reads a different text than you see.'
            )
    if source.isascii():
        return
    if match := BIDIRECTIONAL.search(source):
        number = source.count("\n", 0, match.start()) + 1
        words = f"U+{ord(match[0]):04X} makes text look different from what Python reads."
        yield _hidden(module, number, words)
    if len(source) > MOST_SOURCE:
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


def _hidden(module: Module, line: int, words: str) -> Finding:
    return Finding("S15", f"{module.file}:{line}: {words}", module.file, line)


def settings_findings(configs: Mapping[str, object], top: bool = True) -> list[Finding]:
    """Keys of the JSON files that choose code. Those at the top of a file that P03 and P05 name are left to them.

    Args:
        top: the files are those that the rules about loading read too.
    """
    return [_printable(finding) for finding in _settings_findings(configs, top)]


def _settings_findings(configs: Mapping[str, object], is_read_elsewhere: bool) -> Iterator[Finding]:
    for file, config in configs.items():
        queue: list[tuple[str, object, bool]] = [("", config, is_read_elsewhere)]
        for _ in range(MOST_ENTRIES):
            if not queue:
                break
            path, value, top = queue.pop()
            if isinstance(value, list):
                queue += [(path, item, False) for item in value if isinstance(item, (dict, list))]
            if not isinstance(value, dict):
                continue
            for key, inner in value.items():
                key_path = f"{path}.{key}" if path else str(key)
                if effect := _effect(str(key), inner, top and file != "generation_config.json"):
                    words, severity = effect
                    sentence = f"{file}: {printable_excerpt(key_path)} {words}"
                    yield Finding("S14", sentence, file, severity=severity)
                if isinstance(inner, (dict, list)):
                    queue.append((key_path, inner, False))


Effect: TypeAlias = tuple[str, str]  # what a key does, in words, and the severity


def _effect(key: str, value: object, top: bool) -> Effect | None:
    """What a key does with this value; ``top``: it is one of the file's own keys."""
    if key in RUNS_CODE and not top:
        return "decides for the user which code is run.", ERROR
    if key not in EFFECTS or (key == "auto_map" and top):
        return None
    return EFFECTS[key](value)


def _kernel(value: object) -> Effect | None:
    for name in value.values() if isinstance(value, dict) else [value]:
        if isinstance(name, str) and KERNEL.match(name):
            return f'= "{printable_excerpt(name)}" downloads a compiled kernel from there and runs it.', ERROR
    return None


def _auto_map(value: object) -> Effect | None:
    for name in value.values() if isinstance(value, dict) else []:
        if isinstance(name, str) and "--" in name:
            return f'= "{printable_excerpt(name)}" runs code of another repository.', ERROR
    return None


def _pipelines(value: object) -> Effect | None:
    if not isinstance(value, dict) or not value:
        return None
    if "--" in str([v.get("impl") for v in value.values() if isinstance(v, dict)])[:2000]:
        return "makes pipeline() run code of another repository.", ERROR
    return "makes pipeline() run classes of this folder.", WARNING


def _template(value: object) -> Effect | None:
    if isinstance(value, str) and (match := sandbox_escape(value)):
        return f'holds "{printable_excerpt(match[1])}", with which a template breaks out of its sandbox.', ERROR
    return None


def _adapter_library(value: object) -> Effect | None:
    library = str(value.get("parent_library") or "transformers") if isinstance(value, dict) else "transformers"
    if library.split(".")[0] in ("transformers", "transformers_modules"):
        return None
    return f'= "{printable_excerpt(library)}" makes peft import that package by name.', ERROR


def _adapter_base(value: object) -> Effect | None:
    if not isinstance(value, str) or not value:
        return None
    return f'= "{printable_excerpt(value)}" makes from_pretrained load that repository instead.', WARNING


EFFECTS: dict[str, Callable[[object], Effect | None]] = {
    "attn_implementation": _kernel,
    "_attn_implementation": _kernel,
    "_attn_implementation_internal": _kernel,
    "auto_map": _auto_map,
    "custom_pipelines": _pipelines,
    "chat_template": _template,
    "template": _template,
    "auto_mapping": _adapter_library,
    "base_model_name_or_path": _adapter_base,
}


def _other_files(folder: ModelFolder) -> Iterator[Finding]:
    """Further files that transformers reads and runs."""
    for path in sorted([*folder.path.glob("*.jinja"), *folder.path.glob("additional_chat_templates/*.jinja")]):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        if match := sandbox_escape(text):
            line = text.count("\n", 0, match[0]) + 1
            what = f'holds "{printable_excerpt(match[1])}", with which a template breaks out of its sandbox.'
            yield Finding("S14", f"{path.name}:{line}: {what}", path.name, line)
