"""torch.compile and torch.export: the same numbers from a graph."""

from ..values import describe
from . import outputs
from .subject import Failed, Subject


def quiet_inputs(it: Subject) -> dict:
    """Inputs without a cache: another object in each version, and no part of what is compared."""
    return {**it.inputs, "use_cache": False} if "use_cache" in it.takes else dict(it.inputs)


def compiles(it: Subject) -> str:
    """Without it torch.compile fails, or gives other numbers."""
    import torch

    inputs, model = quiet_inputs(it), it.model()
    wanted = it.run(model, inputs)
    why = ""
    for whole in (True, False):
        torch._dynamo.reset()
        try:
            found = it.run(torch.compile(it.model(), backend="eager", fullgraph=whole), inputs)
            break
        except Exception as error:
            if not whole:
                raise Failed(f"torch.compile fails: {describe(error)}") from None
            why = describe(error)
        finally:
            torch._dynamo.reset()
    if line := outputs.difference(found, wanted, it.rounding):
        raise Failed(f"compiled, {line}; a branch or a counter depends on what tracing does not see")
    return f"only with graph breaks: {why}" if why else "in one graph"


def exports(it: Subject) -> str:
    """Without it the model cannot leave Python: to a phone, a server in C++, or ONNX."""
    import torch

    inputs, model = quiet_inputs(it), it.model()
    wanted = it.run(model, inputs)
    try:
        with torch.no_grad():
            program = torch.export.export(model, (), it.given(inputs), strict=False)
            found = outputs.tensors(program.module()(**it.given(inputs)))
    except Exception as error:
        raise Failed(f"torch.export(strict=False) fails: {describe(error)}") from None
    if line := outputs.difference(found, wanted, it.rounding):
        raise Failed(f"exported, {line}; a branch or a constant depends on the example")
    return f"{len(found)} outputs"
