"""Ways to make a graph of a model, for each format: those of transformers and those of the runtimes themselves.

No way is right for every model, and some give graphs that are right only for the sizes that they were traced at,
without a word. So a caller tries one after the other, each in a process of its own, and keeps the first that it has
proven.
"""

import os
from collections.abc import Callable

TRACED_OPSET = 17  # the newest that tracing writes without a warning
ONE_FILE = 1_500_000_000  # bytes of weights up to which a graph holds them itself; the format ends at 2 GB
NAMES = {"onnx": "model.onnx", "openvino": "openvino_model.xml", "pt2": "model.pt2"}


def ways(form: str) -> dict[str, Callable]:
    """Way -> function(model, inputs, outputs' names, path); the first is tried first."""
    return WAYS[form]


def _onnx_of_transformers(model, inputs: dict, names: list, path: str) -> None:
    """transformers' exporter: torch.export, with its corrections for ONNX."""
    from transformers.exporters import OnnxConfig, OnnxExporter

    exported = OnnxExporter().export(model, inputs, OnnxConfig(dynamic=True))
    _save_onnx(exported.program, path)


def _onnx_of_torch(model, inputs: dict, names: list, path: str) -> None:
    """torch.onnx.export alone, every size of every input dynamic."""
    import torch

    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    free = torch.export.Dim.AUTO
    program = torch.onnx.export(
        _plain(model, inputs, names), tuple(tensors.values()), dynamo=True, input_names=list(tensors),
        output_names=names, dynamic_shapes=(tuple(dict.fromkeys(range(t.ndim), free) for t in tensors.values()),),
        verbose=False,
    )  # fmt: skip
    _save_onnx(program.model, path)


def _save_onnx(graph, path: str) -> None:
    import onnx_ir

    weights = [value.const_value for value in graph.graph.initializers.values() if value.const_value is not None]
    large = sum(each.nbytes for each in weights) > ONE_FILE
    onnx_ir.save(graph, path, external_data=f"{os.path.basename(path)}.data" if large else None)


def _openvino_of_transformers(model, inputs: dict, names: list, path: str) -> None:
    """transformers' exporter, without state inside of the graph."""
    import openvino
    from transformers.exporters import OpenVINOConfig, OpenVINOExporter

    exported = OpenVINOExporter().export(model, inputs, OpenVINOConfig(dynamic=True, stateful=False))
    openvino.save_model(exported.program, path, compress_to_fp16=False)


def _openvino_of_openvino(model, inputs: dict, names: list, path: str) -> None:
    """OpenVINO's own converter, which traces with torch.jit."""
    import openvino
    import torch

    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    graph = openvino.convert_model(_plain(model, inputs, names), example_input=tuple(tensors.values()))
    if len(graph.inputs) != len(tensors) or len(graph.outputs) != len(names):
        raise ValueError(
            f"OpenVINO's converter made a graph of {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, of "
            f"{len(tensors)} and {len(names)}"
        )
    for port, name in zip([*graph.inputs, *graph.outputs], [*tensors, *names], strict=True):
        port.get_tensor().set_names({name})
    for port, tensor in zip(graph.inputs, tensors.values(), strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape([-1] * tensor.ndim))
    graph.validate_nodes_and_infer_types()
    openvino.save_model(graph, path, compress_to_fp16=False)


def _onnx_of_torchscript(model, inputs: dict, names: list, path: str) -> None:
    """torch.onnx.export by tracing, the older way: recurrent layers keep an open number of steps in it alone."""
    import torch

    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    plain = _plain(model, inputs, names)
    outputs = dict(zip(names, plain(*tensors.values()), strict=True))
    torch.onnx.export(
        plain, tuple(tensors.values()), path, dynamo=False, opset_version=TRACED_OPSET, input_names=list(tensors),
        output_names=names, verbose=False,
        dynamic_axes={n: {d: f"{n}_{d}" for d in range(t.ndim)} for n, t in {**tensors, **outputs}.items()},
    )  # fmt: skip


def _pt2_of_torch(model, inputs: dict, names: list, path: str) -> None:
    """torch.export: a program that takes a dict of tensors and gives one. Output classes of the folder's own are
    not in it, as a process without the folder could not read them."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = _plain(model, inputs, names)

        def forward(self, tensors):
            return dict(zip(names, self.plain(*tensors.values()), strict=True))

    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    free = torch.export.Dim.AUTO
    sizes = {name: dict.fromkeys(range(tensor.ndim), free) for name, tensor in tensors.items()}
    program = torch.export.export(Named().eval(), (tensors,), dynamic_shapes=(sizes,), strict=False)
    torch.export.save(program, path)


def _plain(model, inputs: dict, names: list):
    """A module that takes the tensors by place and gives the outputs by place."""
    import torch

    from ..suite import outputs

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *tensors):
            given = dict(zip([n for n, v in inputs.items() if isinstance(v, torch.Tensor)], tensors, strict=True))
            seen = outputs.tensors(self.model(**{**inputs, **given}))
            return tuple(seen[name] for name in names)

    return Plain().eval()


WAYS: dict[str, dict[str, Callable]] = {
    "onnx": {"transformers": _onnx_of_transformers, "torch.onnx": _onnx_of_torch, "tracing": _onnx_of_torchscript},
    "openvino": {"transformers": _openvino_of_transformers, "openvino.convert_model": _openvino_of_openvino},
    "pt2": {"torch.export": _pt2_of_torch},
}
