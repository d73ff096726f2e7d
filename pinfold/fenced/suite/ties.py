"""Weights that are one tensor, and embeddings that users ask for, exchange and resize."""

from ..values import describe
from . import outputs, saving
from .batches import can_generate
from .outputs import listed
from .subject import Failed, Left, Subject

MORE = 7  # tokens that are added


def declared(model) -> set:
    """Names that _tied_weights_keys gives away; patterns are matched."""
    import re

    keys = getattr(model, "all_tied_weights_keys", None)
    if keys is None:
        keys = getattr(model, "_tied_weights_keys", None)
    if not keys:
        return set()
    names = [*keys, *keys.values()] if isinstance(keys, dict) else list(keys)
    state = set(model.state_dict())
    return {name for name in state if any(re.search(pattern, name) for pattern in names)}


def ends(model) -> tuple:
    """Input and output embeddings, None where there are none."""
    found = []
    for get in (model.get_input_embeddings, model.get_output_embeddings):
        try:
            found.append(get())
        except (NotImplementedError, AttributeError):  # transformers raises one or the other, by release
            found.append(None)
    return tuple(found)


def groups(model) -> list:
    return sorted(sorted(group) for group in saving.shared(model))


def ties(it: Subject) -> str:
    """Without it a tied head comes back random, or is saved and trained twice."""
    model = it.model()
    shared, told = groups(model), declared(model)
    flag = getattr(model.config, "tie_word_embeddings", False)
    source, target = ends(model)
    weights = [getattr(each, "weight", None) for each in (source, target)]
    alike = flag and None not in (weights[0], weights[1]) and weights[0].shape == weights[1].shape
    if alike and weights[0] is not weights[1]:
        raise Failed(
            "tie_word_embeddings is set and the output embeddings have a weight of their own; name it in "
            '_tied_weights_keys = {"head.weight": "embeddings.weight"}'
        )
    for group in shared:
        silent = [name for name in group if name not in told]
        if len(silent) > 1:
            raise Failed(
                f"{' and '.join(silent)} are one tensor, and _tied_weights_keys does not say so; name it there"
            )
    together = {name for group in shared for name in group}
    if flag and (alone := sorted(told - together)):
        raise Failed(
            f"_tied_weights_keys names {listed(alone)}, which shares its tensor with nothing; tie it, or drop it"
        )
    if not shared and not told:
        raise Left("no weight is shared, and none is said to be")
    directory = it.saved(model)
    held = [saving.content(tensor) for tensor in saving.stored(directory).values()]
    for group in shared:
        count = held.count(saving.content(model.state_dict()[group[0]]))  # by value: files may have other names
        if count != 1:
            raise Failed(f"the tied {' and '.join(group)} is {count} times in the file; it must be there once")
    again = it.loaded(directory)
    if groups(again) != shared:
        lost = [" and ".join(group) for group in shared if group not in groups(again)]
        raise Failed(f"after reload {listed(lost)} are no longer one tensor; tie by _tied_weights_keys, not by hand")
    said = f"{len(shared)} groups, saved once and tied after reload"
    return said + _apart(it)


def _apart(it: Subject) -> str:
    """With tie_word_embeddings=False both weights must be kept, each with its own values."""
    if not getattr(it.config, "tie_word_embeddings", False):
        return ""
    config = it.configuration(tie_word_embeddings=False)
    try:
        model = it.model(config)
    except Exception as error:
        raise Failed(f"tie_word_embeddings=False cannot be built: {describe(error)}") from None
    source, target = ends(model)
    if None not in (source, target) and target.weight is source.weight:
        raise Failed("tie_word_embeddings=False ties the output embeddings all the same; ask the configuration")
    again = it.loaded(it.saved(model))
    for name, tensor in model.state_dict().items():
        if line := outputs.apart(again.state_dict()[name], tensor):
            raise Failed(f"with tie_word_embeddings=False {name} {line} after reload; it is tied on loading")
    return "; untied on demand"


def embeddings(it: Subject) -> str:
    """Without it tokens cannot be added, nor prompts tuned, nor the embeddings shared."""
    import torch
    from torch import nn

    it.needs_text()
    model = it.model()
    source, target = ends(model)
    if not isinstance(source, nn.Module) or not hasattr(source, "weight"):
        raise Failed("get_input_embeddings() gives no embedding; return the nn.Embedding of the words")
    if target is not None and not hasattr(target, "weight"):
        raise Failed(f"get_output_embeddings() gives a {type(target).__name__}; return the layer that makes logits")
    if target is None and can_generate(it.cls):
        raise Failed("get_output_embeddings() gives nothing for a class that generates; return the head")
    before = it.run(model)
    other = nn.Embedding(*source.weight.shape).to(it.device)
    with torch.no_grad():
        other.weight.copy_(source.weight.flip(0))
    model.set_input_embeddings(other)
    if model.get_input_embeddings() is not other:
        raise Failed("get_input_embeddings() does not give what set_input_embeddings() took; set the one that is used")
    if not outputs.difference(it.run(model), before):
        raise Failed("set_input_embeddings() changes no output; set the module that forward uses")
    return f"{tuple(source.weight.shape)}"


def resize(it: Subject) -> str:
    """Without it adding a token breaks the model, or leaves a part of it at the old size."""
    import torch

    it.needs_text()
    model = it.model()
    if not isinstance(ends(model)[0], torch.nn.Embedding):
        raise Left("its input embeddings are no nn.Embedding")
    size, tied = it.vocabulary(), groups(model)
    fewer = max(size - MORE, size // 2)
    inputs = {n: v.clamp(max=fewer - 1) if n.endswith("input_ids") else v for n, v in it.inputs.items()}
    before = it.run(model, inputs)
    old = model.get_input_embeddings().weight.detach().clone()
    for wanted, word in ((size + MORE, "after resize_token_embeddings to more"), (fewer, "to fewer")):
        model = it.model()
        model.resize_token_embeddings(wanted)
        source = ends(model)[0]
        if len(source.weight) != wanted:
            raise Failed(f"{word}: {len(source.weight)} embeddings instead of {wanted}")
        noted = model.config.get_text_config().vocab_size
        if noted != wanted:
            raise Failed(f"{word}: config.vocab_size is {noted} instead of {wanted}")
        if line := outputs.apart(source.weight[: min(size, wanted)], old[: min(size, wanted)]):
            raise Failed(f"{word}: the embedding of an old word {line}")
        fresh = it.fresh(model.config).state_dict()
        for name, tensor in model.state_dict().items():
            if name in fresh and fresh[name].shape != tensor.shape:
                raise Failed(
                    f"{word}: {name} is {list(tensor.shape)}, should be {list(fresh[name].shape)}; resize it as well "
                    "(override resize_token_embeddings, or set_output_embeddings for a bias)"
                )
        if groups(model) != tied:
            raise Failed(f"{word}: other weights are tied than before; call tie_weights()")
        found = it.run(model.eval(), inputs)
        same = {n: cut(found[n], before[n]) for n in before if n in found}
        if line := outputs.difference(same, {n: cut(before[n], found[n]) for n in same}, it.rounding):
            raise Failed(f"{word}: {line} for old words; keep the old rows")
        if wanted > size:
            ids = inputs["input_ids"].clone()
            ids[:, 1] = size + MORE - 1
            it.run(model, {**inputs, "input_ids": ids})
        again = it.loaded(it.saved(model))
        if line := outputs.difference(it.run(again, inputs), found):
            raise Failed(f"{word}, saved and loaded: {line}")
    return f"from {size} to {size + MORE} and {fewer}"


def cut(tensor, other):
    """A tensor as far as the other one goes in its last dimension, which may be the vocabulary."""
    if tensor.dim() and tensor.dim() == other.dim() and tensor.shape[-1] > other.shape[-1]:
        return tensor[..., : other.shape[-1]]
    return tensor


def head_and_base(it: Subject) -> str:
    """Without it a pretrained base cannot be fine-tuned, or its weights get lost on the way to a head and back."""
    base = it.classes.get("AutoModel")
    if base is None or base is it.cls:
        raise Left("it is the base" if base is it.cls else "the folder registers no AutoModel")
    if base.config_class is not it.cls.config_class:
        raise Left("its configuration is another class than that of AutoModel")
    prefix = it.cls.base_model_prefix
    body, head = it.model(cls=base, seed=5), it.model(seed=6)
    for start, to, word in ((body, it.cls, "the base loaded into the head"), (head, base, "the head into the base")):
        directory = it.saved(start)
        loaded, told = it.loaded(directory, cls=to, output_loading_info=True)
        held, found = start.state_dict(), loaded.state_dict()
        pairs = {}
        for name in held:
            names = [name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")]
            pairs[name] = next((match for match in names if match in found), None)
        common = {n: m for n, m in pairs.items() if m and found[m].shape == held[n].shape}
        if not common:
            raise Failed(f"{word}: no name in common; set base_model_prefix to the attribute that holds the base")
        for name, match in common.items():
            if line := outputs.apart(found[match], held[name]):
                why = "the file has no such name" if match in told["missing_keys"] else "it is not taken from the file"
                raise Failed(f"{word}: {match} {line}; {why}: see base_model_prefix and the ties")
        tied = {name for group in groups(loaded) for name in group}
        lost = sorted(set(told["missing_keys"]) & (set(common.values()) - tied))
        if lost:
            raise Failed(f"{word}: {listed(lost)} counts as missing; see base_model_prefix")
        alone = without_partner(body, head, prefix)
        if alone:
            raise Failed(
                f"{word}: {listed(alone)} of the base has no place in the head, which must hold the whole base"
            )
    return f"{len(body.state_dict())} tensors of the base, there and back"


def without_partner(body, head, prefix: str) -> list:
    """Tensors of the base that the head lacks, but for children that it leaves out whole: a pooler, a decoder."""
    held, found = body.state_dict(), head.state_dict()
    names = {n.removeprefix(f"{prefix}.") for n in found} | set(found)
    alone = sorted(n for n in held if n not in names)
    tied = {n for group in groups(body) for n in group}
    children: dict = {}
    for name in held:
        children.setdefault(name.split(".")[0], []).append(name)
    left_out = {child for child, own in children.items() if all(n in alone or n in tied for n in own)}
    rest = sorted(tuple(t.shape) for n, t in found.items() if n.removeprefix(f"{prefix}.") not in held)
    spare = [n for n in alone if n.split(".")[0] in left_out and n not in tied]
    # the same shapes under other names are the child itself, renamed
    renamed = spare and all(tuple(held[n].shape) in rest for n in spare) and len(rest) >= len(spare)
    partly = [n for n in alone if n.split(".")[0] not in left_out and n not in tied]
    return partly or (spare if renamed and len(spare) > 2 else [])
