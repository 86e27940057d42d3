"""The tables: encoders, collections, images, captions, image_embeddings.

Going down below this revision takes nothing away from the user: tables that hold pictures are set aside in
the schema image_retrieval_parked, and the next upgrade takes them back. Drop that schema by hand to be rid
of them.
"""

from alembic import op
from sqlalchemy import text

from migrations.files import run_sql

revision = "0001"
down_revision = None

PARKED = "image_retrieval_parked"
TABLES = ("encoders", "collections", "images", "captions", "image_embeddings")


def upgrade() -> None:
    parked = op.get_bind().scalar(text("select to_regnamespace(:schema) is not null"), {"schema": PARKED})
    if parked:
        move_everything(PARKED, "image_retrieval")
        op.execute(f"drop schema {PARKED}")
    else:
        run_sql("fold_accents_v1")
        run_sql("tables_v1")


def downgrade() -> None:
    populated = op.get_bind().scalar(text("select exists (select from image_retrieval.images)"))
    if populated:
        op.execute(f"create schema {PARKED}")
        move_everything("image_retrieval", PARKED)
    else:
        op.execute("drop table image_embeddings, captions, images, collections, encoders")
        op.execute("drop function fold_accents(text)")


def move_everything(source: str, target: str) -> None:
    """Move the tables, their partitions, and the function that a generated column needs."""
    partitions = op.get_bind().scalars(
        text(
            "select relname from pg_class"
            " where relnamespace = to_regnamespace(:schema) and relispartition and relkind = 'r'"
        ),
        {"schema": source},
    )
    for table in (*partitions, *TABLES):
        op.execute(f"alter table {source}.{table} set schema {target}")
    op.execute(f"alter function {source}.fold_accents(text) set schema {target}")
