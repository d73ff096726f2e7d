"""Weights that are one tensor, and embeddings that users ask for, exchange and resize."""

from ..values import describe
from . import outputs, saving
from .batches import can_generate
from .outputs import listed
from .subject import CheckFailed, NotApplicable, Subject

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
    embeddings = []
    for get in (model.get_input_embeddings, model.get_output_embeddings):
        try:
            embeddings.append(get())
        except (NotImplementedError, AttributeError):  # transformers raises one or the other, by release
            embeddings.append(None)
    return tuple(embeddings)


def groups(model) -> list:
    return sorted(sorted(group) for group in saving.shared(model))


def ties(subject: Subject) -> str:
    """Fails when a tied head comes back random, or is saved and trained twice."""
    model = subject.model()
    shared, named = groups(model), declared(model)
    flag = getattr(model.config, "tie_word_embeddings", False)
    source, target = ends(model)
    weights = [getattr(each, "weight", None) for each in (source, target)]
    alike = flag and None not in (weights[0], weights[1]) and weights[0].shape == weights[1].shape
    if alike and weights[0] is not weights[1]:
        raise CheckFailed(
            "tie_word_embeddings is set and the output embeddings have a separate weight; name it in "
            '_tied_weights_keys = {"head.weight": "embeddings.weight"}'
        )
    for group in shared:
        silent = [name for name in group if name not in named]
        if len(silent) > 1:
            raise CheckFailed(
                f"{' and '.join(silent)} are one tensor, and _tied_weights_keys does not say so; name it there"
            )
    together = {name for group in shared for name in group}
    if flag and (alone := sorted(named - together)):
        raise CheckFailed(
            f"_tied_weights_keys names {listed(alone)}, which shares its tensor with nothing; tie it, or drop it"
        )
    if not shared and not named:
        raise NotApplicable("no weight is shared, and _tied_weights_keys names none")
    directory = subject.saved(model)
    held = [saving.content(tensor) for tensor in saving.stored(directory).values()]
    for group in shared:
        count = held.count(saving.content(model.state_dict()[group[0]]))  # by value: files may have other names
        if count != 1:
            raise CheckFailed(f"the tied {' and '.join(group)} is {count} times in the file; it must be there once")
    again = subject.loaded(directory)
    if groups(again) != shared:
        lost = [" and ".join(group) for group in shared if group not in groups(again)]
        raise CheckFailed(f"after reload {listed(lost)} are separate tensors; tie by _tied_weights_keys, not by hand")
    said = f"{len(shared)} groups, saved once and tied after reload"
    return said + _apart(subject)


def _apart(subject: Subject) -> str:
    """With tie_word_embeddings=False both weights must be kept, each with its own values."""
    if not getattr(subject.config, "tie_word_embeddings", False):
        return ""
    config = subject.configuration(tie_word_embeddings=False)
    try:
        model = subject.model(config)
    except Exception as error:
        raise CheckFailed(f"tie_word_embeddings=False cannot be built: {describe(error)}") from None
    source, target = ends(model)
    if None not in (source, target) and target.weight is source.weight:
        raise CheckFailed("tie_word_embeddings=False ties the output embeddings all the same; ask the configuration")
    again = subject.loaded(subject.saved(model))
    for name, tensor in model.state_dict().items():
        if line := outputs.apart(again.state_dict()[name], tensor):
            raise CheckFailed(f"with tie_word_embeddings=False {name} {line} after reload; it is tied on loading")
    return "; untied on demand"


def embeddings(subject: Subject) -> str:
    """Fails when the embeddings cannot be read or replaced, so that tokens cannot be added nor prompts tuned."""
    import torch
    from torch import nn

    subject.needs_text()
    model = subject.model()
    source, target = ends(model)
    if not isinstance(source, nn.Module) or not hasattr(source, "weight"):
        raise CheckFailed("get_input_embeddings() gives no embedding; return the nn.Embedding of the words")
    if target is not None and not hasattr(target, "weight"):
        raise CheckFailed(
            f"get_output_embeddings() gives a {type(target).__name__}; return the layer that makes logits"
        )
    if target is None and can_generate(subject.cls):
        raise CheckFailed("get_output_embeddings() gives nothing for a class that generates; return the head")
    before = subject.run(model)
    other = nn.Embedding(*source.weight.shape).to(subject.device)
    with torch.no_grad():
        other.weight.copy_(source.weight.flip(0))
    model.set_input_embeddings(other)
    if model.get_input_embeddings() is not other:
        raise CheckFailed(
            "get_input_embeddings() does not give what set_input_embeddings() took; set the one that is used"
        )
    if not outputs.difference(subject.run(model), before):
        raise CheckFailed("set_input_embeddings() changes no output; set the module that forward uses")
    return f"{tuple(source.weight.shape)}"


def resize(subject: Subject) -> str:
    """Fails when adding a token breaks the model, or leaves a part of it at the old size."""
    import torch

    subject.needs_text()
    model = subject.model()
    if not isinstance(ends(model)[0], torch.nn.Embedding):
        raise NotApplicable("its input embeddings are not an nn.Embedding")
    size, tied = subject.vocabulary(), groups(model)
    fewer = max(size - MORE, size // 2)
    inputs = {n: v.clamp(max=fewer - 1) if n.endswith("input_ids") else v for n, v in subject.inputs.items()}
    before = subject.run(model, inputs)
    old = model.get_input_embeddings().weight.detach().clone()
    for new_size, word in ((size + MORE, "after resize_token_embeddings to more"), (fewer, "to fewer")):
        model = subject.model()
        model.resize_token_embeddings(new_size)
        source = ends(model)[0]
        if len(source.weight) != new_size:
            raise CheckFailed(f"{word}: {len(source.weight)} embeddings instead of {new_size}")
        noted = model.config.get_text_config().vocab_size
        if noted != new_size:
            raise CheckFailed(f"{word}: config.vocab_size is {noted} instead of {new_size}")
        if line := outputs.apart(source.weight[: min(size, new_size)], old[: min(size, new_size)]):
            raise CheckFailed(f"{word}: the embedding of an old word {line}")
        fresh = subject.fresh(model.config).state_dict()
        for name, tensor in model.state_dict().items():
            if name in fresh and fresh[name].shape != tensor.shape:
                raise CheckFailed(
                    f"{word}: {name} is {list(tensor.shape)}, should be {list(fresh[name].shape)}; resize it as well "
                    "(override resize_token_embeddings, or set_output_embeddings for a bias)"
                )
        if groups(model) != tied:
            raise CheckFailed(f"{word}: other weights are tied than before; call tie_weights()")
        after = subject.run(model.eval(), inputs)
        same = {n: cut(after[n], before[n]) for n in before if n in after}
        if line := outputs.difference(same, {n: cut(before[n], after[n]) for n in same}, subject.rounding):
            raise CheckFailed(f"{word}: {line} for old words; keep the old rows")
        if new_size > size:
            ids = inputs["input_ids"].clone()
            ids[:, 1] = size + MORE - 1
            subject.run(model, {**inputs, "input_ids": ids})
        again = subject.loaded(subject.saved(model))
        if line := outputs.difference(subject.run(again, inputs), after):
            raise CheckFailed(f"{word}, saved and loaded: {line}")
    return f"from {size} to {size + MORE} and {fewer}"


def cut(tensor, other):
    """A tensor as far as the other one goes in its last dimension, which may be the vocabulary."""
    if tensor.dim() and tensor.dim() == other.dim() and tensor.shape[-1] > other.shape[-1]:
        return tensor[..., : other.shape[-1]]
    return tensor


def head_and_base(subject: Subject) -> str:
    """Fails when a pretrained base cannot be fine-tuned, or its weights get lost on the way to a head and back."""
    base = subject.classes.get("AutoModel")
    if base is None or base is subject.cls:
        raise NotApplicable("it is the base" if base is subject.cls else "the folder registers no AutoModel")
    if base.config_class is not subject.cls.config_class:
        raise NotApplicable("its configuration is another class than that of AutoModel")
    prefix = subject.cls.base_model_prefix
    body, head = subject.model(cls=base, seed=5), subject.model(seed=6)
    for start, to, word in (
        (body, subject.cls, "the base loaded into the head"),
        (head, base, "the head into the base"),
    ):
        directory = subject.saved(start)
        loaded, report = subject.loaded(directory, cls=to, output_loading_info=True)
        held, loaded_state = start.state_dict(), loaded.state_dict()
        pairs = {}
        for name in held:
            names = [name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")]
            pairs[name] = next((match for match in names if match in loaded_state), None)
        common = {n: m for n, m in pairs.items() if m and loaded_state[m].shape == held[n].shape}
        if not common:
            raise CheckFailed(f"{word}: no name in common; set base_model_prefix to the attribute that holds the base")
        for name, match in common.items():
            if line := outputs.apart(loaded_state[match], held[name]):
                why = (
                    "the file has no such name" if match in report["missing_keys"] else "it is not taken from the file"
                )
                raise CheckFailed(f"{word}: {match} {line}; {why}: see base_model_prefix and the ties")
        tied = {name for group in groups(loaded) for name in group}
        lost = sorted(set(report["missing_keys"]) & (set(common.values()) - tied))
        if lost:
            raise CheckFailed(f"{word}: {listed(lost)} counts as missing; see base_model_prefix")
        alone = without_partner(body, head, prefix)
        if alone:
            raise CheckFailed(
                f"{word}: {listed(alone)} of the base has no place in the head, which must hold the whole base"
            )
    return f"{len(body.state_dict())} tensors of the base, there and back"


def without_partner(body, head, prefix: str) -> list:
    """Tensors of the base that the head lacks, but for children that it leaves out whole: a pooler, a decoder."""
    held, head_state = body.state_dict(), head.state_dict()
    names = {n.removeprefix(f"{prefix}.") for n in head_state} | set(head_state)
    alone = sorted(n for n in held if n not in names)
    tied = {n for group in groups(body) for n in group}
    children: dict = {}
    for name in held:
        children.setdefault(name.split(".")[0], []).append(name)
    left_out = {child for child, own in children.items() if all(n in alone or n in tied for n in own)}
    rest = sorted(tuple(t.shape) for n, t in head_state.items() if n.removeprefix(f"{prefix}.") not in held)
    spare = [n for n in alone if n.split(".")[0] in left_out and n not in tied]
    # the same shapes under other names are the child itself, renamed
    renamed = spare and all(tuple(held[n].shape) in rest for n in spare) and len(rest) >= len(spare)
    partly = [n for n in alone if n.split(".")[0] not in left_out and n not in tied]
    return partly or (spare if renamed and len(spare) > 2 else [])
