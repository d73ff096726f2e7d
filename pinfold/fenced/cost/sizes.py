"""Inputs of a wanted size for any model: the probe's names and kinds of values, with other numbers of rows and tokens.

Without padding, so that what a model costs does not depend on what the rows hold.

Runs inside the fence (inside.py): imports nothing of pinfold but its neighbours, and torch only when it is called.
"""

from ..verify import probes

TOKENS, PIXELS = 128, 224  # unless the model is for fewer, or for pictures of another size
POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "block_size",
    "max_target_positions",
)


class Refused(ValueError):
    """What the user asked for cannot be; the message is for him as it is."""


def sized_inputs(model, given: dict, batch: int, length: int | None, pixels: int | None) -> dict:
    """Inputs by name.

    Args:
        given: the folder's own probe.json, of which only the number of rows is changed.
        batch: rows. length: tokens, samples or frames of a row. pixels: width and height of pictures.

    Raises:
        ValueError: nothing is known of such a forward. Refused: it does not take such sizes.
    """
    if given:
        if length or pixels:
            raise Refused("the folder's probe.json says what goes in; change the shapes there, or leave out the size")
        given = {name: {**spec, "shape": [batch, *spec["shape"][1:]]} for name, spec in given.items()}
        return probes.probe_inputs(model, given)["own"]
    config, inputs = model.config, {}
    for name, tensor in probes.probe_inputs(model, {})["pair"].items():
        shape, whole = [batch, *tensor.shape[1:]], not tensor.is_floating_point()
        if whole:
            shape[-1] = _length(config, length)
            words = probes.token_ids(config, shape, _field(config, "vocab_size") or 100)
            inputs[name] = probes.values(shape, "ramp", 1) + 1 if name == "attention_mask" else words
            continue
        if len(shape) > 3:
            wanted = pixels or (None if _field(config, "image_size", "patch_size") else PIXELS)
            shape[-2:] = [wanted, wanted] if wanted else shape[-2:]
        elif length and name != "input_features":  # those have a fixed number of frames
            shape[1] = length
        inputs[name] = probes.values(shape, "wave")
    shapes = {name: list(tensor.shape) for name, tensor in inputs.items()}
    if pixels and not any(len(shape) > 3 for shape in shapes.values()):
        raise Refused(f"--image-size {pixels}: {type(model).__name__} takes no pictures; leave it out")
    if length and not any(length in shape[1:] for shape in shapes.values()):
        raise Refused(f"--length {length}: {type(model).__name__} takes no sequences of any length; leave it out")
    return inputs


def _length(config, wanted: int | None) -> int:
    limits = [(name, value) for name in POSITIONS if type(value := _field(config, name)) is int and value > 0]
    name, most = min(limits, key=lambda limit: limit[1], default=("", TOKENS))
    if wanted and name and wanted > most:
        raise Refused(f"--length {wanted} is more than {name}={most}; use less, or a larger one by --set")
    return wanted or min(TOKENS, most)


def _field(config, *names: str):
    """The first of these fields that is set, in the configuration or in its parts."""
    parts = [config, *(getattr(config, part, None) for part in ("text_config", "vision_config"))]
    return next((v for part in parts for v in (getattr(part, name, None) for name in names) if v is not None), None)
