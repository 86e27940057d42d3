"""The real service on a real port, in a thread of its own, so that a browser can reach it."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, TypeVar

import uvicorn
from playwright.sync_api import BrowserContext

from app.main import create_app
from app.service import Service, open_service
from app.settings import Settings
from embedding.encoder import Encoder

Result = TypeVar("Result")
START_WITHIN_S = 30


@dataclass(slots=True)
class Site:
    """A service that listens; its coroutines run on its own loop, as the browser's driver occupies ours."""

    url: str
    service: Service
    loop: asyncio.AbstractEventLoop
    visitors: list[BrowserContext] = field(default_factory=list)
    """Leave before the service stops, lest they find it gone."""

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine on the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@contextmanager
def serve(settings: Settings, encoder: Encoder) -> Iterator[Site]:
    """Serve until the end of the block; settings.port 0 takes a free port."""
    with socket.create_server((settings.host, settings.port)) as listening:
        ready, sites, servers = Event(), list[Site](), list[uvicorn.Server]()

        async def work() -> None:
            async with open_service(settings, encoder) as service:
                config = uvicorn.Config(
                    create_app(settings, nullcontext(service)),
                    log_level="warning",
                    access_log=False,
                    ws="none",
                    timeout_graceful_shutdown=1,
                )
                servers.append(uvicorn.Server(config))
                url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                sites.append(Site(url, service, asyncio.get_running_loop()))
                ready.set()
                await servers[0].serve([listening])

        thread = Thread(target=lambda: asyncio.run(work()), name="site")
        thread.start()
        try:
            if not ready.wait(START_WITHIN_S):
                raise RuntimeError("the service did not start; its thread's error says why")
            yield sites[0]
        finally:
            for visitor in [each for site in sites for each in site.visitors]:
                visitor.close()
            for server in servers:
                server.should_exit = True
            thread.join()
