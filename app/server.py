"""Running the service under uvicorn."""

import asyncio
import logging
import signal
import sys
from contextlib import nullcontext
from socket import socket

import click
import uvicorn

from app.http_protocol import PatientProtocol
from app.logs import configure_logs
from app.main import create_app
from app.service import Service, open_service
from app.settings import Settings

OPEN_FILES = 65_536

logger = logging.getLogger(__name__)


class GracefulServer(uvicorn.Server):
    """Says where it listens, once it does; told to stop, says so on /readyz before it closes the door."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            click.echo(f"serving on http://{place}:{port} (the API: /schema); Ctrl-C stops")

    def stop_without_parent(self) -> None:
        """Stop as at SIGTERM: standard input has ended, and so has who started us."""
        asyncio.get_running_loop().remove_reader(sys.stdin)
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._service.admission.stopping = True
        if self._captured_signals == [signal.SIGTERM]:  # not for somebody who waits at a keyboard
            await asyncio.sleep(self._service.settings.drain_s)
        await super().shutdown(sockets)


def run_server(settings: Settings, descriptor: int | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM; requests under way are finished first.

    descriptor is a bound socket to serve on, as one of several workers: it ends too when standard input does.

    The database and the encoder are opened before uvicorn starts, so that what is wrong is said plainly.
    Raises what open_service raises.
    """
    configure_logs(settings.log_format, settings.log_level)
    allow_many_connections()
    # uvicorn raises the signal again after its own clean end: that is no reason to die of it
    signal.signal(signal.SIGTERM, lambda *_: None)
    loop = uvicorn.Config("").get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        try:
            runner.run(_serve(settings, descriptor))
        except KeyboardInterrupt:
            logger.info("stopped")


def allow_many_connections() -> None:
    """Raise this process's limit of open files, if there is one: each connection is a file."""
    if sys.platform == "win32":
        return
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _serve(settings: Settings, descriptor: int | None) -> None:
    async with open_service(settings) as service:
        logger.info("encoder %s on %s", service.encoder.checkpoint, service.encoder.device)
        server = make_server(settings, service)
        if descriptor is None:
            await server.serve()
        else:
            asyncio.get_running_loop().add_reader(sys.stdin, server.stop_without_parent)
            await server.serve([socket(fileno=descriptor)])
        if not server.started:
            raise SystemExit(2)  # uvicorn has said why: the port is taken, say


def make_server(settings: Settings, service: Service) -> GracefulServer:
    """Return a server of this service, not yet started."""
    config = uvicorn.Config(
        create_app(settings, nullcontext(service)),
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # app.edge writes a line for each request, without what was asked
        server_header=False,
        timeout_graceful_shutdown=settings.finish_s,
    )
    return GracefulServer(config, service)
