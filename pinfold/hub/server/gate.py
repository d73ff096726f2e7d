"""Around every request: who may come in, how long it may be silent, what every answer carries, one line in the log."""

import asyncio
import ipaddress
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pinfold.hub.server.call import Hub, refusal
from pinfold.hub.server.headers import finished
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.faults import Dropped

HOSTS = ("127.0.0.1", "localhost")
# What carries its own permission: signed URLs; and the proof of who this server is.
_OPEN = re.compile(r"(/[^/]+){2,3}\.git/info/lfs/objects/[0-9a-f]{64}(/parts(/[0-9]+)?)?|/\.well-known/pinfold")
_ONCE = (b"authorization", b"host")  # of two, one would be checked and the other one used
_JOINED = re.compile(r",\s*(basic|bearer)\b", re.IGNORECASE)  # as a proxy writes two into one line


@dataclass(frozen=True)
class Gate:
    """The application's outside."""

    app: Callable
    hub: Hub
    log: bool
    hosts: Iterable[str]  # names that clients may call this server by
    any_address: bool  # it listens at more than this machine's own address
    idle: float  # seconds a client may be silent in the middle of its request

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # Routing happens on the path as sent: a revision refs%2Fpr%2F1 is one segment.
        scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace"), "state": {}}
        started = time.perf_counter()

        def log(outcome: object) -> None:
            if self.log:
                milliseconds = (time.perf_counter() - started) * 1e3
                # No query string: an upload's would be a permission. No header either.
                line = f"{scope['method']} {scope['path']} {outcome} {milliseconds:.0f} ms"
                print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)

        async def write(message) -> None:
            if message["type"] == "http.response.start":
                log(message["status"])
                message = {**message, "headers": finished(scope, message["status"], message["headers"])}
            await send(message)

        try:
            self._admit(scope)
        except Refused as error:
            return await refusal(error)(scope, receive, write)
        try:
            await self.app(scope, self._impatient(receive), write)
        except Dropped:
            log("dropped")
            send.__self__.transport.abort()  # uvicorn's way; only tests come here
            while (await receive())["type"] != "http.disconnect":
                pass

    def _admit(self, scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        names = [name for name, _ in scope["headers"]]
        if twice := [name.decode() for name in _ONCE if names.count(name) > 1]:
            raise Refused(400, f"the request has two {twice[0].title()} headers; send one")
        if _JOINED.search(headers.get(b"authorization", "")):
            raise Refused(400, "the request has two credentials in its Authorization header; send one")
        host = headers.get(b"host", "")
        if not self._is_ours(host):
            # A web page whose name was made to lead here (DNS rebinding) must not read what only this machine may.
            raise Refused(400, f"Invalid host header {host[:100]!r}; start pinfold hub with --allowed-host NAME")
        if self.hub.closed and not _OPEN.fullmatch(scope["path"]):
            user = self.hub.tokens.user(headers.get(b"authorization"))
            if user is None:
                reason = "this server answers only requests with a token; make one with: pinfold hub token NAME"
                raise Refused(401, reason)

    def _is_ours(self, host: str) -> bool:
        name = re.sub(r":[0-9]+$", "", host).strip("[]").lower()
        if name in HOSTS or name in {each.lower() for each in self.hosts}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address  # no page can be made to come from a bare address

    def _impatient(self, receive: Callable) -> Callable:
        whole = False

        async def wait():
            nonlocal whole
            if whole:  # what is waited for now is the end of the connection
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.idle)
            except asyncio.TimeoutError:
                reason = f"nothing came for {self.idle:g} seconds; send it again"
                raise Refused(408, reason, headers={"Connection": "close"}) from None
            whole = not message.get("more_body", False)
            return message

        return wait
