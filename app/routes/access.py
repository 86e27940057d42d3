"""Who may write: from this machine anyone, from elsewhere whoever has the key."""

import hmac
import ipaddress
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.errors import NotAllowedError
from app.service import Service


def may_write(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard of the handlers that change the gallery.

    With IMAGE_RETRIEVAL_WRITE_KEY set, the header x-api-key must hold it. Without, only a service that
    listens on a loopback address takes writes, and only from clients on the same machine. A page of another
    site, opened in a browser on that machine, is refused by its Origin.

    Raises:
        NotAllowedError: the write is not allowed; the message says what to do.
    """
    service: Service = connection.app.state.service
    key = service.settings.write_key
    if key is not None:
        given = connection.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), key.encode()):
            raise NotAllowedError("this changes the gallery: send the write key in the header x-api-key")
        return
    client = connection.client.host if connection.client else ""
    if not (is_loopback(service.settings.host) and is_loopback(client)):
        raise NotAllowedError(
            "this changes the gallery, which a service that other machines reach allows with a key only: set"
            " IMAGE_RETRIEVAL_WRITE_KEY and send it in the header x-api-key"
        )
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host"):
        raise NotAllowedError(f"a page of {origin} may not change this gallery")


def writes(connection: ASGIConnection[Any, Any, Any, Any]) -> Literal["open", "key", "closed"]:
    """Say what may_write will say to this client: yes; with a key; or no."""
    service: Service = connection.app.state.service
    if service.settings.write_key is not None:
        return "key"
    client = connection.client.host if connection.client else ""
    return "open" if is_loopback(service.settings.host) and is_loopback(client) else "closed"


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "testclient")
