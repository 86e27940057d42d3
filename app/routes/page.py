"""The web page: its files from app/web, compressed once, and not sent again to who has them already."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from app.routes.forms import AnyRequest

WEB = Path(str(files("app"))) / "web"
TYPES = {  # Litestar adds the charset to what is text
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
COMPRESSED_ALREADY = (".png", ".jpg", ".webp", ".woff2")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "content-security-policy": POLICY,
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "cross-origin-opener-policy": "same-origin",
}
# a file may be another tomorrow under the same name: ask, and have 304 for an answer
KEPT_UNTIL_CHANGED = {"cache-control": "no-cache", "vary": "accept-encoding"}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page as it is sent."""

    content: bytes
    compressed: bytes | None
    etag: str
    media_type: str


@get("/", include_in_schema=False, opt={"scope": None})
async def get_page(request: AnyRequest) -> Response[bytes]:
    """Send the page."""
    return _answer(request, "index.html", PAGE_HEADERS)


@get("/assets/{path:path}", include_in_schema=False, opt={"scope": None})
async def get_asset(request: AnyRequest, path: FromPath[Path]) -> Response[bytes]:
    """Send a file of the page."""
    return _answer(request, str(path).lstrip("/"), {})


def _answer(request: AnyRequest, name: str, headers: dict[str, str]) -> Response[bytes]:
    file = page_file(name)
    headers = {"etag": file.etag, **KEPT_UNTIL_CHANGED, **headers}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    content = file.content
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = file.compressed
        headers["content-encoding"] = "gzip"
    return Response(content, media_type=file.media_type, headers=headers)


def page_file(name: str) -> PageFile:
    """Return a file of app/web, read again when it has changed.

    Raises:
        NotFoundException: there is none of this name, or it is none of the page's.
    """
    try:
        path = (WEB / name).resolve()
        if path.is_relative_to(WEB.resolve()) and path.suffix in TYPES and path.is_file():
            return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:  # a name that no file can have: too long, or with a NUL in it
        raise NotFoundException("the page has no such file") from error
    raise NotFoundException(f"the page has no file {name}")


@lru_cache(maxsize=256)
def _read(path: Path, _changed_ns: int) -> PageFile:
    content = path.read_bytes()
    return PageFile(
        content=content,
        compressed=None if path.suffix in COMPRESSED_ALREADY else gzip.compress(content, 9, mtime=0),
        etag=f'W/"{hashlib.sha256(content).hexdigest()[:20]}"',
        media_type=TYPES[path.suffix],
    )
