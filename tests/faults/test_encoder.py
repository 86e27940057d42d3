"""An encoder without memory, with damaged weights, or another: refused, or a 503, and never a wrong score."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.service import open_service
from app.settings import Settings
from db.errors import EncoderMismatchError
from embedding.encoder import Encoder, load_encoder
from embedding.errors import EncoderOutOfMemoryError, EncoderUnavailableError
from tests.app.conftest import connect
from tests.app.pictures import write_pictures
from tests.conftest import ROOT
from tests.embedding.test_transformers_encoder import short_of_memory
from tests.encoders import FakeEncoder, tiny_clip
from tests.faults.invariants import Told, require_sound
from tests.faults.traffic import expect_folder, index

FLIPS = 4
HEADER_BYTES = 8
"""Of a safetensors file: the length of the JSON that follows, which says what lies where."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", 20)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "clip")


@pytest.fixture
def checkpoint(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be harmed."""
    return shutil.copytree(pristine, tmp_path / "checkpoint")


def settings_of(database_url: str, tmp_path: Path, **others: object) -> Settings:
    """Return settings under which the weights are read as they are, by no other engine."""
    settings = Settings(database_url=database_url, data_dir=tmp_path / "data", recall_sample=0.0)
    return settings.replace(engine="torch", **others)


async def test_an_index_run_short_of_memory_goes_by_smaller_batches_and_without_any_stops_whole(
    database_url: str, photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, told = load_encoder(str(checkpoint)), Told()
    ids = expect_folder(told, photos)
    with monkeypatch.context() as patch:
        short_of_memory(encoder, 0, patch)
        with pytest.raises(EncoderOutOfMemoryError, match="no memory left"):
            await index(database_url, photos, encoder)
    assert require_sound(database_url, encoder, photos / "none", told) == set()
    with monkeypatch.context() as patch:
        short_of_memory(encoder, 3, patch)
        await index(database_url, photos, encoder)
    assert require_sound(database_url, encoder, photos / "none", told) == ids


def flip(path: Path, position: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


async def test_weights_with_one_bit_flipped_are_refused_and_the_right_ones_taken_again(
    database_url: str, photos: Path, checkpoint: Path, tmp_path: Path, chance: random.Random
) -> None:
    await index(database_url, photos, load_encoder(str(checkpoint)))
    settings = settings_of(database_url, tmp_path)  # the gallery knows where its encoder lies
    weights = checkpoint / "model.safetensors"
    header = HEADER_BYTES + int.from_bytes(weights.read_bytes()[:HEADER_BYTES], "little")
    for _ in range(FLIPS):
        place = chance.randrange(header, weights.stat().st_size), chance.randrange(8)
        flip(weights, *place)
        with pytest.raises((EncoderMismatchError, EncoderUnavailableError)) as caught:
            async with open_service(settings):
                raise AssertionError(f"bit {place} went unnoticed")
        assert str(checkpoint) in str(caught.value)
        assert "damaged" in str(caught.value)
        flip(weights, *place)
    flip(weights, chance.randrange(header), chance.randrange(8))
    with pytest.raises((EncoderMismatchError, EncoderUnavailableError), match=str(checkpoint)):
        async with open_service(settings):
            raise AssertionError("a damaged header went unnoticed")


@pytest.mark.slow
async def test_serve_and_index_end_with_the_reason(
    database_url: str, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    environment = os.environ | {
        "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT),
        "IMAGE_RETRIEVAL_DATA_DIR": str(tmp_path / "data"), "IMAGE_RETRIEVAL_ENGINE": "torch",
    }  # fmt: skip
    program = [sys.executable, "-m", "app.cli"]
    await index(database_url, photos, load_encoder(str(checkpoint)))
    flip(checkpoint / "model.safetensors", -1 + (checkpoint / "model.safetensors").stat().st_size, 0)
    for verb in (["serve", "--port", "0"], ["index", photos]):
        done = await asyncio.to_thread(
            partial(subprocess.run, [*program, *verb], env=environment, capture_output=True, text=True)
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "have changed since, or are damaged" in done.stderr
        assert str(checkpoint) in done.stderr


@pytest.mark.parametrize(
    "other", [{"dimension": 32}, {"seed": 1}], ids=["other dimensions", "same dimensions"]
)
async def test_another_checkpoint_neither_serves_nor_indexes_and_both_are_named(
    other: dict[str, int], database_url: str, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    own, other_checkpoint = load_encoder(str(checkpoint)), tiny_clip(tmp_path / "other", **other)
    await index(database_url, photos, own)
    settings = settings_of(database_url, tmp_path, model=str(other_checkpoint))
    with pytest.raises(EncoderMismatchError) as refused_to_serve:
        async with open_service(settings):
            raise AssertionError("it serves")
    with pytest.raises(EncoderMismatchError) as refused_to_index:
        await index(database_url, photos, load_encoder(str(other_checkpoint)))
    for refused in (refused_to_serve, refused_to_index):
        assert str(checkpoint) in str(refused.value)
        assert str(other_checkpoint) in str(refused.value)
        assert own.fingerprint[:12] in str(refused.value)


def take_over(database_url: str, encoder: Encoder) -> None:
    """Make another encoder the gallery's, with a vector of each picture, under the running service."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set search_path = image_retrieval, public")
        connection.execute(
            "select register_encoder('other', 'other', %s, %s::integer, '{}')",
            (encoder.fingerprint, encoder.dimension),
        )
        connection.execute(
            """
            insert into image_embeddings (encoder_id, image_id, embedding)
            select encoders.id, images.id,
                   l2_normalize(array(select random() - 0.5 + 0 * images.width  -- another for each picture
                                      from generate_series(1, encoders.dimension))::real[]::vector)::halfvec
            from encoders, images
            where encoders.fingerprint = %s
            """,
            (encoder.fingerprint,),
        )
        activate(connection, encoder.fingerprint)


def activate(connection: psycopg.Connection[Any], fingerprint: str) -> None:
    connection.execute(
        "select image_retrieval.activate_encoder(id) from image_retrieval.encoders where fingerprint = %s",
        (fingerprint,),
    )


@pytest.mark.parametrize("dimension", [64, 32], ids=["same dimensions", "other dimensions"])
async def test_a_running_service_never_scores_against_another_encoders_vectors(
    dimension: int, database_url: str, photos: Path, tmp_path: Path
) -> None:
    encoder = FakeEncoder()
    settings = settings_of(database_url, tmp_path)
    async with open_service(settings, encoder) as service, connect(settings, service) as client:
        await index(database_url, photos, encoder)
        words = "/api/search?text=red"
        first = (await client.get(words)).json()["hits"][0]["id"]
        asked = [words, f"{words}&exact=true", f"{words}&image_id={first}", f"{words}&more={first}"]
        before = [(await client.get(target)).json()["hits"] for target in asked]
        take_over(database_url, FakeEncoder("other/encoder", dimension=dimension))
        for target in asked:
            answer = await client.get(target)
            assert answer.status_code == 503, answer.text
            assert "neither a folder nor in the cache" in answer.json()["detail"]  # so it cannot be taken
        picture = ("x.jpg", (photos / "00000.jpg").read_bytes(), "image/jpeg")
        assert (await client.post("/api/search", files={"image": picture})).status_code == 503
        assert (await client.post("/api/images", files={"image": picture})).status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        with psycopg.connect(database_url, autocommit=True) as connection:
            activate(connection, encoder.fingerprint)
        assert (await client.get("/readyz")).status_code == 200
        assert [(await client.get(target)).json()["hits"] for target in asked] == before
