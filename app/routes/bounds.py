"""What the OpenAPI document says beyond types: the bounds of the settings, and which answer leads where."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, cast

import msgspec
from litestar import Litestar
from litestar.openapi.spec import Link, OpenAPIResponse, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from app.limits import MAX_NAME_CHARS
from app.routes.gallery import MOST_STACKS
from app.search import MAX_EXCLUDED, MAX_OFFSET
from app.search_schemas import SearchRequest
from app.settings import Settings

Bounds = Mapping[str, Mapping[str, Any]]

NO_NUL = r"^[^\u0000]*$"
NOTHING_OR_A_WORD = r"^(?:|[^\u0000]*[^\s\u0000][^\u0000]*)$"
SOME_WORD = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"

IN_FORMS: Bounds = {
    "text": {"pattern": NO_NUL},
    "query": {"pattern": NO_NUL},
    "collection": {"pattern": NOTHING_OR_A_WORD, "minLength": 0},
    "captions": {"items": {"type": "string", "pattern": NO_NUL}},
}
"""In a form a field that is empty was not filled in."""

IN_PARAMETERS: Bounds = {
    "attributes": {"format": "json-object"},
    "max_distance": {"minimum": 0, "maximum": 2},
    "most": {"minimum": 1, "maximum": MOST_STACKS},
}

ATTRIBUTES = {"maxLength": "max_length", "maxItems": "max_items"}
"""What Litestar's Schema calls JSON schema's keywords, where that differs."""

ONE_OF_ITS_HITS = "$response.body#/hits/0/id"
ITSELF = "$response.body#/id"
OF_A_PICTURE = ("getImage", "getImageFile", "getImageThumbnail", "getSimilarImages")
LEADS_TO: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "search": (ONE_OF_ITS_HITS, OF_A_PICTURE),
    "searchWithPicture": (ONE_OF_ITS_HITS, OF_A_PICTURE),
    "getSimilarImages": (ONE_OF_ITS_HITS, OF_A_PICTURE),
    "addImage": (ITSELF, (*OF_A_PICTURE, "deleteImage")),
}
"""By operation: where its answer holds the id of a picture, and what that may be asked."""


def document_bounds(app: Litestar, settings: Settings) -> None:
    """Add to parameters and bodies how large they may be, and to answers what they lead to."""
    bounds = bounds_of(settings)
    parameters = _merged(_bounds_of_fields(), bounds, IN_PARAMETERS)
    for path in (app.openapi_schema.paths or {}).values():
        for operation in (path.get, path.post, path.delete):
            if operation is None:
                continue
            for parameter in operation.parameters or ():
                if isinstance(parameter, Parameter) and isinstance(parameter.schema, Schema):
                    _bound(parameter.schema, parameters.get(parameter.name, {}))
            if isinstance(operation.request_body, RequestBody):
                _bound_body(operation.request_body, bounds)
            _link(operation)
            for response in (operation.responses or {}).values():
                if isinstance(response, OpenAPIResponse):
                    _describe_events(response)


def bounds_of(settings: Settings) -> Bounds:
    """Return the JSON schema keywords of each field that has bounds beyond those of its type."""
    return {
        "k": {"minimum": 1, "maximum": settings.max_k},
        "offset": {"minimum": 0, "maximum": MAX_OFFSET},
        "text": {"maxLength": settings.max_text_chars, "pattern": SOME_WORD},
        "query": {"maxLength": settings.max_text_chars, "pattern": SOME_WORD},
        "collection": {"maxLength": MAX_NAME_CHARS, "pattern": NO_NUL},
        "exclude": {"maxItems": MAX_EXCLUDED},
        "taken_from": {"format": "date-time"},
        "taken_to": {"format": "date-time"},
    }


def _bound(schema: Schema, keywords: Mapping[str, Any]) -> None:
    for branch in (schema, *(each for each in schema.one_of or () if isinstance(each, Schema))):
        if branch.type is not None and branch.type != "null":
            for keyword, value in keywords.items():
                setattr(branch, ATTRIBUTES.get(keyword, keyword), value)


def _bound_body(body: RequestBody, bounds: Bounds) -> None:
    """Bound the fields of a body, which app.routes.forms wrote as plain JSON schema."""
    for media_type, kind in body.content.items():
        said = _merged(bounds, IN_FORMS) if media_type == "multipart/form-data" else bounds
        schema = deepcopy(cast("dict[str, Any]", kind.schema))
        for name, field in _fields(schema):
            for branch in (field, *field.get("anyOf", ())):
                if branch.get("type", "null") != "null":
                    keywords = said.get(name, {}).items()
                    branch.update({key: value for key, value in keywords if not _is_bound(key, branch)})
        kind.schema = cast("Schema", schema)


def _merged(*all_bounds: Bounds) -> Bounds:
    """Return the keywords of all for each name; the last one is right."""
    merged: dict[str, dict[str, Any]] = {}
    for bounds in all_bounds:
        for name, keywords in bounds.items():
            merged.setdefault(name, {}).update(keywords)
    return merged


def _bounds_of_fields() -> Bounds:
    """Return the bounds that a question's fields have by their types: in an address they are the same."""
    schema = msgspec.json.schema_components([SearchRequest])[1]["SearchRequest"]
    return {
        name: {
            keyword: branch[keyword]
            for branch in (field, *field.get("anyOf", ()))
            for keyword in ("minimum", "maximum")
            if keyword in branch
        }
        for name, field in schema["properties"].items()
    }


def _is_bound(keyword: str, schema: Mapping[str, Any]) -> bool:
    """Say whether a field has this upper bound of its own, which ours may not loosen."""
    return keyword.startswith("max") and keyword in schema


def _fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of a JSON schema, however deep, with its name."""
    if isinstance(schema, list):
        for each in schema:
            yield from _fields(each)
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for each in schema.values():
            yield from _fields(each)


def _link(operation: Operation) -> None:
    place, targets = LEADS_TO.get(operation.operation_id or "", ("", ()))
    for status in ("200", "201"):
        response = (operation.responses or {}).get(status)
        if targets and isinstance(response, OpenAPIResponse):
            response.links = {
                target: Link(operation_id=target, parameters={"image_id": place}) for target in targets
            }


def _describe_events(response: OpenAPIResponse) -> None:
    """Say of a stream of server-sent events what each is, where Litestar says what their data are."""
    stream = (response.content or {}).get("text/event-stream")
    if stream is not None:
        data = Schema(
            type=OpenAPIType.STRING, content_media_type="application/json", content_schema=stream.schema
        )
        stream.schema = Schema(
            type=OpenAPIType.OBJECT,
            required=["event", "data"],
            properties={"event": Schema(type=OpenAPIType.STRING), "data": data},
        )
