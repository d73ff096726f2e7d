"""The job that makes an int8 graph of a float one: dynamic quantization, a scale for each output channel."""

import os

from ..values import describe


def answer(request: dict) -> dict:
    """Write the request's "file" beside the float graph in its "graph" directory."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from . import ways

    source = os.path.join(request["graph"], ways.NAMES["onnx"])
    target = os.path.join(request["graph"], request["file"])
    try:
        graph = onnx.load(source)
        # shapes that an exporter wrote down for values inside contradict those that the quantizer infers
        del graph.graph.value_info[:]
        # one scale for each output channel: with one for a whole matrix, MiniLM loses four times as much
        quantize_dynamic(graph, target, per_channel=True, weight_type=QuantType.QInt8)
    except Exception as error:
        return {"failures": [{"check": "quantize", "line": describe(error)}]}
    return {"failures": []}
