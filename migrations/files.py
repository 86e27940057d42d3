"""How migrations run their SQL: one object a file, frozen once merged."""

from pathlib import Path

from alembic import op

SQL = Path(__file__).parent / "sql"


def run_sql(name: str) -> None:
    """Run migrations/sql/<name>.sql as psql -f would: no placeholders, colons and percent signs are plain."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute((SQL / f"{name}.sql").read_text(encoding="utf-8"))
