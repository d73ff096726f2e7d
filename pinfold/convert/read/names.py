"""The renaming of an architecture: `Llama` to `My`, `llama` to `my`, `LLAMA` to `MY`; names, strings and comments."""

import re
from collections import Counter
from dataclasses import dataclass

WORD = re.compile(r"[A-Za-z_]\w*")


def lower(cased: str) -> str:
    """`NewText` -> `new_text`, `CLIPVision` -> `clip_vision`, `Qwen2VL` -> `qwen2_vl`."""
    cased = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", cased)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", cased).lower()


def camel(snake: str) -> str:
    """`my_model` -> `MyModel`; what is in capitals already stays."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[_\W]+", snake) if part)


def normalized(name: str) -> str:
    return re.sub(r"[_\W]", "", name).lower()


def cased_prefix(name: str, classes: list[str]) -> str | None:
    """How classes of the architecture `name` begin: `qwen2_vl` and Qwen2VLConfig give `Qwen2VL`."""
    normal = normalized(name)
    counted = Counter()
    for cls in classes:
        for end in range(len(normal), len(cls) + 1):
            if normalized(cls[:end]) == normal and not cls[end : end + 1].islower():
                # Ernie4_5_MoeConfig begins with Ernie4_5_Moe, and Kimi_K25_Model with Kimi_K25_
                while cls[end : end + 1] == "_":
                    end += 1
                counted[cls[:end]] += 1
                break
    return counted.most_common(1)[0][0] if counted else None


@dataclass(frozen=True)
class Renaming:
    """One architecture's name for another's, in its three spellings."""

    old_lower: str
    old_cased: str
    new_lower: str
    new_cased: str

    def pattern(self) -> re.Pattern:
        low, cased, upper = (re.escape(x) for x in (self.old_lower, self.old_cased, self.old_lower.upper()))
        return re.compile(
            f"(?<![a-zA-Z0-9])(?P<low>{low})(?![a-z0-9])|(?<![a-z0-9])(?P<cased>{cased})(?![a-z])"
            f"|(?<![A-Z0-9a-z])(?P<upper>{upper})(?![A-Za-z0-9])|(?<![a-zA-Z0-9])(?i:{low})(?![a-z0-9])"
        )

    def word(self, word: str) -> str:
        """A single identifier under its new name."""
        capitals = self.old_cased.isupper()

        def new(match: re.Match) -> str:
            if match["low"]:
                return self.new_lower
            if match["upper"]:
                return self.new_lower.upper()
            after = word[match.end() : match.end() + 1]
            if capitals and not after.isalpha():  # CLIP_X is a constant, CLIPModel a class
                return self.new_lower.upper()
            return self.new_cased

        return self.pattern().sub(new, word)

    def text(self, text: str, keep: frozenset[str] = frozenset()) -> str:
        """All of a source text; words in `keep` (what it imports from elsewhere) and methods of tensors stay."""

        def new(match: re.Match) -> str:
            word = match[0]
            at = match.start()
            if word in keep:
                return word
            if word == self.old_lower and text[at - 1 : at] == "." and text[match.end() : match.end() + 1] == "(":
                before = text[max(0, at - 5) : at]
                if before != "self.":
                    return word  # torch.clip(...), x.clip(...)
            renamed = self.word(word)
            if renamed != word and text[at - 1 : at] == ".":
                owner = re.search(r"(\w+)\.\Z", text[max(0, at - 80) : at])
                if owner and owner[1] in keep:
                    return word  # normalizers.BertNormalizer
            return renamed

        return WORD.sub(new, text)


def infer(old_cased: str, pairs: list[tuple[str, str]], default: str = "", shared: bool = False) -> str | None:
    """The new prefix from pairs (new class, parent): (`MyMLP`, `LlamaMLP`) gives `My`; the commonest wins.

    Args:
        default: the prefix of the modular file itself, which wins where several are as common; else the last does.
        shared: what both names end with is not a prefix, as transformers' own converter has it, if that is not a whole
            name: (`MyVLDenseMLP`, `OurDenseMLP`) of OurDense gives `MyVL`.
    """
    counted: Counter = Counter()
    for new, old in pairs:
        if old.startswith(old_cased):
            rest = common_end(new, old) if shared and default else ""
            rest = rest if rest not in ("", old) else old[len(old_cased) :]
            if rest and new.endswith(rest) and len(new) > len(rest):
                prefix = new[: -len(rest)]
                counted[default if shared and len(prefix) < len(default) and default in new else prefix] += 1
    most = [prefix for prefix, count in counted.items() if count == max(counted.values())]
    return (default if default in most else most[-1]) if most else None


def common_end(a: str, b: str) -> str:
    """What two names end with, from a capital letter on."""
    count = 0
    while count < min(len(a), len(b)) and a[-1 - count] == b[-1 - count]:
        count += 1
    while count and not a[-count].isupper():
        count -= 1
    return a[len(a) - count :]
