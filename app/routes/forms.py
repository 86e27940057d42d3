"""Reading a body that may be JSON or a form with a picture in it."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import FormMultiDict, UploadFile
from litestar.exceptions import ClientException, HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema

from app.errors import CompressedBodyError, QuestionError, StoreFailedError, TooMuchError
from app.limits import MAX_PARTS, check_fields, check_json

PARSER_LIMIT = "Request Entity Too Large"
"""What Litestar says, as a 400, when multipart's parser meets a limit of ours or of its own."""

AnyRequest = Request[Any, Any, Any]
JSON_ONLY = ("terms",)
"""Fields that a form, which is flat, does not have."""
Fields = TypeVar("Fields", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Picture:
    """An uploaded file, and the name it came under."""

    data: bytes
    name: str


def require_plain_body(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard of the whole application: raise CompressedBodyError for a body that is compressed."""
    encoding = connection.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise CompressedBodyError(f"the body is compressed ({encoding[:40]}): send it as it is")


async def read_body(
    request: AnyRequest, fields: type[Fields], *, picture_field: str = "image", json: bool = True
) -> tuple[Fields, Picture | None]:
    """Return the fields of a JSON or form body, and the picture in it.

    A form sends the picture as a file; JSON sends it in the field of the same name, as base64 or a data: URI.
    In a form, attributes are written as JSON ({"year": 2019}), and a list is a field given several times.

    Raises:
        QuestionError: a field is missing, unknown, or of the wrong type or range.
        HTTPException: 415, a body of another type.
    """
    content_type, _ = request.content_type
    if json and content_type == "application/json":
        read = decode_json(await request.body(), fields)
        encoded: str | None = getattr(read, picture_field, None)
        return read, None if encoded is None else Picture(decode_base64(encoded), "the picture in the body")
    if content_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise _another_type(
            content_type, "application/json or multipart/form-data" if json else "multipart/form-data"
        )
    form = await _read_form(request)
    picture: Picture | None = None
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != picture_field or picture is not None:
                raise QuestionError(f"one file is expected, in the field {picture_field}; one is in {name}")
            picture = Picture(await value.read(), value.filename or "the uploaded picture")
        elif value != "":  # a browser sends an empty field for "not filled in"
            values.setdefault(name, []).append(value)
    return _convert(values, fields, picture_field), picture


async def read_json(request: AnyRequest, fields: type[Fields]) -> Fields:
    """Return the fields of a JSON body.

    Raises:
        QuestionError: a field is missing, unknown, or of the wrong type or range.
        HTTPException: 415, a body of another type.
    """
    content_type, _ = request.content_type
    if content_type != "application/json":
        raise _another_type(content_type, "application/json")
    return decode_json(await request.body(), fields)


def _another_type(content_type: str, wanted: str) -> HTTPException:
    return HTTPException(status_code=415, detail=f"content type {content_type or 'none'}: send {wanted}")


def decode_json(body: bytes, fields: type[Fields]) -> Fields:
    """Return what a JSON body holds.

    Raises:
        QuestionError: it is no JSON, or not of these fields; TooMuchError: it holds more than any question.
    """
    check_json(body)
    try:
        return msgspec.json.decode(body, type=fields)
    except msgspec.MsgspecError as error:
        raise QuestionError(f"the JSON body: {error}") from error
    except RecursionError as error:
        raise QuestionError("the JSON body is nested too deeply") from error


async def _read_form(request: AnyRequest) -> FormMultiDict:
    """Return a form's fields; what is wrong with the form itself is said as everything else is."""
    if request.content_type[0] == "application/x-www-form-urlencoded":
        check_fields(await request.body())
    try:
        return await request.form()
    except ClientException as error:
        if error.detail == PARSER_LIMIT:
            raise TooMuchError(
                f"the form has more than {MAX_PARTS} parts, or a part with headers beyond a few kilobytes"
            ) from error
        raise QuestionError(f"the form cannot be read: {error.detail}") from error
    except OSError as error:  # a large file is laid down in the folder for temporary ones while it comes
        raise StoreFailedError(
            f"there is no room to take the upload in ({error.strerror or error}); try again once there is"
        ) from error
    except (UnicodeError, LookupError) as error:  # LookupError: a charset that does not exist
        raise QuestionError(f"the form: a field is not text in the encoding it claims: {error}") from error


def _convert(values: dict[str, list[str]], fields: type[Fields], picture_field: str) -> Fields:
    if picture_field in values:
        raise QuestionError(f"the field {picture_field} must be a file")
    plain: dict[str, Any] = {}
    for field in msgspec.structs.fields(fields):
        if field.name in JSON_ONLY:
            continue
        given = values.pop(field.encode_name, None)
        if given is None:
            continue
        if _is_list(field.type):
            plain[field.encode_name] = given
        elif len(given) > 1:
            raise QuestionError(f"the field {field.encode_name} is given {len(given)} times")
        else:
            (text,) = given
            plain[field.encode_name] = json_object("attributes", text) if field.name == "attributes" else text
    if values:
        raise QuestionError(f"unknown field: {', '.join(sorted(values))}")
    try:
        return msgspec.convert(plain, fields, strict=False)
    except msgspec.ValidationError as error:
        raise QuestionError(f"the form: {error}") from error


def _is_list(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    return isinstance(
        info.type if isinstance(info, msgspec.inspect.Metadata) else info, msgspec.inspect.ListType
    )


def json_object(name: str, value: str) -> dict[str, Any]:
    """Return a JSON object that came as text.

    Raises:
        QuestionError: it is none.
    """
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise QuestionError(f'{name} must be a JSON object such as {{"year": 2019}}: {error}') from error


def decode_base64(encoded: str, name: str = "image") -> bytes:
    """Return the bytes of base64 text or of a data: URI.

    Raises:
        QuestionError: it is neither; addresses are never fetched.
    """
    if encoded.startswith(("http:", "https:", "file:", "ftp:")):
        raise QuestionError(f"{name} is an address; the service fetches nothing: send the picture itself")
    _, _, payload = encoded.rpartition(",") if encoded.startswith("data:") else ("", "", encoded)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise QuestionError(f"{name} is neither base64 nor a data: URI of base64: {error}") from error


def documented_body(
    fields: type[msgspec.Struct], picture_field: str | None, *, json: bool, required: Sequence[str] = ()
) -> type[Operation]:
    """Return an Operation whose OpenAPI request body is what read_body reads into these fields.

    Without a field for a picture it is what read_json reads. Required are fields of the form.
    """
    (_,), components = msgspec.json.schema_components([fields])
    schema = components[fields.__name__]
    properties = _inlined(schema["properties"], components)
    content: dict[str, Any] = {}
    if picture_field is not None:
        flat = {name: _in_a_form(kind) for name, kind in properties.items() if name not in JSON_ONLY}
        form = {
            "type": "object",
            "properties": flat | {picture_field: {"type": "string", "format": "binary"}},
            "required": list(required),
            "additionalProperties": False,
        }
        content["multipart/form-data"] = OpenAPIMediaType(schema=cast("Schema", form))
    if json:
        whole = {
            "type": "object",
            "properties": properties,
            "required": schema.get("required", []),
            "additionalProperties": False,
        }
        content["application/json"] = OpenAPIMediaType(schema=cast("Schema", whole))

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=content, required=True)

    return WithBody


def _in_a_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a field's JSON schema without null: a form leaves out what is not given, or sends it empty."""
    told = {name: value for name, value in schema.items() if name != "anyOf"}
    if told.get("default", "") is None:
        del told["default"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return told | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """Return a JSON schema with every reference replaced by what it refers to."""
    if isinstance(schema, list):
        return [_inlined(each, components) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
    return {name: _inlined(each, components) for name, each in schema.items()}
