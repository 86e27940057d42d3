"""Deleted pictures cost no recall until VACUUM either."""

from migrations.files import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("search_images_v4")


def downgrade() -> None:
    run_sql("search_images_v3", replacing=True, since="create function search_images(")
