"""What is known about the request being answered: its id, and what its log line will say."""

import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from litestar.types import HTTPScope

EndedBy = Literal["deadline", "client left", "overload", "stop"]

# What may stand in a log line and a header unescaped; anything else, or longer, is not taken over.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a request's time, in nanoseconds since 1970."""

    name: str
    started_ns: int
    ended_ns: int


@dataclass(slots=True)
class RequestRecord:
    """One request, filled in as it goes; status 0 is an answer that never began."""

    id: str
    method: str
    traceparent: str | None = None
    started: float = field(default_factory=time.perf_counter)
    started_ns: int = field(default_factory=time.time_ns)
    route: str = "unmatched"
    """The route's template, never the path: a path may hold what somebody asked."""
    status: int = 0
    seconds: float = 0.0
    ended_by: EndedBy | None = None
    """What cut it short, if anything did."""
    steps: list[Step] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What else its log line says: times, and the question if that may be logged."""


current_request: ContextVar[RequestRecord | None] = ContextVar("current_request", default=None)


def note_steps(**seconds: float) -> None:
    """Note in the current request's record how long each step took; the last has just ended."""
    record = current_request.get()
    if record is None:
        return
    at = time.time_ns() - round(1e9 * sum(seconds.values()))
    for name, taken in seconds.items():
        step = Step(name, at, at + round(1e9 * taken))
        record.steps.append(step)
        record.notes[f"{name}_ms"] = round(1000 * taken, 1)
        at = step.ended_ns


def begin_record(scope: HTTPScope) -> RequestRecord:
    """Return the record of a request; its id is the client's x-request-id if that is sane, else a new one."""
    headers = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"")
    traceparent = headers.get(b"traceparent")
    return RequestRecord(
        id=given.decode() if _SANE_ID.fullmatch(given) else uuid.uuid4().hex,
        method=scope["method"],
        traceparent=None if traceparent is None else traceparent.decode("latin-1"),
    )


def current_request_id() -> str | None:
    """Return the id of the request being answered, or None outside of one."""
    record = current_request.get()
    return None if record is None else record.id
