"""Pipelines of transformers: which the card's task promises, and what they need beside the model.

Which words are pipelines is read in transformers' own registry, in each release that the model was verified with.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pinfold.card.snippet import main_auto_class, parts
from pinfold.folder.outputs import inputs_of
from pinfold.staging.stage import Staged

TOKENIZER = ("tokenizer", "tokenizer.json (a tokenizer)")
PICTURES = ("processor", "preprocessor_config.json (an image processor)")
CLIPS = ("processor", "preprocessor_config.json (an image processor that takes a list of frames)")
SOUND = ("processor", "preprocessor_config.json (a feature extractor)")
# What is known of some before they are tried: the names under which each passes what it has read, and the parts that
# read it, as ``parts`` names them, with their files.
OF_TEXT = (("input_ids",), [TOKENIZER])
OF_PICTURES = (("pixel_values",), [PICTURES])
NEEDS = {
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


@dataclass(frozen=True)
class Registry:
    """The pipelines of one release.

    Args:
        has: words that it has a pipeline for. knew: those that it had one for, and says so.
    """

    has: frozenset[str] = frozenset()
    knew: frozenset[str] = frozenset()


def read_registry(source: str) -> Registry:
    """What transformers/pipelines/__init__.py of a release lists; nothing where it is written in another way.

    >>> sorted(read_registry('TASK_ALIASES = {"ner": "b"}; SUPPORTED_TASKS = {"a": f(), "b": 1}').has)
    ['a', 'b', 'ner']
    """
    listed: dict[str, frozenset[str]] = {}
    for part in ast.parse(source).body:
        if not isinstance(part, (ast.Assign, ast.AnnAssign)) or not isinstance(table := part.value, ast.Dict):
            continue
        target = part.targets[0] if isinstance(part, ast.Assign) else part.target
        if isinstance(target, ast.Name):
            words = (key.value for key in table.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
            listed[target.id] = frozenset(words)
    nothing: frozenset[str] = frozenset()
    has = listed.get("SUPPORTED_TASKS", nothing) | listed.get("TASK_ALIASES", nothing)
    return Registry(has, listed.get("REMOVED_TASKS", nothing))


def promised(staged: Staged, task: object, registries: Mapping[str, Registry]) -> Pipeline:
    """The pipeline of a task, and what is known to keep it from running.

    Args:
        registries: of each release that the model was verified with, the newest last.
    """
    if staged.tokenizer_only or not isinstance(task, str) or task in staged.folder.pipelines:
        return Pipeline()
    if not any(task in registry.has | registry.knew for registry in registries.values()):
        return Pipeline()
    known = _missing(staged, task) if task in NEEDS else Pipeline(task, main_auto_class(staged))
    newest = list(registries)[-1]
    if not known.why_not and task not in registries[newest].has:
        others = [release for release, registry in registries.items() if task in registry.has]
        more = f" ({', '.join(others)} {'has' if len(others) == 1 else 'have'} one)" if others else ""
        return replace(known, why_not=f"transformers {newest} has no pipeline of this name{more}")
    return known


def _missing(staged: Staged, task: str) -> Pipeline:
    auto, cls, loads = main_auto_class(staged), staged.architecture, parts(staged)
    names, needed = NEEDS[task]
    inputs = inputs_of(staged.folder, cls) if cls in staged.folder.classes else None
    if inputs and not inputs[1] and not inputs[0] & set(names):
        return Pipeline(task, auto, f"it passes {' or '.join(names)}, and {cls}.forward takes no such argument")
    missing = [file for part, file in needed if part not in loads]
    verb = "is" if len(missing) == 1 else "are"
    return Pipeline(task, auto, f"{' and '.join(missing)} {verb} missing" if missing else "")
