"""`image-retrieval serve`, killed with -9 in the midst of uploads: no half file stays, nothing is lost."""

import random
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from app.service import open_service
from app.settings import Settings
from db.connection import Pool
from db.storing import taking_turns
from embedding.encoder import load_encoder
from tests.app.processes import Process, start_service
from tests.encoders import FakeEncoder, tiny_clip
from tests.faults import LONG
from tests.faults.invariants import Told, require_sound
from tests.faults.traffic import captions_of

UPLOADERS = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "clip")


def noise(number: int) -> bytes:
    """Return a bitmap of half a megabyte, so that writing it takes a moment."""
    pixels = np.random.default_rng(number).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


class Uploading:
    """Threads that upload one picture after the other until the service is gone."""

    def __init__(self, port: int, told: Told, first: int) -> None:
        self.told = told
        self._url = f"http://127.0.0.1:{port}"
        self._numbers = iter(range(first, first + 100_000))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._upload) for _ in range(UPLOADERS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _upload(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while True:
                with self._lock:
                    number = next(self._numbers)
                    data, captions = noise(number), captions_of(number)
                    id_ = self.told.expect("inbox", data, captions)
                try:
                    answer = client.post(
                        "/api/images",
                        data={"collection": "inbox", "captions": captions},
                        files={"image": (f"{number}.bmp", data, "image/bmp")},
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                self.told.acknowledged.add(id_)


@pytest.mark.parametrize("kills", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=LONG)])
def test_a_service_killed_in_the_midst_of_uploads_loses_nothing_it_acknowledged_and_keeps_no_half_file(
    kills: int, database_url: str, checkpoint: Path, tmp_path: Path, chance: random.Random
) -> None:
    told, encoder = Told(), load_encoder(str(checkpoint))
    for round_ in range(kills + 1):
        process = start_service(
            database_url=database_url, data_dir=tmp_path / "data", model=checkpoint, engine="torch"
        )
        try:
            require_sound(database_url, encoder, tmp_path / "data" / "uploads", told)
            require_served(process, told)
            if round_ < kills:
                enough = len(told.acknowledged) + chance.randrange(1, 30)
                uploading = Uploading(process.port, told, first=1_000_000 * round_)
                while len(told.acknowledged) < enough:
                    time.sleep(0.005)
        finally:
            process.end()
        if round_ < kills:
            uploading.join()
    print(f"{len(told.acknowledged)} pictures acknowledged, {kills} kills")  # noqa: T201


def require_served(process: Process, told: Told) -> None:
    """Assert that every picture acknowledged is sent as it was."""
    for id_ in told.acknowledged:
        assert process.get(f"/api/images/{id_}/file") == (200, told.pictures[id_][0])


async def test_what_uploads_left_half_written_is_deleted_at_the_start_but_not_under_a_running_one(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path / "data", statement_timeout_s=0.5)
    store = settings.data_dir / "uploads" / "ab"
    store.mkdir(parents=True)
    left, whole, written = (store / name for name in ("abc.jpg.x1_y2.part", "abd.jpg", "abe.jpg.z3.part"))
    for path in (left, whole, written):
        path.write_bytes(b"half")
    async with (
        pool.connection() as connection,
        taking_turns(connection, "ab/abe.jpg"),
        open_service(settings, FakeEncoder()),
    ):
        assert not left.exists()
        assert written.exists()
    assert whole.exists()
    async with open_service(settings, FakeEncoder()):
        assert not written.exists()


@pytest.mark.slow
def test_the_embedded_database_is_started_again_when_it_dies(checkpoint: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="image-retrieval-") as folder:  # its user may enter
        data_dir = Path(folder) / "data"
        process = start_service(database_url=None, data_dir=data_dir, model=checkpoint, engine="torch")
        try:
            assert process.get("/readyz")[0] == 200
            psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])).kill()
            started = time.monotonic()
            while process.get("/readyz")[0] == 200:
                assert time.monotonic() - started < 10
            while process.get("/readyz")[0] != 200:
                assert time.monotonic() - started < 30
                time.sleep(0.1)
        finally:
            process.popen.terminate()
            process.popen.wait(30)
            process.end()
