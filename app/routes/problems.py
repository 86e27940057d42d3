"""What the OpenAPI document says of answers that are problems (RFC 9457): of each address, those it can give.

What follows from a handler's scope, parameters and body is worked out here; what else may go wrong a handler
says in its opt: {"problems": (404, 410)}. There is no "default": what is not listed is not answered.
"""

from collections.abc import Iterator

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType

from app.errors import PROBLEM_TYPE

PROBLEM = OpenAPIMediaType(
    schema=Schema(
        type=OpenAPIType.OBJECT,
        required=["status", "title", "detail"],
        properties={
            "status": Schema(type=OpenAPIType.INTEGER),
            "title": Schema(type=OpenAPIType.STRING, description="What kind of problem"),
            "detail": Schema(type=OpenAPIType.STRING, description="What was wrong here, and what to do"),
            "request_id": Schema(type=OpenAPIType.STRING, description="What the service's log calls it"),
        },
    )
)
RETRY_AFTER = OpenAPIHeader(
    schema=Schema(type=OpenAPIType.INTEGER), description="Seconds after which to try again"
)
MEANINGS = {
    401: "A key is needed, or the one that was sent is not good",
    403: "The scope of the key, or the page that sent it, does not allow this",
    404: "There is no such picture in the gallery",
    409: "The gallery is not such that it can be done: the detail says what it lacks",
    410: "The picture is known, but its file is gone",
    413: "More bytes, parts, values or pixels than the service takes",
    415: "A body of another type, or one that is compressed",
    421: "It was sent to a name that the service does not go by",
    422: "It cannot be answered as it stands; the detail says what to mend",
    429: "More requests a minute than this caller may make",
    503: "All the work is in flight that the service takes on, or the database does not answer",
    504: "The request took longer than its deadline",
    507: "A disk is full, or cannot be written",
}
TRY_AGAIN = (429, 503)


def document_problems(app: Litestar) -> None:
    """Add to every operation of the OpenAPI document how it may fail."""
    handlers = _handlers(app)
    for path in (app.openapi_schema.paths or {}).values():
        for operation in (path.get, path.post, path.delete):
            if operation is None or operation.operation_id is None:
                continue
            responses = operation.responses = operation.responses or {}
            responses.pop("400", None)  # Litestar's own words for it, in a form that is not ours
            if isinstance(nothing := responses.get("204"), OpenAPIResponse):
                nothing.content = None  # where Litestar says that the body is JSON
            for status in problems_of(handlers[operation.operation_id], operation):
                responses[str(status)] = OpenAPIResponse(
                    description=MEANINGS[status],
                    headers={"retry-after": RETRY_AFTER} if status in TRY_AGAIN else None,
                    content={PROBLEM_TYPE: PROBLEM},
                )


def problems_of(handler: HTTPRouteHandler, operation: Operation) -> list[int]:
    """Return the statuses of the problems that a handler's requests may meet, in order."""
    return sorted({*_of_all(handler, operation), *handler.opt.get("problems", ())})


def _of_all(handler: HTTPRouteHandler, operation: Operation) -> Iterator[int]:
    yield from (415, 421, 503, 504, 507)
    scope = handler.opt.get("scope", "read")
    if scope is not None:
        yield from (401, 429)
    if scope == "write":
        yield 403
    if operation.parameters or operation.request_body:
        yield 422
    if operation.request_body:
        yield 413


def _handlers(app: Litestar) -> dict[str, HTTPRouteHandler]:
    """Return the application's documented handlers by operation id."""
    return {
        handler.operation_id: handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(getattr(handler, "operation_id", None), str)
    }
