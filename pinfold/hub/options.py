"""How a data directory is served, with the defaults of `pinfold hub`; which one is in pinfold/common/hub_data.py."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

HOST, PORT = "127.0.0.1", 7870
PART_SIZE = 64 * 2**20  # bytes; larger files are sent in parts of this size


@dataclass(frozen=True)
class Options:
    """How a data directory is served; the command line's words for it."""

    data: Path
    host: str = HOST
    port: int = PORT
    quiet: bool = False
    read_only: bool = False
    public_read: bool = False
    allowed_hosts: tuple[str, ...] = ()
    idle_timeout: float = 60  # seconds a client may be silent in the middle of its request
    part_size: int = PART_SIZE

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def closed(self) -> bool:
        """Whether every request needs a token."""
        return not self.is_local and not self.public_read
