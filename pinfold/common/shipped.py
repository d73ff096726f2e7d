"""The model folders that come with this package: beside it in a checkout, inside of it in a wheel (setup.py)."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "models", PACKAGE.parent)


def shipped(name: str) -> Path | None:
    """The directory of a model folder such as "bert_model", None where it is not installed."""
    return next((place / name for place in PLACES if list((place / name).glob("modeling_*.py"))), None)
