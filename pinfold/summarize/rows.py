"""The modules of a model as rows of a table: lists joined with what they hold, equal neighbours in one row."""

from dataclasses import dataclass, field, replace
from typing import Any

ROWS = 34  # what fits on a screen
SUMS = ("parameters", "flops", "weights", "saved", "gradients", "optimizer")


@dataclass
class Row:
    """One module, or several neighbours that are equal in everything that is counted.

    Args:
        label: its name from the row above it on; "layer.0-11" are twelve.
        names: the modules, in order.
        sums: what is counted, over all of them; "saved" is None where it is not known.
    """

    label: str
    names: list[str]
    kind: str
    calls: int
    shape: list[Any] | None
    shares: bool
    sums: dict[str, Any]
    rows: list["Row"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The module's name, or the first one's."""
        return self.names[0]


def tree(modules: list[dict[str, Any]]) -> Row:
    """The model's own row, with all others below it."""
    below: dict[str, list[dict[str, Any]]] = {}
    for module in modules:
        if module["name"]:
            below.setdefault(module["name"].rpartition(".")[0], []).append(module)
    return _row(modules[0], "", below)


def _row(module: dict[str, Any], label: str, below: dict[str, Any]) -> Row:
    if "same_as" in module:
        sums = dict.fromkeys(SUMS, 0)
        return Row(label, [module["name"]], f"= {module['same_as']}", 0, None, True, sums)
    sums = {key: module[key] for key in SUMS}
    row = Row(label, [module["name"]], module["class"], module["calls"], module["shape"], module["shares"], sums)
    row.rows = _children(module["name"], "", below)
    return row


def _children(name: str, label: str, below: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for module in below.get(name, []):
        own = f"{label}{module['name'].rpartition('.')[2]}"
        if "same_as" not in module and not module["calls"] and not module["own"] and module["name"] in below:
            rows += _children(module["name"], f"{own}.", below)  # a list of modules, which is never called
        else:
            rows.append(_row(module, own, below))
    return _folded(rows)


def _folded(rows: list[Row]) -> list[Row]:
    """Equal neighbours, numbered one after the other, become one row."""
    groups: list[list[Row]] = []
    for row in rows:
        group = groups[-1] if groups else None
        if group and _follows(group[-1], row) and _looks(group[-1]) == _looks(row):
            group.append(row)
        else:
            groups.append([row])
    return [_sum(group) if len(group) > 1 else group[0] for group in groups]


def _follows(a: Row, b: Row) -> bool:
    prefix, _, number = a.label.rpartition(".")
    next_prefix, _, next_number = b.label.rpartition(".")
    numbered = number.isdecimal() and next_number.isdecimal()
    return numbered and prefix == next_prefix and int(next_number) == int(number) + 1


def _looks(row: Row) -> tuple[Any, ...]:
    """What equal neighbours have in common; the first may save for backward what all of them use."""
    inner = [(below.label, _looks(below)) for below in row.rows]
    sums = [row.sums[key] for key in SUMS if key != "saved"]
    return row.kind, row.calls, str(row.shape), row.shares, str(sums), str(inner)


def _sum(group: list[Row], within: bool = False) -> Row:
    first = group[0]
    last = group[-1]
    label = first.label if within else f"{first.label}-{last.label.rpartition('.')[2]}"
    sums = {key: None if first.sums[key] is None else sum(row.sums[key] for row in group) for key in SUMS}
    names = [name for row in group for name in row.names]
    row = Row(label, names, first.kind, first.calls, first.shape, first.shares, sums)
    row.rows = [_sum(list(same), within=True) for same in zip(*(each.rows for each in group), strict=True)]
    return row


def to_depth(row: Row, depth: int, level: int = 0) -> list[tuple[int, Row]]:
    """Rows with their levels, the model's own first at level 0."""
    rows = [(level, row)]
    if level < depth:
        rows += [pair for below in row.rows for pair in to_depth(below, depth, level + 1)]
    return rows


def visible_rows(row: Row, depth: int | None) -> list[tuple[int, Row]]:
    """Rows to a depth, by default the deepest that fits on a screen."""
    if depth is not None:
        return to_depth(row, depth)
    chosen = to_depth(row, 1)
    for deeper in range(2, 30):
        rows = to_depth(row, deeper)
        if len(rows) > ROWS or len(rows) == len(chosen):
            break
        chosen = rows
    return chosen


def parts(row: Row, least: int = 4, most: int = 14) -> list[Row]:
    """A few rows that make up the model: its children, the heaviest of them opened while they are too few.

    At most ``most`` of them, the heaviest; in the model's order.
    """
    chosen = [below for below in row.rows if below.sums["parameters"] or below.sums["flops"]] or [row]
    while len(chosen) < least:
        heavy = max((r for r in chosen if len(r.rows) > 0), key=_weight, default=None)
        inner = [r for r in heavy.rows if r.sums["parameters"] or r.sums["flops"]] if heavy else []
        if heavy is None or not inner or len(chosen) + len(inner) - 1 > most:
            break
        at = next(i for i, each in enumerate(chosen) if each is heavy)
        chosen[at : at + 1] = [replace(each, label=f"{heavy.label}.{each.label}") for each in inner]
    heaviest = sorted(chosen, key=_weight, reverse=True)[:most]
    return [each for each in chosen if any(each is other for other in heaviest)]


def _weight(row: Row) -> tuple[float, float]:
    return row.sums["parameters"] + row.sums["flops"] / 1e3, row.sums["flops"]
