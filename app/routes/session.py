"""The page's key in a cookie: where reads need a key, a picture in a page must be asked for without headers.

The cookie serves for reading alone, is out of the page's own reach (HttpOnly) and never travels from another
site (SameSite=Strict); it ends with the browser's session.
"""

from typing import Any

from litestar import Request, Response, delete, post
from litestar.datastructures import Cookie

from app.errors import KeyNeededError
from app.routes.access import COOKIE, sent_key


@post("/api/session", status_code=204, tags=["session"], operation_id="startSession")
async def start_session(request: Request[Any, Any, Any]) -> Response[None]:
    """Keep the key of this request's headers in a cookie, for reading."""
    key = sent_key(request)
    if key is None:
        raise KeyNeededError("send the key to keep in the header x-api-key")
    secure = request.scope["scheme"] == "https"
    cookie = Cookie(COOKIE, value=key, path="/api", httponly=True, samesite="strict", secure=secure)
    return Response(None, status_code=204, cookies=[cookie])


@delete("/api/session", opt={"scope": None}, tags=["session"], operation_id="endSession")
async def end_session() -> Response[None]:
    """Forget the cookie."""
    response: Response[None] = Response(None, status_code=204)
    response.delete_cookie(COOKIE, path="/api")
    return response
