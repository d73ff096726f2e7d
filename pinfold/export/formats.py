"""The formats of `pinfold export`: their files, the packages that they need, and who runs them."""

import importlib.util
from dataclasses import dataclass

from pinfold.common.errors import UserError


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        name: after --to. directory: where a repository has it, below its root. file: of the graph, there.
        packages: what has to be installed, by the name that is imported. extra: of pinfold, that brings them.
        ways: of pinfold/fenced/export/ways.py, in the order in which they are tried.
        runtime: what runs it. published: whether a push may take it along.
        int8: the file of a graph of 8 bits, where there can be one.
    """

    name: str
    directory: str
    file: str
    packages: tuple[str, ...]
    extra: str
    ways: tuple[str, ...]
    runtime: str
    published: bool = True
    int8: str = ""


FORMATS = {
    each.name: each
    for each in (
        Format(
            "onnx", "onnx", "model.onnx", ("onnx", "onnxscript", "onnxruntime"), "onnx",
            ("transformers", "torch.onnx", "tracing"), "onnxruntime",
            int8="model_quantized.onnx",  # the name that transformers.js looks for
        ),
        Format(
            "openvino", "openvino", "openvino_model.xml", ("openvino",), "openvino",
            ("transformers", "openvino.convert_model"), "openvino",
        ),
        # reading one may unpickle, so none is published
        Format("pt2", "pt2", "model.pt2", (), "", ("torch.export",), "torch", published=False),
    )
}  # fmt: skip


def check_installed(form: Format) -> None:
    """
    Raises:
        UserError: a package that the format needs is missing; the message has its pip line.
    """
    if missing := [name for name in form.packages if importlib.util.find_spec(name) is None]:
        raise UserError(f"--to {form.name} needs the package {missing[0]}; run: pip install 'pinfold[{form.extra}]'")
    if importlib.util.find_spec("transformers.exporters") is None:
        import transformers

        raise UserError(
            f"--to {form.name} needs the exporters that transformers {transformers.__version__} does not have; "
            "run: pip install --upgrade transformers"
        )
