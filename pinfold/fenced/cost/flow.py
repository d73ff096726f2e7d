"""Which operators read what others gave: the way of the data through a pass, seen as the operators run.

Kept are numbers and names only, so that a pass on the meta device shows it as well.
"""

from collections.abc import Callable, Iterator

MOST = 200_000  # operators; a longer pass is drawn without its ways


class Flow:
    """The operators of one pass, in order.

    Args:
        names: the innermost module that was running, or "input NAME". reads: positions of what each one read.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.reads: list[tuple[int, ...]] = []
        # An object's id is that of one tensor while it lives; what takes its place later comes from an operator too.
        self._giver: dict[int, int] = {}

    def begins(self, name: str, tensor: object) -> None:
        """An input of the model."""
        self._add(f"input {name}", (), [tensor])

    def ran(self, module: str, arguments: Iterator, results: Iterator) -> None:
        """An operator of a module, with the tensors that it read and gave."""
        read = (self._giver.get(id(tensor)) for tensor in arguments)
        self._add(module, tuple(dict.fromkeys(place for place in read if place is not None)), results)

    def _add(self, name: str, reads: tuple[int, ...], results) -> None:
        if len(self.names) >= MOST:
            return
        for tensor in results:
            self._giver[id(tensor)] = len(self.names)
        self.names.append(name)
        self.reads.append(reads)

    def ways(self, stage_of: Callable[[str], int | None]) -> tuple[set[tuple[int, int]], dict[int, set[str]]]:
        """From which stages and inputs each stage reads, without another stage between them.

        Args:
            stage_of: a module's name -> the number of its stage, None for what lies between stages.

        Returns:
            Pairs of stages (from, to); and stage -> names of inputs.
        """
        known: dict[str, int | None] = {}
        sources: list[frozenset] = []
        pairs: set[tuple[int, int]] = set()
        inputs: dict[int, set[str]] = {}
        if len(self.names) >= MOST:
            return pairs, inputs
        for name, reads in zip(self.names, self.reads, strict=True):
            if name.startswith("input "):
                sources.append(frozenset([name.removeprefix("input ")]))
                continue
            if name not in known:
                known[name] = stage_of(name)
            stage = known[name]
            read = frozenset().union(*(sources[place] for place in reads)) if reads else frozenset()
            if stage is None:
                sources.append(read)
                continue
            for source in read:
                if isinstance(source, str):
                    inputs.setdefault(stage, set()).add(source)
                elif source != stage:
                    pairs.add((source, stage))
            sources.append(frozenset([stage]))
        return pairs, inputs
