"""Where the two model folders of the builder are: below the package where it was installed, beside it in a checkout."""

import functools
import importlib
import sys
import types
from pathlib import Path

from pinfold.common.errors import UserError

ENCODER, DECODER = "bert_model", "decoder_model"
INSTALLED = Path(__file__).parent / "models"  # a wheel has copies here: setup.py
CHECKOUT = Path(__file__).resolve().parents[2]


def folder_of(name: str) -> Path:
    """The directory of a model folder.

    Raises:
        UserError: it is not there.
    """
    for parent in (INSTALLED, CHECKOUT):
        if list((parent / name).glob("modeling_*.py")):
            return parent / name
    raise UserError(f"{name} is not installed; run: pip install --force-reinstall --no-deps pinfold")


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
