"""Programs that act by way of another name, a library's own runner, or a part of Python: KINDS of all files."""

from corpus.kinds import libraries, names, workers

KINDS: dict[str, tuple[str, list[str]]] = {**names.KINDS, **libraries.KINDS, **workers.KINDS}
