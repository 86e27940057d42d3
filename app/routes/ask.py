"""Questions with an answer in words: POST /api/ask, as server-sent events."""

from collections.abc import AsyncGenerator

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.asking import Event, answer_events
from app.routes.forms import AnyRequest, documented_body, read_body
from app.routes.questions import read_question
from app.search import encode
from app.search_schemas import AskRequest, DoneEvent, ErrorEvent, HitsEvent, QueryEcho, TextEvent
from app.service import Service


@post(
    "/api/ask",
    status_code=200,
    tags=["search"],
    operation_id="ask",
    operation_class=documented_body(AskRequest, "image", json=True),
    opt={"problems": (404, 409, 410)},
    responses={
        200: ResponseSpec(
            QueryEcho | HitsEvent | TextEvent | DoneEvent | ErrorEvent,
            media_type="text/event-stream",
            description="Events understood, hits, text, done and error; their data, in this order",
        )
    },
)
async def ask_by_body(request: AnyRequest, service: NamedDependency[Service]) -> ServerSentEvent:
    """Ask as of /api/search, and be told the answer as it comes, in words as well.

    A stream of events, the data of each a JSON object: understood (the question), hits (at most ten at a
    time), text (html and markdown), done (timings_ms, receipt, more); or error (status, title, detail), if it
    fails on the way. A question that cannot be asked is an ordinary problem. Whoever leaves ends the work.
    """
    asked, picture = await read_body(request, AskRequest)
    question = read_question(asked, picture)
    encoded = await encode(service, question)
    return ServerSentEvent(_messages(answer_events(service, question, encoded, asked.language)))


async def _messages(events: AsyncGenerator[Event, None]) -> AsyncGenerator[ServerSentEventMessage, None]:
    async for name, data in events:
        yield ServerSentEventMessage(data=msgspec.json.encode(data), event=name, sep="\n")
