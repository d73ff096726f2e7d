"""Whether a pipeline of transformers runs with a repository: the Hub shows one for the task that the card names."""

import re

from .values import describe

WORDS = "The wind had fallen, and the sea was calm again."
SHORT = {"text-generation": {"max_new_tokens": 2}}  # what the others do by default takes one run of the model


def why_not(task: str, auto: str, arguments: dict) -> str:
    """What keeps the pipeline of a task from running with what it is made for; "" where it runs.

    Args:
        auto: the Auto class of the main class. arguments: of from_pretrained.
    """
    import transformers

    where = {key: value for key, value in arguments.items() if key != "pretrained_model_name_or_path"}
    try:
        pipe = transformers.pipeline(task, model=arguments["pretrained_model_name_or_path"], **where)
        if auto == "AutoModelForSpeechSeq2Seq" and "ctc" in str(getattr(pipe, "type", "")):
            name = type(pipe.model).__name__  # it might run, and would write what forward says of each frame
            return f"transformers knows models that generate by the names of its own classes, and takes {name} for CTC"
        pipe(_read(task, pipe), **SHORT.get(task, {}))
    except (Exception, SystemExit) as error:
        classes, _, reasons = str(error).partition("See the original errors")
        loads = [name for name in dict.fromkeys(re.findall(r"\bAutoModel\w*", classes)) if reasons]
        if loads and auto not in loads:
            return f"it loads {' or '.join(loads)}, which is not registered"
        return describe(error)
    return ""


def _read(task: str, pipe):
    """A sentence, a drawn picture or a tone."""
    if task == "fill-mask":
        return f"The sea was {pipe.tokenizer.mask_token} again."
    if pipe.image_processor is not None:
        from PIL import Image

        return Image.radial_gradient("L").convert("RGB")
    if pipe.feature_extractor is not None:
        import numpy as np

        rate = pipe.feature_extractor.sampling_rate
        return np.sin(2 * np.pi * 220 * np.arange(rate) / rate).astype("f4")
    return WORDS
