"""OpenTelemetry: spans reach a real OTLP receiver, say nothing of the question, and cost nothing when off."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.errors import SettingsError
from app.indexing import index_folder
from app.service import open_service
from app.settings import Settings
from app.tracing import open_tracing
from tests.app.conftest import connect
from tests.conftest import ROOT
from tests.encoders import FakeEncoder

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"  # pragma: allowlist secret


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What an OTLP receiver at OTEL_EXPORTER_OTLP_ENDPOINT was sent."""
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_port}")
        yield bodies
        receiver.shutdown()


@pytest.fixture
async def spans(settings: Settings, folder: Path, received: list[bytes]) -> dict[str, Span]:
    """The spans of one question, by name."""
    async with open_service(settings.replace(tracing=True), FakeEncoder()) as service:
        await index_folder(folder, encoder=FakeEncoder(), pool=service.writing_pool)
        async with connect(settings, service) as client:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
            await client.get("/api/search", params={"text": "s3cret red"}, headers=headers)
    sent = [ExportTraceServiceRequest.FromString(body) for body in received]
    scopes = [scope for each in sent for resource in each.resource_spans for scope in resource.scope_spans]
    return {span.name: span for scope in scopes for span in scope.spans}


async def test_a_question_is_a_span_with_its_steps_in_its_clients_trace(spans: dict[str, Span]) -> None:
    request, encode, database = (spans[name] for name in ("GET /api/search", "encode", "database"))
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert request.parent_span_id.hex() == PARENT
    assert encode.parent_span_id == database.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= encode.start_time_unix_nano < encode.end_time_unix_nano
    assert encode.end_time_unix_nano == database.start_time_unix_nano < database.end_time_unix_nano
    attributes = {each.key: each.value for each in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["http.route"].string_value == "/api/search"
    assert attributes["image_retrieval.request_id"].string_value == "mine"


async def test_no_span_holds_what_was_asked(spans: dict[str, Span], received: list[bytes]) -> None:
    assert spans
    assert not any(b"s3cret" in body for body in received)


async def test_a_receiver_that_is_not_there_delays_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracing = settings.replace(tracing=True)
    async with open_service(tracing, FakeEncoder()) as service, connect(tracing, service) as client:
        assert (await client.get("/livez")).elapsed.total_seconds() < 0.5


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"image-retrieval\[tracing\]"):
        async with open_tracing(True):
            pass


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    program = "import sys, app.server, app.main; print([name for name in sys.modules if 'telemetry' in name])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
