"""Greedy longest-match tokenizer over a fixed piece list (pieces.txt beside the weights)."""
from pathlib import Path
from typing import Dict, Iterable, List


class PieceTokenizer:
    def __init__(self, pieces: List[str]):
        self.pieces = ["<pad>", "<s>", "</s>", "<unk>"] + pieces
        self.ids: Dict[str, int] = {p: i for i, p in enumerate(self.pieces)}
        self.longest = max(map(len, pieces)) if pieces else 1

    @classmethod
    def from_file(cls, path):
        return cls(Path(path).read_text(encoding="utf-8").splitlines())

    def encode(self, text: str) -> List[int]:
        text, out, i = "_" + text.lower().replace(" ", "_"), [], 0
        while i < len(text):
            for n in range(min(self.longest, len(text) - i), 0, -1):
                piece = text[i : i + n]
                if piece in self.ids:
                    out.append(self.ids[piece])
                    i += n
                    break
            else:
                out.append(3)
                i += 1
        return out

    def decode(self, ids: Iterable[int]) -> str:
        text = ""
        for i in ids:
            if i == 2:
                break
            if i > 3:
                text += self.pieces[i]
        return text.replace("_", " ").strip()

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> "PieceTokenizer":
        from collections import Counter

        words = Counter(w for line in lines for w in ("_" + line.lower().replace(" ", " _")).split())
        split = {w: list(w) for w in words}
        pieces = {c for w in words for c in w}
        while len(pieces) < size:
            pairs = Counter()
            for w, n in words.items():
                for a, b in zip(split[w], split[w][1:]):
                    pairs[a, b] += n
            if not pairs:
                break
            (a, b), _ = pairs.most_common(1)[0]
            pieces.add(a + b)
            for w, s in split.items():
                i, t = 0, []
                while i < len(s):
                    if i + 1 < len(s) and s[i] == a and s[i + 1] == b:
                        t.append(a + b)
                        i += 2
                    else:
                        t.append(s[i])
                        i += 1
                split[w] = t
        return cls(sorted(pieces, key=lambda p: (-len(p), p)))
