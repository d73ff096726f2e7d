"""What a tokenizer makes of fixed texts, so that two loads of it can be compared id by id.

Runs inside the fence (inside.py), in any transformers version: imports nothing of pinfold.
"""

import hashlib
import json

PLAIN = "The quick brown fox, aged 3.5 years, isn't lazy!"
SECOND = "  Two  spaces\nand a new line."
UNICODE = "na\u00efve cafe\u0301 \ufb01ne \u5317\u4eac \u041c\u043e\u0441\u043a\u0432\u0430 \U0001f917 \u200bend"
KEYS = ("input_ids", "token_type_ids", "attention_mask")
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def samples(tokenizer) -> dict:
    """Name of a sample -> what comes out, as JSON holds it; for what is refused, the exception's name."""
    calls = {
        "single": lambda: _ids(tokenizer(PLAIN)),
        "pair": lambda: _ids(tokenizer(PLAIN, SECOND)),
        "unicode": lambda: _ids(tokenizer(UNICODE)),
        "empty": lambda: _ids(tokenizer("")),
        "long": lambda: _ids(tokenizer(f"{PLAIN} " * 200, truncation=True, max_length=16)),
        # the first alone has to fit, letter by letter too: for what cannot be cut short, releases do different things
        "long pair": lambda: _ids(tokenizer("Two", f"{PLAIN} " * 200, truncation="only_second", max_length=24)),
        "text read back": lambda: _read_back(tokenizer),
        "special tokens": lambda: {name: getattr(tokenizer, f"{name}_token_id", None) for name in SPECIAL},
        "sizes": lambda: {"tokens": len(tokenizer), "longest": min(int(tokenizer.model_max_length), 10**12)},
    }
    if mask := getattr(tokenizer, "mask_token", None):
        text = f"one {mask} two{mask}three  {mask} . {mask}"
        calls["mask token"] = lambda: _ids(tokenizer(text))
    if getattr(tokenizer, "pad_token", None):
        calls["padded"] = lambda: _ids(tokenizer([PLAIN, SECOND, ""], padding=True))
    return {name: _made(call) for name, call in calls.items()}


def compare(found: dict, expected: dict, versions: tuple) -> list:
    """D03: the first sample that is not the expected one. ``versions`` made the expected and the found ones."""
    where = f"between {versions[0]} and {versions[1]}"
    if versions[0] == versions[1]:
        where = f"between the checkpoint and what was loaded (transformers {versions[1]})"
    for name in sorted({*found, *expected}):
        before, after = expected.get(name), found.get(name)
        if before == after:
            continue
        if not isinstance(before, dict) or not isinstance(after, dict):
            return [f"AutoTokenizer: ids of {name!r} differ {where}: {_short(before)} and {_short(after)}"]
        refused = [made.get("refused") for made in (before, after)]
        if refused[0] != refused[1] and versions[0] != versions[1]:
            told = [f"{why or 'ids'} in {version}" for version, why in zip(versions, refused, strict=True)]
            cure = "raise the folder's MIN_TRANSFORMERS, or mend its class"
            return [f"AutoTokenizer: the text {name!r} gives {' and '.join(told)}; {cure}"]
        key = next(key for key in sorted({*before, *after}) if before.get(key) != after.get(key))
        values = f"{_short(before.get(key))} and {_short(after.get(key))}"
        absent = key in KEYS and None in (before.get(key), after.get(key))
        cure = "; list what it gives as model_input_names in tokenizer_config.json" if absent else ""
        return [f"AutoTokenizer: ids of {name!r} differ {where}: {key} {values}{cure}"]
    return []


def sha256(found: dict) -> str:
    """One hash of everything."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _ids(encoded) -> dict:
    return {key: _plain(encoded[key]) for key in KEYS if key in encoded}


def _plain(ids) -> list:
    return [_plain(each) if isinstance(each, (list, tuple)) else int(each) for each in ids]


def _read_back(tokenizer) -> dict:
    found = {}
    for name, text in (("single", PLAIN), ("second", SECOND), ("unicode", UNICODE)):
        ids = tokenizer(text)["input_ids"]
        found[name] = [tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)]
    return found


def _made(call) -> dict:
    try:
        return call()
    except Exception as error:
        return {"refused": type(error).__name__}


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
