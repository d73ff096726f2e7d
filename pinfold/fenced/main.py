"""The script that runs in the sandbox: it executes a folder's code, in any transformers version from 4.48 on.

Run with the path of a JSON request, and with the descriptor of a socket to the first process where there is one;
writes a JSON answer to the path that the request names, and closes it as it closes all files (handover.py). The job is
the function ``answer`` of the request's "module", such as "verify.load". Nothing in this folder imports pinfold, since
it is the only folder of it that the sandbox shows: its files are found beside this one.
"""

import importlib
import json
import os
import sys
import types


def main(path: str, descriptor: str = "") -> None:
    """Do the job that the request names, and write its answer."""
    handover = importlib.import_module("_inside.handover")
    if descriptor:
        handover.connect(int(descriptor))
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    answer = importlib.import_module(f"_inside.{request['module']}").answer(request)
    temporary = request["answer"] + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(temporary, request["answer"])
    handover.close(os.path.basename(request["answer"]))
    handover.close("")


def gather() -> None:
    """Make a package of this directory, under a name that no other package has."""
    package = types.ModuleType("_inside")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["_inside"] = package


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder: its neighbours' names must not hide other modules
    sys.dont_write_bytecode = True
    gather()
    main(*sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # all is handed over, and taking torch down takes more than a second
