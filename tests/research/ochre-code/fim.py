"""Fill in the middle: prompts and what is cut from answers."""
PREFIX, SUFFIX, MIDDLE, STOP = "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>"


def fim_prompt(before: str, after: str, spm: bool = False) -> str:
    if spm:
        return f"{PREFIX}{SUFFIX}{after}{MIDDLE}{before}"
    return f"{PREFIX}{before}{SUFFIX}{after}{MIDDLE}"


def cut(text: str) -> str:
    for token in (STOP, PREFIX, SUFFIX, MIDDLE):
        text = text.split(token)[0]
    return text
