"""Which Auto class a model is for, by the output that its forward makes (transformers.modeling_outputs)."""

import ast

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


def auto_of_outputs(folder: ModelFolder, cls: str) -> str | None:
    """The Auto class whose models return what this one does; None where its output is of no such class."""
    method = folder.method(cls, "forward")
    if method is None:
        return None
    names = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(method[1])
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute))
    }
    autos = {AUTO_OF_OUTPUT[name] for name in names & set(AUTO_OF_OUTPUT)}
    return autos.pop() if len(autos) == 1 else None
