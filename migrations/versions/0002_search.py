"""What people ask: the view gallery, and the functions that rank it."""

from alembic import op

from migrations.files import run_sql

revision = "0002"
down_revision = "0001"

FILES = (
    "create_gallery_view_v1",
    "gallery_v1",
    "register_encoder_v1",
    "activate_encoder_v1",
    "build_embedding_index_v1",
    "hit_v1",
    "hybrid_query_v1",
    "compose_query_v1",
    "search_images_v1",
    "similar_images_v1",
    "captions_of_v1",
    "search_captions_v1",
    "near_duplicates_v1",
)


def upgrade() -> None:
    for name in FILES:
        run_sql(name)


def downgrade() -> None:
    op.execute("drop view gallery")
    op.execute(
        "drop function near_duplicates, search_captions, captions_of, similar_images, search_images,"
        " compose_query, hybrid_query, build_embedding_index, activate_encoder, register_encoder,"
        " create_gallery_view"
    )
    op.execute("drop type hit")
