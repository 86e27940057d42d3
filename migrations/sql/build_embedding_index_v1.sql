-- build_embedding_index(encoder_id, m, ef_construction): the HNSW cosine index over one encoder's vectors.
--
-- For after a bulk load: building once is far quicker than inserting row by row. Progress shows in
-- pg_stat_progress_create_index. Reads go on meanwhile; writes to this encoder's vectors wait. True if it was built,
-- false if it was there.
create function build_embedding_index(encoder_id smallint, m integer default 16, ef_construction integer default 128)
returns boolean
language plpgsql
set search_path from current
as $$
declare
    dimension integer;
    partition text := 'image_embeddings_' || encoder_id;
    index_name text := partition || '_hnsw';
begin
    perform pg_advisory_xact_lock(hashtext('image_retrieval.build_embedding_index'), encoder_id);
    if to_regclass(quote_ident(index_name)) is not null then
        return false;
    end if;
    select encoders.dimension into strict dimension from encoders where id = build_embedding_index.encoder_id;
    execute format(
        'create index %I on %I using hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)'
        ' with (m = %s, ef_construction = %s)',
        index_name, partition, dimension, m, ef_construction
    );
    return true;
end;
$$;

comment on function build_embedding_index is 'Build the HNSW index of one encoder''s vectors, unless it is there';
