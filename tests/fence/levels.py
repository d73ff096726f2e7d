"""The levels of the sandbox, and how the scripts of its tests begin."""

import pytest

from pinfold.fence import process as fence
from pinfold.fence import sandbox

# What every script here ends with, as fenced/main.py does.
END = """
import socket
connection = socket.socket(fileno=int(sys.argv[2]))

def close(name):
    connection.sendall((name + "\\n").encode())
    connection.recv(1)

def end(**said):
    json.dump({"failures": [], **said}, open(request["answer"], "w"))
    close("answer.json")
    close("")
"""
START = "import json, os, signal, sys, time\nrequest = json.load(open(sys.argv[1]))\n" + END
LEVELS = {"bubblewrap": ("bwrap", sandbox.BUBBLEWRAP), "nothing": ("", ())}
LEVELS |= {f"unshare {number}": ("unshare", options) for number, options in enumerate(sandbox.NAMESPACES, 1)}
# the strongest that this machine has, and none: the others are tried with what takes long
FIRST = [
    name for name, at in LEVELS.items() if at[0] == fence.available().program and at[1] == fence.available().options
]
EACH = [name if name in (*FIRST, "nothing") else pytest.param(name, marks=pytest.mark.slow) for name in LEVELS]
whole = pytest.mark.skipif(not fence.available().whole, reason="this machine allows no whole sandbox")
