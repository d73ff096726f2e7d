"""What forward returns, in every form in which it can be asked."""

from ..tiny.fields import pick
from ..values import describe
from . import outputs, text
from .batches import can_generate, padded, rows_model, without_padding
from .subject import Failed, Left, Subject

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
DECODER_LAYERS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "num_layers")


def asked(it: Subject, model, option: str, *keys: str):
    """The output with an option, and which of the keys it holds.

    Raises:
        Left: forward takes no such option.
    """
    import torch

    if option not in it.takes and not it.takes_keywords:
        raise Left(f"forward takes no {option}")
    torch.manual_seed(0)
    with torch.no_grad():
        output = model(**it.given(it.inputs), **{option: True})
    found = [key for key in keys if getattr(output, key, None) is not None]
    if not found:
        if option in it.takes:
            raise Failed(f"{option}=True returns none of {', '.join(keys)}; return them, or take the argument away")
        raise Left(f"it returns no {keys[0]}")
    return output, found


def depth(it: Subject, names: tuple) -> int | None:
    """The number of layers that the configuration states; None where they are stages."""
    for name in names:
        value = getattr(it.config, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def hidden_states(it: Subject) -> str:
    """Without it whoever reads a middle layer reads another one, or finds none."""
    model = it.model()
    output, found = asked(
        it, model, "output_hidden_states", "hidden_states", "encoder_hidden_states", "decoder_hidden_states"
    )
    for key in found:
        states = getattr(output, key)
        if not isinstance(states, (tuple, list)) or not all(hasattr(s, "shape") for s in states):
            raise Failed(f"{key} is a {type(states).__name__}; return a tuple of tensors, the input of layer 1 first")
        layers = depth(it, DECODER_LAYERS if key.startswith("decoder") else LAYERS)
        if layers is not None and len(states) != layers + 1:
            raise Failed(
                f"{len(states)} {key} for {layers} layers, should be {layers + 1}: what goes into each layer, "
                "and what comes out of the last"
            )
        if len({len(s) for s in states}) > 1:
            raise Failed(f"{key} have {sorted({len(s) for s in states})} rows; each has the batch first")
        if it.is_text() and len({s.shape[:2] for s in states}) > 1:
            raise Failed(f"{key} have shapes {sorted({tuple(s.shape) for s in states})}; each is (batch, tokens, ...)")
    last = getattr(output, "last_hidden_state", None)
    states = getattr(output, "decoder_hidden_states" if "decoder_hidden_states" in found else "hidden_states", None)
    if last is not None and states is not None and not ends_with(model, states[-1], last):
        raise Failed(
            "the last of hidden_states is not last_hidden_state, nor that before a norm; append it at the end"
        )
    again = it.run(model)
    told = {n: t for n, t in outputs.tensors(output).items() if n in again}
    if line := outputs.difference(told, again, it.rounding):
        raise Failed(f"with output_hidden_states=True {line}; asking for them must change nothing")
    return ", ".join(f"{len(getattr(output, key))} {key}" for key in found)


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


def attentions(it: Subject) -> str:
    """Without it nobody can look at what the model attends to."""
    model = it.model()
    keys = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")
    output, found = asked(it, model, "output_attentions", *keys)
    heads = pick(it.config, "num_attention_heads", "n_head", "num_heads", "encoder_attention_heads")
    for key in found:
        maps = getattr(output, key)
        layers = depth(it, DECODER_LAYERS if key[0] in "dc" else LAYERS)
        if key == "cross_attentions" and not maps:
            continue  # an encoder, or a decoder alone, has none
        if layers is not None and len(maps) != layers:
            raise Failed(f"{len(maps)} {key} for {layers} layers; return one for each")
        for each in maps:
            if each is None or each.dim() != 4:
                shape = None if each is None else list(each.shape)
                raise Failed(f"{key} has {shape} instead of (batch, heads, queries, keys)")
            if isinstance(heads, int) and each.shape[1] != heads:
                raise Failed(f"{key} has {each.shape[1]} heads, the configuration says {heads}")
            if (each < 0).any() or (each.sum(-1) > 1 + 1e-3).any():
                raise Failed(f"{key} are no probabilities: they sum to {each.sum(-1).max():.3g}; return the softmax")
    again = it.run(model)
    told = {n: t for n, t in outputs.tensors(output).items() if n in again}
    if line := outputs.difference(told, again, it.rounding):
        raise Failed(f"with output_attentions=True {line}; asking for them must change nothing")
    return ", ".join(f"{len(getattr(output, key))} {key}" for key in found)


def tuple_or_dict(it: Subject) -> str:
    """Without it return_dict=False, which tracing and older code use, gives other numbers."""
    import torch

    if "return_dict" not in it.takes and not it.takes_keywords:
        raise Left("forward takes no return_dict")
    model, counted = it.model(), 0
    for more in ({}, {"output_hidden_states": True}):
        if more and "output_hidden_states" not in it.takes:
            continue
        with torch.no_grad():
            torch.manual_seed(0)
            named = model(**it.given(it.inputs), **more, return_dict=True)
            torch.manual_seed(0)
            plain = model(**it.given(it.inputs), **more, return_dict=False)
        if "return_dict" not in it.takes and isinstance(named, tuple) and isinstance(plain, tuple):
            raise Left("it always returns a tuple: return_dict goes into **kwargs")
        if not hasattr(named, "to_tuple"):
            raise Failed(f"return_dict=True gives a {type(named).__name__}; return a ModelOutput")
        if not isinstance(plain, tuple):
            if "return_dict" not in it.takes:
                raise Left("it always returns a ModelOutput: return_dict goes into **kwargs")
            raise Failed(f"return_dict=False gives a {type(plain).__name__}; return output.to_tuple()")
        if line := outputs.difference(outputs.tensors(plain), outputs.tensors(named.to_tuple()), it.rounding):
            raise Failed(f"as a tuple {line}; return output.to_tuple()")
        counted += len(outputs.tensors(plain))
    return f"{counted} tensors"


def embeds_for_ids(it: Subject) -> str:
    """Without it prompt tuning, which puts vectors in place of words, computes something else."""
    import torch

    it.needs_text()
    if "inputs_embeds" not in it.takes:
        raise Left("forward takes no inputs_embeds")
    model = rows_model(it)
    with torch.no_grad():
        vectors = model.get_input_embeddings()(it.given(it.inputs)["input_ids"])
    rest = {n: v for n, v in it.inputs.items() if n != "input_ids"}
    try:
        found = it.run(model, {**rest, "inputs_embeds": vectors})
    except NotImplementedError as error:  # a class that says itself that it cannot take them
        raise Left(f"it refuses inputs_embeds: {describe(error)}") from None
    if line := outputs.difference(found, it.run(model), it.rounding):
        raise Failed(f"with inputs_embeds for the same words {line}; embed input_ids and go on with the vectors")
    return f"{len(found)} outputs"


def attention_ways(it: Subject) -> str:
    """Without it attn_implementation, which users switch for speed, changes the numbers or nothing at all."""
    from torch.overrides import TorchFunctionMode

    if not getattr(it.cls, "_supports_sdpa", False):
        raise Left("_supports_sdpa is not set")

    class Calls(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.count += getattr(function, "__name__", "") == "scaled_dot_product_attention"
            return function(*args, **(kwargs or {}))

    base = it.with_padding()[0] if it.is_text() else it.configuration()
    directory, compared = it.saved(it.model(base)), 0
    plain = it.run(it.loaded(directory)) if it.is_text() else {}
    for side in ("right", "left") if it.is_text() else ("",):
        inputs = padded(it, side, it.with_padding()[1])[1] if side else it.inputs
        if side == "left" and "position_ids" in it.takes:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        given = {}
        for way in ("eager", "sdpa"):
            model = it.loaded(directory, attn_implementation=way)
            with Calls() as calls:
                found = it.run(model, inputs)
            given[way] = without_padding(found, plain, side) if side else found
            if way == "eager" and calls.count:
                raise Failed("attn_implementation='eager' runs scaled_dot_product_attention; compute it step by step")
            if way == "sdpa" and not calls.count:
                raise Failed(
                    "attn_implementation='sdpa' never runs it: the switch does nothing; read _attn_implementation"
                )
        given["eager"] = {n: t for n, t in given["eager"].items() if n in given["sdpa"]}  # attentions: eager alone
        compared += len(given["eager"])
        if line := outputs.difference(given["sdpa"], given["eager"], it.rounding):
            where = f", padded on the {side}" if side else ""
            raise Failed(f"eager and sdpa{where}: {line}; the mask or the scale differs")
    if can_generate(it.cls) and it.is_text():
        model, pad = text.generator(it)
        directory = it.saved(model)
        inputs = padded(it, "right" if getattr(model.config, "is_encoder_decoder", False) else "left", pad)[1]
        eager, sdpa = (
            text.generated(it, text.endless(it.loaded(directory, attn_implementation=way), pad), inputs)
            for way in ("eager", "sdpa")
        )
        if line := outputs.difference(sdpa, eager, text.tolerance(it)):
            raise Failed(
                f"generate with eager and with sdpa: {line}; the mask differs for tokens after the first step"
            )
    return f"{compared} outputs, {calls.count} calls of sdpa"
