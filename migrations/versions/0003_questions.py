"""Questions with dates, exclusions, a least score and a sort; facets; how a hit was found."""

from alembic import op
from sqlalchemy import text

from migrations.files import run_sql

revision = "0003"
down_revision = "0002"

FILES = ("images_taken_at_v1", "search_images_v2", "facets_v1")


def upgrade() -> None:
    for name in FILES:
        run_sql(name)


def downgrade() -> None:
    op.execute("drop function facets, search_images")
    op.execute("drop index images_taken_at")
    if op.get_bind().scalar(text("select to_regproc('search_images_v1') is not null")):
        op.execute("alter function search_images_v1 rename to search_images")
    run_sql("search_images_v1", replacing=True)
