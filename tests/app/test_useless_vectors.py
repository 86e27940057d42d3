"""Vectors that are none are said to be, never ranked and never stored."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.service import Service, open_service
from app.settings import Settings
from tests.app.conftest import connect, picture
from tests.app.test_search_api import is_problem
from tests.encoders import FakeEncoder


class UselessEncoder(FakeEncoder):
    """Makes the same useless number of everything."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return np.full((len(images), self.dimension), self.number, np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.full((len(texts), self.dimension), self.number, np.float32)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 0.0])
async def test_an_encoder_that_makes_nothing_of_it_is_a_problem_and_stores_nothing(
    settings: Settings, service: Service, number: float
) -> None:
    before = 8
    async with (
        open_service(settings, UselessEncoder(number)) as useless,
        connect(settings, useless) as client,
    ):
        for asked in (
            await client.get("/api/search", params={"text": "red"}),
            await client.post("/api/search", files={"image": ("x.png", picture("red"))}),
            await client.post("/api/ask", json={"text": "red"}),
            await client.post("/api/images", files={"image": ("x.png", picture("navy"))}),
        ):
            assert is_problem(asked, 422)
        assert (await client.get("/api/status")).json()["images"] == before
