-- grant_reading(reader): let a role search and look, and change nothing.
--
--   select image_retrieval.grant_reading('analyst');
--
-- Without an argument it is the role as which the service searches, image_retrieval_reader, which is made if it is not
-- there and which whoever calls this may then take. Tables to come are readable too; api_keys never is.
-- The functions here run with the rights of whoever calls them, so a reader needs nothing else.
create function grant_reading(reader name default 'image_retrieval_reader')
returns void
language plpgsql
set search_path from current
as $$
begin
    if not exists (select from pg_roles where rolname = reader) then
        begin
            execute format('create role %I nologin', reader);
            execute format('grant %I to %I', reader, current_user);
        exception when duplicate_object or unique_violation then
            null;  -- another database's migration made it between the two statements
        end;
    end if;
    execute format('grant usage on schema image_retrieval to %I', reader);
    execute format('grant select on all tables in schema image_retrieval to %I', reader);
    execute format('alter default privileges in schema image_retrieval grant select on tables to %I', reader);
    execute format('revoke all on api_keys from %I', reader);
end;
$$;

comment on function grant_reading is 'Let a role search and look, and change nothing; by default the service''s own reader';
