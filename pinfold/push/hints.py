"""What a push says of a folder's main class that keeps nothing from being published: a line each."""

import ast
from collections.abc import Iterator

from pinfold.folder.outputs import auto_of_pipelines, inputs_of, returns_states
from pinfold.staging.stage import Staged

# task types of peft, by the Auto class of their models; peft passes these arguments to forward, whatever it takes
TASK_TYPES = {
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
}
OF_PEFT = ("inputs_embeds", "output_attentions", "output_hidden_states", "return_dict")


def hints(staged: Staged) -> Iterator[str]:
    """The lines; none for code that is published already, or that is not the folder's."""
    if staged.tokenizer_only or staged.code_from or staged.architecture not in staged.folder.classes:
        return
    yield from _narrower(staged)
    yield from _of_peft(staged)
    yield from _of_sentences(staged)


def _narrower(staged: Staged) -> Iterator[str]:
    """A class that could be found by pipelines, and is offered as AutoModel alone."""
    entry, cls = staged.auto_map.get("AutoModel", ""), staged.architecture
    auto = auto_of_pipelines(staged.folder, cls) if entry.split(".")[-1] == cls else None
    if auto and auto not in staged.auto_map:
        line = f'{cls}.register_for_auto_class("{auto}")'
        file = f"{entry.split('.')[0]}.py"
        yield f"{cls} is only offered as AutoModel, but pipelines look for {auto}; end {file} with {line}"


def _of_peft(staged: Staged) -> Iterator[str]:
    """A forward that an adapter of peft cannot call."""
    cls, inputs = staged.architecture, inputs_of(staged.folder, staged.architecture)
    of_class = [auto for auto, place in staged.auto_map.items() if place.split(".")[-1] == cls]
    types = [TASK_TYPES[auto] for auto in sorted(of_class) if auto in TASK_TYPES]
    if not types or inputs is None or inputs[1] or "input_ids" not in inputs[0]:
        return
    if refused := [name for name in OF_PEFT if name not in inputs[0]]:
        names = ", ".join(f"{name}=None" for name in refused)
        # Trainer takes **kwargs for a loss that divides by num_items_in_batch, unless the class says otherwise
        says = any("accepts_loss_kwargs" in _assigned(staged, owner) for owner in staged.folder.lineage(cls))
        more = "" if says else " (and set accepts_loss_kwargs = False, unless its loss uses num_items_in_batch)"
        yield f"LoRA of peft with task_type={types[0]} passes {names} to {cls}.forward: take **kwargs there{more}"


def _of_sentences(staged: Staged) -> Iterator[str]:
    """An encoder of words that sentence-transformers cannot call: it passes return_dict, whatever forward takes."""
    cls = staged.auto_map.get("AutoModel", "").split(".")[-1]
    inputs = inputs_of(staged.folder, cls) if cls in staged.folder.classes else None
    if inputs is None or inputs[1] or not returns_states(staged.folder, cls):
        return
    if "input_ids" in inputs[0] and "return_dict" not in inputs[0]:
        yield f"SentenceTransformer passes return_dict=True to {cls}.forward: take return_dict=None there"


def _assigned(staged: Staged, cls: str) -> set[str]:
    """Names that the body of a class sets."""
    body = staged.folder.classes[cls][1].body if cls in staged.folder.classes else []
    targets = [target for part in body if isinstance(part, ast.Assign) for target in part.targets]
    targets += [part.target for part in body if isinstance(part, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
