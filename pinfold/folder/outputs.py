"""Which Auto class a model is for, by the output that its forward makes (transformers.modeling_outputs)."""

import ast

from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import ModelFolder

AUTO_OF_OUTPUT = {
    **dict.fromkeys(
        ["SequenceClassifierOutput", "SequenceClassifierOutputWithPast", "Seq2SeqSequenceClassifierOutput"],
        "AutoModelForSequenceClassification",
    ),
    **dict.fromkeys(
        ["ImageClassifierOutput", "ImageClassifierOutputWithNoAttention"], "AutoModelForImageClassification"
    ),
    **dict.fromkeys(["CausalLMOutputWithPast", "CausalLMOutputWithCrossAttentions"], "AutoModelForCausalLM"),
    "TokenClassifierOutput": "AutoModelForTokenClassification",
    "QuestionAnsweringModelOutput": "AutoModelForQuestionAnswering",
    "MaskedLMOutput": "AutoModelForMaskedLM",
    "Seq2SeqLMOutput": "AutoModelForSeq2SeqLM",
    "MultipleChoiceModelOutput": "AutoModelForMultipleChoice",
    "SemanticSegmenterOutput": "AutoModelForSemanticSegmentation",
    "DepthEstimatorOutput": "AutoModelForDepthEstimation",
    "NextSentencePredictorOutput": "AutoModelForNextSentencePrediction",
}


# What reads words, and nothing else. A forward takes words by one of these names, or whatever comes in **kwargs.
OF_WORDS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM", "MultipleChoice")
OF_PICTURES = (
    "AutoModelForImageClassification", "AutoModelForSemanticSegmentation", "AutoModelForDepthEstimation",
)  # fmt: skip
OF_SOUND = ("SpeechSeq2Seq", "CTC", "AudioClassification")
WORDS = {"input_ids", "inputs_embeds"}
PICTURES = {"pixel_values", "pixel_values_videos", "images"}
SOUND = {"input_values", "input_features"}


def auto_of_outputs(folder: ModelFolder, cls: str) -> str | None:
    """The Auto class whose models take and return what this one does, or None."""
    method = folder.method(cls, "forward")
    if method is None:
        return None
    names = _called(method[1])
    autos = {AUTO_OF_OUTPUT[name] for name in names & set(AUTO_OF_OUTPUT)}
    takes, anything = _taken(method[1])
    if not autos and "CausalLMOutput" in names:  # of its own: frames of sound to letters, or words without a cache
        return "AutoModelForCTC" if takes & SOUND else "AutoModelForCausalLM" if takes & WORDS else None
    auto = autos.pop() if len(autos) == 1 else None
    if auto in OF_PICTURES and "pixel_values" not in takes:
        return None  # its pipeline passes no other argument: points and latents are not pictures
    return of_inputs(auto, takes, anything) if auto else None


def auto_of_pipelines(folder: ModelFolder, cls: str) -> str | None:
    """The Auto class under which a pipeline would load this model and run it, or None.

    A pipeline passes by name what its tokenizer or processor makes.
    """
    auto, inputs = auto_of_outputs(folder, cls), inputs_of(folder, cls)
    if auto is None or inputs is None:
        return None
    takes, anything = inputs
    kind = auto.removeprefix("AutoModelFor")
    passed = {"input_ids"}
    if auto in OF_PICTURES or kind == "ImageTextToText":
        passed = {"pixel_values"}
    elif kind in OF_SOUND:
        passed = SOUND
    return auto if takes & passed or (anything and not takes) else None


def of_inputs(auto: str, takes: set[str], anything: bool) -> str | None:
    """The Auto class for the same outputs from these inputs: what classifies sound is not what classifies texts.

    Args:
        takes: arguments of forward. anything: whether it has **kwargs as well.
    """
    kind = auto.removeprefix("AutoModelFor")
    if kind in ("CausalLM", "Seq2SeqLM") and takes & PICTURES:
        return "AutoModelForImageTextToText"
    if kind == "Seq2SeqLM" and takes & SOUND:
        return "AutoModelForSpeechSeq2Seq"
    if kind in OF_WORDS and not takes & WORDS:
        if kind == "SequenceClassification" and takes & (SOUND | PICTURES):
            return "AutoModelForAudioClassification" if takes & SOUND else "AutoModelForImageClassification"
        return auto if anything and not takes & (SOUND | PICTURES) else None
    return auto


def inputs_of(folder: ModelFolder, cls: str) -> tuple[set[str], bool] | None:
    """Arguments of a model's forward, and whether it has **kwargs; None where the folder does not define it."""
    method = folder.method(cls, "forward")
    return _taken(method[1]) if method else None


def required_of(folder: ModelFolder, cls: str) -> set[str]:
    """Arguments of a model's forward that have no default."""
    method = folder.method(cls, "forward")
    if method is None:
        return set()
    arguments = method[1].args
    placed = [*arguments.posonlyargs, *arguments.args][1:]
    without = placed[: len(placed) - len(arguments.defaults)] if arguments.defaults else placed
    named = [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    return {argument.arg for argument in (*without, *named)}


def returns_states(folder: ModelFolder, cls: str) -> bool:
    """Whether a model returns the states of its last layer: an encoder, whatever reads them."""
    method = folder.method(cls, "forward")
    if method is None:
        return False
    called = _called(method[1])
    fields = {
        part.target.id
        for name in called & set(folder.classes)
        for part in folder.classes[name][1].body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    parts = list(walk(method[1]))
    words: set[object] = {part.arg for part in parts if isinstance(part, ast.keyword)}
    words |= {part.value for part in parts if isinstance(part, ast.Constant)}
    return any(name.startswith("BaseModelOutput") for name in called) or "last_hidden_state" in words | fields


def _called(function: ast.AST) -> set[str]:
    return {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in every(function, ast.Call)
        if isinstance(node.func, (ast.Name, ast.Attribute))
    }


def _taken(forward: ast.FunctionDef) -> tuple[set[str], bool]:
    arguments = forward.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)} - {"self"}
    return names, arguments.kwarg is not None or arguments.vararg is not None
