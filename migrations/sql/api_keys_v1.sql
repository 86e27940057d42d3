-- api_keys: who may ask, write and administer over HTTP, beside the one key of the settings.
--
-- A key is 256 random bits, so its plain SHA-256 gives nothing away: a slow hash is for what people can remember, and
-- therefore guess. The key itself is shown once, when it is made, and is nowhere here.
create table api_keys (
    id text primary key check (id ~ '^[0-9a-f]{8}$'),
    name text not null check (name <> ''),
    scope text not null check (scope in ('read', 'write', 'admin')),
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);
create unique index api_keys_name on api_keys (name) where revoked_at is null;
comment on table api_keys is 'Keys that the HTTP service takes, as hashes; image-retrieval keys makes and revokes them';
comment on column api_keys.id is 'Part of the key that is no secret: it names the key in lists and logs';
comment on column api_keys.name is 'Whose key it is; of those not revoked, each has its own';
comment on column api_keys.scope is 'read, write (and read), admin (and both)';
comment on column api_keys.secret_hash is 'SHA-256 of the whole key';
comment on column api_keys.last_used_at is 'To the minute: it is noted once a minute at most';
comment on column api_keys.revoked_at is 'From then on it is refused; null: it is good';
