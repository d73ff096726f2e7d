"""Read a folder for what its code and its settings could do to a machine. Nothing is imported or executed.

Codes stay the same from release to release:
S01 text run as a program, S02 other programs, S03 network, S04 code by made-up names, S05 native code, S06 pickles,
S07 writes and deletions, S08 secrets, S09 the environment, S10 encoded text that is run, S11 changes of installed
modules, S12 code at import, S13 methods that Python calls by itself, S14 settings that choose code, S15 hidden names.
"""

import contextlib
import io
import re
import sys
import tokenize
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.bandit import second_opinion
from pinfold.audit.security.interpreter import Reading
from pinfold.audit.security.templates import escape
from pinfold.audit.security.values import shown
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
ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
KERNEL = re.compile(r"^[^/:]+/[^/:]+(?:@[^/:]+)?(?::[^/:]+)?$")  # what transformers takes for a repository of kernels
RUNS_CODE = ("trust_remote_code", "_attn_implementation_internal")
DEPTH = 1000  # Python's own recursion limit
MOST_ENTRIES = 200_000
MOST_ALIKE = 50
MOST_SENTENCE = 2000


def security(folder: ModelFolder, modules: Iterable[Module], configs: dict[str, dict]) -> list[Finding]:
    """Findings S01 to S15, by file and line.

    Args:
        folder: gives the place of templates and further files; its code is not read from disk again.
        modules: the programs to read; only these.
        configs: file name -> its parsed JSON.

    Raises:
        UserError: bandit is not installed.
    """
    modules = list(modules)
    with _same_depth():
        found = Reading(modules).findings()
    for module in modules:
        found += _source(module)
    seen = {(f.file, f.line, f.code) for f in found}
    for finding in second_opinion(modules):
        if (finding.file, finding.line, finding.code) not in seen:
            seen.add((finding.file, finding.line, finding.code))
            found.append(finding)
    found = _few(found)
    order = {module.file: number for number, module in enumerate(modules)}
    found.sort(key=lambda f: (order.get(f.file, len(order)), f.line, f.code))
    found += [*_settings(configs), *_beside(folder)]
    return [replace(f, sentence=shown(f.sentence, MOST_SENTENCE), file=shown(f.file, MOST_SENTENCE)) for f in found]


@contextlib.contextmanager
def _same_depth() -> Iterator[None]:
    """What is too deep to be read is so everywhere: some libraries (torch's compiler) raise Python's limit."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _few(findings: list[Finding]) -> list[Finding]:
    """At most so many of one kind in one file; the last of them says how many there are."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.file, finding.code, finding.severity), []).append(finding)
    kept: list[Finding] = []
    for group in groups.values():
        kept += group[:MOST_ALIKE]
        if len(group) > MOST_ALIKE:
            more = f"{kept[-1].sentence} There are {len(group) - MOST_ALIKE} more of this kind in this file."
            kept[-1] = replace(kept[-1], sentence=more)
    return kept


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
            what = (
                "is about loading, not about trust, and cannot be"
                if code[:1] in ("P", "D")
                else "is no code that can be"
            )
            raise UserError(f"accept: {shown(key)} {what} accepted; use one of {CODES[0]} to {CODES[-1]}")
        if not isinstance(reason, str) or not reason.strip():
            raise UserError(f"accept: {shown(key)} has no reason; write in a sentence why this is right here")
        reasons[code, file.strip()] = " ".join(reason.split())
    changed = []
    for finding in findings:
        reason = reasons.get((finding.code, finding.file)) or reasons.get((finding.code, ""))
        changed.append(replace(finding, severity=WARNING, reason=shown(reason, 300)) if reason else finding)
    return changed


def _source(module: Module) -> Iterator[Finding]:
    """What stands in the text and not in the syntax tree."""

    def finding(line: int, words: str) -> Finding:
        return Finding("S15", f"{module.file}:{line}: {words}", module.file, line)

    source = module.source
    for number, line in enumerate(source[:2000].split("\n")[:2], 1):
        if (match := COOKIE.match(line)) and match[1].lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
            yield finding(
                number, f'declares the encoding "{shown(match[1], 30)}": Python reads another text than you do.'
            )
    if source.isascii():
        return
    for match in BIDIRECTIONAL.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        yield finding(line, f"U+{ord(match[0]):04X} makes text look different from what Python reads.")
        break
    if len(source) > 1 << 21:
        return
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not token.string.isascii():
                plain = unicodedata.normalize("NFKC", token.string)
                if plain.isascii():
                    yield finding(token.start[0], f'writes the name "{shown(plain, 30)}" in other letters.')
    except (tokenize.TokenError, SyntaxError, RecursionError):
        return


def _settings(configs: dict[str, dict]) -> Iterator[Finding]:
    """Keys of the JSON files that choose code. Those at the top of a file that P03 and P05 name are left to them."""
    for file, config in configs.items():
        queue: list[tuple[str, object, bool]] = [("", config, True)]
        for _ in range(MOST_ENTRIES):
            if not queue:
                break
            path, value, top = queue.pop()
            if isinstance(value, list):
                queue += [(path, item, False) for item in value if isinstance(item, (dict, list))]
            if not isinstance(value, dict):
                continue
            for key, inner in value.items():
                place = f"{path}.{key}" if path else str(key)
                if what := _setting(str(key), inner, top and file != "generation_config.json"):
                    words, severity = what
                    yield Finding("S14", f"{file}: {shown(place)} {words}", file, severity=severity)
                if isinstance(inner, (dict, list)):
                    queue.append((place, inner, False))


def _setting(key: str, value: object, top: bool) -> tuple[str, str] | None:
    if key in RUNS_CODE and not top:
        return "decides for the user which code is run.", ERROR
    if key in ATTENTION:
        named = list(value.values()) if isinstance(value, dict) else [value]
        for kernel in named:
            if isinstance(kernel, str) and KERNEL.match(kernel):
                return f'= "{shown(kernel)}" downloads a compiled kernel from there and runs it.', ERROR
    if key == "auto_map" and not top and isinstance(value, dict):
        for place in value.values():
            if isinstance(place, str) and "--" in place:
                return f'= "{shown(place)}" runs code of another repository.', ERROR
    if key == "custom_pipelines" and isinstance(value, dict) and value:
        elsewhere = "--" in str([v.get("impl") for v in value.values() if isinstance(v, dict)])[:2000]
        where = "code of another repository" if elsewhere else "classes of this folder"
        return f"makes pipeline() run {where}.", ERROR if elsewhere else WARNING
    if key in ("chat_template", "template") and isinstance(value, str) and (match := escape(value)):
        return f'holds "{shown(match[1])}", with which a template breaks out of its sandbox.', ERROR
    if key == "auto_mapping" and isinstance(value, dict):
        library = str(value.get("parent_library") or "transformers")
        if library.split(".")[0] not in ("transformers", "transformers_modules"):
            return f'= "{shown(library)}" makes peft import that package by name.', ERROR
    if key == "base_model_name_or_path" and isinstance(value, str) and value:
        return f'= "{shown(value)}" makes from_pretrained load that repository instead.', WARNING
    return None


def _beside(folder: ModelFolder) -> Iterator[Finding]:
    """Further files that transformers reads and runs."""
    if (folder.path / "custom_generate" / "generate.py").is_file():
        words = "custom_generate/generate.py: transformers runs it instead of generate(); it is not read here."
        yield Finding("S14", words, "custom_generate/generate.py")
    for path in sorted([*folder.path.glob("*.jinja"), *folder.path.glob("additional_chat_templates/*.jinja")]):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        if match := escape(text):
            line = text.count("\n", 0, match[0]) + 1
            what = f'holds "{shown(match[1])}", with which a template breaks out of its sandbox.'
            yield Finding("S14", f"{path.name}:{line}: {what}", path.name, line)
