"""How the process that runs a folder's code hands over what it computed: files, each closed when it is complete.

The sandbox's first process reads a closed file once and writes down its sha256, so what comes later cannot change it.
Where there is no first process, as in the tests' warm processes, nothing is written down.
"""

import json
import os
import socket
from typing import Any

_connection: socket.socket | None = None


def connect(descriptor: int) -> None:
    """Speak with the first process from now on, over a socket that it left open for this one."""
    global _connection
    _connection = socket.socket(fileno=descriptor)
    _connection.set_inheritable(False)


def close(name: str) -> None:
    """Say that a file is complete, and wait until it was read; an empty name says that the job is done."""
    if _connection is not None:
        _connection.sendall(f"{name}\n".encode())
        _connection.recv(1)


def hand_over(directory: str, name: str, tensors: dict, facts: Any = None) -> None:
    """Write one load's raw results to a file of its own, and close it.

    Args:
        directory: the request's "handed". name: of the file, without its ending.
        tensors: by name. facts: what else is known of the load, as JSON holds it.
    """
    from safetensors.torch import save_file

    file = f"{name}.safetensors"
    copies = {key: plain(value) for key, value in tensors.items()}
    save_file(copies, os.path.join(directory, file), metadata={"facts": json.dumps(facts)})
    close(file)


def plain(tensor):
    """A tensor that the format takes: complex numbers as pairs, a sparse or quantised one written out."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.is_sparse or tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.contiguous().clone()
