"""Words in captions count before the first ANALYZE too."""

from migrations.files import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("question_words_v2")


def downgrade() -> None:
    run_sql("question_words_v1", replacing=True)
