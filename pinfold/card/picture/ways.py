"""Which way the data take between the boxes of a picture: arrows, lines on the right, and what is said in a box.

How it works:
- Boxes stand in columns: one, or two for towers, which read different inputs and nothing of each other.
- An arrow leads from one box to the next one only where the next reads what it gives. Inputs stand above the box that
  reads them, unless an arrow leads to it already.
- What a box reads from elsewhere is a line on the right of the column; from one source there is one line, with a head
  at each box that reads it. A source of many boxes, such as the embedding of a time step, is named in each of them
  instead ("+ Time embed"), and so is what has no line. So nothing that a box reads is left out.

What is drawn may have been written by untrusted code: it is read with care, and never trusted in its size.
"""

import itertools
from dataclasses import dataclass, field

from pinfold.card.picture.text import clean
from pinfold.common.values import as_list

MOST_LANES = 8  # lines beside each other
MOST_HEADS = 3  # boxes that one line leads to; a source of more is named in them
MOST_NAMES = 20  # inputs of one box


@dataclass(frozen=True)
class Way:
    """A line on the right, from a box to others; ``lane`` is its place, counted from the boxes."""

    source: int
    targets: tuple[int, ...]
    lane: int


@dataclass
class Ways:
    """Everything that leads to or from the boxes, which are numbered as the stages are.

    Args:
        towers: two columns side by side; None where there are none. rest: the column of whole width. arrows: from
            one box to the next one. above: inputs with an arrow from above. named: what is said in a box
            of what it reads. lines: on the right of the rest. unread: inputs that no box reads.
    """

    towers: tuple[list[int], list[int]] | None
    rest: list[int]
    arrows: set[tuple[int, int]] = field(default_factory=set)
    above: dict[int, list[str]] = field(default_factory=dict)
    named: dict[int, list[str]] = field(default_factory=dict)
    lines: list[Way] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def leads(self) -> set[int]:
        """Boxes from which an arrow leads to the next one."""
        return {source for source, _ in self.arrows}

    @property
    def lanes(self) -> int:
        return max((way.lane + 1 for way in self.lines), default=0)


def title_of(stage: dict, longest: int = 200) -> str:
    """What a stage is called."""
    return clean(stage.get("title"), longest) or "Part"


def ways_of(parts: list[dict], inputs: list[str]) -> Ways:
    """The ways between stages.

    Args:
        inputs: names of what goes into the model.
    """
    towers = _towers(parts)
    inside = {*towers[0], *towers[1]} if towers else set()
    ways = Ways(towers, [place for place in range(len(parts)) if place not in inside])
    arrows = ways.arrows
    for column in (*(towers or ()), ways.rest):
        arrows |= {(a, b) for a, b in itertools.pairwise(column) if _follows(parts, a, b)}
    if towers:  # both lead down to what reads from them
        arrows |= {(tower[-1], ways.rest[0]) for tower in towers if ways.rest and _reads(parts, ways.rest[0])}
    _place_inputs(ways, parts, inputs, {target for _, target in arrows})
    targets: dict[int, list[int]] = {}
    for place in range(len(parts)):
        for source in _reads(parts, place):
            if (source, place) not in arrows and not _is_between(parts, source, place):
                targets.setdefault(source, []).append(place)
    _divide(ways, parts, targets)
    return ways


def read_by(parts: list[dict], ways: Ways, place: int) -> list[str]:
    """What a box reads besides what the one before it gives, for those who hear the picture."""
    sources = sorted(source for source, target in ways.arrows if target == place and source != place - 1)
    sources += [way.source for way in ways.lines if place in way.targets]
    titles = [title_of(parts[source], 60) for source in sources]
    return [*ways.above.get(place, []), *titles, *ways.named.get(place, [])]


def _reads(parts: list[dict], place: int) -> list[int]:
    """The places of the stages that it reads from; none where no pass was seen."""
    reads = as_list(parts[place].get("reads"))
    return list(dict.fromkeys(n for n in reads if type(n) is int and 0 <= n < len(parts) and n != place))


def _takes(parts: list[dict], place: int) -> list[str]:
    return [str(name) for name in as_list(parts[place].get("takes"))[:MOST_NAMES]]


def _is_seen(stage: dict) -> bool:
    """Whether a pass has shown what it reads: not where there was none, and not of vectors without an operator."""
    return isinstance(stage.get("reads"), list)


def _follows(parts: list[dict], before: int, place: int) -> bool:
    """Whether the way from one box leads to the next; where no pass was seen, by what it is."""
    stage = parts[place]
    if not _is_seen(stage):  # it begins with another input, or takes no part
        return not (stage.get("begins") is True or stage.get("runs") is False)
    sources = _reads(parts, place)
    if before in sources:
        return True
    # vectors that lie between two stages, such as those of positions, are added on the way
    return not _is_seen(parts[before]) and before > 0 and any(_is_between(parts, source, place) for source in sources)


def _is_between(parts: list[dict], source: int, place: int) -> bool:
    """Whether nothing but vectors lies between two stages, through which the arrows lead."""
    between = parts[source + 1 : place]
    return source < place and bool(between) and not any(map(_is_seen, between)) and _is_seen(parts[source])


def _towers(parts: list[dict]) -> tuple[list[int], list[int]] | None:
    """The stages of two towers, before anything reads from both; None where there are none."""
    tower_of: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    inputs: dict[int, set[str]] = {}
    constant: set[int] = set()  # positions, for one, are the same whatever goes in: they belong to what reads them
    for place in range(len(parts)):
        reads, names = [n for n in _reads(parts, place) if n not in constant], set(_takes(parts, place))
        if not reads and not names:
            if _is_seen(parts[place]):
                constant.add(place)
            continue
        sources = {tower_of.get(source, -1) for source in reads}
        sources |= {tower for tower, taken in inputs.items() if names & taken}
        if len(sources) > 1 or -1 in sources:
            break
        tower = sources.pop() if sources else place
        read = sorted(constant.intersection(_reads(parts, place)))
        constant.difference_update(read)
        tower_of |= dict.fromkeys([*read, place], tower)
        members.setdefault(tower, []).extend([*read, place])
        inputs.setdefault(tower, set()).update(names)
    large = [places for places in members.values() if len(places) > 1]
    if len(members) != 2 or len(large) != 2:
        return None
    return large[0], large[1]


def _place_inputs(ways: Ways, parts: list[dict], inputs: list[str], reached: set[int]) -> None:
    """Inputs above the boxes that read them, or named in these, where an arrow leads to them from another box."""
    if not any(_takes(parts, place) for place in range(len(parts))):  # no pass was seen
        ways.above = {0: inputs} if parts else {}
        ways.unread = [] if parts else inputs
        return
    for place in range(len(parts)):
        if names := [name for name in _takes(parts, place) if name in inputs]:
            if place in reached:
                ways.named[place] = names
            else:
                ways.above[place] = names
    taken = {name for place in range(len(parts)) for name in _takes(parts, place)}
    ways.unread = [name for name in inputs if name not in taken]


def _divide(ways: Ways, parts: list[dict], targets: dict[int, list[int]]) -> None:
    """Lines on the right as far as they can be followed with the eye; the other sources are named in the boxes."""
    rest = set(ways.rest)
    drawn: list[tuple[int, tuple[int, ...]]] = []
    for source, places in targets.items():
        whole = source in rest and rest.issuperset(places) and not ways.towers
        if whole and len(places) <= MOST_HEADS and min(places) > source:
            drawn.append((source, tuple(places)))
    busy: list[list[tuple[int, int]]] = []
    for source, heads in sorted(drawn, key=lambda way: (max(way[1]) - way[0], way[0])):
        # one that lies within another is nearer to the boxes
        last = max(heads)
        lane = 0
        for number, held in enumerate(busy):
            if any(source < end and start < last for start, end in held):
                lane = number + 1
        if lane >= MOST_LANES:
            continue
        busy += [[] for _ in range(lane + 1 - len(busy))]
        busy[lane].append((source, last))
        ways.lines.append(Way(source, heads, lane))
    lined = {way.source for way in ways.lines}
    for place in range(len(parts)):
        for source in sorted(source for source, places in targets.items() if place in places and source not in lined):
            ways.named.setdefault(place, []).append(title_of(parts[source]))
