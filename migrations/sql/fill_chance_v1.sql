-- fill_chance(encoder_id, captions): find out how near captions come to pictures that they were not written for.
--
--   select image_retrieval.fill_chance((select id from image_retrieval.encoders where state = 'active'));
--
-- Of a sample of the reference captions, each is compared with every picture but its own; the highest cosine similarity
-- becomes its nearest. How many they were is returned.
create function fill_chance(encoder_id smallint, captions integer default 1000)
returns integer
language plpgsql
set search_path from current
set jit = off
as $$
#variable_conflict use_column
declare
    filled integer;
begin
    update reference_captions set nearest = null
    where reference_captions.encoder_id = fill_chance.encoder_id and nearest is not null;
    update reference_captions
    set nearest = found.similarity
    from (
        select drawn.image_id, drawn.position, max(-(pictures.embedding <#> drawn.embedding)) as similarity
        from (
            select image_id, position, embedding
            from reference_captions
            where reference_captions.encoder_id = fill_chance.encoder_id
            order by md5(image_id || '/' || position)
            limit fill_chance.captions
        ) as drawn
        join image_embeddings as pictures on pictures.image_id <> drawn.image_id
        where pictures.encoder_id = fill_chance.encoder_id
        group by drawn.image_id, drawn.position
    ) as found
    where reference_captions.encoder_id = fill_chance.encoder_id
      and reference_captions.image_id = found.image_id
      and reference_captions.position = found.position;
    get diagnostics filled = row_count;
    return filled;
end;
$$;

comment on function fill_chance is 'Find out how near captions come to pictures that they were not written for';
