"""What files beside the weights say about them: losses, an evaluation, a training, a conversion."""

from dataclasses import dataclass
from pathlib import Path

from pinfold.card import curve, provenance
from pinfold.card.evaluation import FILE, Evaluation, read_evaluation

IN_THE_CARD = "its contents are on the card"


@dataclass(frozen=True)
class Sources:
    """What was read of a checkpoint for its card.

    Args:
        losses: what the picture of the losses shows, "" where none was drawn.
        no_evaluation: why an evaluation that lies there is not used.
    """

    losses: str = ""
    evaluation: Evaluation | None = None
    no_evaluation: str = ""
    training: provenance.Training | None = None
    conversion: provenance.Conversion | None = None

    def why_left_out(self) -> dict[str, str]:
        """Why the files that were read are not published themselves, by name."""
        reasons = {
            provenance.STATE: IN_THE_CARD if self.training else "",
            provenance.TRAINING: IN_THE_CARD if self.training else "",
            provenance.CONVERSION: IN_THE_CARD if self.conversion else "",
            FILE: IN_THE_CARD if self.evaluation else self.no_evaluation,
        }
        if self.losses:
            reasons[provenance.STATE] = f"drawn in {curve.PICTURE}"
        return {name: reason for name, reason in reasons.items() if reason}


def read_sources(checkpoint: Path, directory: Path) -> Sources:
    """Read what lies beside the weights, and draw the losses.

    Args:
        directory: of the files that are published; a picture of the author's that lies there already stays.
    """
    losses, place, drawn = curve.read_losses(checkpoint), directory / curve.PICTURE, ""
    if losses and not place.exists() and curve.draw_losses(losses, place):
        drawn = losses.sentence()
    measured, no_evaluation = read_evaluation(checkpoint)
    conversion = provenance.read_conversion(checkpoint)
    # converted weights were trained elsewhere: a log that lies beside them is of another training
    training = None if conversion else provenance.read_training(checkpoint, drawn=bool(drawn))
    return Sources(drawn, measured, no_evaluation, training, conversion)
