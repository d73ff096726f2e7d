"""Where a tokenizer's training text comes from: files, globs, directories, standard input, tables, data sets.

Everything is read as UTF-8 and cut at line ends into pieces of about a thousand characters, line ends kept: a
byte-level BPE learns line breaks with their indentation from them, and a part of them can be held out.
"""

import csv
import glob
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, first_line

TABLES = (".jsonl", ".ndjson", ".csv", ".tsv")
OBVIOUS = ("text", "sentence", "content", "document", "body", "article")
HALVES = re.compile("[\ud800-\udfff]")  # JSON can write these halves of a character, UTF-8 cannot
PIECE = 1000  # characters, at least; a piece ends with a line


def find_files(inputs: list[str]) -> list[Path | str]:
    """The files that paths, globs and directories name, each once; "-" stays.

    Raises:
        UserError: one of them names no file.
    """
    files: list[Path | str] = []
    for pattern in inputs:
        path = Path(pattern)
        if not pattern.strip():  # Path("") is the current directory
            raise UserError("TEXT is empty; name files, a glob, a directory of .txt, or - for stdin")
        if pattern == "-":
            files.append(pattern)
        elif path.is_dir():
            texts = sorted(p for p in path.rglob("*.txt") if p.is_file())
            if not texts:
                raise UserError(
                    f"{pattern}: no .txt file in this directory; name files, or a glob such as '{path}/**/*.md'"
                )
            files += texts
        elif path.exists():
            files.append(path)
        elif glob.has_magic(pattern):
            matched = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
            if not matched:
                raise UserError(f"{pattern}: no file matches; quote the glob, and use ** for every directory below")
            files += matched
        else:
            raise UserError(
                f"{pattern}: no such file or directory; name files, a glob, a directory of .txt, or - for stdin"
            )
    return list(dict.fromkeys(files))


def read_texts(files: list[Path | str], column: str | None = None) -> Iterator[str]:
    """The pieces of text of all files; of a table, its text column.

    Raises:
        UserError: a file is not text, a table has no such column, or a column is named without a table.
    """
    if column and not any(isinstance(path, Path) and path.suffix.lower() in TABLES for path in files):
        raise UserError(f"--column={column}: no table among the files; columns are in {', '.join(TABLES)}")
    for path in files:
        name = "stdin" if path == "-" else str(path)
        text = decode(read_bytes(path), name)
        suffix = Path(path).suffix.lower()
        if suffix in (".jsonl", ".ndjson"):
            yield from _cells(json_rows(text, name), column, name)
        elif suffix in (".csv", ".tsv"):
            yield from _cells(table_rows(text, name, "\t" if suffix == ".tsv" else ","), column, name)
        else:
            yield from pieces(text)


def read_bytes(path: Path | str) -> bytes:
    """A file's content; "-" is standard input.

    Raises:
        UserError: it cannot be read.
    """
    if path == "-":
        if sys.stdin is None:  # what Python makes of a closed one
            raise UserError("stdin is closed; pipe text into it, or name files")
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); leave it out, or make it readable") from None


def decode(content: bytes, name: str) -> str:
    """Text of a file's bytes.

    Raises:
        UserError: they are not UTF-8 text.
    """
    if content.startswith(b"\x1f\x8b"):
        raise UserError(f"{name}: compressed by gzip; unpack it, or pipe it in: zcat ... | pinfold tokenizer train -")
    if b"\0" in content:
        raise UserError(f"{name}: a binary file (it holds NUL bytes); leave it out")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}; convert it, or leave it out") from None


def pieces(text: str) -> Iterator[str]:
    """The text cut after line ends.

    >>> [len(piece) for piece in pieces("a" * 999 + "\\n" + "b" * 9)]
    [1000, 9]
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE - 1)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end


def text_column(columns: list[str], chosen: str | None, name: str) -> str:
    """The column to read.

    Raises:
        UserError: it is not there, or none is obvious.
    """
    listed = ", ".join(map(str, columns))
    if chosen:
        if chosen not in columns:
            raise UserError(f"{name}: no column {chosen!r}; its columns are {listed}")
        return chosen
    obvious = [column for column in OBVIOUS if column in columns] or (columns if len(columns) == 1 else [])
    if len(obvious) != 1:
        raise UserError(f"{name}: which column is the text? its columns are {listed}; give one with --column")
    return obvious[0]


def _cells(rows: Iterable[dict[str, Any]], column: str | None, name: str) -> Iterator[str]:
    chosen = None
    for number, row in enumerate(rows, 1):
        chosen = chosen or text_column(list(row), column, name)
        value = row.get(chosen)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{name}: row {number} has {type(value).__name__} in {chosen!r}, not text; choose another")
        if value and (half := HALVES.search(value)):
            raise UserError(
                f"{name}: row {number} has {half[0]!r}, half of a character, in {chosen!r}; write it whole"
            )
        yield from pieces(value or "")


def json_rows(text: str, name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{name}: line {number} is not a JSON object; JSONL has one object a line")
        yield row


def table_rows(text: str, name: str, delimiter: str, whole: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a table by its headings.

    Args:
        whole: refuse rows of more or fewer cells than there are headings, and quotes that are not closed.
    """
    csv.field_size_limit(2**31 - 1)  # a text may be long
    rest = object()  # the key of cells without a heading
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=rest, strict=whole)
    try:
        if whole and (twice := [n for n, times in Counter(rows.fieldnames or ()).items() if times > 1]):
            raise UserError(
                f"{name}: the heading has {twice[0]!r} {rows.fieldnames.count(twice[0])} times; rename one"
            )
        for number, row in enumerate(rows, 1):
            more = row.pop(rest, None)
            if whole and (more or None in row.values()):
                count = len(rows.fieldnames)
                cells = count + len(more) if more else sum(value is not None for value in row.values())
                raise UserError(
                    f"{name}: row {number} (line {rows.line_num}) has {cells} cells, the heading {count}; correct it, "
                    f"text with {delimiter!r} belongs in quotes"
                )
            yield row
    except csv.Error as error:
        raise UserError(f"{name}: line {rows.line_num}: {error}; write it as {delimiter!r}-separated text") from None


def read_dataset(name: str, config: str | None, split: str, column: str | None) -> Iterator[str]:
    """The texts of a data set that `datasets` can load, read in batches.

    Raises:
        UserError: the package is missing, or there is no such data set, split or column.
    """
    try:
        import datasets
    except ImportError:
        raise UserError("--dataset needs the package datasets; run: pip install datasets") from None
    try:
        data = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # of many kinds: network, builder, split
        what = f"--dataset={name} --split={split}"
        raise UserError(f"{what}: {first_line(error)}; check name, --config and --split") from None
    chosen = text_column(list(data.column_names), column, name)
    for batch in data.iter(batch_size=1000):
        for value in batch[chosen]:
            if value is not None and not isinstance(value, str):
                raise UserError(f"{name}: column {chosen!r} holds {type(value).__name__}, not text; choose another")
            yield from pieces(value or "")


def hold_out_evenly(texts: list[str], fraction: float) -> tuple[list[str], list[str]]:
    """Pieces to train on and pieces held out, evenly spread; nothing is held out of a handful.

    >>> hold_out_evenly(list("abcdef"), 1 / 3)
    (['a', 'b', 'd', 'e'], ['c', 'f'])
    """
    if fraction == 0:
        return texts, []
    every = max(2, round(1 / fraction))
    return [t for i, t in enumerate(texts, 1) if i % every], texts[every - 1 :: every]
