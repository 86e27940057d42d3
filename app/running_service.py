"""A running service, asked over HTTP as anybody would: what is in it, and where captions find their photo."""

import http.client
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import numpy as np

from app.schemas import CollectionAnswer
from app.search import MAX_OFFSET
from app.search_schemas import EncoderEcho, SearchAnswer
from db.storing import image_id
from training.errors import EvaluationError
from training.metrics import DEPTH, Ranks
from training.photos import CaptionedPhoto

AT_ONCE = 8
PAGE = 100
SHOWN = 5
NOT_FOUND = DEPTH + 1
"""The rank of a photo that is not among the first ten: how far beyond, the service was not asked."""

Answer = TypeVar("Answer")


class RunningService:
    """A service at an address; each thread that asks has a connection of its own, kept open."""

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        """Take http://host:port, perhaps with a path below which the service lies, and the key to send.

        Raises:
            EvaluationError: that is no address of this kind.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise EvaluationError(f"{url} is no address of a service: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EvaluationError(f"{url} is no address of a service, such as http://127.0.0.1:8000")
        self.url = url
        self._connection_kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._headers = {} if key is None else {"x-api-key": key}
        self._place = (parts.hostname, port, timeout_s)
        self._path = parts.path.rstrip("/")
        self._of_thread = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._open:
            connection.close()

    def collections(self) -> list[CollectionAnswer]:
        """Return the collections with the number of their pictures."""
        return self._ask("GET", "/api/collections", None, list[CollectionAnswer])

    def search(self, question: Mapping[str, Any]) -> SearchAnswer:
        """Return the answer to a question as POST /api/search takes it.

        Raises:
            EvaluationError: the service does not answer, or refuses the question; the message says why.
        """
        return self._ask("POST", "/api/search", msgspec.json.encode(question), SearchAnswer)

    def _ask(self, method: str, path: str, body: bytes | None, kind: type[Answer]) -> Answer:
        try:
            status, answer = self._send(method, self._path + path, body)
        except (OSError, http.client.HTTPException) as error:
            raise EvaluationError(
                f"no service answers at {self.url} ({error or type(error).__name__}); start it with:"
                " image-retrieval serve"
            ) from error
        if status != http.client.OK:
            raise EvaluationError(f"the service at {self.url} answered {status}: {_detail(answer)}")
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:  # another program's answer, or another version's
            raise EvaluationError(f"what answers at {self.url} is not image-retrieval: {error}") from error

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Ask over this thread's connection; one that the other side has closed meanwhile is opened anew."""
        connection = getattr(self._of_thread, "connection", None)
        if connection is not None:
            try:
                return _exchange(connection, method, path, body, self._headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
        host, port, timeout_s = self._place
        connection = self._connection_kind(host, port, timeout=timeout_s)
        self._of_thread.connection = connection
        self._open.append(connection)
        return _exchange(connection, method, path, body, self._headers)


def find_collection(service: RunningService, name: str | None, images: Path | None) -> CollectionAnswer:
    """Return the collection to ask: the one named, else the photos' folder's, else the only one.

    Raises:
        EvaluationError: there is none, or no saying which.
    """
    there = {collection.name: collection for collection in service.collections()}
    wanted = name if name is not None else images.resolve().name if images is not None else ""
    if wanted in there:
        return there[wanted]
    if name is None and len(there) == 1:
        return next(iter(there.values()))
    if not there:
        raise EvaluationError(f"the gallery at {service.url} is empty; index the photos first")
    raise EvaluationError(
        f"the gallery at {service.url} has no collection {wanted or 'that fits'}; name one with --collection:"
        f" {', '.join(there)}"
    )


def find_photos(
    service: RunningService,
    collection: CollectionAnswer,
    photos: Sequence[CaptionedPhoto],
) -> list[UUID]:
    """Return each photo's id in the collection, found by its path, or where that says nothing by its content.

    A uri is the photo's if it is its name, or ends in it and no other does. By content, because of two equal
    files the gallery has one.

    Raises:
        EvaluationError: some photos are not there; the message says how many.
    """
    there = _list_pictures(service, collection)
    known = set(there.values())
    by_file_name: dict[str, list[str]] = {}
    for uri in there:
        by_file_name.setdefault(uri.rpartition("/")[2], []).append(uri)
    found: list[UUID] = []
    missing: list[str] = []
    for photo in photos:
        name = unicodedata.normalize("NFC", photo.name)
        ends = [
            uri for uri in by_file_name.get(name.rpartition("/")[2], []) if f"/{uri}".endswith(f"/{name}")
        ]
        if name in there or len(ends) == 1:
            found.append(there[name] if name in there else there[ends[0]])
        elif (content := _id_by_content(photo, collection)) in known:
            found.append(content)
        else:
            missing.append(photo.name)
    if missing:
        raise EvaluationError(
            f"{len(missing):,} of {len(photos):,} photos are not in the collection {collection.name} at"
            f" {service.url}: {first_few(missing)}; index them first, or name another --collection"
        )
    return found


def ask_captions(
    service: RunningService,
    collection: CollectionAnswer,
    photos: Sequence[CaptionedPhoto],
    sought: Sequence[UUID],
    advance: Callable[[int], None],
) -> tuple[Ranks, EncoderEcho]:
    """Ask every caption, eight at a time, for ten hits; return ranks int64 (captions,) and who answered.

    A rank beyond the tenth is NOT_FOUND. The question names the collection only where there are others, for a
    filter costs the index something, and people rarely give one.

    Raises:
        EvaluationError: the service does not answer, or its encoder changed on the way.
    """
    only = {} if len(service.collections()) == 1 else {"collection": collection.name}
    questions = [
        (caption, wanted) for photo, wanted in zip(photos, sought, strict=True) for caption in photo.captions
    ]

    def ask(question: tuple[str, UUID]) -> tuple[int, EncoderEcho]:
        caption, wanted = question
        answer = service.search({"text": caption, "k": DEPTH, **only})
        advance(1)
        rank = next((hit.rank for hit in answer.hits if hit.id == wanted), NOT_FOUND)
        return rank, answer.query.encoder

    threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask")
    try:
        answers = list(threads.map(ask, questions))
    finally:
        threads.shutdown(cancel_futures=True)  # the first error ends it: what still waits is not asked
    encoders = {encoder.fingerprint: encoder for _, encoder in answers}
    if len(encoders) != 1:
        raise EvaluationError(f"the service at {service.url} changed its encoder while it was asked")
    return np.array([rank for rank, _ in answers], np.int64), encoders.popitem()[1]


def first_few(names: Sequence[str]) -> str:
    """Return some names for a message."""
    return ", ".join(names[:SHOWN]) + ", …" * (len(names) > SHOWN)


def _list_pictures(service: RunningService, collection: CollectionAnswer) -> dict[str, UUID]:
    """Return the id of every picture of a collection by its uri, from an exact search that all answer."""
    there: dict[str, UUID] = {}
    for offset in range(0, collection.images, PAGE):
        if offset > MAX_OFFSET:
            raise EvaluationError(f"the collection {collection.name} has more than {MAX_OFFSET:,} pictures")
        question = {
            "text": "photo", "collection": collection.name, "k": PAGE, "offset": offset, "exact": True,
        }  # fmt: skip
        for hit in service.search(question).hits:
            there[unicodedata.normalize("NFC", hit.uri)] = hit.id
    return there


def _id_by_content(photo: CaptionedPhoto, collection: CollectionAnswer) -> UUID | None:
    try:
        return image_id(collection.name, photo.source.read())
    except (OSError, ValueError):  # not there; or a NUL in the name, which no path can hold
        return None


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, bytes]:
    kind = {"content-type": "application/json"} if body else {}
    connection.request(method, path, body, {**headers, **kind})
    response = connection.getresponse()
    return response.status, response.read()


def _detail(answer: bytes) -> str:
    """Return what a problem (RFC 9457) says, or the beginning of whatever else came."""
    try:
        return msgspec.json.decode(answer, type=_Problem).detail
    except msgspec.DecodeError:
        return answer[:200].decode(errors="replace")


class _Problem(msgspec.Struct):
    detail: str
