"""What trust costs: reading a folder, and loading it in the minimum matrix, side by side and one after another.

Prints medians of alternating pairs. Needs the demo checkpoint (make push) and its overlays (pinfold compat make
minimum).

    python benchmarks/trust.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pinfold.audit.run import audit
from pinfold.cli import compat
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import matrix

PAIRS = 3
FOLDER, CHECKPOINT = Path("resnet_model"), Path("runs/resnet-digits")


def seconds(work) -> float:
    """How long a call takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        staged = stage(read_folder(FOLDER), CHECKPOINT, Path(temporary))
        audits = [seconds(lambda: audit(staged.directory, read_folder(staged.directory))) for _ in range(20)]
        command = [sys.executable, "-m", "pinfold", "check", str(staged.directory)]
        checks = [seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5)]
        cores, together, alone = matrix.os.cpu_count, [], []
        for _ in range(PAIRS):
            together.append(seconds(lambda: compat.load_in_versions(temporary, ["minimum"])))
            matrix.os.cpu_count = lambda: 1
            try:
                alone.append(seconds(lambda: compat.load_in_versions(temporary, ["minimum"])))
            finally:
                matrix.os.cpu_count = cores
    print(f"audit of {FOLDER}, staged: {statistics.median(audits) * 1000:.0f} ms (median of {len(audits)})")
    print(f"pinfold check, a fresh process: {statistics.median(checks):.2f} s (median of {len(checks)})")
    side, serial = statistics.median(together), statistics.median(alone)
    print(f"minimum matrix: {side:.1f} s side by side, {serial:.1f} s one after another, ratio {serial / side:.2f}")
    print(", ".join(f"{key} {value}" for key, value in matrix.environment().items()) + f", medians of {PAIRS} pairs")


if __name__ == "__main__":
    main()
