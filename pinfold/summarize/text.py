"""A summary as text of at most 120 columns: what the model is, its modules, its totals, and what one step showed."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from pinfold.summarize.rows import Row, tree, visible_rows

WIDTH = 120
NO_GRADIENT = (
    "no step changes them: they are not used for this output, or cut off from the loss; "
    "DistributedDataParallel stops at them unless find_unused_parameters=True"
)


def summary_lines(summary: dict[str, Any], name: str, depth: int | None, optimizer: str) -> Iterator[str]:
    """The whole summary, line by line."""
    root = tree(summary["modules"])
    rows = visible_rows(root, depth)
    yield from _head(summary, name)
    yield ""
    yield from table(*_costs(summary, root, rows))
    yield ""
    yield from _pairs(_totals(summary, root, optimizer))
    if summary["signals"]:
        yield ""
        yield from table(*_signals(summary, _unfolded(root, rows)))
        yield ""
        yield from _pairs(_step(summary))


def _head(summary: dict[str, Any], name: str) -> Iterator[str]:
    where = ", ".join(sorted({kind["device"] for kind in summary["tensors"]}))
    yield f"{summary['class']} of {name}" + (f" ({summary['auto']})" if summary["auto"] != summary["class"] else "")
    versions = f"transformers {summary['transformers']}, torch {summary['torch']}"
    yield f"  {summary['model_type']}, {summary['dtype']} on {where}; {versions}"
    inputs = ", ".join(f"{key} {_times(shape)} {dtype}" for key, (dtype, shape) in summary["inputs"].items())
    for note in (f"inputs: {inputs}", *summary["notes"]):
        yield from textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _costs(summary: dict[str, Any], root: Row, rows: list[tuple[int, Row]]) -> tuple[list[str], list[list[Any]]]:
    """Heading and lines of the table of what each module is and costs."""
    header = ["module", "output", "parameters", "share", "FLOPs", "weights", "saved", "optimizer"]
    all_parameters = root.sums["parameters"] or 1
    lines = []
    for level, row in rows:
        sums = row.sums
        label = f"{'  ' * level}{row.label}" if level else summary["class"]
        kind = f"  {row.kind}" if level else ""
        calls = _calls(row)
        share = f"{sums['parameters'] / all_parameters:.1%}" if sums["parameters"] else ""
        lines.append([
            (label, kind, calls),
            output_text(row.shape),
            f"{sums['parameters']:,}{' =' if row.shares else '  '}" if sums["parameters"] or row.shares else "",
            share,
            number_text(sums["flops"]),
            size_text(sums["weights"]),
            size_text(sums["saved"]),
            size_text(sums["optimizer"]),
        ])  # fmt: skip
    return header, lines


def _calls(row: Row) -> str:
    """How often a module runs, unless it is once, as is usual."""
    if row.calls > 1:
        return f" {row.calls} calls"
    return "" if row.calls or row.kind.startswith("=") else " no call"


def table(header: list[str], lines: list[list[Any]]) -> Iterator[str]:
    """Columns as wide as they need to be, the first as wide as the rest leaves it; all but the second to the right."""
    columns = [max(len(str(line[i])) for line in [header, *lines]) for i in range(1, len(header))]
    room = WIDTH - sum(columns) - 2 * len(columns)
    labels = [header[0], *(_label(*line[0], room) for line in lines)]
    first = max(len(label) for label in labels)
    for label, line in zip(labels, [header, *lines], strict=True):
        cells = [f"{line[i + 1]:<{w}}" if i == 0 else f"{line[i + 1]:>{w}}" for i, w in enumerate(columns)]
        yield "  ".join([f"{label:<{first}}", *cells]).rstrip()
        if line is header:
            yield "-" * (first + sum(columns) + 2 * len(columns))


def _label(name: str, kind: str, calls: str, room: int) -> str:
    """A module's name, its class as far as there is room, and its calls."""
    full = f"{name}{kind}{calls}"
    if len(full) <= room:
        return full
    if len(name) + len(calls) > room - 4:
        return f"{name[: max(4, room - len(calls) - 1)]}…{calls}"
    return f"{name}{kind[: room - len(name) - len(calls) - 1]}…{calls}"


def _totals(summary: dict[str, Any], root: Row, optimizer: str) -> Iterator[tuple[str, str]]:
    """What the whole model is and costs, and what to look at in it."""
    sums = root.sums
    tensors = summary["tensors"]
    trainable = summary["modules"][0]["trainable"]
    frozen = sums["parameters"] - trainable
    yield "parameters", f"{sums['parameters']:,}; {trainable:,} trainable, {frozen:,} frozen"
    yield from (("shared =", " = ".join(names)) for names in summary["tied"])
    yield from (("shared =", f"{m['name']} is {m['same_as']}") for m in summary["modules"] if "same_as" in m)
    rows = next(iter(summary["inputs"].values()))[1][0]
    yield "FLOPs", f"{sums['flops']:,} forward, {number_text(sums['flops'] // rows)} a row; a multiply-add is 2"
    if summary["unknown"]:
        yield "not counted", f"{', '.join(summary['unknown'])}: the real number is higher"
    costs = memory(summary, root)
    sizes = {key: size_text(sums[key]) for key in ("weights", "gradients", "optimizer", "saved")}
    alive = f"at most {size_text(summary['peak'])} alive beside"
    yield "inference", f"{size_text(costs['inference'])}: weights {sizes['weights']}, {alive}"
    if costs["training"] is not None:
        yield (
            "training",
            (
                f"{size_text(costs['training'])}: weights {sizes['weights']}, gradients {sizes['gradients']}, "
                f"{optimizer} {sizes['optimizer']}, saved for backward {sizes['saved']}"
            ),
        )
    for kind in tensors:
        yield (
            "types",
            f"{kind['numbers']:,} {kind['dtype']} in {kind['what']} on {kind['device']}, {size_text(kind['bytes'])}",
        )
    kinds = sorted({kind["dtype"] for kind in tensors if kind["floating"]})
    devices = sorted({kind["device"] for kind in tensors})
    if len(kinds) > 1:
        yield "warning", f"mixed types, {' and '.join(kinds)}: such a model fails or casts where they meet"
    if len(devices) > 1:
        yield "warning", f"mixed devices, {' and '.join(devices)}: a forward across them fails"
    idle = [m["name"] for m in summary["modules"] if _is_idle(m, summary["modules"])]
    if idle:
        yield "never called", _some(idle)


def _is_idle(module: dict[str, Any], modules: list[dict[str, Any]]) -> bool:
    """Whether nothing in it runs, while something in its parent does, or the parent is a mere list."""
    name = module["name"]
    if not name or "same_as" in module or module["calls"]:
        return False
    within = [m for m in modules if m["name"].startswith(f"{name}.")]
    above = [m for m in modules if m["name"] and name.startswith(f"{m['name']}.") and "same_as" not in m]
    return not any(m.get("calls") for m in within) and not any(_is_idle(m, modules) for m in above)


def memory(summary: dict[str, Any], root: Row) -> dict[str, Any]:
    """Bytes that inference and training take, as far as they are known."""
    sums = root.sums
    parts = [sums[key] for key in ("weights", "gradients", "optimizer", "saved")]
    training = None if None in parts or not any(parts[1:]) else sum(parts)
    return {"inference": sums["weights"] + summary["peak"], "training": training}


def _unfolded(root: Row, rows: list[tuple[int, Row]]) -> list[tuple[int, str, str]]:
    """Level, label and name of each module whose numbers are shown: every layer, without what is below folded ones."""
    unfolded = []
    folded = None  # the level of a folded row, whose inner rows are left out
    for level, row in rows:
        if folded is not None and level > folded:
            continue
        folded = level if len(row.names) > 1 else None
        for name in row.names:
            label = row.label if len(row.names) == 1 else _numbered(row.label, name)
            unfolded.append((level, label if level else root.kind, name))
    return unfolded


def _numbered(label: str, name: str) -> str:
    return f"{label.rpartition('.')[0]}.{name.rpartition('.')[2]}".lstrip(".")


def _signals(summary: dict[str, Any], modules: list[tuple[int, str, str]]) -> tuple[list[str], list[list[Any]]]:
    """Heading and lines of the table of outputs and gradients."""
    header = ["module", "mean", "std", "largest", "zeros", "gradient"]
    lines = []
    for level, label, name in modules:
        values = summary["signals"].get(name)
        norm = gradient(summary, name)
        if values is None and norm is None:
            continue
        cells = [""] * 4
        if values is not None:
            cells = [value_text(values[key]) or "NaN" for key in ("mean", "std", "max")] + [f"{values['zeros']:.1%}"]
        lines.append([(f"{'  ' * level}{label}", "", ""), *cells, value_text(norm)])
    return header, lines


def gradient(summary: dict[str, Any], name: str) -> float | None:
    """The norm of the gradients of all parameters of a module, None where there is none."""
    prefix = f"{name}." if name else ""
    norms = [n for p, n in summary["gradients"].items() if p.startswith(prefix) and n is not None]
    return sum(n * n for n in norms) ** 0.5 if norms else None


def _step(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The loss of one step, parameters without gradient, first NaN, and dead units.

    Each may explain the one before it: the loss by gradients that are missing or no numbers, those by outputs that
    are none. Dead units come last, as a line for each module follows them.
    """
    if summary["loss"] is not None:
        yield "loss", f"{summary['loss']:.6g} ({summary['loss_from']}), in training mode"
    without = [p for p, n in summary["gradients"].items() if n is None and summary["parameters"][p]["trainable"]]
    if without:
        yield "no gradient", f"{_some(without)}; {NO_GRADIENT}"
    zero = [p for p, n in summary["gradients"].items() if n == 0]
    if zero:
        yield "gradient 0", f"{_some(zero)}; they lie behind weights that are zero, or behind dead units"
    bad = [p for p, n in summary["gradients"].items() if n is not None and not abs(n) < float("inf")]
    if bad:
        yield "gradient NaN", _some(bad)
    odd = [(n or summary["class"], v["nonfinite"]) for n, v in summary["signals"].items() if v["nonfinite"]]
    if odd:  # in the order in which they ended
        more = f", then in {len(odd) - 1} more modules" if len(odd) > 1 else ""
        yield "NaN or inf", f"first in the output of {odd[0][0]} ({odd[0][1]:,} values){more}; look there"
    units = sum(entry["units"] for entry in summary["rectified"])
    dead = [entry for entry in summary["rectified"] if entry["zero"] or entry["constant"]]
    if units:
        count = sum(entry["zero"] + entry["constant"] for entry in dead)
        yield (
            "dead units",
            f"{count:,} of {units:,} behind {_functions(summary)} on this batch" + (":" if dead else ""),
        )
    for entry in sorted(dead, key=lambda e: -(e["zero"] + e["constant"]) / e["units"])[:8]:
        parts = [f"{entry[key]:,} {key}" for key in ("zero", "constant") if entry[key]]
        yield "", f"{entry['module'] or summary['class']}: {', '.join(parts)} of {entry['units']:,}"
    if len(dead) > 8:
        yield "", f"and {len(dead) - 8} more modules"


def _functions(summary: dict[str, Any]) -> str:
    return ", ".join(sorted({entry["function"] for entry in summary["rectified"]}))


def _pairs(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    """A word and what there is to say, wrapped under itself."""
    before = None
    for word, text in pairs:
        column = f"{'' if word == before else word:<14}"
        before = word or before
        yield from textwrap.wrap(text, WIDTH, initial_indent=column, subsequent_indent=" " * 14)


def _some(names: list[str], most: int = 6) -> str:
    """Names, those that differ by a number only as one: "layer.*.attention (12)"."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name), []).append(name)
    parts = [f"{key} ({len(group)})" if len(group) > 1 else group[0] for key, group in groups.items()]
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def _times(shape: list[int]) -> str:
    return "x".join(map(str, shape)) if shape else "one number"


def output_text(shape: list[Any] | None) -> str:
    """The shape of a module's first tensor, and how many more it gives."""
    if shape is None:
        return ""
    return _times(shape[0]) + (f" +{shape[1]}" if shape[1] else "")


def number_text(value: int) -> str:
    """Three digits and a power of 1000.

    >>> number_text(22_350_000_000), number_text(512), number_text(0)
    ('22.4 G', '512', '')
    """
    return _scaled(value, 1000, ("", " k", " M", " G", " T", " P"))


def size_text(value: int | None) -> str:
    """Bytes, with three digits and a power of 1024.

    >>> size_text(1536), size_text(None)
    ('1.50 KiB', '')
    """
    return "" if value is None else _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))


def _scaled(value: int, base: int, units: tuple[str, ...]) -> str:
    if not value:
        return ""
    power = 0
    while value >= 999.5 * base**power and power < len(units) - 1 and value >= base ** (power + 1) * 0.9995:
        power += 1
    scaled = value / base**power
    if power == 0 or scaled >= 99.95:
        return f"{scaled:.0f}{units[power]}"
    return f"{scaled:.{1 if scaled >= 9.995 else 2}f}{units[power]}"


def value_text(value: float | None) -> str:
    """A number in at most nine columns."""
    return "" if value is None else f"{value:.3g}"
