"""What was asked in words can be asked again in SQL."""

from alembic import op

from migrations.files import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("text_embeddings_v1")
    run_sql("search_text_v1")


def downgrade() -> None:
    op.execute("drop function search_text")
    op.execute("drop table text_embeddings")  # a cache: asked again, it fills again
