"""Reading a stream of server-sent events as a browser does."""

import json
from typing import Any

import httpx

Events = list[tuple[str, Any]]


def parse(stream: str) -> Events:
    """Return (name, data) of each event."""
    events = []
    for block in stream.replace("\r\n", "\n").split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
        data = "\n".join(value for name, value in fields if name == "data")
        if data:
            events.append((dict(fields)["event"], json.loads(data)))
    return events


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> Events:
    """Ask, and return all events of the answer."""
    response = await client.post("/api/ask", json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return parse(response.text)
