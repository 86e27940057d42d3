-- create_gallery_view(encoder_id): make gallery show the pictures with this encoder's vectors; null shows none.
--
-- The view reads the encoder's partition and casts to its dimension, so that it matches the index expression and
-- plain ORDER BY embedding <=> … LIMIT … is served by the HNSW index.
create function create_gallery_view(encoder_id smallint)
returns void
language plpgsql
set search_path from current
as $$
declare
    dimension integer;
    statement text;
begin
    if encoder_id is null then
        statement := $view$
            create or replace view gallery as
            select i.id, i.collection, i.uri, i.width, i.height, i.format, i.byte_size, i.taken_at,
                   i.perceptual_hash, i.attributes, i.created_at, e.embedding::halfvec as embedding
            from images as i join image_embeddings as e on e.image_id = i.id
            where false
        $view$;
    else
        select encoders.dimension into strict dimension from encoders where id = create_gallery_view.encoder_id;
        statement := format($view$
            create or replace view gallery as
            select i.id, i.collection, i.uri, i.width, i.height, i.format, i.byte_size, i.taken_at,
                   i.perceptual_hash, i.attributes, i.created_at, e.embedding::halfvec(%s) as embedding
            from images as i join %I as e on e.image_id = i.id
        $view$, dimension, 'image_embeddings_' || encoder_id);
    end if;
    begin
        execute statement;
    exception when invalid_table_definition then
        -- another dimension is another column type, which "or replace" does not change
        drop view gallery;
        execute statement;
    end;
    comment on view gallery is 'The pictures and their vectors by the active encoder: order by embedding <=> query limit k';
end;
$$;

comment on function create_gallery_view is 'Point the view gallery at one encoder''s vectors; used by activate_encoder';
