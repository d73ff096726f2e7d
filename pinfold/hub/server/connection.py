"""What a connection may cost before its request is understood: the size of headers, silence, and their number."""

from asyncio import TimerHandle

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADERS = 64 * 2**10  # bytes of a request's first part; more is a 400
MAX_CONNECTIONS = 250  # more are answered with 503, which the clients try again


def protocol(idle: float) -> type[H11Protocol]:
    """uvicorn's protocol for one server; it drops connections that stay silent before their request is whole."""

    class Impatient(H11Protocol):
        waiting: TimerHandle | None = None

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            else:
                self._wait()  # part of the headers; the time runs on from the first byte

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle is None or self.cycle.response_complete:
                self._wait()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop()
            super().connection_lost(error)

        def _wait(self) -> None:
            if self.waiting is None:
                self.waiting = self.loop.call_later(idle, self._give_up)

        def _stop(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def _give_up(self) -> None:
            self.waiting = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Impatient
