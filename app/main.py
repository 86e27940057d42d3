"""Composition root of the service: create_app(settings) -> Litestar."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from litestar import Litestar, Request
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin

from app.edge import Edge
from app.errors import problem_map
from app.limits import MAX_PARTS
from app.rate_limit import RateLimiter
from app.routes.access import admit
from app.routes.ask import ask_by_body
from app.routes.bounds import document_bounds
from app.routes.documentation import documentation_assets, openapi_config
from app.routes.forms import require_plain_body
from app.routes.gallery import (
    get_collections,
    get_duplicates,
    get_encoders,
    get_facets,
    get_status,
    live,
    ready,
)
from app.routes.headers import make_header_hook
from app.routes.images import (
    delete_image,
    get_file,
    get_image,
    get_similar,
    get_thumbnail,
    post_image,
    post_zip,
)
from app.routes.judgements import post_judgements
from app.routes.metrics import get_metrics
from app.routes.page import get_asset, get_page
from app.routes.problems import document_problems
from app.routes.search import predict_image, search_by_address, search_by_body
from app.routes.session import end_session, start_session
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
        return service.latest()

    app = Litestar(
        route_handlers=[
            get_page,
            get_asset,
            search_by_address,
            search_by_body,
            ask_by_body,
            predict_image,
            post_judgements,
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
            get_duplicates,
            get_status,
            start_session,
            end_session,
            live,
            ready,
            get_metrics,
            documentation_assets(),
        ],
        guards=[admit, require_plain_body],
        state=State({"limiter": RateLimiter()}),
        dependencies={"service": Provide(provide_service, sync_to_thread=False)},
        lifespan=[lifespan],
        on_startup=[document_problems, partial(document_bounds, settings=settings)],
        openapi_config=openapi_config(),
        plugins=[ProblemDetailsPlugin(ProblemDetailsConfig(exception_to_problem_detail_map=problem_map()))],
        logging_config=None,  # the entry point's business
        request_max_body_size=settings.max_upload_bytes,
        multipart_form_part_limit=MAX_PARTS,
        before_send=[make_header_hook(settings)],
        cors_config=cors_config(settings),
        compression_config=CompressionConfig(backend="gzip", exclude=SENT_AS_THEY_ARE),
    )
    app.asgi_handler = Edge(app.asgi_handler, deadline_s=settings.deadline_s)
    return app


def from_environment() -> Litestar:
    """Entry point for ASGI servers: uvicorn --factory app.main:from_environment."""
    return create_app(Settings.from_env())


def cors_config(settings: Settings) -> CORSConfig | None:
    """Let the pages of listed sites ask; without any, no page of another site reads an answer."""
    if not settings.allowed_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.allowed_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type", "x-api-key"],
        expose_headers=["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
    )
