-- text_embeddings: what was asked in words, as the encoder understood it, so that plain SQL can ask it again (search_text).
-- The service and the command line fill it, and keep the words asked last.
create table text_embeddings (
    encoder_id smallint not null references encoders on delete cascade,
    digest text generated always as (md5(words)) stored,
    words text not null,
    embedding halfvec not null check (abs(vector_norm(embedding::vector) - 1) < 0.01),
    asked_at timestamptz not null default now(),
    primary key (encoder_id, digest)
);
create index text_embeddings_asked_at on text_embeddings (encoder_id, asked_at);
comment on table text_embeddings is 'What was asked in words lately, as the encoder understood it; for search_text';
comment on column text_embeddings.digest is 'MD5 of the words, for an index entry of theirs may be too long';
comment on column text_embeddings.words is 'The words as they were encoded';
comment on column text_embeddings.embedding is 'Unit vector of the words by this encoder';
comment on column text_embeddings.asked_at is 'When they were last encoded; the longest ago go first';
