"""What a stage of a model is called: the field's words, found from names, classes and places. No torch at import."""

import re
from collections.abc import Callable

ORDINARY = {"layer", "layers", "h", "block", "blocks", "stage", "stages", "resblocks", "features", "model", "body"}
GENERIC = re.compile(r"net|seq|sequential|main|module|modules|list|\d+")  # names of parts that say nothing
HEADS = {
    "lm_head": "Language-model head", "classifier": "Classifier", "fc": "Classifier", "score": "Classifier",
    "qa_outputs": "Question-answering head", "cls": "Head", "logits": "Head", "output_projection": "Head",
}  # fmt: skip


def weighted(module) -> bool:
    return next(module.parameters(), None) is not None


def is_leaf(module) -> bool:
    return next(module.children(), None) is None


def give_titles(reading, pieces: list[dict], stages: list[dict]) -> None:
    """A "title" for each stage, and whether what is called so "begins": it reads an input of its own.

    Args:
        reading: stages.Reading of the model; ``pieces`` are what the stages were made of.
    """
    stacks = [place for place, piece in enumerate(pieces) if piece["stack"]]
    groups: dict[tuple, list] = {}
    for place in stacks:
        groups.setdefault((_trunk(pieces[place]["path"]), stages[place]["class"]), []).append(place)
    rows = {trunk for (trunk, _), row in groups.items() if len(row) > 1}
    for place, (piece, stage) in enumerate(zip(pieces, stages, strict=True)):
        if not piece["stack"]:
            stage["title"] = _part_title(reading, piece, stage, bool(stacks) and place > stacks[-1])
            continue
        stage["title"] = _stack_title(piece, stage)
        row = groups[_trunk(piece["path"]), stage["class"]]
        if len(row) > 1 and len({stages[other]["name"] for other in row}) > 1:
            stage["title"] = f"Stage {row.index(place) + 1}"
            if len(rows) > 1 and (named := _telling(piece["path"])):  # the way down and the way up, for one
                stage["title"] = f"{_spoken(named)}, stage {row.index(place) + 1}"
        if len(stage["name"]) > len(piece["path"]):  # a part of one list
            places = stage["name"][len(piece["path"]) + 1 :].replace("-", "\u2013")
            stage["title"] = f"Layer{'s' if stage['depth'] > 1 else ''} {places}"
            last = piece["path"].rpartition(".")[2].lower()
            if GENERIC.fullmatch(last):
                leaves = reading.modules[piece["names"][0]].modules()
                named = stage["class"] if stage["class"].isidentifier() else ""
                if named in ("", "Sequential"):  # what it begins with says more
                    named = next((type(part).__name__ for part in leaves if is_leaf(part) and weighted(part)), "Part")
                stage["title"] = f"{named}, {stage['title'].lower()}"
            elif last not in ORDINARY and not GENERIC.fullmatch(last):
                stage["title"] = f"{_spoken(piece['path'].rpartition('.')[2])}, {stage['title'].lower()}"
    for stage in stages:  # embeddings of positions are added to what comes before them
        stage["begins"] = "embeddings" in stage["title"].lower() and not stage["title"].startswith("Position")


def _telling(path: str) -> str:
    """The last part of a path that says something."""
    parts = [part for part in path.split(".") if not GENERIC.fullmatch(part.lower()) and part.lower() not in ORDINARY]
    return parts[-1] if parts else ""


def _trunk(path: str) -> str:
    """A path without its numbers: layer1 and layer2 have the same, and stages.0.blocks and stages.1.blocks."""
    return re.sub(r"\d+", "", path)


def _stack_title(piece: dict, stage: dict) -> str:
    path, last = piece["path"].lower(), piece["path"].rpartition(".")[2]
    unnumbered = re.sub(r"\d+$", "", last.lower()).strip("_")
    side = _first_in(("decoder", "encoder"), path) or _first_in(("decoder", "encoder"), stage["class"].lower())
    kinds = (w for w in ("vision", "audio", "text") if w in path.split(".")[:3] or f"{w}_" in path)
    if side:
        title = f"{next(kinds, '')} {side}".strip().capitalize()
        return f"{title} layers" if stage["depth"] > 1 else f"{title} layer"
    if unnumbered in ORDINARY or not unnumbered:
        return "Layers" if stage["depth"] > 1 else "Layer"
    if GENERIC.fullmatch(last.lower()):
        return _spoken(_telling(path) or ("Layers" if stage["depth"] > 1 else "Layer"))
    return _spoken(last)


def _first_in(words: tuple[str, ...], text: str) -> str | None:
    return next((word for word in words if word in text), None)


def _part_title(reading, piece: dict, stage: dict, behind: bool) -> str:
    """The title of what is not a stack. ``behind``: it comes after the last stack."""
    if piece.get("more"):
        return f"{piece['more']} more parts"
    if not piece["names"]:
        return _spoken(piece["own"][0]) if len(piece["own"]) == 1 else "Learned vectors"
    part = Part(reading, piece, stage, behind)
    title = next(title for applies, title in TITLES if applies(part))
    return title if isinstance(title, str) else title(part)


class Part:
    """What is known of a stage that is not a stack, to find its title."""

    def __init__(self, reading, piece: dict, stage: dict, behind: bool):
        from torch import nn

        self.reading, self.stage, self.behind = reading, stage, behind
        modules = [reading.modules[name] for name in piece["names"]]
        self.first = modules[0]
        self.leaves = [leaf for module in modules for leaf in module.modules() if is_leaf(leaf)]
        self.holders = [leaf for leaf in self.leaves if weighted(leaf)]  # those with parameters
        self.path = piece["path"]
        self.spelled = self.path.rpartition(".")[2]
        self.name, self.kind = self.spelled.lower(), stage["class"].lower()
        self.convolutions = [leaf for leaf in self.holders if hasattr(leaf, "kernel_size") and hasattr(leaf, "stride")]
        self.is_front = bool(piece.get("front"))
        self.is_recurrent = isinstance(self.first, nn.RNNBase)
        looks_up = any(isinstance(leaf, nn.Embedding) for leaf in self.holders) and "head" not in self.kind
        named_so = re.search(r"(^|_)emb(s|$)", self.name) is not None
        self.embeds = looks_up or named_so or "embed" in self.name + self.kind
        # a linear layer that is named after embeddings reads them
        self.leads = self.is_front or looks_up or (self.embeds and not isinstance(self.first, nn.Linear))

    def makes_patches(self) -> bool:
        return bool(self.convolutions) and all(leaf.kernel_size == leaf.stride for leaf in self.convolutions)

    def is_positions(self) -> bool:
        return bool(re.fullmatch(r"(wpe|pos\w*|\w*position\w*)", self.name)) and not self.is_front

    def pools(self) -> bool:
        return "pool" in self.name or "pool" in self.kind

    def normalises(self) -> bool:
        return bool(self.holders) and all("norm" in type(leaf).__name__.lower() for leaf in self.holders)

    def gives_words(self) -> bool:
        named = "lm_head" in self.name or "lmhead" in self.kind or "mlmhead" in self.kind
        return named or (self.behind and _gives_words(self.reading, self.leaves, self.stage))

    def is_head(self) -> bool:
        return self.name == "head" or "head" in self.kind


# The first line that applies gives the title. The order decides where several do: what a layer does at the start of a
# model comes before its name, and what its class is before what it is called.
TITLES: list[tuple[Callable[[Part], bool], str | Callable[[Part], str]]] = [
    (lambda part: part.leads and part.makes_patches(), "Patch embeddings"),
    (lambda part: part.leads and bool(part.convolutions), "Stem"),
    (lambda part: part.leads and part.is_positions(), "Position embeddings"),
    (lambda part: part.leads and part.embeds, "Embeddings"),
    (lambda part: part.leads, "Stem"),
    (lambda part: part.is_recurrent, lambda part: type(part.first).__name__),
    (lambda part: part.pools() and part.stage["parameters"], "Pooler"),
    (lambda part: part.pools(), "Pooling"),
    (lambda part: part.normalises() and part.behind, "Final norm"),
    (lambda part: part.normalises(), "Norm"),
    (lambda part: part.gives_words(), HEADS["lm_head"]),
    (lambda part: part.name in HEADS, lambda part: HEADS[part.name]),
    (lambda part: part.name.endswith("_head"), lambda part: _spoken(part.spelled)),
    (lambda part: part.is_head() and part.kind.endswith("heads"), "Heads"),
    (lambda part: part.is_head(), "Head"),
    (lambda part: "stem" in part.name, "Stem"),
    (lambda part: GENERIC.fullmatch(part.name) is not None, lambda part: _unnamed(part)),
    (lambda part: True, lambda part: _spoken(part.spelled)),
]


def _unnamed(part: Part) -> str:
    """A part that has a number, or a name that says nothing: its parent's name and its class."""
    parent = _telling(part.path.rpartition(".")[0])
    cls = type(part.first).__name__
    return f"{_spoken(parent)}, {cls}" if parent else cls


def _gives_words(reading, leaves: list, stage: dict) -> bool:
    """Whether what comes out are scores of a layer whose weight is that of the embeddings."""
    tied = [p for part in leaves for p in part.parameters(recurse=False) if len(reading.names[id(p)]) > 1]
    return any(p.dim() > 1 and p.shape[0] == stage["width"] for p in tied)


def _spoken(name: str) -> str:
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").strip()
    return text[:1].upper() + text[1:]
