"""What the OpenAPI document says of answers that are problems (RFC 9457): the same for every address."""

from litestar import Litestar
from litestar.openapi.spec import OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, Schema
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
PROBLEMS = {
    "503": "All the work is in flight that the service takes on, or the database does not answer",
    "504": "The request took longer than its deadline",
    "507": "A disk is full, or cannot be written",
    "default": "A problem: 4xx is the caller's to mend, and its detail says how",
}


def document_problems(app: Litestar) -> None:
    """Add to every operation of the OpenAPI document how it may fail."""
    for path in (app.openapi_schema.paths or {}).values():
        for operation in (path.get, path.post, path.delete):
            if operation is None:
                continue
            responses = operation.responses = operation.responses or {}
            responses.pop("400", None)  # Litestar's own words for it, in a form that is not ours
            for status, meaning in PROBLEMS.items():
                responses[status] = OpenAPIResponse(
                    description=meaning,
                    headers={"retry-after": RETRY_AFTER} if status == "503" else None,
                    content={PROBLEM_TYPE: PROBLEM},
                )
