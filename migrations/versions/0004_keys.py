"""Who may do what: the keys of the HTTP service, and a role that searches and changes nothing.

Going down sets keys aside in the schema image_retrieval_parked_keys, and the next upgrade takes them back.
"""

from alembic import op
from sqlalchemy import text

from migrations.files import run_sql

revision = "0004"
down_revision = "0003"

PARKED = "image_retrieval_parked_keys"

# A role belongs to the whole server, and whoever migrates may not be allowed to make one: the gallery works
# without it, and `image-retrieval doctor` says what to do.
MAKE_READER = """
do $$
begin
    perform grant_reading();
exception when insufficient_privilege then
    raise warning 'image_retrieval_reader cannot be made: searches run with the rights of %', current_user;
end;
$$
"""

# Other databases of this server may use the role too: then it stays.
DROP_READER = """
do $$
begin
    revoke all on all tables in schema image_retrieval from image_retrieval_reader;
    revoke all on schema image_retrieval from image_retrieval_reader;
    alter default privileges in schema image_retrieval revoke all on tables from image_retrieval_reader;
    begin
        drop role image_retrieval_reader;
    exception when dependent_objects_still_exist or insufficient_privilege then
        null;
    end;
exception when undefined_object then
    null;
end;
$$
"""


def upgrade() -> None:
    parked = op.get_bind().scalar(
        text("select to_regclass(:name) is not null"), {"name": f"{PARKED}.api_keys"}
    )
    if parked:
        op.execute(f"alter table {PARKED}.api_keys set schema image_retrieval")
        op.execute(f"drop schema {PARKED}")
    else:
        run_sql("api_keys_v1")
    run_sql("grant_reading_v1")
    op.execute(MAKE_READER)


def downgrade() -> None:
    op.execute(DROP_READER)
    op.execute("drop function grant_reading")
    if op.get_bind().scalar(text("select exists (select from image_retrieval.api_keys)")):
        op.execute(f"create schema {PARKED}")
        op.execute(f"alter table image_retrieval.api_keys set schema {PARKED}")
    else:
        op.execute("drop table api_keys")
