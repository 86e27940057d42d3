"""What every answer says besides itself: how far it may be trusted, and how much more may be asked."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.datastructures import MutableScopeHeaders

from app.rate_limit import Allowance
from app.settings import Settings

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""For answers that are no pages: whatever is in them, a browser loads and runs none of it."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": NOTHING,
    "x-frame-options": "DENY",
}


def make_header_hook(settings: Settings) -> Callable[[Any, Any], Awaitable[None]]:
    """Return Litestar's hook before anything is sent: what a handler has said itself is left as it is."""
    who_may_embed = "cross-origin" if settings.allowed_origins else "same-origin"
    usual = HEADERS | {"cross-origin-resource-policy": who_may_embed}

    async def add_headers(message: Any, scope: Any) -> None:
        if message["type"] != "http.response.start":
            return
        headers, state = MutableScopeHeaders.from_message(message), scope.get("state", {})
        if policy := state.get("content_security_policy"):  # for what is no handler of ours
            headers["content-security-policy"] = policy
        for name, value in usual.items():
            headers.setdefault(name, value)
        if "allow" in headers and "path_template" in scope:  # without one it is a 405, and right
            headers["allow"] = allowed_methods(scope)
        allowance: Allowance | None = state.get("allowance")
        if allowance is not None:
            headers["ratelimit-limit"] = str(allowance.limit)
            headers["ratelimit-remaining"] = str(allowance.remaining)
            headers["ratelimit-reset"] = str(allowance.full_in_s)

    return add_headers


def allowed_methods(scope: Any) -> str:
    """Return the methods that an address takes; Litestar names those of the first of its handlers."""
    return ", ".join(
        sorted(
            {
                method
                for route in scope["litestar_app"].routes
                if route.path == scope["path_template"]
                for handler in route.route_handlers
                for method in handler.http_methods
            }
        )
    )
