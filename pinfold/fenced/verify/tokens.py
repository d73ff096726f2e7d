"""What a tokenizer makes of fixed texts, so that two loads of it can be compared id by id."""

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
    return {name: _result(call) for name, call in calls.items()}


def compare(loaded: dict, expected: dict, versions: tuple) -> list[str]:
    """D03: the first sample that is not the expected one. ``versions`` made the expected and the loaded ones."""
    where = f"between {versions[0]} and {versions[1]}"
    if versions[0] == versions[1]:
        where = f"between the checkpoint and what was loaded (transformers {versions[1]})"
    for name in sorted({*loaded, *expected}):
        before, after = (_without_empty(samples.get(name)) for samples in (expected, loaded))
        if before == after:
            continue
        if not isinstance(before, dict) or not isinstance(after, dict):
            return [f"AutoTokenizer: ids of {name!r} differ {where}: {_short(before)} and {_short(after)}"]
        refused = [sample.get("refused") for sample in (before, after)]
        if refused[0] != refused[1] and versions[0] != versions[1]:
            results = [f"{why or 'ids'} in {version}" for version, why in zip(versions, refused, strict=True)]
            cure = "raise the folder's MIN_TRANSFORMERS, or fix its class"
            return [f"AutoTokenizer: the text {name!r} gives {' and '.join(results)}; {cure}"]
        key = next(key for key in sorted({*before, *after}) if before.get(key) != after.get(key))
        values = f"{_short(before.get(key))} and {_short(after.get(key))}"
        absent = key in KEYS and None in (before.get(key), after.get(key))
        cure = "; list what it gives as model_input_names in tokenizer_config.json" if absent else ""
        return [f"AutoTokenizer: ids of {name!r} differ {where}: {key} {values}{cure}"]
    return []


def sha256(samples: dict) -> str:
    """One hash of everything."""
    return hashlib.sha256(json.dumps(samples, sort_keys=True).encode()).hexdigest()


def _without_empty(sample: object) -> object:
    """Where a text has no token, releases leave its further inputs out or give empty ones: a model gets neither."""
    if not isinstance(sample, dict) or "input_ids" not in sample or not _empty(sample["input_ids"]):
        return sample
    return {key: value for key, value in sample.items() if key == "input_ids" or not _empty(value)}


def _empty(ids: object) -> bool:
    return isinstance(ids, list) and all(_empty(each) for each in ids)


def _ids(encoded) -> dict:
    return {key: _integers(encoded[key]) for key in KEYS if key in encoded}


def _integers(ids) -> list:
    return [_integers(each) if isinstance(each, (list, tuple)) else int(each) for each in ids]


def _read_back(tokenizer) -> dict:
    texts: dict[str, list] = {}
    for name, text in (("single", PLAIN), ("second", SECOND), ("unicode", UNICODE)):
        ids = tokenizer(text)["input_ids"]
        texts[name] = [tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)]
    return texts


def _result(call) -> dict:
    try:
        return call()
    except Exception as error:
        return {"refused": type(error).__name__}


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
