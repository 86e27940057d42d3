"""`image-retrieval serve` as a process of its own, and what it writes."""

import http.client
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass
class Process:
    """A running service, and the lines that it wrote to stderr."""

    popen: "subprocess.Popen[str]"
    port: int
    lines: list[str]
    reader: threading.Thread

    def get(self, target: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", target, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def end(self) -> None:
        """kill -9."""
        self.popen.kill()
        self.popen.wait()
        self.reader.join(10)
        for stream in (self.popen.stdout, self.popen.stderr):
            assert stream is not None
            stream.close()


def start_service(*arguments: str, database_url: str | None, data_dir: Path, **settings: object) -> Process:
    """Start the service and wait until it serves; without a URL its database is the embedded one."""
    named = {f"IMAGE_RETRIEVAL_{name.upper()}": str(value) for name, value in settings.items()}
    environment = os.environ | {
        "IMAGE_RETRIEVAL_DATA_DIR": str(data_dir),
        "PYTHONPATH": str(ROOT),
        **({} if database_url is None else {"DATABASE_URL": database_url}),
        **named,
    }
    popen = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "app.cli", "serve", "--port", "0", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert popen.stdout is not None
    assert popen.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(popen.stderr or ()), daemon=True)
    reader.start()
    process = Process(popen, 0, lines, reader)
    for line in popen.stdout:
        if found := re.search(r"http://[\d.]+:(\d+)", line):
            process.port = int(found[1])
            return process
    process.end()
    raise AssertionError("".join(process.lines))
