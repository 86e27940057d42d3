"""What is counted and measured, in Prometheus' terms; labels name routes and encoders, never a question."""

from collections.abc import Mapping, Sequence
from typing import get_args

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MutexValue, ValueClass

from app.request_record import EndedBy, RequestRecord

PREFIX = "image_retrieval"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32)
SHARED = ValueClass is not MutexValue
"""Whether several workers count together: PROMETHEUS_MULTIPROC_DIR, which prometheus_client itself reads."""


class Metrics:
    """One service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"{PREFIX}_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, labels: Sequence[str] = (), *, same: bool = False) -> Gauge:
            """Make a gauge; several workers' values add up, unless each sees the same."""
            mode = "livemostrecent" if same else "livesum"
            return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        def histogram(
            name: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
        ) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", meaning, labels, buckets=buckets, registry=registry)

        self._requests = counter("requests", "Requests, by route and status.", ["method", "route", "status"])
        self._request_seconds = histogram("request_seconds", "From head to last byte, by route.", ["route"])
        self._ended_early = counter("requests_ended_early", "Requests cut short, by what.", ["by"])
        for reason in get_args(EndedBy):
            self._ended_early.labels(reason)  # a rate needs the zero before the first
        self._in_flight = gauge("requests_in_flight", "Requests being worked on.")
        self._in_flight_limit = gauge("requests_in_flight_limit", "The most of them before a 503.")
        self._encode = histogram("encode_seconds", "A question's words and pictures to vectors.")
        self._database = histogram("database_seconds", "A question's SQL, with the wait for a connection.")
        self._search = histogram("search_seconds", "A question whole, without HTTP.")
        self._batch_size = histogram("batch_size", "Items that shared a forward pass.", ["kind"], BATCHES)
        self._batch_seconds = histogram("batch_seconds", "A forward pass.", ["kind"])
        self._queue_depth = gauge("queue_depth", "Items that wait for the encoder.", ["kind"])
        self._cache_hits = counter("text_cache_hits", "Texts whose embedding was there, or on its way.")
        self._cache_misses = counter("text_cache_misses", "Texts that had to be encoded.")
        self._cache_entries = gauge("text_cache_entries", "Embeddings of texts that are kept.")
        self._pool = gauge("pool_connections", "Database connections, by what they do.", ["pool", "state"])
        self._pool_limit = gauge("pool_connections_limit", "The most of them.", ["pool"])
        self._pool_waiting = gauge("pool_waiting", "Requests that wait for a connection.", ["pool"])
        self._memory = gauge("resident_memory_bytes", "Memory that the service holds.")
        self._pictures = gauge(
            "pictures", "Pictures with and without a vector, by encoder.", ["encoder", "vector"], same=True
        )
        self._recall = Summary(
            f"{PREFIX}_index_recall_at_10",
            "Share of a sampled question's true ten best that the index found.",
            registry=registry,
        )
        self.pictures_due = 0.0
        """When the pictures are to be counted again, on the monotonic clock; whoever counts sets it."""

    def observe_request(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._requests.labels(record.method, record.route, str(record.status)).inc()
        self._request_seconds.labels(record.route).observe(record.seconds)
        if record.ended_by is not None:
            self._ended_early.labels(record.ended_by).inc()

    def observe_search(self, *, encode_s: float, database_s: float) -> None:
        """Note where a question's time went."""
        self._encode.observe(encode_s)
        self._database.observe(database_s)
        self._search.observe(encode_s + database_s)

    def observe_batch(self, kind: str, size: int, seconds: float) -> None:
        """Note a forward pass over texts or images."""
        self._batch_size.labels(kind).observe(size)
        self._batch_seconds.labels(kind).observe(seconds)

    def observe_cached(self, hit: bool) -> None:
        """Count a text that the cache had, or had not."""
        (self._cache_hits if hit else self._cache_misses).inc()

    def observe_recall(self, recall: float) -> None:
        """Note the share of a question's true ten best that the index found."""
        self._recall.observe(recall)

    def set_load(
        self,
        *,
        in_flight: int,
        in_flight_limit: int,
        queued: Mapping[str, int],
        cached: int,
        pools: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Take over how busy the service is now; of each pool, what psycopg_pool's get_stats says."""
        self._in_flight.set(in_flight)
        self._in_flight_limit.set(in_flight_limit)
        for kind, depth in queued.items():
            self._queue_depth.labels(kind).set(depth)
        self._cache_entries.set(cached)
        for name, pool in pools.items():
            self._pool.labels(name, "idle").set(pool["pool_available"])
            self._pool.labels(name, "busy").set(pool["pool_size"] - pool["pool_available"])
            self._pool_limit.labels(name).set(pool["pool_max"])
            self._pool_waiting.labels(name).set(pool["requests_waiting"])
        self._memory.set(psutil.Process().memory_info().rss)

    def set_pictures(self, total: int, encoded: Mapping[str, int]) -> None:
        """Take over how many pictures there are, and how many of them each encoder has seen."""
        for encoder, count in encoded.items():
            self._pictures.labels(encoder, "with").set(count)
            self._pictures.labels(encoder, "without").set(total - count)

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format; with several workers, theirs together."""
        if not SHARED:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
