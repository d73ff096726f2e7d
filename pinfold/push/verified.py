"""What the loads of a push's staged files have shown, and what its user has to know of that."""

from collections.abc import Iterator
from dataclasses import dataclass

from pinfold.fence import process as fence
from pinfold.fenced.verify.further_loads import HALVES
from pinfold.verify import verify


@dataclass(frozen=True)
class Verified:
    """What loading the staged files has shown.

    Args:
        expected: the numbers of the code and the tensors alone. answer: that of the newest release.
        shown: what the picture of the architecture shows.
    """

    expected: verify.Reference
    releases: list[str]
    answer: dict
    shown: str

    @property
    def fails_in(self) -> dict[str, str]:
        """Types of half precision in which forward raises -> what; as the folder's process says it."""
        said = self.answer.get("fails_in")
        pairs = said.items() if isinstance(said, dict) else ()
        return {dtype: why for dtype, why in pairs if dtype in HALVES.values() and isinstance(why, str)}

    @property
    def limit(self) -> str:
        """What generate() of a second turn cannot do, or ""."""
        return next(iter(self.answer.get("limit", ())), "")

    def caveats(self) -> Iterator[str]:
        """What is equal only in part, or was verified under some condition."""
        yield from map(str, self.expected.skipped)
        if self.expected.not_run:
            names = ", ".join(self.expected.not_run)
            yield f"inputs of forward that were not tested: {names}; to test them, list all inputs in probe.json"
        if self.expected.chosen:
            yield f"its inputs, made by the folder's own processor or tokenizer, were {self.expected.chosen}"
        if self.expected.origin:
            yield self.expected.origin
        yield fence.available().describe()
        for auto, names in self.answer["formula"].items():
            if names:
                yield f"{auto}: missing from the checkpoint; users get random values for {', '.join(names[:4])}"
        for dtype, why in self.fails_in.items():
            yield f"forward fails in {dtype}, and the card says so: {why}"
        for dtype, what in self.answer.get("not_finite", {}).items():
            yield f"in {dtype} {what}. The card says so"
        if self.limit:
            yield "; ".join(filter(None, self.answer["limit"]))
        if self.answer.get("unaligned"):
            words = "memory-mapped, last bits may differ on a CPU"
            yield f"outputs are equal when the weights are copied into memory; {words}"


def what_was_equal(autos: list[str], generates: bool) -> str:
    """What a push says of a load in every release.

    Args:
        autos: Auto classes that were loaded. generates: whether tokens were compared.
    """
    models = [auto for auto in autos if auto != "AutoTokenizer"]
    what = "tensors, outputs and generated tokens" if generates else "tensors and outputs"
    parts = [f"{', '.join(models)}: {what} equal, also saved and loaded again"] if models else []
    return "; ".join([*parts, *(["AutoTokenizer: ids equal"] if "AutoTokenizer" in autos else [])])
