"""The API's documentation at /schema: a page that loads nothing from elsewhere, so that it works offline."""

import base64
import re
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Request, Router
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.static_files import create_static_files_router

ANYONE: dict[str, None] = {"scope": None}
ASSETS = "/schema/assets"
PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]{1,200}")
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", flags=re.DOTALL)


class SwaggerPage(SwaggerRenderPlugin):
    """Swagger UI under a policy that runs its own files and, by its hash, the script within the page."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        page = super().render(request, openapi_schema)
        hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in INLINE_SCRIPT.findall(page))
        request.state.content_security_policy = (
            f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline';"
            " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        )
        return page


def openapi_config() -> OpenAPIConfig:
    """Describe the API."""
    return OpenAPIConfig(
        title="image-retrieval",
        version=version("image-retrieval"),
        description="Search a collection of pictures by words, by a picture, or by both.",
        tags=[Tag("search"), Tag("images"), Tag("gallery"), Tag("session"), Tag("health")],
        components=Components(
            security_schemes={
                "key": SecurityScheme(type="apiKey", name="x-api-key", security_scheme_in="header"),
                "bearer": SecurityScheme(type="http", scheme="bearer"),
            }
        ),
        security=[{}, {"key": []}, {"bearer": []}],
        openapi_router=Router("/schema", route_handlers=[], opt=ANYONE, include_in_schema=False),
        render_plugins=[
            SwaggerPage(
                js_url=f"{ASSETS}/swagger-ui-bundle.js",
                css_url=f"{ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
                favicon='<link rel="icon" href="data:,">',
            ),
            JsonRenderPlugin(),
            YamlRenderPlugin(),
        ],
    )


def documentation_assets() -> Router:
    """Return the routes of Swagger UI's files, which a wheel brings along."""
    folder = Path(str(files("swagger_ui"))) / "static"
    return create_static_files_router(
        path=ASSETS,
        directories=[folder],
        include_in_schema=False,
        opt=ANYONE,
        guards=[require_plain_name],
    )


def require_plain_name(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard: raise NotFoundException for a name that a file system may not even look for."""
    if not PLAIN_NAME.fullmatch(connection.scope["path"]):
        raise NotFoundException("there is no such file")


def _sha256(script: bytes) -> str:
    return base64.b64encode(sha256(script).digest()).decode()
