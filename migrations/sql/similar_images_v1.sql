-- similar_images(image_id, k, collection, attributes): the pictures most like one that is in the gallery, without it.
--
--   select * from image_retrieval.similar_images('01234567-89ab-8def-8123-456789abcdef', 5);
create function similar_images(
    image_id uuid,
    k integer default 5,
    collection text default null,
    attributes jsonb default null
)
returns setof hit
language plpgsql stable
rows 10
set search_path from current
as $$
declare
    query halfvec;
begin
    if k is null or k < 1 then
        raise exception 'similar_images: k is %, it must be at least 1', k using errcode = 'invalid_parameter_value';
    end if;
    select gallery.embedding into query from gallery where gallery.id = similar_images.image_id;
    if query is null then
        raise exception 'similar_images: there is no picture % in the gallery', image_id
            using errcode = 'no_data_found';
    end if;
    return query
        select row_number() over (order by others.rank)::integer, others.image_id, others.uri, others.score,
               others.captions
        from search_images(query, k + 1, similar_images.collection, similar_images.attributes) as others
        where others.image_id <> similar_images.image_id
        order by others.rank
        limit k;
end;
$$;

comment on function similar_images is 'The k pictures most like one of the gallery, without itself';
