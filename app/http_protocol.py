"""uvicorn's HTTP protocol with limits on what a client may take its time for.

uvicorn itself waits for a head or a body as long as its bytes drip in, and for an answer to be taken as long
as the connection stands. An ASGI application cannot help that: it hears of a request when its head is whole.
"""

import asyncio
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_WITHIN_S = 10.0
MAX_HEAD_BYTES = 131_072
"""Room for a question of 8,000 characters in the address, three bytes each, percent-encoded."""
BODY_WITHIN_S = 30.0
BODY_BYTES_PER_S = 16_384
"""Each of so many bytes adds a second: a slow line may bring a large picture, a dripping one nothing."""
TAKEN_WITHIN_S = 30.0
"""A client that takes nothing of its answer for so long is cut off."""


class PatientProtocol(HttpToolsProtocol):
    """One connection: waits for each head and body, and for answers to be taken, but not for ever."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaited: Literal["head", "body", None] = None
        self._since = 0.0
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaited is None:  # the first bytes of a further request on this connection
            self._await("head")
        self._bytes += len(data)
        super().data_received(data)
        if self._awaited == "head" and self._bytes > MAX_HEAD_BYTES:
            self._refuse(
                431, "Request header fields too large", f"a head has at most {MAX_HEAD_BYTES:,} bytes"
            )

    def on_message_begin(self) -> None:
        if self._awaited is None:
            self._await("head")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._await("body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._await(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_taking()
        self._taking = self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_taking()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: we have no WebSockets, and an upgrade that is not taken up is an ordinary request."""

    def _await(self, what: Literal["head", "body", None]) -> None:
        """Start the time of what is to come next."""
        if self._timer is not None:
            self._timer.cancel()
        self._awaited, self._since, self._bytes = what, self.loop.time(), 0
        seconds = HEAD_WITHIN_S if what == "head" else BODY_WITHIN_S
        self._timer = None if what is None else self.loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """Cut off who is late; what a body has brought meanwhile gives it more time."""
        if self._awaited == "head":
            self._refuse(408, "Request timeout", f"the head did not come within {HEAD_WITHIN_S:g} s")
            return
        left_s = self._since + BODY_WITHIN_S + self._bytes / BODY_BYTES_PER_S - self.loop.time()
        if left_s > 0:
            self._timer = self.loop.call_later(left_s, self._check)
        else:
            self._refuse(
                408, "Request timeout", f"the body came at less than {BODY_BYTES_PER_S:,} bytes a second"
            )

    def _refuse(self, status: int, title: str, detail: str) -> None:
        """Close, with these words unless others are under way or nothing was asked; work for it ends."""
        cycle = self.cycle
        if self._awaited == "head":
            unanswered = self._bytes > 0 and (cycle is None or cycle.response_complete)
        else:
            unanswered = not cycle.response_started
        if unanswered:
            body = f'{{"status":{status},"title":"{title}","detail":"{detail}"}}'.encode()
            head = (
                b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self._await(None)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """Give what is still to be taken its time, for a transport that closes waits for that without end."""
        self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
