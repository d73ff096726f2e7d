"""The two architectures that can be drawn, as their model folders declare them."""

import ast
import functools
import inspect
import re
from dataclasses import dataclass
from typing import Any

from pinfold.builder.drawing.fields import FIELDS, Field
from pinfold.builder.models import DECODER, ENCODER, folder_of, module_of
from pinfold.folder.model_folder import ModelFolder, read_modules


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Args:
        name: encoder or decoder. folder: the model folder's name. own: what its classes' names begin with.
    """

    name: str
    title: str
    text: str
    folder: str
    own: str

    @functools.cached_property
    def code(self) -> ModelFolder:
        return read_modules(folder_of(self.folder))

    @functools.cached_property
    def class_names(self) -> set[str]:
        """Every class that its files define."""
        bodies = [module.tree.body for module in self.code.modules.values()]
        return {node.name for body in bodies for node in body if isinstance(node, ast.ClassDef)}

    @functools.cached_property
    def classes(self) -> dict[str, str]:
        """Auto class -> "module.Class", of every model class of the folder."""
        return {auto: place for auto, place in self.code.auto_map().items() if auto.startswith("AutoModel")}

    @functools.cached_property
    def heads(self) -> list[str]:
        """Auto classes of its heads, in the folder's order."""
        return [auto for auto in self.classes if auto != "AutoModel"]

    @functools.cached_property
    def configuration(self) -> tuple[str, str]:
        """Module and name of its configuration's class."""
        module, _, name = self.code.auto_map()["AutoConfig"].partition(".")
        return module, name

    @property
    def config_class(self) -> Any:
        module, name = self.configuration
        return getattr(module_of(self.folder, module), name)

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        return FIELDS[self.folder]()

    @functools.cached_property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """Parameters of the configuration's constructor."""
        parameters = inspect.signature(self.config_class.__init__).parameters
        return {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD and name != "self"}

    def model_class(self, auto: str) -> Any:
        module, _, name = self.classes[auto].partition(".")
        return getattr(module_of(self.folder, module), name)


def spoken(auto: str) -> str:
    """AutoModelForSequenceClassification -> "Sequence classification"."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", auto.removeprefix("AutoModelFor"))
    return " ".join([words[0], *(word if word.isupper() else word.lower() for word in words[1:])])


ARCHITECTURES = {
    "encoder": Architecture(
        "encoder", "Encoder (BERT)", "Reads a whole text at once: to classify it, to find words in it, to compare it.",
        ENCODER, "BERT",
    ),
    "decoder": Architecture(
        "decoder", "Decoder (Llama's layers)", "Reads from left to right, and writes on: a language model.", DECODER,
        "Decoder",
    ),
}  # fmt: skip
