"""A seed to replay a fault by, and a PostgreSQL that may be hurt."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.pictures import write_pictures
from tests.faults.postgres import Postgres


@pytest.fixture
def seed() -> int:
    """Another each time; printed, so that FAULT_SEED=… replays what failed."""
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
    print(f"FAULT_SEED={seed}")  # noqa: T201
    return seed


@pytest.fixture
def chance(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[Postgres]:
    """Not in pytest's own folder: root's server is another user, and pytest shuts others out of that one."""
    with tempfile.TemporaryDirectory(prefix="image-retrieval-faults-") as folder:
        postgres = Postgres(Path(folder) / "postgres")
        yield postgres
        postgres.remove()


@pytest.fixture
def postgres(own_postgres: Postgres) -> Postgres:
    """It runs, whatever the test before did to it."""
    own_postgres.start()
    return own_postgres


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Twenty pictures that are indexed before anything breaks, and two hundred to index meanwhile."""
    for name, count, first in (("before", 20, 0), ("meanwhile", 200, 20)):
        write_pictures(tmp_path / name, count, first=first)
    return tmp_path / "before", tmp_path / "meanwhile"
