"""The script that runs the suite inside the fence, in any transformers version.

Run with the path of a JSON request; writes a JSON answer to the path that the request names. Nothing here imports
pinfold: an older transformers may be in front of it, and the checkout may be out of sight. The neighbours that do the
work, and ../convert/tiny.py which makes configurations small, are found by this file's own place.
"""

import importlib
import json
import os
import sys
import types

ROOT = "_suite"


def main(path: str) -> None:
    """Run the checks that the request names on one class; every failure becomes part of the answer."""
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    answer = importlib.import_module(f"{ROOT}.suite.table").answer(request)
    temporary = request["answer"] + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(temporary, request["answer"])


def gather() -> None:
    """Make a package of the directory above, under a name that nobody else uses and without its __init__."""
    package = types.ModuleType(ROOT)
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules[ROOT] = package


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder: its neighbours' names must not shadow anybody's imports
    sys.dont_write_bytecode = True
    gather()
    main(sys.argv[1])
