"""What forward returns, in every form in which it can be asked."""

from ..tiny.fields import pick
from ..values import describe
from . import outputs, text
from .batches import can_generate, padded, rows_model, without_padding
from .subject import CheckFailed, NotApplicable, Subject

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
DECODER_LAYERS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "num_layers")


def asked(subject: Subject, model, option: str, *keys: str):
    """The output with an option, and which of the keys it holds.

    Raises:
        NotApplicable: forward takes no such option.
    """
    import torch

    if option not in subject.takes and not subject.takes_keywords:
        raise NotApplicable(f"forward takes no {option}")
    torch.manual_seed(0)
    with torch.no_grad():
        output = model(**subject.on_device(subject.inputs), **{option: True})
    present = [key for key in keys if getattr(output, key, None) is not None]
    if not present:
        if option in subject.takes:
            raise CheckFailed(
                f"{option}=True returns none of {', '.join(keys)}; return them, or take the argument away"
            )
        raise NotApplicable(f"it returns no {keys[0]}")
    return output, present


def depth(subject: Subject, names: tuple) -> int | None:
    """The number of layers that the configuration states; None where they are stages."""
    for name in names:
        value = getattr(subject.config, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def hidden_states(subject: Subject) -> str:
    """Fails when the hidden states are not those of each layer, or are missing."""
    model = subject.model()
    output, present = asked(
        subject, model, "output_hidden_states", "hidden_states", "encoder_hidden_states", "decoder_hidden_states"
    )
    for key in present:
        states = getattr(output, key)
        if not isinstance(states, (tuple, list)) or not all(hasattr(s, "shape") for s in states):
            raise CheckFailed(
                f"{key} is a {type(states).__name__}; return a tuple of tensors, the input of layer 1 first"
            )
        layers = depth(subject, DECODER_LAYERS if key.startswith("decoder") else LAYERS)
        if layers is not None and len(states) != layers + 1:
            raise CheckFailed(
                f"{len(states)} {key} for {layers} layers, should be {layers + 1}: what goes into each layer, "
                "and what comes out of the last"
            )
        if len({len(s) for s in states}) > 1:
            raise CheckFailed(f"{key} have {sorted({len(s) for s in states})} rows; each has the batch first")
        if subject.is_text() and len({s.shape[:2] for s in states}) > 1:
            raise CheckFailed(
                f"{key} have shapes {sorted({tuple(s.shape) for s in states})}; each is (batch, tokens, ...)"
            )
    last = getattr(output, "last_hidden_state", None)
    states = getattr(output, "decoder_hidden_states" if "decoder_hidden_states" in present else "hidden_states", None)
    if last is not None and states is not None and not ends_with(model, states[-1], last):
        raise CheckFailed(
            "the last of hidden_states is not last_hidden_state, nor that before a norm; append it at the end"
        )
    again = subject.run(model)
    returned = {n: t for n, t in outputs.tensors(output).items() if n in again}
    if line := outputs.difference(returned, again, subject.rounding):
        raise CheckFailed(f"with output_hidden_states=True {line}; asking for them must change nothing")
    return ", ".join(f"{len(getattr(output, key))} {key}" for key in present)


def ends_with(model, state, last) -> bool:
    """Whether a state is the last one, as it is or after a norm of the model."""
    import torch

    if not outputs.apart(state, last, outputs.ROUNDING):
        return True
    for _, module in model.named_modules():
        if "Norm" in type(module).__name__:
            try:
                with torch.no_grad():
                    if not outputs.apart(module(state), last, outputs.ROUNDING):
                        return True
            except Exception:  # a norm of another width
                continue
    return False


def attentions(subject: Subject) -> str:
    """Fails when the attention weights are not probabilities of each layer and head, or are missing."""
    model = subject.model()
    keys = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")
    output, present = asked(subject, model, "output_attentions", *keys)
    heads = pick(subject.config, "num_attention_heads", "n_head", "num_heads", "encoder_attention_heads")
    for key in present:
        maps = getattr(output, key)
        layers = depth(subject, DECODER_LAYERS if key[0] in "dc" else LAYERS)
        if key == "cross_attentions" and not maps:
            continue  # an encoder, or a decoder alone, has none
        if layers is not None and len(maps) != layers:
            raise CheckFailed(f"{len(maps)} {key} for {layers} layers; return one for each")
        for each in maps:
            if each is None or each.dim() != 4:
                shape = None if each is None else list(each.shape)
                raise CheckFailed(f"{key} has {shape} instead of (batch, heads, queries, keys)")
            if isinstance(heads, int) and each.shape[1] != heads:
                raise CheckFailed(f"{key} has {each.shape[1]} heads, the configuration says {heads}")
            if (each < 0).any() or (each.sum(-1) > 1 + 1e-3).any():
                raise CheckFailed(
                    f"{key} are not probabilities: they sum to {each.sum(-1).max():.3g}; return the softmax"
                )
    again = subject.run(model)
    returned = {n: t for n, t in outputs.tensors(output).items() if n in again}
    if line := outputs.difference(returned, again, subject.rounding):
        raise CheckFailed(f"with output_attentions=True {line}; asking for them must change nothing")
    return ", ".join(f"{len(getattr(output, key))} {key}" for key in present)


def tuple_or_dict(subject: Subject) -> str:
    """Fails when return_dict=False, which tracing and older code use, gives other numbers."""
    import torch

    if "return_dict" not in subject.takes and not subject.takes_keywords:
        raise NotApplicable("forward takes no return_dict")
    model, counted = subject.model(), 0
    for more in ({}, {"output_hidden_states": True}):
        if more and "output_hidden_states" not in subject.takes:
            continue
        with torch.no_grad():
            torch.manual_seed(0)
            named = model(**subject.on_device(subject.inputs), **more, return_dict=True)
            torch.manual_seed(0)
            plain = model(**subject.on_device(subject.inputs), **more, return_dict=False)
        if "return_dict" not in subject.takes and isinstance(named, tuple) and isinstance(plain, tuple):
            raise NotApplicable("it always returns a tuple: return_dict goes into **kwargs")
        if not hasattr(named, "to_tuple"):
            raise CheckFailed(f"return_dict=True gives a {type(named).__name__}; return a ModelOutput")
        if not isinstance(plain, tuple):
            if "return_dict" not in subject.takes:
                raise NotApplicable("it always returns a ModelOutput: return_dict goes into **kwargs")
            raise CheckFailed(f"return_dict=False gives a {type(plain).__name__}; return output.to_tuple()")
        if line := outputs.difference(outputs.tensors(plain), outputs.tensors(named.to_tuple()), subject.rounding):
            raise CheckFailed(f"as a tuple {line}; return output.to_tuple()")
        counted += len(outputs.tensors(plain))
    return f"{counted} tensors"


def embeds_for_ids(subject: Subject) -> str:
    """Fails when prompt tuning, which puts vectors in place of words, computes something else."""
    import torch

    subject.needs_text()
    if "inputs_embeds" not in subject.takes:
        raise NotApplicable("forward takes no inputs_embeds")
    model = rows_model(subject)
    with torch.no_grad():
        vectors = model.get_input_embeddings()(subject.on_device(subject.inputs)["input_ids"])
    rest = {n: v for n, v in subject.inputs.items() if n != "input_ids"}
    try:
        actual = subject.run(model, {**rest, "inputs_embeds": vectors})
    except NotImplementedError as error:  # a class that says itself that it cannot take them
        raise NotApplicable(f"it refuses inputs_embeds: {describe(error)}") from None
    if line := outputs.difference(actual, subject.run(model), subject.rounding):
        raise CheckFailed(f"with inputs_embeds for the same words {line}; embed input_ids and go on with the vectors")
    return f"{len(actual)} outputs"


def attention_ways(subject: Subject) -> str:
    """Fails when attn_implementation, which users switch for speed, changes the numbers or nothing at all."""
    from torch.overrides import TorchFunctionMode

    if not getattr(subject.cls, "_supports_sdpa", False):
        raise NotApplicable("_supports_sdpa is not set")

    class Calls(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.count += getattr(function, "__name__", "") == "scaled_dot_product_attention"
            return function(*args, **(kwargs or {}))

    base = subject.with_padding()[0] if subject.is_text() else subject.configuration()
    directory, compared = subject.saved(subject.model(base)), 0
    plain = subject.run(subject.loaded(directory)) if subject.is_text() else {}
    for side in ("right", "left") if subject.is_text() else ("",):
        inputs = padded(subject, side, subject.with_padding()[1])[1] if side else subject.inputs
        if side == "left" and "position_ids" in subject.takes:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        by_way = {}
        for way in ("eager", "sdpa"):
            model = subject.loaded(directory, attn_implementation=way)
            with Calls() as calls:
                result = subject.run(model, inputs)
            by_way[way] = without_padding(result, plain, side) if side else result
            if way == "eager" and calls.count:
                raise CheckFailed(
                    "attn_implementation='eager' runs scaled_dot_product_attention; compute it step by step"
                )
            if way == "sdpa" and not calls.count:
                raise CheckFailed(
                    "attn_implementation='sdpa' never runs it: the switch does nothing; read _attn_implementation"
                )
        by_way["eager"] = {n: t for n, t in by_way["eager"].items() if n in by_way["sdpa"]}  # attentions: eager alone
        compared += len(by_way["eager"])
        if line := outputs.difference(by_way["sdpa"], by_way["eager"], subject.rounding):
            where = f", padded on the {side}" if side else ""
            raise CheckFailed(f"eager and sdpa{where}: {line}; the mask or the scale differs")
    if can_generate(subject.cls) and subject.is_text():
        model, pad = text.generator(subject)
        directory = subject.saved(model)
        inputs = padded(subject, "right" if getattr(model.config, "is_encoder_decoder", False) else "left", pad)[1]
        eager, sdpa = (
            text.generated(subject, text.endless(subject.loaded(directory, attn_implementation=way), pad), inputs)
            for way in ("eager", "sdpa")
        )
        if line := outputs.difference(sdpa, eager, text.tolerance(subject)):
            raise CheckFailed(
                f"generate with eager and with sdpa: {line}; the mask differs for tokens after the first step"
            )
    return f"{compared} outputs, {calls.count} calls of sdpa"
