"""What a comparison of attention is asked for, and which values make sense.

torch is not imported here: a mistake on the command line is said at once.
"""

import dataclasses
from collections.abc import Iterable

from pinfold.common.errors import UserError

# of each number, the least and the most; both are allowed
LIMITS = {
    "length": (1, 16384),
    "window": (1, 16384),
    "stride": (1, 16384),
    "keys": (1, 16384),
    "globals": (0, 16384),
    "heads": (1, 64),
    "width": (1, 256),
    "layers": (1, 200),
    "pads": (0, 16383),
    "seed": (0, 2**31 - 1),
    "repeats": (2, 1000),
}
FEWEST, MOST = 2, 4  # kinds side by side
MOST_LENGTHS = 12


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compared: the kinds by name, and the numbers that they all get."""

    kinds: tuple[str, ...]
    length: int = 4096  # tokens of a row
    window: int = 64  # local: tokens seen on either side
    stride: int = 16  # strided: every such key is seen
    keys: int = 64  # random: keys that each block of 64 queries draws
    globals: int = 0  # the first tokens, which see all and are seen by all
    heads: int = 4
    width: int = 32  # of a head
    layers: int = 12  # how far the receptive field is followed
    pads: int = 0  # tokens at the end of a row that are padding
    seed: int = 0
    lengths: tuple[int, ...] = ()  # at which time and memory are measured; () is four of them, up to length
    repeats: int = 7
    measure: bool = True

    def measured_lengths(self) -> tuple[int, ...]:
        """In rising order, `length` always among them."""
        lengths = self.lengths or [self.length // 8, self.length // 4, self.length // 2]
        least = self.pads + 1 if not self.lengths else 1
        return tuple(sorted({*(n for n in lengths if n >= least), self.length}))

    def check(self, known: Iterable[str]) -> None:
        """Refuse what cannot be compared.

        Args:
            known: the kinds that the model has.

        Raises:
            UserError: in one line.
        """
        self.check_kinds(tuple(known))
        for name, (least, most) in LIMITS.items():
            check_number(name, getattr(self, name), least, most)
        if len(self.lengths) > MOST_LENGTHS:
            raise UserError(f"lengths names {len(self.lengths)} lengths; give at most {MOST_LENGTHS}")
        for length in self.lengths:
            check_number("lengths", length, *LIMITS["length"])
        shortest = min(self.measured_lengths())
        if self.pads >= shortest:
            raise UserError(f"pads {self.pads} leaves no token of a row of {shortest}; give at most {shortest - 1}")

    def check_kinds(self, known: tuple[str, ...]) -> None:
        allowed = ", ".join(known)
        for kind in self.kinds:
            if kind not in known:
                raise UserError(f"{kind!r} is not a kind of attention; choose from {allowed}")
        for kind in self.kinds:
            if self.kinds.count(kind) > 1:
                raise UserError(f"{kind} is named {self.kinds.count(kind)} times; name each kind once")
        if not FEWEST <= len(self.kinds) <= MOST:
            named = " ".join(self.kinds) or "no kind is named"
            raise UserError(f"{named}: give {FEWEST} to {MOST} kinds, out of {allowed}")


def check_number(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise UserError(f"{name} {value!r} must be a whole number from {least} to {most}")
