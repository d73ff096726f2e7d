"""The two model folders that the builder draws, and their modules in this process."""

import functools
import importlib
import sys
import types
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.shipped import shipped

ENCODER, DECODER = "bert_model", "decoder_model"


def folder_of(name: str) -> Path:
    """The directory of a model folder.

    Raises:
        UserError: it is not there.
    """
    path = shipped(name)
    if path is None:
        raise UserError(f"{name} did not come with this installation; run: pip install --force-reinstall pinfold")
    return path


@functools.cache
def module_of(folder: str, module: str) -> types.ModuleType:
    """A module of a model folder, such as "configuration_bert" of "bert_model", imported into this process.

    Only for the folders that come with this package. Code of others runs in the sandbox.
    """
    package = f"_pinfold_{folder}"
    if package not in sys.modules:
        holder = types.ModuleType(package)
        holder.__path__ = [str(folder_of(folder))]
        sys.modules[package] = holder
    return importlib.import_module(f"{package}.{module}")
