"""What .gitattributes and .gitignore say about a path."""

import re
from functools import lru_cache

from dulwich.ignore import IgnoreFilter, read_ignore_patterns, translate

_LARGE = """
7z arrow bin bz2 ckpt ftz gguf gz h5 joblib lfs.* mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl
pt pth rar safetensors tar tar.* tflite tgz wasm xz zip zst
"""
MAX_STARS, MAX_DEEP = 3, 3  # `*` inside a name, and `**` in a pattern: more of them take minutes to match
MAX_IGNORE = 2**16  # bytes of a .gitignore
_RULE = " filter=lfs diff=lfs merge=lfs -text\n"
DEFAULT_ATTRIBUTES = (
    "".join(f"*.{suffix}{_RULE}" for suffix in _LARGE.split()) + f"*tfevents*{_RULE}saved_model/**/*{_RULE}"
)


class Attributes:
    """Which paths .gitattributes sends to git-lfs. The last line that matches a path decides."""

    def __init__(self, text: bytes):
        self._rules = list(_parse(text))

    def large(self, path: str) -> bool:
        encoded = path.encode()
        for pattern, large in reversed(self._rules):
            if pattern.fullmatch(encoded):
                return large
        return False


@lru_cache(maxsize=32)
def _parse(text: bytes) -> tuple[tuple[re.Pattern[bytes], bool], ...]:
    rules = []
    for line in text.splitlines():
        pattern, *attributes = line.split() or [b""]
        words = set(attributes)
        filtered = [word for word in words if word.lstrip(b"-!").partition(b"=")[0] == b"filter"]
        if pattern[:1] in (b"", b"#", b"!", b'"') or not filtered or _is_slow(pattern):
            continue
        try:
            rules.append((re.compile(translate(pattern)), b"filter=lfs" in words))
        except (ValueError, re.error):
            continue  # git, too, ignores a pattern it cannot read
    return tuple(rules)


def _is_slow(pattern: bytes) -> bool:
    """Whether matching it could try very many ways to share a path among its stars."""
    segments = pattern.strip(b"/").split(b"/")
    deep = sum(b"**" in each for each in segments)
    return deep > MAX_DEEP or any(len(re.findall(rb"\*+", each)) > MAX_STARS for each in segments if each != b"**")


def attribute_line(path: str) -> str:
    """The line that makes a git clone fetch this one large file.

    What a pattern cannot hold as itself becomes `?`, any one character: every git and dulwich reads that alike.
    """
    return "/" + re.sub(r"[\\*?\[\] ]", "?", path) + _RULE


def ignored(text: bytes, paths: list[str]) -> set[str]:
    """Those paths that a .gitignore leaves out: themselves or with a directory above them.

    Raises:
        ValueError: for a pattern that would take too long. To skip it could publish what was to stay at home.
    """
    if len(text) > MAX_IGNORE:
        raise ValueError(f"a .gitignore may have {MAX_IGNORE} bytes")
    for line in text.splitlines():
        if not line.startswith(b"#") and _is_slow(line.strip()):
            shown = line.decode("utf-8", "replace")[:100]
            raise ValueError(f"{shown!r} in .gitignore has more than {MAX_STARS} '*' in a name or {MAX_DEEP} '**'")
    rules = IgnoreFilter(read_ignore_patterns(text.splitlines(keepends=True)))

    def left_out(path: str) -> bool:
        above = [path[: at + 1] for at, char in enumerate(path) if char == "/"]
        return any(rules.is_ignored(each) for each in [*above, path])

    return {path for path in paths if left_out(path)}
