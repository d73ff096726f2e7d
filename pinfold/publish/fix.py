"""Mend what is mechanical and safe: the same model, written as every transformers release reads it.

Nothing is guessed. Where a fault has more than one cure (a tied weight whose source is not plain to see, an __init__
on one line) there is no fix, and the finding stays.
"""

import ast
import contextlib
import difflib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.errors import UserError
from pinfold.publish.folder import ModelFolder, Module, leads_out
from pinfold.publish.stage import DTYPES, headers, portable_tokenizer


@dataclass
class Fix:
    """One file's new text, and the findings that it cures."""

    path: Path
    before: str
    after: str
    codes: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.name


def fixes(directory: Path, folder: ModelFolder) -> list[Fix]:
    """Everything that can be mended in a directory; nothing is written.

    Raises:
        UserError: a file that would be changed is a link out of the directory.
    """
    found = [_code(folder, module) for module in folder.modules.values()]
    found += [_config(directory, folder), _tokenizer(directory)]
    found = [fix for fix in found if fix and fix.after != fix.before]
    for fix in found:
        if leads_out(fix.path, directory):
            raise UserError(f"{fix.path}: links out of the folder; put the file itself there")
    return found


def diff(found: list[Fix]) -> str:
    """A unified diff of all of them."""
    lines: list[str] = []
    for fix in found:
        lines += difflib.unified_diff(
            fix.before.splitlines(), fix.after.splitlines(), f"a/{fix.file}", f"b/{fix.file}", lineterm=""
        )
    return "\n".join(lines)


def apply(found: list[Fix]) -> None:
    """Write all files, or none: what was written is put back when a later one fails."""
    done: list[Fix] = []
    try:
        for fix in found:
            _replace(fix.path, fix.after)
            done.append(fix)
    except BaseException:
        for fix in done:
            with contextlib.suppress(OSError):
                _replace(fix.path, fix.before)
        raise


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path) -> str:
    """The text with its own line ends."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _code(folder: ModelFolder, module: Module) -> Fix:
    """P10 and P11 in one file, as insertions and replacements of whole lines."""
    before = _read(module.path)
    end = "\r\n" if "\r\n" in before else "\n"
    lines = before.split(end)
    edits: list[tuple[int, int, list[str], str]] = []  # first line, lines replaced, new lines, code
    for name, (owner, node) in folder.classes.items():
        if owner is not module or folder.kind(name) != "model":
            continue
        edits += _post_init(node, lines)
        edits += _tied_keys(folder, name, node, lines)
    codes = []
    for first, count, new, code in sorted(edits, reverse=True):
        lines[first : first + count] = new
        codes.append(code)
    after = end.join(lines)
    try:
        ast.parse(after)
    except SyntaxError:  # a line that holds more than it shows; better no fix than a broken file
        return Fix(module.path, before, before)
    return Fix(module.path, before, after, sorted(set(codes)))


def _post_init(node: ast.ClassDef, lines: list[str]) -> list[tuple[int, int, list[str], str]]:
    """P10: ``self.post_init()`` as the last statement of ``__init__``."""
    init = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
    if init is None or init.body[0].lineno == init.lineno or not init.args.args:
        return []
    me = init.args.args[0].arg
    if any(isinstance(n, ast.Attribute) and n.attr == "post_init" for n in ast.walk(init)):
        return []
    if any(isinstance(n, ast.Return) and n is not init.body[-1] for n in ast.walk(init)):
        return []  # a way out before the end
    last = init.body[-1]
    indent = re.match(r"\s*", lines[last.lineno - 1])[0]
    place = last.lineno - 1 if isinstance(last, ast.Return) else last.end_lineno
    return [(place, 0, [f"{indent}{me}.post_init()"], "P10")]


def _tied_keys(folder: ModelFolder, name: str, node: ast.ClassDef, lines: list[str]):
    """P11: one tied key in a list becomes a dictionary, where there is one embedding that it can mean."""
    for statement in node.body:
        if not (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_tied_weights_keys"):
            continue
        value = statement.value
        if not isinstance(value, (ast.List, ast.Tuple)) or len(value.elts) != 1:
            continue
        target, sources = value.elts[0], _embeddings(folder, name)
        if not (isinstance(target, ast.Constant) and isinstance(target.value, str)) or len(sources) != 1:
            continue
        if re.search(r"[\\^$*+?|()]", target.value) or statement.lineno != statement.end_lineno:
            continue
        indent = re.match(r"\s*", lines[statement.lineno - 1])[0]
        new = f'{indent}_tied_weights_keys = {{"{target.value}": "{sources[0]}.weight"}}'
        yield (statement.lineno - 1, 1, [new], "P11")


def _embeddings(folder: ModelFolder, name: str, depth: int = 0) -> list[str]:
    """Paths of the word embeddings below a class: nn.Embedding whose first argument speaks of the vocabulary."""
    found: list[str] = []
    init = folder.method(name, "__init__")
    if init is None or depth > 4:
        return found
    for node in ast.walk(init[1]):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        target, called = node.targets[0], ast.unparse(node.value.func).split(".")[-1]
        if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
            continue
        if called == "Embedding" and node.value.args and "vocab" in ast.unparse(node.value.args[0]):
            found.append(target.attr)
        elif called in folder.classes and called != name:
            found += [f"{target.attr}.{inner}" for inner in _embeddings(folder, called, depth + 1)]
    return found


def _config(directory: Path, folder: ModelFolder) -> Fix | None:
    """P01, P02, P11b, P20 and P22 in config.json."""
    read = _json(directory / "config.json")
    if read is None:
        return None
    path, before, config = read
    codes = []
    if folder.modules and (wanted := folder.auto_map()):
        auto_map = config.get("auto_map") if isinstance(config.get("auto_map"), dict) else {}
        for auto, place in wanted.items():
            given = auto_map.get(auto)
            if isinstance(given, str) and "--" in given:
                continue  # code of another repository: its owner has to decide
            if given is None and auto.startswith(("AutoModel", "AutoConfig")):
                auto_map[auto] = place
                codes.append("P01")
            elif given is not None and not isinstance(given, list) and not _is_there(given, folder):
                auto_map[auto] = place
                codes.append("P02")
        if codes:
            config["auto_map"] = auto_map
    ties = [name for name in folder.classes if folder.attribute(name, "_tied_weights_keys") is not None]
    configs = [name for name in folder.classes if folder.kind(name) == "config"]
    says = any("tie_word_embeddings" in folder.classes[name][0].source for name in configs)
    if ties and "tie_word_embeddings" not in config and not says:
        config["tie_word_embeddings"] = True  # what transformers 4 takes for granted
        codes.append("P11b")
    weights = [path for path in sorted(directory.glob("*.safetensors")) if not leads_out(path, directory)]
    dtypes = {DTYPES.get(entry["dtype"]) for entry in headers(weights).values()} - {None}
    given = config.get("torch_dtype", config.get("dtype"))
    if given is not None and len(dtypes) == 1 and given != next(iter(dtypes)):
        config.pop("dtype", None)
        config["torch_dtype"] = next(iter(dtypes))
        codes.append("P20")
    tokenizer = _json(directory / "tokenizer_config.json")
    if tokenizer and isinstance(tokenizer[2].get("tokenizer_class"), str) and not config.get("tokenizer_class"):
        config["tokenizer_class"] = portable_tokenizer(tokenizer[2])["tokenizer_class"]
        codes.append("P22")
    return Fix(path, before, _dumped(config, before) if codes else before, sorted(set(codes)))


def _is_there(place: object, folder: ModelFolder) -> bool:
    module, _, cls = place.partition(".") if isinstance(place, str) else ("", "", "")
    return cls in folder.classes and folder.classes[cls][0].name == module


def _tokenizer(directory: Path) -> Fix | None:
    """P22b in tokenizer_config.json."""
    read = _json(directory / "tokenizer_config.json")
    if read is None:
        return None
    path, before, config = read
    portable = portable_tokenizer(config)
    return Fix(path, before, before if portable == config else _dumped(portable, before), ["P22b"])


def _json(path: Path) -> tuple[Path, str, dict] | None:
    try:
        text = _read(path)
        value = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None  # the audit says what is wrong with it
    return (path, text, value) if isinstance(value, dict) else None


def _dumped(value: dict, like: str) -> str:
    """JSON in the layout of the text that it replaces."""
    indent = re.search(r"\n([ \t]+)\"", like)
    text = json.dumps(value, indent=indent[1] if indent else 2, ensure_ascii=like.isascii())
    return text + "\n" * like.endswith("\n")
