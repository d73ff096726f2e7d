"""Fix what is mechanical and safe: the same model, written as every transformers release reads it.

How it works:
- Code is changed at the places that its syntax tree gives, JSON at its top-level keys; all other bytes stay.
- Nothing is guessed: where a fault has more than one cure there is no fix, ``unfixed`` says why, the finding stays.
- Nothing here imports or executes the folder, and only ``apply`` writes.
"""

import ast
import contextlib
import difflib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from pinfold.audit.json_text import JsonText
from pinfold.audit.reachable import assignments, call_name, chain, is_none, is_self_attribute, own_nodes, string
from pinfold.audit.rules.own_loading import loads_itself
from pinfold.audit.rules.ties import takes_any_arguments
from pinfold.audit.rules.weights import stored_apart
from pinfold.common.errors import UserError
from pinfold.common.safetensors import DTYPES, read_tensors
from pinfold.folder.declared import is_declared, settings_file
from pinfold.folder.filenames import PREPROCESSING
from pinfold.folder.model_folder import ModelFolder, Module, located, outside, read_text
from pinfold.folder.releases import lowest_version
from pinfold.folder.tokenizer_files import TOKENIZER, portable_tokenizer

LINE_END = re.compile(r"\r\n|\r|\n")
SETTINGS = 10_000_000  # bytes of a JSON file


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
    """Everything that can be fixed in a directory; nothing is written.

    Args:
        directory: holds config.json and the like, as far as they are there.
        folder: its Python files, as ``read_modules`` read them.

    Raises:
        UserError: a file that would be changed is a link out of the directory.
    """
    directory = Path(directory)
    possible = [_Code(folder, module).fix() for module in folder.modules.values()]
    possible += _settings(directory, folder)
    changes = [fix for fix in possible if fix.after != fix.before]
    for fix in changes:
        if not fix.path.resolve().is_relative_to(directory.resolve()):
            raise outside(fix.path)
    return changes


def unfixed(folder: ModelFolder) -> list[str]:
    """One line for each fault in the code that has no mechanical cure: where it is, and why."""
    return [reason for module in folder.modules.values() for reason in _Code(folder, module).find_edits().reasons]


def diff(changes: list[Fix]) -> str:
    """A unified diff of all of them."""
    lines: list[str] = []
    for fix in changes:
        before, after = LINE_END.split(fix.before), LINE_END.split(fix.after)
        lines += difflib.unified_diff(before, after, f"a/{fix.file}", f"b/{fix.file}", lineterm="")
    return "\n".join(lines)


def apply(changes: list[Fix]) -> None:
    """Write all files, or none: what was written is put back when a later one fails.

    Raises:
        UserError: a file is not what it was when the fixes were made.
    """
    for fix in changes:
        if _read(fix.path) != fix.before:
            raise UserError(f"{fix.path}: changed since it was read; run it again")
    written: list[tuple[Path, Fix]] = []
    replaced: list[Fix] = []
    try:
        for fix in changes:
            written.append((_write_beside(fix.path.resolve(), fix.after), fix))
        for temporary, fix in written:
            os.replace(temporary, fix.path.resolve())
            replaced.append(fix)
    except BaseException:
        for fix in replaced:
            with contextlib.suppress(OSError):
                os.replace(_write_beside(fix.path.resolve(), fix.before), fix.path.resolve())
        raise
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)


def _write_beside(path: Path, text: str) -> Path:
    """A complete file in the same directory, with the same permissions."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
    return Path(name)


def _read(path: Path) -> str:
    """The text with its own line ends."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


class _Code:
    """The changes to one Python file: (first character, last character, new text, code)."""

    def __init__(self, folder: ModelFolder, module: Module):
        self.folder, self.module = folder, module
        self.text = _read(module.path)
        self.end = (LINE_END.search(self.text) or ["\n"])[0]
        self.starts = [0, *(match.end() for match in LINE_END.finditer(self.text))]
        self.edits: list[tuple[int, int, str, str]] = []
        self.reasons: list[str] = []

    def fix(self) -> Fix:
        """The fixed file; the same text where nothing is to be done, or where it would no longer be Python."""
        self.find_edits()
        after = self.text
        for first, last, new, _ in sorted(self.edits, reverse=True):
            after = after[:first] + new + after[last:]
        try:
            ast.parse(after)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            after = self.text
        codes = sorted({code for *_, code in self.edits}) if after != self.text else []
        return Fix(self.module.path, self.text, after, codes)

    def find_edits(self) -> "_Code":
        """Find all changes."""
        models = [name for name in self.folder.classes if self.folder.kind(name) == "model"]
        built = [name for name in models if self.folder.is_concrete(name)]
        # an abstract base is left alone: when its __init__ ends, the weights that its heirs tie are not there yet
        inits = [self.folder.method(name, "__init__") for name in built]
        for cls, init in dict.fromkeys(init for init in inits if init is not None):
            if self.here(cls):
                self.post_init(cls, init)
        for cls in models:
            if self.here(cls):
                self.tied_keys(cls)
        for cls in dict.fromkeys(self.topmost(name) for name in built if not self.folder.is_stock(name)):
            if self.here(cls) and self.folder.attribute(cls, "config_class") is None:
                self.config_class(cls)
        return self

    def here(self, cls: str) -> bool:
        return self.folder.classes[cls][0] is self.module

    def topmost(self, cls: str) -> str:
        return [owner for owner in self.folder.lineage(cls) if self.folder.kind(owner) == "model"][-1]

    def say(self, node: ast.AST, words: str) -> None:
        self.reasons.append(f"{self.module.file}:{located(node).lineno}: {words}")

    def offset(self, line: int, column: int) -> int:
        """A place of the syntax tree, whose columns count bytes, as a place in the text."""
        start = self.starts[line - 1]
        return start + len(self.text[start : start + column].encode()[:column].decode(errors="ignore"))

    def indent(self, node: ast.AST) -> str | None:
        """The white space in front of a node; None where it does not begin its line."""
        place = located(node)
        before = self.text[self.starts[place.lineno - 1] : self.offset(place.lineno, place.col_offset)]
        return before if not before.strip() else None

    def after_line(self, node: ast.AST, new: str, code: str) -> None:
        """Add a line below a node."""
        last_line = located(node).end_lineno
        if last_line < len(self.starts):
            place = self.starts[last_line]
            self.edits.append((place, place, new + self.end, code))
        else:  # the last line of a file that ends without a line end
            self.edits.append((len(self.text), len(self.text), self.end + new, code))

    def post_init(self, cls: str, init: ast.FunctionDef) -> None:
        """P10: ``self.post_init()`` wherever ``__init__`` ends."""
        names = [argument.arg for argument in (*init.args.posonlyargs, *init.args.args)]
        nodes = list(own_nodes(init))
        override = self.folder.method(cls, "tie_weights")
        if override and not takes_any_arguments(override[1]):
            self.say(init, f"{cls}.tie_weights takes no arguments, and post_init of transformers 5 gives it some")
            return
        if loads_itself(self.folder, cls):
            self.say(init, f"{cls} has a from_pretrained of its own, which makes the model without post_init")
            return
        if not names or any(isinstance(n, ast.Attribute) and n.attr == "post_init" for n in nodes):
            return
        call, first, last = f"{names[0]}.post_init()", init.body[0], init.body[-1]
        returns = [node for node in nodes if isinstance(node, ast.Return)]
        for node in returns:
            if self.indent(node) is None or not (node.value is None or is_none(node.value)):
                self.say(node, f"{cls}.__init__ returns in the middle of a line; call self.post_init() before it")
                return
        indent = self.indent(first)
        if indent is None:  # def __init__(self, config): super().__init__(config)
            own = self.indent(init)
            if own is None:
                self.say(init, f"{cls}.__init__ does not begin its line; end it with self.post_init()")
                return
            indent = own + ("\t" if "\t" in own else "    ")
            place = self.offset(first.lineno, first.col_offset)
            gap = len(self.text[:place]) - len(self.text[:place].rstrip(" \t"))
            self.edits.append((place - gap, place, self.end + indent, "P10"))
        for node in returns:
            place = self.starts[node.lineno - 1]
            self.edits.append((place, place, f"{self.indent(node)}{call}{self.end}", "P10"))
        if not isinstance(last, ast.Return):
            self.after_line(last, indent + call, "P10")

    def tied_keys(self, cls: str) -> None:
        """P11: one tied key in a list becomes a table, where there is one embedding that it can mean."""
        for statement in self.folder.classes[cls][1].body:
            for target, value in assignments(statement):
                if not (isinstance(target, ast.Name) and target.id == "_tied_weights_keys"):
                    continue
                if not isinstance(value, (ast.List, ast.Tuple, ast.Set)):
                    continue
                keys = [string(element) for element in value.elts]
                if not keys:
                    self.replace(value, "{}", "P11")
                    continue
                key = (keys[0] or "").replace("\\.", ".").removeprefix("^").removesuffix("$")
                source = _input_embeddings(self.folder, cls) if len(keys) == 1 else None
                if len(keys) > 1:
                    self.say(value, f"{cls}._tied_weights_keys has {len(keys)} keys; say which weight each is tied to")
                elif not re.fullmatch(r"[\w.]+\.weight", key) or not _has(self.folder, cls, key.split(".")[0]):
                    self.say(value, f"{cls}._tied_weights_keys: it is not clear which weight of {cls} it names")
                elif source is None or source == key.removesuffix(".weight"):
                    self.say(value, f"{cls}: it is not clear which embedding {key} is tied to")
                else:
                    self.replace(value, f'{{"{key}": "{source}.weight"}}', "P11")

    def replace(self, node: ast.expr, new: str, code: str) -> None:
        place = located(node)
        first = self.offset(place.lineno, place.col_offset)
        last = self.offset(place.end_lineno, place.end_col_offset)
        self.edits.append((first, last, new, code))

    def config_class(self, cls: str) -> None:
        """P16: the only configuration class, where the file knows it by name."""
        config = self.folder.config_class(self.folder.auto_map())
        node = self.folder.classes[cls][1]
        names = [n for n, (place, original) in self.module.imports.items() if place[:1] == "." and original == config]
        if config:
            home, definition = self.folder.classes[config]
            if home is self.module and definition.lineno < node.lineno:
                names = [config]
        first = node.body[0]
        indent = self.indent(first)
        if not names or indent is None:
            self.say(node, f"{cls} has no config_class, and it is not clear which one it needs")
            return
        line = f"{indent}config_class = {names[0]}"
        if isinstance(first, ast.Expr) and string(first.value) is not None:  # the docstring stays first
            self.after_line(first, line, "P16")
        else:
            top = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
            place = self.starts[top - 1]
            self.edits.append((place, place, line + self.end, "P16"))


def _has(folder: ModelFolder, cls: str, name: str) -> bool:
    """Whether a class sets an attribute in its ``__init__``."""
    return _assigned(folder, cls, name) is not None


def _assigned(folder: ModelFolder, cls: str, name: str) -> ast.expr | None:
    """What the ``__init__`` of a class, or of a base in this folder, assigns to ``self.name``."""
    for owner in folder.lineage(cls):
        for init in folder.classes[owner][1].body:
            for node in own_nodes(init) if isinstance(init, ast.FunctionDef) and init.name == "__init__" else ():
                for target, value in assignments(node):
                    if is_self_attribute(target) and target.attr == name and value is not None:
                        return value
    return None


def _input_embeddings(folder: ModelFolder, cls: str, depth: int = 0) -> str | None:
    """The path of the word embeddings below a class: what it says itself, else the only ones over a vocabulary."""
    getter = folder.method(cls, "get_input_embeddings")
    if getter and depth < 4:
        returns = [node.value for node in own_nodes(getter[1]) if isinstance(node, ast.Return)]
        if len(returns) != 1:
            return None
        value = returns[0]
        asks = False
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr == "get_input_embeddings"
        ):
            value = value.func.value
            asks = True
        names = chain(value)
        if names[:1] != ["self"] or len(names) < 2 or not _has(folder, cls, names[1]):
            return None
        if not asks:
            return ".".join(names[1:])
        part = _assigned(folder, cls, names[1]) if len(names) == 2 else None
        inner = call_name(part) if isinstance(part, ast.Call) else ""
        rest = _input_embeddings(folder, inner, depth + 1) if inner in folder.classes else None
        return f"{names[1]}.{rest}" if rest else None
    paths = list(_vocabularies(folder, cls))
    return paths[0] if len(paths) == 1 else None


def _vocabularies(folder: ModelFolder, cls: str, depth: int = 0) -> Iterator[str]:
    """Paths of nn.Embedding whose size speaks of a vocabulary, in a class and in the parts that it builds."""
    init = folder.method(cls, "__init__")
    for node in own_nodes(init[1]) if init and depth < 5 else ():
        for target, value in assignments(node):
            if not (is_self_attribute(target) and isinstance(value, ast.Call)):
                continue
            called = call_name(value)
            if called == "Embedding" and value.args and "vocab" in ast.unparse(value.args[0]):
                yield target.attr
            elif called in folder.classes and called != cls:
                yield from (f"{target.attr}.{inner}" for inner in _vocabularies(folder, called, depth + 1))


def _settings(directory: Path, folder: ModelFolder) -> Iterator[Fix]:
    """The changes to JSON files."""
    texts: dict[str, JsonText] = {}
    for name in ("config.json", "tokenizer_config.json", *PREPROCESSING):
        with contextlib.suppress(OSError, ValueError, RecursionError, UserError):  # the audit says what is wrong
            read_text(directory / name, directory, SETTINGS, "")
            texts[name] = JsonText(_read(directory / name))
    codes: dict[str, set[str]] = {name: set() for name in texts}
    if "config.json" in texts:
        for name, cured in _auto_map(texts, folder).items():
            codes[name] |= cured
        codes["config.json"] |= _ties(texts["config.json"], folder, directory)
        codes["config.json"] |= _dtype(texts["config.json"], directory)
        codes["config.json"] |= _tokenizer_class(texts, directory)
    if Version(lowest_version(folder)) < Version("5.0"):
        for name, text in texts.items():
            keys = text.value if name == "tokenizer_config.json" else {"tokenizer_class"}
            tokenizer = {key: text.value[key] for key in keys if key in text.value}
            portable = portable_tokenizer(tokenizer)
            for key in [key for key in tokenizer if key not in portable]:
                text.remove(key)
            for key, value in portable.items():
                if value != text.value.get(key):
                    text.set(key, value)
            codes[name] |= {"P22b"} if portable != tokenizer else set()
    for name, text in texts.items():
        yield Fix(directory / name, text.before, text.text, sorted(codes[name]))


def _auto_map(texts: dict[str, JsonText], folder: ModelFolder) -> dict[str, set[str]]:
    """P01 and P02: an entry for each class of the folder, in the file in which its Auto class looks.

    Code in another repository stays there.

    Returns:
        File -> the codes that are cured in it.
    """
    config = texts["config.json"]
    existing = config.value.get("auto_map")
    entries = dict(existing) if isinstance(existing, dict) else {}
    if any("--" in str(place) for place in entries.values()):
        return {}
    codes: dict[str, set[str]] = {}
    for auto, place in folder.auto_map().items() if folder.modules else ():
        right: object = place
        if auto == "AutoTokenizer":
            right = [None, place] if "Fast" in place else [place, None]
        if auto in entries and not _leads_somewhere(entries[auto], auto, folder):
            _set_entry(config, "", auto, right)
            codes.setdefault("config.json", set()).add("P02")
        elif not is_declared({name: text.value for name, text in texts.items()}, auto):
            file, part = settings_file({name: text.value for name, text in texts.items()}, auto)
            _set_entry(texts[file], part, auto, right)
            codes.setdefault(file, set()).add("P01")
    return codes


def _set_entry(text: JsonText, part: str, auto: str, entry: object) -> None:
    """One entry of the auto_map of a file, or of a part in it."""
    settings = text.value[part] if part else text.value
    table = settings.get("auto_map")
    table = {**(table if isinstance(table, dict) else {}), auto: entry}
    if part:
        text.set(part, {**settings, "auto_map": table})
    else:
        text.set("auto_map", table)


def _leads_somewhere(value: object, auto: str, folder: ModelFolder) -> bool:
    places = [value]
    if auto == "AutoTokenizer" and isinstance(value, list) and len(value) == 2 and any(value):
        places = [place for place in value if place is not None]
    for place in places:
        module, _, cls = place.partition(".") if isinstance(place, str) else ("", "", "")
        if module not in folder.modules:
            return False
        if cls not in folder.modules[module].imports and (
            cls not in folder.classes or folder.classes[cls][0].name != module
        ):
            return False
    return True


def _ties(config: JsonText, folder: ModelFolder, directory: Path) -> set[str]:
    """P11b: what transformers 4 takes for granted and 5 does not; false where the file has a head of its own."""
    tied = [keys for name in folder.classes if (keys := folder.attribute(name, "_tied_weights_keys")) is not None]
    configs = [name for name in folder.classes if folder.kind(name) == "config"]
    says = any("tie_word_embeddings" in folder.classes[name][0].source for name in configs)
    if not tied or says or any(map(folder.is_stock, configs)) or "tie_word_embeddings" in config.value:
        return set()
    targets = [string(node) for keys in tied for node in getattr(keys, "keys", getattr(keys, "elts", ()))]
    config.set("tie_word_embeddings", not any(target and stored_apart(directory, target) for target in targets))
    return {"P11b"}


def _dtype(config: JsonText, directory: Path) -> set[str]:
    """P20: the dtype that all tensors have, under the name that all releases read."""
    declared = [config.value[key] for key in ("torch_dtype", "dtype") if config.value.get(key) is not None]
    if not declared or "quantization_config" in config.value or not all(isinstance(name, str) for name in declared):
        return set()
    weights = [p for p in sorted(directory.glob("*.safetensors")) if p.is_file()]
    try:
        stored = {DTYPES.get(tensor.dtype) for tensor in read_tensors(weights)} - {None}
    except UserError:  # the audit says what is wrong with them
        return set()
    if len(stored) != 1 or (declared[0] in ("auto", *stored) and "dtype" not in config.value):
        return set()
    config.remove("dtype")
    config.set("torch_dtype", stored.pop())
    return {"P20"}


def _tokenizer_class(texts: dict[str, JsonText], directory: Path) -> set[str]:
    """P22: what tokenizer_config.json says, or the class that reads any tokenizer.json."""
    config = texts["config.json"]
    files = {path.name for path in directory.iterdir()}
    if config.value.get("tokenizer_class") or not files & (set(TOKENIZER) - {"vocab.json"}):
        return set()
    saved = texts["tokenizer_config.json"].value if "tokenizer_config.json" in texts else {}
    name = portable_tokenizer(saved).get("tokenizer_class")
    name = name or ("PreTrainedTokenizerFast" if "tokenizer.json" in files else None)
    if not isinstance(name, str):
        return set()
    config.set("tokenizer_class", name)
    return {"P22"}
