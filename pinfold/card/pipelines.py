"""Pipelines of transformers: which the card's task promises, and what they need beside the model."""

from dataclasses import dataclass

from pinfold.card.snippet import main_auto_class, parts
from pinfold.folder.outputs import inputs_of
from pinfold.staging.stage import Staged

TOKENIZER = ("tokenizer", "tokenizer.json (a tokenizer)")
PICTURES = ("processor", "preprocessor_config.json (an image processor)")
CLIPS = ("processor", "preprocessor_config.json (an image processor that takes a list of frames)")
SOUND = ("processor", "preprocessor_config.json (a feature extractor)")
# What is tried: the names under which each passes what it has read, and the parts that read it, as ``parts`` names
# them, with their files. transformers 5.3 has dropped some; the Hub has their words, and shows a pipeline of that
# name.
OF_TEXT = (("input_ids",), [TOKENIZER])
OF_PICTURES = (("pixel_values",), [PICTURES])
TRIED = {
    "text-classification": OF_TEXT,
    "token-classification": OF_TEXT,
    "fill-mask": OF_TEXT,
    "text-generation": OF_TEXT,
    "question-answering": OF_TEXT,
    "summarization": OF_TEXT,
    "translation": OF_TEXT,
    "feature-extraction": OF_TEXT,
    "image-classification": OF_PICTURES,
    "image-feature-extraction": OF_PICTURES,
    "image-segmentation": OF_PICTURES,
    "object-detection": OF_PICTURES,
    "depth-estimation": OF_PICTURES,
    "video-classification": (("pixel_values",), [CLIPS]),
    "audio-classification": (("input_values", "input_features"), [SOUND]),
    "automatic-speech-recognition": (("input_values", "input_features"), [SOUND, TOKENIZER]),
}


@dataclass(frozen=True)
class Pipeline:
    """The pipeline that a card's task promises.

    Args:
        task: "" where none is promised that can be tried. auto: the Auto class of the model.
        why_not: what keeps it from running; "" where nothing is known to.
    """

    task: str = ""
    auto: str = ""
    why_not: str = ""

    @property
    def line(self) -> str:
        """What a push says, or ""."""
        if not self.why_not:
            return ""
        return f'pipeline("{self.task}") does not run with it: {self.why_not}; use {self.auto}, as the card does'


def promised(staged: Staged, task: object) -> Pipeline:
    """The pipeline of a task, and what is known to be missing for it."""
    if staged.tokenizer_only or not isinstance(task, str) or task not in TRIED or task in staged.folder.pipelines:
        return Pipeline()
    auto, cls, loads = main_auto_class(staged), staged.architecture, parts(staged)
    names, needed = TRIED[task]
    inputs = inputs_of(staged.folder, cls) if cls in staged.folder.classes else None
    if inputs and not inputs[1] and not inputs[0] & set(names):
        return Pipeline(task, auto, f"it passes {' or '.join(names)}, and {cls}.forward takes no such argument")
    missing = [file for part, file in needed if part not in loads]
    verb = "is" if len(missing) == 1 else "are"
    return Pipeline(task, auto, f"{' and '.join(missing)} {verb} missing" if missing else "")
