"""Write a class that lies in a package, a script or a notebook as a flat folder of remote code.

How it works:
- ``sources`` finds the source of modules without importing them; ``names`` says which names a statement uses.
- ``collect`` follows these names from the class to every statement that it needs, through imports and re-exports.
- ``write`` puts those statements into configuration_*.py, modeling_*.py and one file for each further module, word for
  word; imports of the package alone are written anew, as the loader of transformers wants them: ``from .file import``.
- ``folder`` puts the files on the disk, and leaves alone what a person has changed there.
"""

from pinfold.flatten.flatten import Flat, Origin, flatten, flatten_live
from pinfold.flatten.folder import NeedsConsent, holds_own_code, show, write_folder

__all__ = ["Flat", "NeedsConsent", "Origin", "flatten", "flatten_live", "holds_own_code", "show", "write_folder"]
