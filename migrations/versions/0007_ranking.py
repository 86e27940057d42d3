"""Better rankings: captions that count, normalised scores, near duplicates folded, scores against chance.

Going down takes away what was worked out from the gallery: `image-retrieval normalise` works it out again.
"""

from alembic import op
from sqlalchemy import text

from migrations.files import run_sql

revision = "0007"
down_revision = "0006"

FILES = (
    "ranking_tables_v1",
    "reference_digest_v1",
    "fill_biases_v1",
    "fill_chance_v1",
    "question_words_v1",
    "caption_evidence_v1",
    "fold_pairs_v1",
    "fold_stacks_v1",
    "ranked_hit_v1",
    "rank_candidates_v1",
    "search_images_v3",
    "background_scores_v1",
    "percentile_of_v1",
    "duplicate_stacks_v1",
)


def upgrade() -> None:
    for name in FILES:
        run_sql(name)


def downgrade() -> None:
    op.execute("drop function duplicate_stacks, percentile_of, background_scores, search_images")
    run_sql("search_images_v1")  # what the file of v2 takes the place of
    if op.get_bind().scalar(text("select to_regproc('search_images_v2') is not null")):
        op.execute("alter function search_images_v2 rename to search_images")
    run_sql("search_images_v2", replacing=True)
    op.execute(
        "drop function rank_candidates, fold_stacks, fold_pairs, caption_evidence, question_words,"
        " fill_chance, fill_biases, reference_digest"
    )
    op.execute("drop type ranked_hit")
    op.execute("drop table image_biases, reference_captions")
