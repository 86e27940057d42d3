"""Our exceptions, and the HTTP status of every exception that a handler may meet (RFC 9457 problem details).

* AppError
  x QuestionError             the caller can fix it: a question or upload that cannot be answered as it stands
    + ImageNotFoundError        no picture of this id in the gallery
    + UploadRefusedError        a picture or its captions cannot be taken into this collection
    + KeyNeededError            it needs a key, and none came, or one that is not good
    + NotAllowedError           what is known of the caller does not allow it
    + MisdirectedError          it was sent to a name that is not this service's
    + TooMuchError              more in one request than any question needs
    + CompressedBodyError       a body that would have to be unpacked first
    + TooManyRequestsError      more than this caller may ask at once
    + ExchangeError             an export that cannot be written there, or not be read
    + KeyNotFoundError          no good API key of this id or name
  x OperatorError             the operator can fix it
    + SettingsError             a setting that does not exist, or a value out of range
    + GalleryFileMissingError   the row is there, the file is not
    + StoreFailedError          a file cannot be written: the disk is full, say
  x TryLaterError             nobody has to fix it: the same request may well be answered shortly
    + OverloadedError           as much work is in flight as the service takes on
    + DeadlineError             the request took longer than any may
    + StoppingError             the service is on its way out
    + SilentError               what the service stands on does not answer it

STATUS, at the end, is the one place that knows about HTTP; a test fails on an error that is not in it.
"""

import logging
from collections.abc import Callable, Mapping

import msgspec
import psycopg
import psycopg_pool
from litestar.exceptions import HTTPException, ValidationException
from litestar.plugins.problem_details import ProblemDetailsException

from app.request_record import current_request_id
from db import errors as db_errors
from embedding import errors as embedding_errors

logger = logging.getLogger(__name__)


class AppError(Exception):
    """Base class: catch this to catch everything below."""


class QuestionError(AppError):
    """A question that cannot be answered as it stands."""


class ExchangeError(QuestionError):
    """An export that cannot be written there, or not be read back."""


class ImageNotFoundError(QuestionError):
    """No picture of this id is in the gallery."""


class UploadRefusedError(QuestionError):
    """A picture, or its captions, cannot be taken into this collection."""


class KeyNeededError(QuestionError):
    """It needs a key, and none came, or one that is not good."""


class NotAllowedError(QuestionError):
    """What is known of the caller does not allow it: the key's scope, or the page that sent it."""


class MisdirectedError(QuestionError):
    """It was sent to a name that is not this service's."""


class TooMuchError(QuestionError):
    """More in one request than any question needs."""


class CompressedBodyError(QuestionError):
    """A body that would have to be unpacked first: it may be a thousand times its size."""


class TooManyRequestsError(QuestionError):
    """More than this caller may ask at once; retry_after_s says when there is room again."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyNotFoundError(QuestionError):
    """No good API key of this id or name."""


class OperatorError(AppError):
    """The operator can fix it."""


class SettingsError(OperatorError):
    """A setting that does not exist, or a value of the wrong type or range."""


class GalleryFileMissingError(OperatorError):
    """The row is there, the picture's file is not."""


class StoreFailedError(OperatorError):
    """A file cannot be written: the disk is full, or fails."""


class TryLaterError(AppError):
    """Nobody has to fix it: the same request may well be answered shortly."""


class OverloadedError(TryLaterError):
    """As much work is in flight as the service takes on."""


class DeadlineError(TryLaterError):
    """The request took longer than any may."""


class StoppingError(TryLaterError):
    """The service was told to stop."""


class SilentError(TryLaterError):
    """What the service stands on, the database say, does not answer it."""


RETRY_AFTER_S = 1
PROBLEM_TYPE = "application/problem+json"

STATUS: Mapping[type[Exception], int] = {
    QuestionError: 422,
    ImageNotFoundError: 404,
    UploadRefusedError: 422,
    KeyNeededError: 401,
    NotAllowedError: 403,
    MisdirectedError: 421,
    TooMuchError: 413,
    CompressedBodyError: 415,
    TooManyRequestsError: 429,
    ExchangeError: 422,
    KeyNotFoundError: 404,
    OperatorError: 500,
    SettingsError: 500,
    GalleryFileMissingError: 410,
    StoreFailedError: 507,
    TryLaterError: 503,
    OverloadedError: 503,
    DeadlineError: 504,
    StoppingError: 503,
    SilentError: 503,
    embedding_errors.UnreadableImageError: 422,
    embedding_errors.ImageTooLargeError: 413,
    embedding_errors.EncoderUnavailableError: 503,
    embedding_errors.EncoderBusyError: 503,
    embedding_errors.EncoderOutOfMemoryError: 503,
    db_errors.NothingIndexedError: 409,
    db_errors.NotNormalisedError: 409,
    db_errors.EncoderMismatchError: 503,
    db_errors.EncoderStateError: 409,
    db_errors.CollectionConflictError: 409,
    db_errors.KeyConflictError: 409,
    db_errors.CopyError: 500,
    db_errors.DatabaseUnsuitableError: 503,
    db_errors.NotMigratedError: 503,
    psycopg.errors.DiskFull: 507,
    psycopg.OperationalError: 503,  # unreachable, shutting down, or a statement that took too long
    psycopg.InterfaceError: 503,
    psycopg_pool.PoolTimeout: 503,
    psycopg_pool.PoolClosed: 503,
    psycopg.DataError: 422,
    MemoryError: 503,
}


def problem(error: Exception) -> ProblemDetailsException:
    """Return the HTTP answer to one of STATUS: what a driver says goes to the log, not out."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    detail = str(error)
    if (
        isinstance(error, psycopg.Error | psycopg_pool.PoolTimeout | psycopg_pool.PoolClosed)
        and status == 503
    ):
        logger.error("the database does not answer: %s", error)
        detail = "the database does not answer at the moment; try again shortly"
    if isinstance(error, psycopg.errors.DiskFull):
        logger.error("the database has no room left: %s", error)
        detail = "the database has no room left on its disk; where there is some again, this works again"
    if isinstance(error, MemoryError):
        logger.error("out of memory: %s", error)
        detail = "the service has no memory left for this at the moment; try again shortly"
    return _details(status, title_of(type(error)), detail, _headers_of(error, status))


def _headers_of(error: Exception, status: int) -> dict[str, str] | None:
    """Return what an answer says besides its words: when to come again, or how to say who one is."""
    if isinstance(error, TooManyRequestsError):
        return {"retry-after": str(error.retry_after_s)}
    return {
        415: {"accept-encoding": "identity"},
        401: {"www-authenticate": 'Bearer realm="image-retrieval"'},
        503: {"retry-after": str(RETRY_AFTER_S)},
    }.get(status)


def http_problem(error: HTTPException) -> ProblemDetailsException:
    """Return Litestar's own errors as problem details; parameters that do not fit are 422, and named."""
    if isinstance(error, ValidationException):
        faults = error.extra if isinstance(error.extra, list) else []
        detail = "; ".join(f"{fault.get('key', 'body')}: {fault.get('message')}" for fault in faults)
        return _details(422, "Invalid parameters", detail or error.detail)
    return _details(
        error.status_code, error.detail, error.detail, dict(error.headers) if error.headers else None
    )


def unexpected_problem(error: Exception) -> ProblemDetailsException:
    """Return the HTTP answer to an error that nobody foresaw; the log has all of it, the client its id."""
    logger.error("unexpected error", exc_info=error)
    return _details(500, "Internal error", "something went wrong here; the service's log says what")


def bare_problem(error: Exception) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of the HTTP answer to one of STATUS, where no framework writes it."""
    said = problem(error)
    extra = said.extra if isinstance(said.extra, dict) else {}
    body = msgspec.json.encode(
        {"status": said.status_code, "title": said.title, "detail": said.detail, **extra}
    )
    headers = {
        "content-type": PROBLEM_TYPE,
        "content-length": str(len(body)),
        **(said.headers or {}),
    }
    return said.status_code, [(name.encode(), value.encode()) for name, value in headers.items()], body


def _details(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> ProblemDetailsException:
    request_id = current_request_id()
    return ProblemDetailsException(
        status_code=status,
        title=title,
        detail=detail,
        headers=headers,
        extra=None if request_id is None else {"request_id": request_id},
    )


def title_of(kind: type[Exception]) -> str:
    """Return a class name as words: ImageTooLargeError -> Image too large."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return words.strip().removesuffix(" error").capitalize()


def problem_map() -> Mapping[type[Exception], Callable[..., ProblemDetailsException]]:
    """Return what Litestar's ProblemDetailsPlugin takes."""
    return {**dict.fromkeys(STATUS, problem), HTTPException: http_problem, Exception: unexpected_problem}
