"""The loss that labels give is the one that its users expect of it."""

from ..tiny.labels import batch_of
from . import outputs
from .subject import CheckFailed, NotApplicable, Subject, loss_of

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index
KINDS = ("regression", "single_label_classification", "multi_label_classification")


def run(subject: Subject, model, inputs: dict):
    """(loss, output) without gradients."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        output = model(**subject.on_device(inputs))
    return loss_of(output), output


def labels_matter(subject: Subject) -> str:
    """Fails when the loss does not depend on the labels."""
    import torch

    labelled, model = subject.labelled(), subject.model()
    before, _ = run(subject, model, labelled)
    names = [n for n in labelled if n.endswith(("labels", "_label", "start_positions", "end_positions"))]
    names = [n for n in names if isinstance(labelled[n], torch.Tensor)]
    if not names:  # what the loss is computed from has another name
        names = [n for n in labelled if n not in subject.inputs and isinstance(labelled[n], torch.Tensor)]
    if not names:
        raise NotApplicable("its labels are not tensors")
    again, _ = run(subject, model, labelled)
    if outputs.apart(again, before):
        raise CheckFailed(f"one batch gives a loss of {before:.6g} and of {again:.6g} in evaluation mode")
    for name in names:
        value = labelled[name]
        others = [value.flip(-1), value.flip(0), (value + 1) % 2, value * 0]
        changed = [o for o in others if not torch.equal(o, value)]
        if changed and not any(outputs.apart(run(subject, model, {**labelled, name: o})[0], before) for o in changed):
            raise CheckFailed(f"the loss is {before:.6g} whatever {name} are given; compute it from them")
    return f"{', '.join(names)}"


def problem_types(subject: Subject) -> str:
    """Fails when a classifier trains on the wrong loss for one of the three kinds of labels."""
    import torch
    import torch.nn.functional as F

    labelled = subject.labelled()
    _, output = run(subject, subject.model(), labelled)
    logits = getattr(output, "logits", None)
    batch = batch_of(subject.inputs)
    named = subject.cls.__name__.endswith(("SequenceClassification", "ImageClassification", "AudioClassification"))
    classified = isinstance(logits, torch.Tensor) and tuple(logits.shape) == (batch, subject.config.num_labels)
    registered = subject.auto.endswith(("SequenceClassification", "ImageClassification", "AudioClassification"))
    if "labels" not in subject.takes or not classified or not (named or registered):
        raise NotApplicable("it is not a classifier with logits of (batch, num_labels)")
    start = subject.with_padding()[0] if subject.is_text() else subject.configuration()
    for kind in KINDS:
        for given in (kind, None):
            config = type(start).from_dict(start.to_dict() | {"problem_type": given, **labels_of(kind)})
            config._attn_implementation = "eager"
            count = config.num_labels
            labels = {
                "regression": torch.linspace(-1, 1, batch)[:, None].repeat(1, count),
                "single_label_classification": torch.arange(batch) % count,
                "multi_label_classification": (torch.arange(batch * count).reshape(batch, count) % 2).float(),
            }[kind]
            model = subject.model(config)
            loss, output = run(subject, model, {**subject.inputs, "labels": labels})
            measure = {
                "regression": F.mse_loss,
                "single_label_classification": F.cross_entropy,
                "multi_label_classification": F.binary_cross_entropy_with_logits,
            }[kind]
            if loss is None:
                raise CheckFailed(f"no loss for problem_type={given!r} and labels of a {kind}")
            if line := outputs.apart(
                loss.cpu().float(), measure(output.logits.float().cpu(), labels), subject.rounding
            ):
                said = f"problem_type={given!r}" if given else f"no problem_type, num_labels={count}"
                raise CheckFailed(f"the loss for {said} and {kind} labels {line}; see transformers' problem types")
    return ", ".join(KINDS)


def labels_of(kind: str) -> dict:
    count = 1 if kind == "regression" else 3
    return {"id2label": {i: str(i) for i in range(count)}, "label2id": {str(i): i for i in range(count)}}


def ignored_labels(subject: Subject) -> str:
    """Fails when padding counts as a word that is to be learnt."""
    import torch
    import torch.nn.functional as F

    labelled = subject.labelled()
    labels, model = labelled.get("labels"), subject.model()
    _, output = run(subject, model, labelled)
    logits = getattr(output, "logits", None)
    if not isinstance(labels, torch.Tensor) or labels.dim() != 2 or labels.is_floating_point():
        raise NotApplicable("its labels are not one for each token")
    if not isinstance(logits, torch.Tensor) or logits.dim() != 3 or logits.shape[:2] != labels.shape:
        raise NotApplicable("its logits are not (batch, tokens, classes)")

    def lines(labels) -> list:
        """How the loss differs from the mean cross entropy of each token, and of each next token."""
        loss, output = run(subject, model, {**labelled, "labels": labels})
        scores = output.logits.float().cpu()
        plain = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        shifted = F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        return [outputs.apart(loss.cpu().float(), wanted, subject.rounding) for wanted in (plain, shifted)]

    full, labels = lines(labels.clone()), labels.clone()
    labels[0, labels.shape[1] // 2 :] = IGNORED
    half = lines(labels)
    if subject.auto == "AutoModelForCausalLM" and half[1] and not half[0]:
        raise CheckFailed("the loss is that of the same word and not of the next one; shift labels by one")
    if all(half):
        more = [n for n in labelled if n.endswith("label")]
        if more:
            raise NotApplicable(f"its loss is a sum with that of {', '.join(more)}")
        if all(full):
            raise NotApplicable("its loss is another one than the mean cross entropy")
        raise CheckFailed(
            f"with {IGNORED} for half a row the loss {half[0]} from the mean cross entropy of the other labels; "
            f"pass ignore_index={IGNORED}"
        )
    return "cross entropy, " + ("of each token" if not half[0] else "of the next token")
