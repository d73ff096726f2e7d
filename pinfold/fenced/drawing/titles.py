"""What a stage of a model is called: the field's words, found from names, classes and places.

Runs inside the fence (inside.py): imports nothing of pinfold, and torch only when it is called.
"""

import re

ORDINARY = {"layer", "layers", "h", "block", "blocks", "stage", "stages", "resblocks", "features", "model", "body"}
HEADS = {
    "lm_head": "Language-model head", "classifier": "Classifier", "fc": "Classifier", "score": "Classifier",
    "qa_outputs": "Question-answering head", "cls": "Head", "logits": "Head", "output_projection": "Head",
}  # fmt: skip


def weighted(module) -> bool:
    return next(module.parameters(), None) is not None


def is_leaf(module) -> bool:
    return next(module.children(), None) is None


def give(reading, pieces: list[dict], found: list[dict]) -> None:
    """A "title" for each stage.

    Args:
        reading: picture_stages.Reading of the model; ``pieces`` are what the stages were made of.
    """
    stacks = [place for place, piece in enumerate(pieces) if piece["stack"]]
    groups: dict[tuple, list] = {}
    for place in stacks:
        groups.setdefault((_trunk(pieces[place]["path"]), found[place]["class"]), []).append(place)
    for place, (piece, stage) in enumerate(zip(pieces, found, strict=True)):
        if not piece["stack"]:
            stage["title"] = _part_title(reading, piece, stage, bool(stacks) and place > stacks[-1])
            continue
        stage["title"] = _stack_title(piece, stage)
        row = groups[_trunk(piece["path"]), stage["class"]]
        if len(row) > 1 and len({found[other]["name"] for other in row}) > 1:
            stage["title"] = f"Stage {row.index(place) + 1}"
        if len(stage["name"]) > len(piece["path"]):  # a part of one list
            places = stage["name"][len(piece["path"]) + 1 :].replace("-", "\u2013")
            stage["title"] = f"Layer{'s' if stage['depth'] > 1 else ''} {places}"


def _trunk(path: str) -> str:
    """A path without its numbers: layer1 and layer2 have the same, and stages.0.blocks and stages.1.blocks."""
    return re.sub(r"\d+", "", path)


def _stack_title(piece: dict, stage: dict) -> str:
    path, last = piece["path"].lower(), piece["path"].rpartition(".")[2]
    plain = re.sub(r"\d+$", "", last.lower()).strip("_")
    words = f"{path} {stage['class'].lower()}"
    base = next((w.capitalize() for w in ("decoder", "encoder") if w in path), None)
    base = base or next((w.capitalize() for w in ("decoder", "encoder") if w in words), None)
    kind = next(
        (w.capitalize() for w in ("vision", "audio", "text") if w in path.split(".")[0:3] or f"{w}_" in path), ""
    )
    if base:
        title = f"{kind} {base.lower()}" if kind else base
        return f"{title} layers" if stage["depth"] > 1 else f"{title} layer"
    if plain in ORDINARY or not plain:
        return "Layers" if stage["depth"] > 1 else "Layer"
    return _spoken(last)


def _part_title(reading, piece: dict, stage: dict, behind: bool) -> str:
    if piece.get("more"):
        return f"{piece['more']} more parts"
    if not piece["names"]:
        return _spoken(piece["own"][0]) if len(piece["own"]) == 1 else "Learned vectors"
    from torch import nn

    modules = [reading.modules[name] for name in piece["names"]]
    leaves = [part for module in modules for part in module.modules() if is_leaf(part)]
    holders = [part for part in leaves if weighted(part)]
    last, kind = piece["path"].rpartition(".")[2], stage["class"].lower()
    name = last.lower()
    convolutions = [part for part in holders if hasattr(part, "kernel_size") and hasattr(part, "stride")]
    embeds = any(isinstance(part, nn.Embedding) for part in holders) and "head" not in kind
    if piece.get("front") or embeds or ("embed" in name + kind and not isinstance(modules[0], nn.Linear)):
        if convolutions:
            patches = all(part.kernel_size == part.stride for part in convolutions)
            return "Patch embeddings" if patches else "Stem"
        places = re.fullmatch(r"(wpe|pos\w*|\w*position\w*)", name) and not piece.get("front")
        return "Position embeddings" if places else "Embeddings" if embeds or "embed" in name + kind else "Stem"
    if isinstance(modules[0], nn.RNNBase):
        return type(modules[0]).__name__
    if "pool" in name or "pool" in kind:
        return "Pooler" if stage["parameters"] else "Pooling"
    if holders and all("norm" in type(part).__name__.lower() for part in holders):
        return "Final norm" if behind else "Norm"
    if "lm_head" in name or "lmhead" in kind or "mlmhead" in kind or (behind and _gives_words(reading, leaves, stage)):
        return HEADS["lm_head"]
    if name in HEADS or name.endswith("_head") or name == "head" or "head" in kind:
        plural = "Heads" if kind.endswith("heads") else "Head"
        return _spoken(last) if name.endswith("_head") and name not in HEADS else HEADS.get(name, plural)
    return "Stem" if "stem" in name else _spoken(last)


def _gives_words(reading, leaves: list, stage: dict) -> bool:
    """Whether what comes out are scores of a layer whose weight is that of the embeddings."""
    tied = [p for part in leaves for p in part.parameters(recurse=False) if len(reading.names[id(p)]) > 1]
    return any(p.dim() > 1 and p.shape[0] == stage["width"] for p in tied)


def _spoken(name: str) -> str:
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").strip()
    return text[:1].upper() + text[1:]
