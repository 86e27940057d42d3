"""The outermost layer: each request is admitted or refused, ends in time, is counted and logged once.

In time is by its deadline, or when its client leaves. This lies outside of Litestar's routing, so that
a refusal costs next to nothing and unknown addresses are bounded too.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from app.admission import Admission
from app.errors import DeadlineError, SilentError, StoppingError, TryLaterError, bare_problem
from app.logs import log_request
from app.request_record import EndedBy, RequestRecord, begin_record, current_request
from app.service import Service

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by machines that must know how an overloaded service is: always admitted, and answered soon."""
PROBED_WITHIN_S = 1.5
EVENTS = b"text/event-stream; charset=utf-8"
GIVEN_UP_S = 0.5
"""Work that was cancelled has so long to end; then the answer goes out without it."""

logger = logging.getLogger(__name__)


class Edge:
    """An ASGI application around Litestar's own."""

    def __init__(self, app: ASGIApp, *, deadline_s: float) -> None:
        """Take what answers, and the seconds it has for each request."""
        self._app = app
        self._deadline_s = deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        service: Service = scope["litestar_app"].state.service
        record = begin_record(scope)
        token = current_request.set(record)
        answer = _Answer(send, record)
        try:
            probe = scope["path"] in PROBES
            await self._within_bounds(scope, receive, answer, service.admission, probe=probe)
        except TryLaterError as error:
            record.ended_by = record.ended_by or "overload"
            await answer.refuse(error)
        except asyncio.CancelledError:
            if not service.admission.stopping:
                raise
            record.ended_by = "stop"  # the server waited for this one as long as it does
            await answer.refuse(StoppingError("the service is stopping; try again shortly"))
        finally:
            record.seconds = time.perf_counter() - record.started
            record.route = scope.get("path_template") or record.route
            service.metrics.observe_request(record)
            log_request(record)
            if service.tracing is not None:
                service.tracing.record_request(record)
            current_request.reset(token)

    async def _within_bounds(
        self, scope: HTTPScope, receive: Receive, answer: "_Answer", admission: Admission, *, probe: bool
    ) -> None:
        """Let the application answer, in a task of its own that ends with its deadline or its client."""
        if not probe:
            admission.require_room()
        ended: asyncio.Future[EndedBy] = asyncio.get_running_loop().create_future()

        def end(reason: EndedBy) -> None:
            if not ended.done() and not answer.complete:
                ended.set_result(reason)

        clock = answer.clock = _Clock(PROBED_WITHIN_S if probe else self._deadline_s, end)
        body = _Body(receive, admission, clock, end, counts=not probe, whole=not _has_body(scope))
        work = asyncio.create_task(_call(self._app, scope, body.receive, answer.send))
        work.add_done_callback(body.let_go)
        reader = asyncio.create_task(body.read_ahead())
        try:
            either: list[asyncio.Future[Any]] = [work, ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            clock.wait()
            reader.cancel()
            if not work.done():
                answer.dropped = True
                work.cancel()
        if work.done():
            await work
            return
        answer.record.ended_by = reason = ended.result()
        await asyncio.wait({work}, timeout=GIVEN_UP_S)
        if not work.done():
            logger.warning("a request ended by %s goes on in vain: it could not be cancelled", reason)
        if reason == "deadline":
            raise (
                SilentError(f"what the service stands on did not answer within {PROBED_WITHIN_S:g} s")
                if probe
                else DeadlineError(
                    f"this takes longer than {self._deadline_s:g} s, which is all a request has"
                )
            )


class _Answer:
    """What goes out: with the request's id in it, and nothing more once its work was dropped."""

    def __init__(self, send: Send, record: RequestRecord) -> None:
        self._send = send
        self.record = record
        self.clock: _Clock | None = None
        self._streams_events = False
        self.complete = False
        self.dropped = False

    async def send(self, message: Message) -> None:
        if self.dropped:
            return
        if message["type"] == "http.response.start":
            self.record.status = message["status"]
            self._streams_events = (b"content-type", EVENTS) in message["headers"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.record.id.encode())]
        if self.clock is not None:
            self.clock.wait()
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body")
        if self.clock is not None:
            self.clock.work()

    async def refuse(self, error: TryLaterError) -> None:
        """Send a problem instead of what was not answered yet, or as the last event of a stream."""
        self.dropped, self.clock = False, None
        status, headers, body = bare_problem(error)
        if not self.record.status:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
        elif self._streams_events:
            body = b"event: error\ndata: " + body + b"\n\n"
        else:
            return  # the server closes a connection whose answer breaks off
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class _Clock:
    """Ends a request whose work takes too long; what the client's line takes does not count as work."""

    def __init__(self, limit_s: float, end: Callable[[EndedBy], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._left_s = limit_s
        self._end = end
        self._timer: asyncio.TimerHandle | None = None
        self.work()

    def work(self) -> None:
        """The service has its turn."""
        self.wait()
        self._timer = self._loop.call_later(max(0.0, self._left_s), self._end, "deadline")

    def wait(self) -> None:
        """The client has its turn: to send, or to take. Or the request has ended."""
        if self._timer is not None:
            self._left_s = self._timer.when() - self._loop.time()
            self._timer.cancel()
            self._timer = None


class _Body:
    """What comes in: read one message ahead, so that a client who leaves is noticed while the service works.

    The request counts as work in flight once its body is whole; bodies that drip in take nobody's place.
    """

    def __init__(
        self,
        receive: Receive,
        admission: Admission,
        clock: _Clock,
        end: Callable[[EndedBy], None],
        *,
        counts: bool,
        whole: bool,
    ) -> None:
        self._receive = receive
        self._admission = admission
        self._clock = clock
        self._end = end
        self._arrived: asyncio.Queue[HTTPReceiveMessage] = asyncio.Queue(1)
        self._counts = counts
        self._whole = whole
        self._in_flight = 0
        self._bytes = 0
        self._let_go = False
        if whole:
            self._enter()

    async def receive(self) -> HTTPReceiveMessage:
        """Return the next message, as an ASGI server does.

        Raises:
            OverloadedError: meanwhile there is no room for its work, or for more bodies.
        """
        if self._whole:
            return await self._arrived.get()
        self._clock.wait()
        message = await self._arrived.get()
        self._clock.work()
        if self._admission.body_bytes > self._admission.max_body_bytes:
            self._admission.require_room()
        if message["type"] == "http.request" and not message.get("more_body"):
            self._whole = True
            self._enter()
        return message

    async def read_ahead(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._end("client left")
            elif message["type"] == "http.request" and not self._let_go:
                self._bytes += len(message["body"])
                self._admission.body_bytes += len(message["body"])
            await self._arrived.put(message)  # type: ignore[arg-type]
            if message["type"] == "http.disconnect":
                return

    def let_go(self, work: "asyncio.Task[None]") -> None:
        """Free what the request took; its work has ended."""
        self._admission.in_flight -= self._in_flight
        self._admission.body_bytes -= self._bytes
        self._in_flight = self._bytes = 0
        self._let_go = True
        if not work.cancelled():
            work.exception()  # seen, where nobody waits for it any more

    def _enter(self) -> None:
        if self._counts:
            self._admission.require_room()
            self._in_flight = 1
            self._admission.in_flight += 1


async def _call(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _has_body(scope: HTTPScope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            return True
    return False
