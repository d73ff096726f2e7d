"""The script that runs inside the fence: it executes a folder's code, in any transformers version.

Run with the path of a JSON request; writes a JSON answer to the path that the request names. The jobs are in
loading.py, or in what the request names as its "module", from the directory above. Nothing here imports pinfold, since
an older transformers may be in front of it and the checkout may be out of sight: the files that do the work are found
by this file's own place.
"""

import importlib
import json
import os
import sys
import types


def main(path: str) -> None:
    """Do the job that the request names; every failure becomes part of the answer."""
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    answer = importlib.import_module(f"_inside.{request.get('module', 'verify.load')}").answer(request)
    temporary = request["answer"] + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(temporary, request["answer"])


def gather() -> None:
    """Make a package of the directory above, under a name that nobody else uses and without its __init__."""
    package = types.ModuleType("_inside")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["_inside"] = package


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder: its neighbours' names must not shadow anybody's imports
    sys.dont_write_bytecode = True
    gather()
    main(sys.argv[1])
