"""Questions with a concept taken out, balanced, moved by feedback; and what people judge of answers.

Going down sets judgements aside in the schema image_retrieval_parked_judgements, and the next upgrade takes
them back.
"""

from alembic import op
from sqlalchemy import text

from migrations.files import run_sql

revision = "0008"
down_revision = "0007"

PARKED = "image_retrieval_parked_judgements"
FILES = ("without_v1", "gallery_centre_v1", "score_spread_v1", "balanced_query_v1", "feedback_query_v1")


def upgrade() -> None:
    parked = op.get_bind().scalar(
        text("select to_regclass(:name) is not null"), {"name": f"{PARKED}.judgements"}
    )
    if parked:
        op.execute(f"alter table {PARKED}.judgements set schema image_retrieval")
        op.execute(f"drop schema {PARKED}")
    else:
        run_sql("judgements_v1")
    for name in FILES:
        run_sql(name)


def downgrade() -> None:
    op.execute("drop function feedback_query, balanced_query, score_spread, gallery_centre, without")
    if op.get_bind().scalar(text("select exists (select from image_retrieval.judgements)")):
        op.execute(f"create schema {PARKED}")
        op.execute(f"alter table image_retrieval.judgements set schema {PARKED}")
    else:
        op.execute("drop table judgements")
