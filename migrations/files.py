"""How migrations run their SQL: one object a file, frozen once merged."""

from pathlib import Path

from alembic import op

SQL = Path(__file__).parent / "sql"


def run_sql(name: str, *, replacing: bool = False, since: str = "") -> None:
    """Run migrations/sql/<name>.sql as psql -f would: no placeholders, colons and percent signs are plain.

    replacing: a function of the same arguments may be there, with views that stand on it.
    since: leave out what comes before these words.
    """
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    statements = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    statements = statements[statements.index(since) :]
    if replacing:
        statements = statements.replace("create function", "create or replace function")
    connection.execute(statements)
