"""Who may do what over HTTP: one guard stands before every handler.

A handler says in its opt what it needs: {"scope": "write"}; nothing said is "read"; {"scope": None} is for
anyone (health, the page's own files, the documentation). So a handler that somebody adds is guarded already.

* read   anyone, unless IMAGE_RETRIEVAL_OPEN_READS=false: then a key
* write  a key; or none, on a service that listens on a loopback address, from this machine
* admin  a key

401 is "say who you are", 403 "known, but not allowed". A service at a loopback address answers only to names
of this machine: else a page could have its own name lead here (DNS rebinding) and read what it likes. A write
without a key is refused to pages of other sites by its Origin; with one that need not be, for a page cannot
send our headers to another site unasked.
"""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.errors import KeyNeededError, MisdirectedError, NotAllowedError, TooManyRequestsError
from app.keys import Scope, allows, recognise_key
from app.rate_limit import Allowance, RateLimiter, household
from app.service import Service
from app.settings import Settings

AnyConnection = ASGIConnection[Any, Any, Any, Any]

COOKIE = "image_retrieval_key"
"""Where the page keeps a reader's key, for a picture in a page is asked for without headers."""

PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

REQUESTS_PER_ADDRESS = 1200
REQUESTS_PER_KEY = 6000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an address, and the id and scope of the key that came along, if any."""

    address: str
    key_id: str | None = None
    scope: str | None = None


async def admit(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Litestar guard of the whole application: let a request through, or say what it lacks.

    Raises:
        MisdirectedError: it was sent to another name.
        TooManyRequestsError: its key or address has asked too often.
        KeyNeededError: it needs a key, and has none, or one that is not good.
        NotAllowedError: its key may not do this, or a page of another site sent it.
    """
    service: Service = connection.app.state.service
    settings = service.settings
    require_known_host(connection.headers.get("host", ""), settings)
    needed: Scope | None = handler.opt.get("scope", "read")
    if needed is None:
        return
    limiter: RateLimiter = connection.app.state.limiter
    caller = await _identify(connection, service, limiter, needed)
    who, rate = _rate(caller, settings)
    _count(connection, limiter.take(who, rate) if rate else None)
    connection.state.caller = caller
    if needed == "read" and settings.open_reads:
        return
    if needed == "write" and writes_are_open(connection):
        require_own_page(connection)
        return
    if caller.scope is None:
        raise KeyNeededError(_how_to_get_one(needed))
    if not allows(caller.scope, needed):
        raise NotAllowedError(f"this needs a key of the scope {needed}; yours is one of {caller.scope}")


def writes_are_open(connection: AnyConnection) -> bool:
    """Say whether this client may write without a key: it is on this machine, which is all that listens.

    What a proxy brought is somebody else's, though the proxy be on this machine. A proxy that does not say so
    cannot be known: loopback_writes=false is for those.
    """
    settings: Settings = connection.app.state.service.settings
    client = connection.client.host if connection.client else ""
    return (
        settings.loopback_writes
        and settings.write_key is None
        and is_loopback(settings.host)
        and is_loopback(client)
        and not any(name in connection.headers for name in PROXY_HEADERS)
    )


def require_known_host(host: str, settings: Settings) -> None:
    """Raise MisdirectedError if the Host header names neither this machine nor one of allowed_hosts."""
    local = is_loopback(settings.host)
    if not local and not settings.allowed_hosts:
        return
    name = _host_name(host)
    if (local and is_loopback(name)) or name in (settings.host, *settings.allowed_hosts):
        return
    raise MisdirectedError(
        f"this service does not go by the name {name or 'that was sent'}; if it should, list it in"
        " IMAGE_RETRIEVAL_ALLOWED_HOSTS"
    )


def require_own_page(connection: AnyConnection) -> None:
    """Raise NotAllowedError if, so says the browser, a page of another site sent this that is not listed."""
    origin = connection.headers.get("origin")
    settings: Settings = connection.app.state.service.settings
    if origin is None or origin in settings.allowed_origins:
        return
    if urlsplit(origin).netloc != connection.headers.get("host"):
        raise NotAllowedError(f"a page of {origin} may not change this gallery")


def writes(connection: AnyConnection) -> Literal["open", "key"]:
    """Say what this client needs in order to write."""
    return "open" if writes_are_open(connection) else "key"


def sent_key(connection: AnyConnection) -> str | None:
    """Return the key in the headers: x-api-key, or Authorization: Bearer."""
    if given := connection.headers.get("x-api-key"):
        return given
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _identify(
    connection: AnyConnection, service: Service, limiter: RateLimiter, needed: Scope
) -> Caller:
    """Return who asks; a key that is sent must be good, wherever none were needed.

    An address that keeps sending bad keys is turned away before the database is asked about the next.
    """
    settings = service.settings
    address = connection.client.host if connection.client else "unknown"
    key = sent_key(connection)
    if key is None and needed == "read" and not settings.open_reads:
        key = connection.cookies.get(COOKIE)
    if key is None:
        return Caller(address)
    if settings.write_key and hmac.compare_digest(key.encode(), settings.write_key.encode()):
        return Caller(address, "the write key", "write")
    guesses, rate = f"bad keys from {household(address)}", _rate(Caller(address), settings)[1]
    if rate:
        _count(connection, limiter.take(guesses, rate, cost=0))
    row = await recognise_key(service.writing_pool, key)
    if row is None:
        if rate:
            limiter.take(guesses, rate)
        raise KeyNeededError("the key that was sent is unknown or revoked; send a good one, or none")
    return Caller(address, row.id, row.scope)


def _rate(caller: Caller, settings: Settings) -> tuple[str, int]:
    """Return whose bucket a request is taken from, and how many a minute it gives; 0 is any number."""
    if caller.key_id is None:
        who, rate, usual = (
            f"address {household(caller.address)}",
            settings.rate_per_address,
            REQUESTS_PER_ADDRESS,
        )
    else:
        who, rate, usual = f"key {caller.key_id}", settings.rate_per_key, REQUESTS_PER_KEY
    if rate is None:
        rate = 0 if is_loopback(settings.host) else usual
    return who, rate


def _count(connection: AnyConnection, allowance: Allowance | None) -> None:
    """Leave the allowance for the answer's headers; raise TooManyRequestsError if there is none left."""
    if allowance is None:
        return
    connection.state.allowance = allowance
    if allowance.wait_s:
        raise TooManyRequestsError(
            f"more than {allowance.limit} requests a minute; there is room again in {allowance.wait_s} s",
            retry_after_s=allowance.wait_s,
        )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port; nothing if it is no such header."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _how_to_get_one(needed: Scope) -> str:
    what = {"read": "reading this gallery", "write": "changing this gallery", "admin": "this"}[needed]
    return (
        f"{what} needs a key: send it in the header x-api-key, or as Authorization: Bearer. Whoever runs the"
        f" service makes one with: image-retrieval keys create --name … --scope {needed}"
    )
