"""The stages of a model, in the order in which they run, as plain data from which its architecture is drawn.

How it works:
- The tree of modules is opened as far as there are stacks of blocks in it; what holds no stack is one stage.
- A stack of equal blocks is one stage with a depth; where their class, a part of them or the output's shape changes, a
  new one begins. Small layers in front of the first stack are its stem or its embeddings.
- Each parameter counts where it has its first name, so that what is tied counts once and the shares sum to 1.
- Shapes, calls and FLOPs are those of a pass that was seen (observe.py); without one, stages are drawn without them.

Nothing imports torch before it is called.
"""

import itertools
import re
from collections import Counter

from . import attention_rules
from .titles import give_titles, is_leaf, weighted

MOST = 16  # stages: what is more is not read as one picture
RUNS = 6  # stages that one stack may become
PLAIN = re.compile(
    r"conv|norm|pool|embed|dropout|identity|relu|gelu|silu|swish|mish|sigmoid|tanh|pad|unfold|flatten", re.IGNORECASE
)


def stages(model, seen: dict | None = None, inputs: dict | None = None) -> dict:
    """What picture.draw draws.

    Args:
        model: a torch.nn.Module on any device, meta included.
        seen: what observe.passing gave for it; None where its forward could not be run.
        inputs: of that pass, name -> tensor.

    Returns:
        "class", "parameters", "flops" (None where unknown) and "inputs" (name -> shape) of the model; "batch", the
        rows of that pass; "stages", each with "name" in the model, "title", "class", "depth", "width", "shape"
        ("batch" is the number of rows), "parameters", "share", "flops", "flops_share", "note", "start" (its first
        layer's place in its stack), "attention" (for each layer, which of "kinds" it has) and "kinds"
        (attention_rules.py); "reads" (places of the stages that it reads from) and "takes" (names of inputs), both
        None where no pass was seen; "runs", False where the pass left it out; "begins", True where it reads an input
        of its own by what it is called, which is asked where no pass was seen.
    """
    reading = Reading(model, seen or {}, inputs or {})
    pieces = _in_order(reading, _opened(reading, "", model))
    pieces = _fitted(_with_stem(reading, pieces))
    drawn: list[dict] = []
    for piece in pieces:
        drawn.append(_stage(reading, piece, drawn[-1]["width"] if drawn else None))
    # after all stages, since a title depends on those beside it
    give_titles(reading, pieces, drawn)
    _give_ways(reading, pieces, drawn)
    if left := reading.total - sum(stage["parameters"] for stage in drawn):
        drawn.append({**_EMPTY, "title": "Other parameters", "parameters": left})
    total, flops = reading.total, reading.flops("")
    for stage in drawn:
        stage["share"] = stage["parameters"] / total if total else 0.0
        stage["flops_share"] = stage["flops"] / flops if flops and stage["flops"] is not None else None
    return {
        "class": type(model).__name__, "parameters": total, "flops": flops,
        "inputs": {name: reading.symbols(list(t.shape)) for name, t in (inputs or {}).items() if hasattr(t, "shape")},
        "batch": reading.batch, "stages": drawn,
    }  # fmt: skip


_EMPTY = {
    "name": "", "title": "", "class": "", "depth": 1, "width": None, "shape": None, "parameters": 0, "share": 0.0,
    "flops": None, "flops_share": None, "note": "", "start": 0, "attention": [], "kinds": [],
    "reads": None, "takes": None, "runs": True, "begins": False,
}  # fmt: skip


def _give_ways(reading: "Reading", pieces: list[dict], drawn: list[dict]) -> None:
    """From which stages and inputs each one reads."""
    flow = reading.seen.get("flow")
    if flow is None:
        return
    owners = {reading.first[id(reading.modules[name])]: place for place, p in enumerate(pieces) for name in p["names"]}

    def stage_of(module: str) -> int | None:
        while module and module not in owners:
            module = module.rpartition(".")[0]
        return owners.get(module)

    pairs, takes = flow.ways(stage_of)
    if not pairs and not takes:  # a pass too long to be followed: nothing is known, and not that nothing is read
        return
    for place, stage in enumerate(drawn):
        if pieces[place]["names"]:
            stage["reads"] = sorted(source for source, target in pairs if target == place)
            stage["takes"] = sorted(takes.get(place, ()))


class Reading:
    """A model with what was seen of it, asked by names of modules."""

    def __init__(self, model, seen: dict, inputs: dict):
        self.model = model
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.first = {id(module): name for name, module in model.named_modules()}
        self.own = Counter()
        for name, parameter in model.named_parameters():
            self.own[name.rpartition(".")[0]] += parameter.numel()
        self.names: dict[int, list] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self.names.setdefault(id(parameter), []).append(name)
        self.total = sum(self.own.values())
        self.seen = seen
        self.order = {name: place for place, name in enumerate(seen.get("calls") or {})}
        rows = [t.shape[0] for t in inputs.values() if getattr(t, "shape", ())]
        shape = (self.seen.get("shapes") or {}).get("", [[]])[0]
        self.batch = rows[0] if rows else shape[0] if shape else None

    def parameters(self, name: str) -> int:
        inside = f"{name}." if name else ""
        return sum(n for owner, n in self.own.items() if owner == name or owner.startswith(inside))

    def called(self, name: str) -> list[str]:
        """What has run in a module, itself included, in that order."""
        name = self.first[id(self.modules[name])]
        inside = f"{name}." if name else ""
        return sorted((n for n in self.order if n == name or n.startswith(inside)), key=self.order.get)

    def flops(self, name: str) -> int | None:
        if not self.seen.get("flops"):
            return None
        return self.seen["flops"].get(self.first[id(self.modules[name])], 0)

    def calls(self, name: str) -> int:
        return (self.seen.get("calls") or {}).get(self.first[id(self.modules[name])], 0)

    def shape(self, name: str) -> list | None:
        """Of a module's output; of what ran last in it, where it is not called itself."""
        shapes = self.seen.get("shapes") or {}
        own = self.first[id(self.modules[name])]
        ran = [own] if own in shapes else [n for n in self.called(name) if n in shapes][-1:]
        return list(shapes[ran[0]][0]) if ran else None

    def symbols(self, shape: list | None) -> list | None:
        """A shape with "batch" in the place of the rows: the first, or the second where steps come first."""
        shape = shape and list(shape)
        for place in range(min(2, len(shape or ()))):
            if shape[place] == self.batch:
                shape[place] = "batch"
                break
        return shape


def _join(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")


def _is_stack(module) -> bool:
    """Whether it is a list of blocks: of one class at least twice in a row, or of one block that has parts."""
    from torch import nn

    if not isinstance(module, (nn.ModuleList, nn.Sequential)):
        return False
    blocks = [block for block in module.children() if weighted(block)]
    if len(blocks) == 1 or isinstance(module, nn.ModuleList):
        return any(not is_leaf(block) for block in blocks) or (len(blocks) > 1 and len(set(map(type, blocks))) == 1)
    return any(type(a) is type(b) for a, b in itertools.pairwise(blocks))


def _has_stack(module) -> bool:
    return any(_is_stack(part) for part in module.modules() if part is not module)


def _is_row_of_stages(module) -> bool:
    """Whether the items of a stack are stages themselves: each holds a stack, and no two are of one size."""
    items = [item for item in module.children() if weighted(item)]
    sizes = {sum(p.numel() for p in item.parameters()) for item in items}
    return 2 <= len(items) <= 8 and len(sizes) == len(items) and all(map(_has_stack, items))


def _opened(reading: Reading, path: str, module, known: set | None = None) -> list[dict]:
    """A module's pieces: {"names": what they consist of, "stack": whether these are blocks, "path"}."""
    known = set() if known is None else known
    pieces = []
    own = [n for n, p in module.named_parameters(recurse=False) if reading.names[id(p)][0] == _join(path, n)]
    if own:
        pieces.append({"names": [], "stack": False, "path": path, "own": own})
    children = [(n, c) for n, c in module.named_children() if reading.first[id(c)] == _join(path, n)]
    heavy = [child for _, child in children if weighted(child)]
    for name, child in children:
        full = _join(path, name)
        if _is_stack(child) and not _is_row_of_stages(child):
            pieces += _runs(reading, full, child)
        elif _is_stack(child) or _has_stack(child) or (len(heavy) == 1 and weighted(child) and not is_leaf(child)):
            pieces += _opened(reading, full, child, known)
        elif weighted(child) or "pool" in type(child).__name__.lower() or reading.flops(full):
            pieces.append({"names": [full], "stack": False, "path": full})
    return pieces


def _runs(reading: Reading, path: str, module) -> list[dict]:
    """A stack, divided where the class of the blocks, that of a part of them, or the output's shape changes."""
    items = [(_join(path, n), c) for n, c in module.named_children() if weighted(c)]
    runs, before, known = [], None, {}
    for place, (name, block) in enumerate(items):
        key, parts = (type(block), reading.shape(name)), _parts(block)
        if key != before or any(known[part] is not parts[part] for part in known.keys() & parts.keys()):
            runs.append({"names": [], "stack": True, "path": path, "start": place, "of": len(items)})
            before, known = key, {}
        known |= parts
        runs[-1]["names"].append(name)
    if len(runs) > RUNS:
        names = [name for name, _ in items]
        runs = [{"names": names, "stack": True, "path": path, "start": 0, "of": len(items)}]
    return runs


def _parts(block) -> dict[str, type]:
    """Classes of what is in a block; kinds of attention are read layer by layer instead (attention_rules.py)."""
    inside = ((name, part) for name, part in block.named_modules() if name and weighted(part))
    return {name: type(part) for name, part in inside if not attention_rules.NAMES.search(type(part).__name__)}


def _in_order(reading: Reading, pieces: list[dict]) -> list[dict]:
    """As they ran; what did not run stays behind its neighbour."""
    places, last = [], -1
    for piece in pieces:
        ran = [reading.order[n] for name in piece["names"] for n in reading.called(name)[:1]]
        last = min(ran, default=last)
        places.append(last)
    return [piece for _, piece in sorted(zip(places, pieces, strict=True), key=lambda pair: pair[0])]


def _with_stem(reading: Reading, pieces: list[dict]) -> list[dict]:
    """Layers in front of the first stack become one piece, as far as they are small ones."""
    first = next((place for place, piece in enumerate(pieces) if piece["stack"]), 0)
    start = next((place for place, piece in enumerate(pieces) if piece["names"]), 0)
    parent = pieces[start]["path"].rpartition(".")[0] if pieces else ""
    start -= sum(piece["path"] == parent for piece in pieces[:start])  # vectors such as those of positions
    end = start
    while end < first and _is_small(reading, pieces[end], parent):
        end += 1
    if end - start < 2:
        return pieces
    lead = pieces[start:end]
    front = {"names": [n for p in lead for n in p["names"]], "stack": False, "front": True}
    front |= {"path": next(p["path"] for p in lead if p["names"]), "own": [n for p in lead for n in p.get("own", ())]}
    front["owners"] = [p["path"] for p in lead if p.get("own")]
    return [*pieces[:start], front, *pieces[end:]]


def _is_small(reading: Reading, piece: dict, parent: str) -> bool:
    """Whether a piece is of nothing but the usual small layers, or of vectors, and lies directly in ``parent``."""
    leaves = [part for name in piece["names"] for part in reading.modules[name].modules() if is_leaf(part)]
    beside = piece["path"].rpartition(".")[0] == parent if piece["names"] else piece["path"] == parent
    return beside and all(PLAIN.search(type(part).__name__) for part in leaves)


def _fitted(pieces: list[dict]) -> list[dict]:
    """No more than can be read: the rest, in front of the last one, is one piece."""
    if len(pieces) <= MOST:
        return pieces
    rest = pieces[MOST - 2 : -1]
    one = {"names": [n for p in rest for n in p["names"]], "stack": False, "path": rest[0]["path"]}
    one |= {"own": [n for p in rest for n in p.get("own", ())], "more": len(rest)}
    one["owners"] = [owner for p in rest for owner in p.get("owners", [p["path"]] if p.get("own") else [])]
    return [*pieces[: MOST - 2], one, pieces[-1]]


def _stage(reading: Reading, piece: dict, before: int | None) -> dict:
    """The numbers of a piece, behind one whose width is ``before``."""
    names, blocks = piece["names"], [reading.modules[name] for name in piece["names"]]
    owners = piece.get("owners", [piece["path"]] if piece.get("own") else [])
    numbers = sum(map(reading.parameters, names)) + sum(reading.own[owner] for owner in owners)
    ran = [n for name in names for n in [reading.shape(name)] if n]
    rows = [shape for shape in ran if reading.batch in shape[:2]]  # positions, for one, are the same for all rows
    shape = (rows or ran or [None])[-1]
    classes = Counter(type(block).__name__ for block in blocks)
    flops = [reading.flops(name) for name in names]
    stage = {
        **_EMPTY, "name": piece["path"], "class": _classes(classes, piece["stack"]), "start": piece.get("start", 0),
        "depth": len(names) if piece["stack"] else 1, "width": _width(blocks, shape, before),
        "shape": reading.symbols(shape), "parameters": numbers,
        "flops": None if None in flops or not flops else sum(flops),
    }  # fmt: skip
    if not names:
        stage["class"] = ", ".join(piece["own"])
    if piece["stack"] and len(names) < piece["of"]:
        last = piece["start"] + len(names) - 1
        stage["name"] = f"{piece['path']}.{piece['start']}" + (f"-{last}" if len(names) > 1 else "")
    if piece["stack"]:
        stage |= attention_rules.kinds_of_layers(reading.model, piece["path"], blocks, piece["start"], piece["of"])
    stage["note"] = "; ".join(filter(None, [stage["note"], *_notes(reading, piece, stage)]))
    return stage


def _classes(classes: Counter, counted: bool) -> str:
    """Two of them at the most, with their numbers where several kinds of block are one stack."""
    if counted and len(classes) > 1:
        return ", ".join(f"{number} {name}" for name, number in classes.most_common(2))
    return ", ".join(name for name, _ in classes.most_common(2))


def _notes(reading: Reading, piece: dict, stage: dict) -> list[str]:
    from torch import nn

    notes: list[str] = []
    names = piece["names"]
    recurrent = [reading.modules[name] for name in names if isinstance(reading.modules[name], nn.RNNBase)]
    if len(recurrent) == len(names) == 1:
        stage["depth"] = recurrent[0].num_layers
    inside = [m for name in names for m in reading.modules[name].modules() if isinstance(m, nn.RNNBase)]
    if any(part.bidirectional for part in inside):
        notes.append("both directions")
    calls = max(map(reading.calls, names), default=0)
    if calls > 1:
        notes.append(f"runs {calls} times")
    if names and reading.order and not any(reading.called(name) for name in names) and stage["parameters"]:
        stage["runs"] = False
        notes.append("does not run with these inputs")
    if other := _tied(reading, names):
        notes.append(f"shares a weight with {other}")
    return notes


def _tied(reading: Reading, names: list[str]) -> str:
    """Where a weight of these modules has its first name, if that is elsewhere."""

    def inside(parameter: str) -> bool:
        return any(parameter.startswith(f"{name}.") for name in names)

    for first, *others in reading.names.values():
        if not inside(first) and any(map(inside, others)):
            return first.rpartition(".")[0].rpartition(".")[2] or first
    return ""


def _width(blocks: list, shape: list | None, before: int | None) -> int | None:
    """Channels or features of what comes out: the layers know them, and the output says on which axis they lie."""
    known = [n for block in blocks[-1:] for part in block.modules() for n in [_out(part)] if n]
    known = known or [n for n in [before] if n]  # pooling changes no width
    if shape and len(shape) > 1:
        axes = (-1, 1) if len(shape) < 4 else (1, -1)
        return next((shape[axis] for axis in axes if shape[axis] in known), shape[axes[0]])
    return known[-1] if known else None


def _out(part) -> int | None:
    """Features that a layer gives."""
    for name in ("out_channels", "out_features", "embedding_dim", "num_features"):
        if type(value := getattr(part, name, None)) is int:
            return value
    if type(value := getattr(part, "hidden_size", None)) is int and hasattr(part, "bidirectional"):
        return (getattr(part, "proj_size", 0) or value) * (2 if part.bidirectional else 1)
    return None
