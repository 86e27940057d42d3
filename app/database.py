"""Which database, started and migrated: the embedded one unless DATABASE_URL names another."""

import asyncio
import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from app.settings import Settings
from db.checks import read_revision
from db.connection import Connection
from db.embedded import embedded_runs, start_embedded
from db.errors import DatabaseUnsuitableError, NotMigratedError

LOOK_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def alembic_config(database_url: str) -> Config:
    """Return what `alembic` reads from alembic.ini, for this database; an installed package has it too."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def start_database(settings: Settings) -> str:
    """Return the libpq URL to use; the embedded PostgreSQL is started, if that is the one."""
    return settings.database_url or start_embedded(settings.data_dir / "postgres")


def migrate(database_url: str) -> str:
    """Bring the schema to the newest revision and return that; several processes may at once."""
    config = alembic_config(database_url)
    command.upgrade(config, "head")
    return newest_revision()


def newest_revision() -> str:
    """Return the revision that this program was written for."""
    head = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    assert head is not None
    return head


async def keep_embedded_running(settings: Settings) -> None:
    """Start the embedded PostgreSQL again whenever it has died, for ever: nobody else would."""
    folder = settings.data_dir / "postgres"
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if embedded_runs(folder):
            continue
        logger.error("the embedded PostgreSQL has died; it is started again")
        try:
            await asyncio.to_thread(start_embedded, folder)
        except DatabaseUnsuitableError as error:
            logger.error("%s", error)


async def ready_database(settings: Settings) -> str:
    """Return the URL of a database that is ready to use.

    The embedded one is ours, so it is migrated without asking; one that DATABASE_URL names is only looked at
    (require_newest_schema), for changing it is its owner's decision.
    """
    database_url = await asyncio.to_thread(start_database, settings)
    if settings.database_url is None:
        await asyncio.to_thread(migrate, database_url)
    return database_url


async def require_newest_schema(connection: Connection) -> None:
    """Raise NotMigratedError unless the schema is of the revision that this program was written for."""
    found = await read_revision(connection)
    if found != newest_revision():
        raise NotMigratedError(
            f"the schema is at revision {found or 'none'}, this program needs {newest_revision()};"
            " bring it there with: image-retrieval migrate"
        )
