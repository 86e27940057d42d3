"""/metrics, for Prometheus."""

import logging
import time

import psycopg
import psycopg_pool
from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST

from app.service import Service
from db.gallery import list_collections, list_encoders

PICTURES_EVERY_S = 60.0
"""Counting the pictures reads their tables: not for every scrape."""

logger = logging.getLogger(__name__)


@get("/metrics", tags=["health"], operation_id="metrics", media_type="text/plain")
async def get_metrics(service: NamedDependency[Service]) -> Response[bytes]:
    """Tell Prometheus how the service is: times, batches, queues, connections, pictures, recall."""
    service.measure_load()
    await count_pictures(service)
    return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})


async def count_pictures(service: Service) -> None:
    """Bring the number of pictures up to date, if it is old; a database that does not answer leaves it."""
    if time.monotonic() < service.metrics.pictures_due:
        return
    service.metrics.pictures_due = time.monotonic() + PICTURES_EVERY_S
    try:
        async with service.pool.connection(timeout=2.0) as connection:
            total = sum(row.images for row in await list_collections(connection))
            encoded = {row.name: row.images for row in await list_encoders(connection)}
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        logger.warning("the pictures could not be counted: %s", error)
        return
    service.metrics.set_pictures(total, encoded)
