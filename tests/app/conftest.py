"""The service over a small gallery of plain colours, and a client for it."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.indexing import index_folder
from app.main import create_app
from app.service import Service, open_service
from app.settings import Settings
from tests.encoders import FakeEncoder

COLOURS = ("red", "lime", "blue", "yellow", "black", "white", "purple", "orange")


def picture(colour: str, size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    """Return a picture file of one colour."""
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures, one of each colour, named for it."""
    folder = tmp_path / "colours"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(picture(colour))
    return folder


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, data_dir=tmp_path / "data", max_upload_bytes=1_000_000)


@pytest.fixture
async def service(settings: Settings, encoder: FakeEncoder, folder: Path) -> AsyncIterator[Service]:
    """The service, with the folder indexed; each picture has two captions."""
    async with open_service(settings, encoder) as service:
        await index_folder(
            folder,
            encoder=encoder,
            pool=service.writing_pool,
            collection=None,
            captions={f"{colour}.png": [f"a {colour} picture", f"all {colour}"] for colour in COLOURS},
        )
        yield service


@asynccontextmanager
async def connect(
    settings: Settings, service: Service, *, address: str = "127.0.0.1", base_url: str = "http://127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service under these settings, as one on this machine or at another address."""
    app = create_app(settings)
    # what the lifespan does, which the transport leaves out
    app.state.service = dataclasses.replace(service, settings=settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


@pytest.fixture
async def client(service: Service, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(settings, service) as client:
        yield client
