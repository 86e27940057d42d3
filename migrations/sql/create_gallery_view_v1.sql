-- create_gallery_view(encoder_id): make gallery show the pictures with this encoder's vectors; null shows none.
--
-- The view reads the encoder's partition and casts to its dimension, as the index expression does, so that plain
-- ORDER BY embedding <=> … LIMIT … is served by the HNSW index. The second cast changes no value: it keeps the
-- column's type the same for every dimension, so that "or replace" works, and grants and views on top of it stay.
create function create_gallery_view(encoder_id smallint)
returns void
language plpgsql
set search_path from current
as $$
declare
    dimension integer;
    vectors text := 'image_embeddings';
    embedding text := 'embedding::halfvec';
    condition text := 'where false';
begin
    if encoder_id is not null then
        select encoders.dimension into strict dimension from encoders where id = create_gallery_view.encoder_id;
        vectors := 'image_embeddings_' || encoder_id;
        embedding := format('embedding::halfvec(%s)::halfvec', dimension);
        condition := '';
    end if;
    execute format($view$
        create or replace view gallery as
        select i.id, i.collection, i.uri, i.width, i.height, i.format, i.byte_size, i.taken_at,
               i.perceptual_hash, i.attributes, i.created_at, e.%s as embedding
        from images as i join %I as e on e.image_id = i.id
        %s
    $view$, embedding, vectors, condition);
    comment on view gallery is 'Pictures and their vectors by the active encoder: order by embedding <=> query limit k';
    comment on column gallery.embedding is 'Unit vector by the active encoder; other columns as in images';
end;
$$;

comment on function create_gallery_view is 'Point the view gallery at one encoder''s vectors; used by activate_encoder';
