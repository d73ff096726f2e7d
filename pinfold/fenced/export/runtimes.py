"""Graphs run by their runtimes: onnxruntime, OpenVINO in float32, torch."""

import os

from . import ways


def opened(form: str, directory: str, threads: int, file: str | None = None):
    """A function from tensors by name to tensors by name, and the names of the graph's inputs; others are left out.

    Args:
        file: of the graph in the directory, where it is not the usual one.

    Raises:
        RuntimeError: the runtime refuses the graph.
    """
    return OPENERS[form](os.path.join(directory, file or ways.NAMES[form]), threads)


def _onnxruntime(path: str, threads: int):
    import numpy as np
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    results = [each.name for each in session.get_outputs()]

    def run(inputs: dict) -> dict:
        arrays = {name: np.ascontiguousarray(inputs[name].numpy()) for name in names}
        return {n: torch.from_numpy(np.asarray(a)) for n, a in zip(results, session.run(None, arrays), strict=True)}

    return run, names


def _openvino(path: str, threads: int):
    import openvino
    import torch

    # its own default on processors that have it is bfloat16, which is not what the model computes with
    properties = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", properties)
    names = [port.any_name for port in compiled.inputs]
    results = [port.any_name for port in compiled.outputs]

    def run(inputs: dict) -> dict:
        values = compiled({name: inputs[name].numpy() for name in names})
        pairs = zip(results, compiled.outputs, strict=True)
        return {name: torch.from_numpy(values[port].copy()) for name, port in pairs}

    return run, names


def _torch(path: str, threads: int):
    import torch

    from ..suite import outputs

    program = torch.export.load(path)
    module = program.module()
    names = list(program.call_spec.in_spec.child(0).child(0).context)

    def run(inputs: dict) -> dict:
        with torch.no_grad():
            return outputs.tensors(module({name: inputs[name] for name in names}))

    return run, names


OPENERS = {"onnx": _onnxruntime, "openvino": _openvino, "pt2": _torch}
