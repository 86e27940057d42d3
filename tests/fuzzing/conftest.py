"""A real service for each file of tests: a database of its own, a real encoder of a few layers."""

from collections.abc import Iterator

import pytest

from tests.conftest import _database
from tests.encoders import tiny_clip
from tests.fuzzing.serving import Running, running_service


@pytest.fixture(scope="module")
def running(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("fuzzed")
    checkpoint = tiny_clip(place / "clip")
    for database_url in _database(server, template):
        with running_service(checkpoint, database_url, place) as service:
            yield service
