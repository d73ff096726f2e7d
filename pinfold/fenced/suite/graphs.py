"""torch.compile and torch.export: the same numbers from a graph."""

from ..values import describe
from . import outputs
from .subject import CheckFailed, Subject


def quiet_inputs(subject: Subject) -> dict:
    """Inputs without a cache: another object in each version, and no part of what is compared."""
    return {**subject.inputs, "use_cache": False} if "use_cache" in subject.takes else dict(subject.inputs)


def compiles(subject: Subject) -> str:
    """Fails when torch.compile raises an error, or gives other numbers."""
    import torch

    inputs, model = quiet_inputs(subject), subject.model()
    expected = subject.run(model, inputs)
    why = ""
    for whole in (True, False):
        torch._dynamo.reset()
        try:
            actual = subject.run(torch.compile(subject.model(), backend="eager", fullgraph=whole), inputs)
            break
        except Exception as error:
            if not whole:
                raise CheckFailed(f"torch.compile fails: {describe(error)}") from None
            why = describe(error)
        finally:
            torch._dynamo.reset()
    if line := outputs.difference(actual, expected, subject.rounding):
        raise CheckFailed(f"compiled, {line}; a branch or a counter depends on what tracing does not see")
    return f"only with graph breaks: {why}" if why else "in one graph"


def exports(subject: Subject) -> str:
    """Fails when the model cannot leave Python: to a phone, a server in C++, or ONNX."""
    import torch

    inputs, model = quiet_inputs(subject), subject.model()
    expected = subject.run(model, inputs)
    try:
        with torch.no_grad():
            program = torch.export.export(model, (), subject.on_device(inputs), strict=False)
            actual = outputs.tensors(program.module()(**subject.on_device(inputs)))
    except Exception as error:
        raise CheckFailed(f"torch.export(strict=False) fails: {describe(error)}") from None
    if line := outputs.difference(actual, expected, subject.rounding):
        raise CheckFailed(f"exported, {line}; a branch or a constant depends on the example")
    return f"{len(actual)} outputs"
