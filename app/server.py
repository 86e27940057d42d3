"""Running the service under uvicorn."""

import asyncio
import logging
from contextlib import nullcontext
from socket import socket

import click
import uvicorn

from app.main import create_app
from app.service import open_service
from app.settings import Settings

SHUTDOWN_WITHIN_S = 10

logger = logging.getLogger(__name__)


class AnnouncingServer(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            click.echo(f"serving on http://{place}:{port} (the API's page: /schema); Ctrl-C stops")


def run_server(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM; requests under way are finished first.

    The database and the encoder are opened before uvicorn starts, so that what is wrong is said plainly.
    Raises what open_service raises.
    """
    loop = uvicorn.Config("").get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        try:
            runner.run(_serve(settings))
        except KeyboardInterrupt:  # uvicorn raises the signal again after its own clean end
            logger.info("stopped")


async def _serve(settings: Settings) -> None:
    async with open_service(settings) as service:
        logger.info("encoder %s on %s", service.encoder.checkpoint, service.encoder.device)
        config = uvicorn.Config(
            create_app(settings, nullcontext(service)),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,  # what people ask is nobody else's business
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_WITHIN_S,
        )
        server = AnnouncingServer(config)
        await server.serve()
        if not server.started:
            raise SystemExit(2)  # uvicorn has said why: the port is taken, say
