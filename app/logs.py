"""Log lines, as text or as one JSON object each, with the id of the request that they belong to."""

import logging
from datetime import UTC, datetime
from typing import Literal

import msgspec

from app.request_record import RequestRecord, current_request_id

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

OURS = ("app", "db", "embedding", "training")
"""The loggers that the level is for; other packages' say only what is wrong."""

requests = logging.getLogger("app.requests")


class TextFormatter(logging.Formatter):
    """Lines for people: LEVEL logger: message [request id] key=value."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        request_id = current_request_id()
        fields: dict[str, object] = getattr(record, "fields", {})
        return (
            super().formatMessage(record)
            + (f" [{request_id}]" if request_id else "")
            + "".join(f" {name}={value}" for name, value in fields.items())
        )


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, request_id, and the fields of the line itself."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line | getattr(record, "fields", {}), enc_hook=str).decode()


def configure_logs(log_format: LogFormat, level: LogLevel) -> None:
    """Send all log lines to stderr in this form; replaces what was configured before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def log_request(record: RequestRecord) -> None:
    """Write the one line of a request that has ended; what was asked is in it only if its notes have that."""
    if not requests.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "ms": round(1000 * record.seconds, 1),
        **({"ended_by": record.ended_by} if record.ended_by else {}),
        **record.notes,
    }
    requests.info("request", extra={"fields": fields})
