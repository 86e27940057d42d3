"""A text search over HTTP beside its parts: the encoder alone, the SQL alone.

    python -m benchmarks.http --model CHECKPOINT --images FOLDER [--questions 100]

Limit: HTTP median ≤ encoder alone + SQL alone + 2 ms. The service runs as a user would start it, and is asked over
a plain socket, for a client library's time is not the service's. The ways take turns; a figure is the median of the rounds'
medians. Everything is in a temporary data folder.
"""

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from app.service import open_encoder
from app.settings import Settings
from db.connection import make_pool
from db.embedded import start_embedded
from db.searching import search_images

SUBJECTS = (
    "a boy",
    "a girl",
    "two dogs",
    "a man in a red shirt",
    "a crowd",
    "a cat",
    "three people",
    "a woman",
)
ACTIONS = (
    "running on the grass",
    "jumping into the water",
    "riding a bicycle",
    "sitting on a bench",
    "in the snow",
)
ROUNDS = 8


def questions(count: int) -> list[str]:
    """Return this many different questions of ordinary length."""
    return [
        f"{SUBJECTS[number % len(SUBJECTS)]} {ACTIONS[number // 8 % len(ACTIONS)]}, picture {number}"
        for number in range(count)
    ]


def milliseconds(times: list[float]) -> float:
    """Return the median in milliseconds."""
    return 1000 * float(np.median(times))


def ask(service: socket.socket, request: bytes) -> None:
    """Send a request and read its whole answer; a client library would add half a millisecond of its own."""
    service.sendall(request)
    answer = service.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += service.recv(65536)


async def measure(model: str, images: Path, count: int, data_dir: Path) -> None:
    """Index, then ask three ways, and print."""
    environment = os.environ | {
        "IMAGE_RETRIEVAL_DATA_DIR": str(data_dir),
        "IMAGE_RETRIEVAL_TEXT_CACHE_SIZE": "0",  # the rounds repeat the questions, and each is to be encoded
    }
    program = [sys.executable, "-m", "app.cli"]
    subprocess.run([*program, "index", images, "--model", model], env=environment, check=True)
    asked = questions(count)

    server = subprocess.Popen(
        [*program, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = next(found[0] for line in server.stdout if (found := re.search(r"http://[\w.:]+", line)))
    host, port = address.removeprefix("http://").rsplit(":", 1)
    requests = [
        f"GET /api/search?{urlencode({'text': text, 'k': 10})} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        for text in asked
    ]
    encoder = open_encoder(Settings.from_env(environment).replace(model=model), None)  # as the service does
    rounds = []
    try:
        async with make_pool(start_embedded(data_dir / "postgres")) as pool, pool.connection() as connection:
            for _ in range(ROUNDS + 1):
                http, encode, sql = [], [], []
                with socket.create_connection((host, int(port))) as connection_to_service:
                    connection_to_service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for request in requests:
                        started = time.perf_counter()
                        ask(connection_to_service, request)
                        http.append(time.perf_counter() - started)
                for text in asked:
                    started = time.perf_counter()
                    (vector,) = encoder.encode_texts([text])
                    encoded = time.perf_counter()
                    await search_images(connection, [vector], k=10)
                    encode.append(encoded - started)
                    sql.append(time.perf_counter() - encoded)
                rounds.append((milliseconds(http), milliseconds(encode), milliseconds(sql)))
    finally:
        server.terminate()
        server.wait()
    measured = np.array(rounds[1:])  # the first is a warm-up
    over_http, encoder_alone, sql_alone = np.median(measured, axis=0)
    beyond = measured @ [1, -1, -1]
    print(f"over HTTP {over_http:.2f} ms, encoder alone {encoder_alone:.2f} ms, SQL alone {sql_alone:.2f} ms")
    print(
        f"HTTP beyond both: {np.median(beyond):+.2f} ms, rounds {beyond.min():+.2f} to {beyond.max():+.2f}"
        " (limit +2 ms)"
    )


def main() -> None:
    """Read the arguments and measure in a temporary data folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.model, arguments.images, arguments.questions, Path(folder)))


if __name__ == "__main__":
    main()
