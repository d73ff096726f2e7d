"""Inputs of any size for any model: the probe's names and kinds of values, with other numbers of rows and tokens.

Without padding, so that what a model costs does not depend on what the rows hold.
"""

from ..probe import declared, probes

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
    """The user asked for something impossible; the message is for the user."""


def sized_inputs(model, probe: dict, batch: int | None, length: int | None, pixels: int | None) -> dict:
    """Inputs by name.

    Args:
        probe: the folder's own probe.json, of which only the number of rows is changed.
        batch: rows; None: as many as probe.json says.
        length: tokens, samples or frames of a row. pixels: width and height of pictures.

    Raises:
        ValueError: nothing is known of such a forward. Refused: it does not take such sizes.
    """
    if probe:
        if length or pixels:
            raise Refused("the folder's probe.json says what goes in; change the shapes there, or leave out the size")
        try:
            own = probe if batch is None else declared.resized(probe, batch)
        except ValueError as error:
            raise Refused(f"the folder's {error}; leave out --batch") from None
        return probes.probe_inputs(model, own)["own"]
    config, inputs = model.config, {}
    for name, tensor in probes.probe_inputs(model, {})["pair"].items():
        shape, whole = [batch, *tensor.shape[1:]], not tensor.is_floating_point()
        if whole:
            shape[-1] = _length(config, length)
            words = probes.token_ids(config, shape, probes.first_field(config, "vocab_size") or 100)
            inputs[name] = declared.formula(shape, "ramp", 1) + 1 if name == "attention_mask" else words
            continue
        if len(shape) > 3:
            side = pixels or (None if probes.first_field(config, "image_size", "patch_size") else PIXELS)
            shape[-2:] = [side, side] if side else shape[-2:]
        elif length and name != "input_features":  # those have a fixed number of frames
            shape[1] = length
        inputs[name] = declared.formula(shape, "wave")
    shapes = {name: list(tensor.shape) for name, tensor in inputs.items()}
    if pixels and not any(len(shape) > 3 for shape in shapes.values()):
        raise Refused(f"--image-size {pixels}: {type(model).__name__} takes no pictures; leave it out")
    if length and not any(length in shape[1:] for shape in shapes.values()):
        raise Refused(f"--length {length}: {type(model).__name__} takes no sequences of any length; leave it out")
    return inputs


def _length(config, length: int | None) -> int:
    limits = [
        (name, value) for name in POSITIONS if type(value := probes.first_field(config, name)) is int and value > 0
    ]
    name, most = min(limits, key=lambda limit: limit[1], default=("", TOKENS))
    if length and name and length > most:
        raise Refused(f"--length {length} is more than {name}={most}; use less, or a larger one with --set")
    return length or min(TOKENS, most)
