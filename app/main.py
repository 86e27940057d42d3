"""Composition root of the service: create_app(settings) -> Litestar."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Litestar, Request
from litestar.config.compression import CompressionConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Tag
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.static_files import create_static_files_router

from app.edge import Edge
from app.errors import problem_map
from app.routes.ask import ask_by_body
from app.routes.gallery import get_collections, get_encoders, get_facets, get_status, live, ready
from app.routes.images import (
    delete_image,
    get_file,
    get_image,
    get_similar,
    get_thumbnail,
    post_image,
    post_zip,
)
from app.routes.metrics import get_metrics
from app.routes.page import get_asset, get_page
from app.routes.search import predict_image, search_by_address, search_by_body
from app.service import Service, open_service
from app.settings import Settings

# pictures are compressed already, the page's files compress themselves, and a stream must not wait to fill up
SENT_AS_THEY_ARE = ["/file$", "/thumbnail$", "^/$", "^/assets/", "^/api/ask$", "^/api/images/zip$"]


def create_app(settings: Settings, opened: AbstractAsyncContextManager[Service] | None = None) -> Litestar:
    """Build the application: its lifespan opens the database, the encoder and the batchers, and closes them.

    opened, when given, is entered for the service instead: one that is open already, or has another encoder.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        async with opened or open_service(settings) as service:
            app.state.service = service
            yield

    def provide_service(request: Request[Any, Any, Any]) -> Service:
        service: Service = request.app.state.service
        return service

    app = Litestar(
        route_handlers=[
            get_page,
            get_asset,
            search_by_address,
            search_by_body,
            ask_by_body,
            predict_image,
            get_image,
            get_file,
            get_thumbnail,
            get_similar,
            post_image,
            post_zip,
            delete_image,
            get_collections,
            get_encoders,
            get_facets,
            get_status,
            live,
            ready,
            get_metrics,
            create_static_files_router(
                path="/schema/assets", directories=[swagger_assets()], include_in_schema=False
            ),
        ],
        dependencies={"service": Provide(provide_service, sync_to_thread=False)},
        lifespan=[lifespan],
        openapi_config=openapi_config(),
        plugins=[ProblemDetailsPlugin(ProblemDetailsConfig(exception_to_problem_detail_map=problem_map()))],
        logging_config=None,  # the entry point's business
        request_max_body_size=settings.max_upload_bytes,
        response_headers={"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"},
        compression_config=CompressionConfig(backend="gzip", exclude=SENT_AS_THEY_ARE),
    )
    app.asgi_handler = Edge(app.asgi_handler, deadline_s=settings.deadline_s)
    return app


def from_environment() -> Litestar:
    """Entry point for ASGI servers: uvicorn --factory app.main:from_environment."""
    return create_app(Settings.from_env())


def openapi_config() -> OpenAPIConfig:
    """Describe the API; the page loads nothing from elsewhere, so that it works without a network."""
    return OpenAPIConfig(
        title="image-retrieval",
        version=version("image-retrieval"),
        description="Search a collection of pictures by words, by a picture, or by both.",
        tags=[Tag("search"), Tag("images"), Tag("gallery"), Tag("health")],
        path="/schema",
        render_plugins=[
            SwaggerRenderPlugin(
                js_url="/schema/assets/swagger-ui-bundle.js",
                css_url="/schema/assets/swagger-ui.css",
                standalone_preset_js_url="/schema/assets/swagger-ui-standalone-preset.js",
                favicon='<link rel="icon" href="data:,">',
            ),
            JsonRenderPlugin(),
            YamlRenderPlugin(),
        ],
    )


def swagger_assets() -> Path:
    """Return the folder of Swagger UI's files, which a wheel brings along."""
    return Path(str(files("swagger_ui"))) / "static"
