"""Encoders are switched with notice, gone back to, and dropped."""

from alembic import op

from migrations.files import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("encoder_switches_v1")
    run_sql("activate_encoder_v2")
    run_sql("drop_encoder_v1")


def downgrade() -> None:
    op.execute("drop function drop_encoder")
    run_sql("activate_encoder_v1", replacing=True)
    op.execute("drop table encoder_switches")
