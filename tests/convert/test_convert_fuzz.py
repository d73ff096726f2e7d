"""Random edits of transformers' modular files: each gives Python that parses, or one line for the user.

python tests/convert/test_convert_fuzz.py 2000 [SEED] runs more of them and counts.
"""

import collections
import random
import re
import sys
import time
from pathlib import Path

import pytest
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from pinfold.common.errors import UserError
from pinfold.convert.convert import convert, new_workspace
from pinfold.convert.read import sources

MODELS = Path(transformers.__file__).parent / "models"


def edit(lines: list[str], random_: random.Random) -> list[str]:
    """One edit of those that people make by accident."""
    at, kind = random_.randrange(len(lines)), random_.randrange(6)
    if kind == 0:
        return lines[:at] + lines[at + 1 + random_.randrange(3) :]
    if kind == 1:
        return lines[:at]
    if kind == 2:
        names = sorted(set(re.findall(r"\b[A-Za-z_]\w{3,}\b", "\n".join(lines))))
        old, new = random_.choice(names), random_.choice(names)
        return re.sub(rf"\b{old}\b", new, "\n".join(lines)).split("\n")
    if kind == 3:
        return lines[:at] + [lines[at]] * 2 + lines[at:]
    if kind == 4:
        changed = " " * random_.choice((1, 2, 4)) + lines[at] if random_.random() < 0.5 else lines[at][2:]
        return [*lines[:at], changed, *lines[at + 1 :]]
    with_marks = [i for i, line in enumerate(lines) if re.search(r"[()\[\]{}:,]", line)] or [at]
    at = random_.choice(with_marks)
    return [*lines[:at], re.sub(r"[()\[\]{}:,]", "", lines[at], count=1), *lines[at + 1 :]]


def outcome(path: Path, text: str) -> str:
    """What came of a text in the place of a file: "made", "refused", or the exception."""
    package = f"transformers.models.{path.parent.name}"
    workspace = new_workspace()
    load = workspace.load
    try:
        parsed = sources.parse(text, path, package)
        workspace.load = lambda p, k: parsed if p == path else load(p, k)
        for name, made in convert(path, package, workspace=workspace).files.items():
            compile(made, name, "exec")
    except UserError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"more than one line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "made"


def run(count: int, seed: int) -> tuple[collections.Counter, dict[str, str], float]:
    """Counts, the first edit that gave each exception, and the longest time."""
    paths, random_ = sorted(MODELS.glob("*/modular_*.py")), random.Random(seed)
    counted, first, longest = collections.Counter(), {}, 0.0
    for number in range(count):
        path = random_.choice(paths)
        text = "\n".join(edit(path.read_text(encoding="utf-8").split("\n"), random_))
        started = time.perf_counter()
        found = outcome(path, text)
        longest = max(longest, time.perf_counter() - started)
        counted[found] += 1
        first.setdefault(found, f"{path.name}, edit {number} of seed {seed}")
    return counted, first, longest


@pytest.mark.slow
@pytest.mark.parametrize("count", [30, pytest.param(60, marks=pytest.mark.sweep)])
def test_an_edited_file_is_converted_or_refused_in_one_line(count):
    counted, first, longest = run(count, 0)
    wrong = {k: v for k, v in first.items() if k not in ("made", "refused")}
    assert not wrong and longest < 30 and counted["made"] > count / 6 and counted["refused"] > count / 12, (
        counted,
        wrong,
    )


if __name__ == "__main__":
    began = time.perf_counter()
    counts, firsts, slowest = run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for what, times in counts.most_common():
        print(times, what, "" if what in ("made", "refused") else firsts[what])
    print(f"{time.perf_counter() - began:.0f} s, the longest {slowest:.1f} s")
