"""Parameters, FLOPs and memory of a drawing, by formula: a few hundred microseconds, without torch."""

from . import decoder, encoder
from .parts import NUMBER, Costs, Memory

ARCHITECTURES = {"encoder": encoder.encoder, "decoder": decoder.decoder}


def costs(architecture: str, config: dict, head: str, batch: int, length: int) -> Costs:
    """What one forward and one step of training of a drawing cost.

    Sources: the convention of FLOPs is that of pinfold/fenced/cost/flops.py, and the numbers are those of this
    implementation, so that a local layer counts its blocks, with the padding of the last one; ``useful_flops`` are
    what the mask's density alone would need. Parameters are what ``model.parameters()`` has, a tied weight once.

    Args: "encoder" or "decoder".
        config: the configuration's fields, all of them.
        head: the Auto class of the model, such as "AutoModel" or "AutoModelForCausalLM".
        batch: rows, without padding; a row of multiple choice is two texts.
        length: tokens of a text.
    """
    parts = ARCHITECTURES[architecture](config, head, batch, length)
    parameters, buffers = sum(row.parameters for row in parts.rows), sum(row.buffers for row in parts.rows)
    memory = Memory(
        weights=NUMBER * parameters,
        buffers=NUMBER * buffers,
        activations=parts.alive,
        kept=sum(row.kept for row in parts.rows) + parts.loss,
        gradients=NUMBER * parameters,
        states=2 * NUMBER * parameters,
    )
    flops, useful = sum(row.flops for row in parts.rows), sum(row.useful for row in parts.rows)
    return Costs(parameters, flops, useful, memory, tuple(parts.density), tuple(parts.rows))
