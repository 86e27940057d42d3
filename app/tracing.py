"""OpenTelemetry, where it is asked for: a span for each request, and below it one for each of its steps.

Where spans go, which are sampled and what the service is called is said by OpenTelemetry's own variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME), which its SDK reads. Spans are written
when a request has ended, from its record, so that they say what the record does and never what was asked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import SettingsError
from app.request_record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_WITHIN_MS = 2000


class Tracing:
    """Writes a request's spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("image-retrieval")
        self._propagator = TraceContextTextMapPropagator()

    def record_request(self, record: RequestRecord) -> None:
        """Write the spans of a request that has ended; its client's own trace goes on in them."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        parent = self._propagator.extract({"traceparent": record.traceparent or ""})
        span = self._tracer.start_span(
            f"{record.method} {record.route}",
            context=parent,
            kind=SpanKind.SERVER,
            start_time=record.started_ns,
            attributes={
                "http.request.method": record.method,
                "http.route": record.route,
                "http.response.status_code": record.status,
                "image_retrieval.request_id": record.id,
            },
        )
        if record.ended_by is not None:
            span.set_attribute("image_retrieval.ended_by", record.ended_by)
        if record.status >= 500:
            span.set_status(StatusCode.ERROR)
        below = set_span_in_context(span, parent)
        for step in record.steps:
            self._tracer.start_span(step.name, context=below, start_time=step.started_ns).end(step.ended_ns)
        span.end(record.started_ns + round(1e9 * record.seconds))


@asynccontextmanager
async def open_tracing(wanted: bool) -> AsyncIterator[Tracing | None]:
    """Start OpenTelemetry if it is wanted; at the end what has not been sent is sent, or given up soon.

    Raises:
        SettingsError: it is wanted and not installed.
    """
    if not wanted:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "IMAGE_RETRIEVAL_TRACING needs OpenTelemetry: pip install 'image-retrieval[tracing]'"
        ) from error
    resource = Resource({SERVICE_NAME: "image-retrieval"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Tracing(provider)
    finally:
        await asyncio.to_thread(provider.force_flush, FLUSH_WITHIN_MS)
        await asyncio.to_thread(provider.shutdown)
