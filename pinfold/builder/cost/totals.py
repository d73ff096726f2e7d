"""Parameters, FLOPs and memory of a drawing, by formula: a few hundred microseconds, without torch."""

from . import decoder, encoder
from .parts import NUMBER, Costs, Memory


def costs(architecture: str, config: dict, head: str, batch: int, length: int) -> Costs:
    """What one forward and one step of training of a drawing cost.

    Args:
        architecture: "encoder" or "decoder".
        config: the configuration's fields, all of them.
        head: the Auto class of the model, such as "AutoModel" or "AutoModelForCausalLM".
        batch: rows, without padding; a row of multiple choice is two texts.
        length: tokens of a text.
    """
    if architecture == "encoder":
        rows, loss, density = encoder.encoder(config, head, batch, length)
    else:
        rows, loss, density = decoder.decoder(config, head, batch, length)
    parameters, buffers = sum(row.parameters for row in rows), sum(row.buffers for row in rows)
    memory = Memory(
        weights=NUMBER * parameters,
        buffers=NUMBER * buffers,
        activations=0,
        kept=sum(row.kept for row in rows) + loss,
        gradients=NUMBER * parameters,
        states=2 * NUMBER * parameters,
    )
    flops, useful = sum(row.flops for row in rows), sum(row.useful for row in rows)
    return Costs(parameters, flops, useful, memory, tuple(density), tuple(rows))
