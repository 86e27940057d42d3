"""The service as a process over a small gallery, for tools that ask over real HTTP."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.indexing import index_folder
from db.connection import make_pool
from embedding.encoder import load_encoder
from tests.conftest import ROOT
from tests.fuzzing.pictures import COLOURS, FOLDER, picture


@dataclass
class Running:
    """A service that runs: where, and the lines that it wrote to stderr."""

    popen: "subprocess.Popen[str]"
    port: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_service(checkpoint: Path, database_url: str, place: Path) -> Iterator[Running]:
    """Index eight captioned colours with this checkpoint, and serve them until the end."""
    folder = place / FOLDER
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(picture(colour))

    async def index() -> None:
        captions = {f"{colour}.png": [f"a {colour} picture", f"all {colour}"] for colour in COLOURS}
        async with make_pool(database_url) as pool:
            encoder = load_encoder(str(checkpoint))
            await index_folder(folder, encoder=encoder, pool=pool, collection=FOLDER, captions=captions)

    asyncio.run(index())
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "IMAGE_RETRIEVAL_DATA_DIR": str(place / "data"),
        "IMAGE_RETRIEVAL_MODEL": str(checkpoint),
        "IMAGE_RETRIEVAL_LOG_LEVEL": "warning",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "app.cli", "serve", "--port", "0"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as popen:  # fmt: skip
        service = Running(popen)
        assert popen.stdout is not None
        threading.Thread(target=lambda: service.lines.extend(popen.stderr or ()), daemon=True).start()
        try:
            for line in popen.stdout:
                if found := re.search(r"http://[\d.]+:(\d+)", line):
                    service.port = int(found[1])
                    break
            else:
                raise AssertionError("".join(service.lines))
            yield service
        finally:
            popen.kill()
