"""How migrations run their SQL: one object a file, frozen once merged."""

from pathlib import Path

from alembic import op

SQL = Path(__file__).parent / "sql"


def run_sql(name: str, *, replacing: bool = False) -> None:
    """Run migrations/sql/<name>.sql as psql -f would: no placeholders, colons and percent signs are plain.

    replacing: a function of the same arguments may be there, with views that stand on it.
    """
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    statements = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    if replacing:
        statements = statements.replace("create function", "create or replace function")
    connection.execute(statements)
