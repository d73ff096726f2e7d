"""How long it takes to train a tokenizer of 8000 tokens on 12 MB of Python's own sources and documents.

    python benchmarks/tokenizer.py [wordpiece bpe unigram]

Prints machine, versions, seconds, and bytes a token on text that was held out.
"""

import os
import platform
import sys
import sysconfig
import time
from pathlib import Path

import tokenizers
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pinfold.tokenizer.corpus import hold_out_evenly, pieces  # noqa: E402
from pinfold.tokenizer.train import measure, train  # noqa: E402

BYTES = 12_000_000


def read_sources() -> str:
    """Sources of the standard library, then of installed packages, until there is enough."""
    texts = []
    size = 0
    for base in dict.fromkeys((sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))):
        for path in sorted(p for s in ("*.py", "*.txt", "*.rst") for p in Path(base).rglob(s)):
            text = path.read_text(encoding="utf-8", errors="ignore").replace("\0", "")
            texts.append(text)
            size += len(text.encode())
            if size >= BYTES:
                return "".join(texts)
    return "".join(texts)


def main() -> None:
    """Time each kind of tokenizer."""
    text = read_sources()
    trained_on, held = hold_out_evenly(list(pieces(text)), 0.05)
    size = sum(len(t.encode()) for t in trained_on)
    print(
        f"{size / 1e6:.1f} MB to train on, {len(held)} pieces held out; {os.cpu_count()} cores, {platform.machine()}"
    )
    print(
        f"python {platform.python_version()}, tokenizers {tokenizers.__version__}, "
        f"transformers {transformers.__version__}"
    )
    for kind in sys.argv[1:] or ["wordpiece", "bpe"]:
        started = time.perf_counter()
        tokenizer = train(trained_on, kind, 8000)
        seconds = time.perf_counter() - started
        bytes_a_token, same = measure(tokenizer, held)
        print(f"{kind:<10} {seconds:6.1f} s  {bytes_a_token:.2f} bytes a token  {same:.1%} round trip", flush=True)


if __name__ == "__main__":
    main()
