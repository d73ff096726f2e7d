"""Labelled text to train on: a named data set, a table with a column of text and one of labels, or class folders."""

import math
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, first_line
from pinfold.common.files import write_atomically
from pinfold.tokenizer.corpus import HALVES, OBVIOUS, decode, json_rows, read_bytes, table_rows

TEXTS = (*OBVIOUS, "review", "tweet", "comment", "message")
LABELS = ("label", "labels", "sentiment", "class", "category", "target", "rating", "score", "stars")
KINDS = ("single_label_classification", "multi_label_classification", "regression")
PARQUET = ".parquet"
PREFIX = "datasets:"  # before the name of a data set on the Hub, and :CONFIG behind it where it has several
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", PARQUET)
RATED = "hutto_ICWSM_2014/{}_GroundTruth.txt"
SOURCES = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
LARGEST = 1e15  # of a regression: float32 can still hold the sum of many squares
NEUTRAL = 0.5  # mean ratings from -0.5 to 0.5, of a scale from -4 to 4


Row = tuple[str, str, Any]  # where it is, for messages; text and label


@dataclass(frozen=True)
class Data:
    """Texts and their labels: class ids, 0 and 1 for each class, or numbers; and the names of the classes by id."""

    name: str
    description: str
    texts: list[str]
    labels: list[Any]
    names: list[str]
    kind: str  # one of KINDS, which is transformers' problem_type


def load_data(source: str, text: str | None, label: str | None, kind: str | None) -> Data:
    """Load a named data set, read a table, or the .txt files of class folders.

    Args:
        text, label: columns of a table; None: the obvious ones.
        kind: one of KINDS; None: several labels where they are lists, else one.

    Raises:
        UserError: no such data or columns, a row without text or label, labels of another kind, one class.
    """
    if source == "vader":
        if text or label:
            raise UserError("--data vader has no columns to choose; leave --text-column and --label-column out")
        return vader(kind)
    path = Path(source)
    rows: Iterator[Row]
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        rows = table_texts(source, text, label)
    elif path.is_dir():
        if text or label:
            raise UserError(f"--data {source}: a folder has no columns; leave --text-column and --label-column out")
        name = path.resolve().name
        rows = folder_texts(path)
    elif path.is_file() and path.suffix.lower() in TABLES:
        name = path.name
        rows = table_texts(path, text, label)
    elif path.exists():
        raise UserError(f"--data {source}: labelled text is read from {', '.join(TABLES)}, or from class folders")
    else:
        raise UserError(
            f"--data {source}: no such file; give 'vader', a table ({', '.join(TABLES)}), class folders, or "
            f"{PREFIX}OWNER/NAME"
        )
    labelled = list(rows)
    if not labelled:
        raise UserError(f"--data {source}: no row in it; give a text and a label in each")
    labels, names, kind = read_labels(labelled, kind)
    return Data(name, f"texts in {name}", [text for _, text, _ in labelled], labels, names, kind)


def folder_texts(root: Path) -> Iterator[Row]:
    """Where, text and label of each .txt file below a folder with one folder per class."""
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise UserError(f"--data {root}: {len(classes)} class folders; put the .txt files into one folder per class")
    for folder in classes:
        files = sorted(path for path in folder.rglob("*.txt") if path.is_file())
        if files and all(path.parent != folder for path in files):
            raise UserError(
                f"--data {root}: the .txt files of {folder.name} are one folder down; name the folder of classes, "
                f"such as {root / folder.name}"
            )
        if not files:
            raise UserError(f"--data {root}: no .txt file in {folder.name}; add some or remove the folder")
        for path in files:
            text = decode(read_bytes(path), str(path))
            if not text.strip():
                raise UserError(f"{path}: no text in it; remove it")
            yield str(path), text, folder.name


def table_texts(path: Path | str, text: str | None, label: str | None) -> Iterator[Row]:
    """Where, text and label of each row of a file, or of a data set on the Hub."""
    columns: tuple[str, str] | None = None
    for number, row in enumerate(rows_of(path), 1):
        columns = columns or (
            find_column(path, list(row), text, TEXTS, "text"),
            find_column(path, list(row), label, LABELS, "label"),
        )
        where = row_name(path, number)
        content, value = (row.get(name) for name in columns)
        if not isinstance(content, str) or not content.strip():
            what = "no text" if content is None or isinstance(content, str) else f"{type(content).__name__}, not text,"
            raise UserError(f"{where} has {what} in {columns[0]!r}; correct or remove it")
        if half := HALVES.search(content):
            raise UserError(f"{where} has {half[0]!r}, half of a character, in {columns[0]!r}; write it whole")
        if value is None or str(value).strip() == "" or (isinstance(value, float) and math.isnan(value)):
            raise UserError(f"{where} has no label in {columns[1]!r}; correct or remove it")
        yield where, content, value


def row_name(path: Path | str, number: int) -> str:
    return f"{path if isinstance(path, str) else path.name}: row {number}"


def rows_of(path: Path | str) -> Iterator[dict[str, Any]]:
    """The rows of a table by its columns.

    Raises:
        UserError: it cannot be read.
    """
    if isinstance(path, str):
        yield from hub_rows(path)
        return
    yield from file_rows(path)


def hub_rows(source: str) -> Iterator[dict[str, Any]]:
    """The training rows of a data set that `datasets` can load, class ids by their names."""
    try:
        import datasets
    except ImportError:
        raise UserError(f"--data {source} needs the package datasets; run: pip install datasets") from None
    name, _, config = source.removeprefix(PREFIX).partition(":")
    try:
        data = datasets.load_dataset(name, config or None, split="train")
    except Exception as error:  # of many kinds: network, builder, no such split
        raise UserError(
            f"--data {source}: {first_line(error)}; check {PREFIX}OWNER/NAME, :CONFIG and the network"
        ) from None
    class_columns = {column: names for column, kind in data.features.items() if (names := class_names(kind))}
    for row in data:
        yield row | {column: by_name(row[column], names) for column, names in class_columns.items()}


def class_names(kind: Any) -> list[str] | None:
    """Of a column of class ids, or of lists of them."""
    kind = getattr(kind, "feature", kind)
    return getattr(kind, "names", None)


def by_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [by_name(each, names) for each in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None  # -1: not labelled


def file_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == PARQUET:
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise UserError(f"{path}: Parquet needs the package pyarrow; run: pip install pyarrow") from None
        try:
            return iter(parquet.read_table(path).to_pylist())
        except Exception as error:  # of many kinds
            raise UserError(f"{path}: not a Parquet file ({' '.join(str(error).split())}); write it again") from None
    content = decode(read_bytes(path), str(path))
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return json_rows(content, str(path))
    return table_rows(content, str(path), "\t" if path.suffix.lower() == ".tsv" else ",", whole=True)


def find_column(path: Path | str, columns: list[str], chosen: str | None, usual: tuple[str, ...], what: str) -> str:
    """The chosen column, or the only one with a usual name.

    Args:
        what: "text" or "label", as in --text-column.

    Raises:
        UserError: the table does not have it, or none or several have a usual name.
    """
    listed = ", ".join(map(str, columns))
    if chosen is not None:
        if chosen not in columns:
            raise UserError(f"{path}: no column {chosen!r}; its columns are {listed}")
        return chosen
    obvious = [name for name in columns if str(name).strip().lower() in usual]
    if len(obvious) != 1:
        raise UserError(f"{path}: which column is the {what}? its columns are {listed}; give one with --{what}-column")
    return obvious[0]


def read_labels(rows: list[Row], kind: str | None) -> tuple[list[Any], list[str], str]:
    """Ids, or 0 and 1 for each class, or numbers; the names of the classes; and the kind of problem.

    Raises:
        UserError: labels of different kinds, numbers where classes are expected or the other way round, one class.
    """
    values = [value for _, _, value in rows]
    if kind is None:
        kind = KINDS[1] if isinstance(values[0], list) else KINDS[0]
    if kind == "regression":
        return [as_number(where, value) for where, _, value in rows], ["score"], kind
    if kind == "multi_label_classification":
        sets = [as_set(where, value) for where, _, value in rows]
        names = in_order(set().union(*sets))
        check_classes(names)
        return [[float(name in labels) for name in names] for labels in sets], names, kind
    classes = [as_class(where, value) for where, _, value in rows]
    names = in_order(set(classes))
    check_classes(names)
    ids = {name: i for i, name in enumerate(names)}
    return [ids[name] for name in classes], names, kind


def as_number(where: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not abs(number) <= LARGEST:  # NaN is not
        label = str(value)[:40]
        raise UserError(
            f"{where} has the label {label!r}, which is not a number up to {LARGEST:g}; correct or remove it"
        )
    return number


def as_set(where: str, value: Any) -> set[str]:
    """The labels of a row: a list, or text with | or ; or commas between."""
    if isinstance(value, str):
        mark = next((mark for mark in "|;," if mark in value), "|")
        value = [part.strip() for part in value.split(mark) if part.strip()]
    if not isinstance(value, list) or not all(isinstance(part, (str, int)) for part in value):
        raise UserError(f"{where} has the label {value!r}; several labels are a list, or text with | between")
    names = [class_name(part) for part in value]
    if len(set(names)) < len(names) or "" in names:
        raise UserError(
            f"{where} has the label {value!r}; give the names of its labels, each once, not 0 and 1 for all"
        )
    return set(names)


def as_class(where: str, value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise UserError(f"{where} has several labels; add --problem multi_label_classification, or give one")
    name = class_name(value)
    try:
        whole = "." not in name or float(name).is_integer()
    except ValueError:  # v1.0 is a name as any other
        whole = True
    if not whole:
        raise UserError(
            f"{where} has the label {name}, which is not a class; add --problem regression, or name classes"
        )
    return name


def class_name(value: Any) -> str:
    """The name of a class: 1 and 1.0 are one."""
    name = str(value).strip()
    return re.sub(r"\A([+-]?\d+)\.0*\Z", r"\1", name)


def in_order(names: set[str]) -> list[str]:
    """By number where all are numbers, else by alphabet."""
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def check_classes(names: list[str]) -> None:
    if len(names) < 2:
        raise UserError(f"all rows have the label {', '.join(names)}; a classifier needs two classes or more")


def vader(kind: str | None) -> Data:
    """Texts that twenty people have rated (Hutto and Gilbert 2014), from the source package of vaderSentiment 3.3.2.

    https://doi.org/10.1609/icwsm.v8i1.14550: tweets, parts of film and product reviews and of newspaper editorials,
    each with the mean of its ratings from -4 to 4. Means within 0.5 of zero are neutral here.
    """
    path = fetch_vader()
    texts = []
    scores = []
    try:
        with tarfile.open(path) as archive:
            contents = [archive.extractfile(RATED.format(source)).read().decode("utf-8") for source in SOURCES]
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError, zlib.error):
        raise UserError(f"{path}: damaged; remove it, and it is fetched again") from None
    for line in "\n".join(contents).splitlines():
        _, score, text = line.split("\t", 2)
        texts.append(text.strip())
        scores.append(float(score))
    description = "sentiment ratings of tweets, reviews and editorials (Hutto and Gilbert 2014)"
    if kind == "regression":
        return Data("vader", description, texts, scores, ["score"], kind)
    if kind == "multi_label_classification":
        raise UserError("--data vader: each text has one label; leave --problem out, or use regression")
    ids = [(score >= -NEUTRAL) + (score > NEUTRAL) for score in scores]  # 0 negative, 1 neutral, 2 positive
    return Data("vader", description, texts, ids, ["negative", "neutral", "positive"], KINDS[0])


def fetch_vader() -> Path:
    """The archive of ratings, fetched by pip once.

    Raises:
        UserError: pip could not fetch it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinfold"
    archive = cache / "hutto_ICWSM_2014.tar.gz"
    if archive.is_file():
        return archive
    print("fetching vaderSentiment 3.3.2 by pip", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "--dest", directory, "vaderSentiment==3.3.2"], capture_output=True, text=True)
        packages = list(Path(directory).glob("*.tar.gz"))
        if done.returncode or not packages:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"--data vader: pip cannot fetch vaderSentiment 3.3.2 ({why}); give another table")
        with tarfile.open(packages[0]) as package:
            inside = next(m for m in package.getmembers() if m.name.endswith("/" + archive.name))
            content = package.extractfile(inside).read()
    cache.mkdir(parents=True, exist_ok=True)
    write_atomically(archive, content)
    return archive
