-- near_duplicates(max_distance): pairs of pictures whose vectors are this close (cosine distance), closest first.
--
--   select * from image_retrieval.near_duplicates(0.02);
--
-- Each picture's ten nearest are looked at, so a stack of more than ten equal pictures shows in part.
create function near_duplicates(max_distance double precision default 0.02)
returns table (image_id uuid, duplicate_id uuid, uri text, duplicate_uri text, distance double precision)
language sql stable
set search_path from current
set hnsw.ef_search = 100
set hnsw.iterative_scan = relaxed_order
set random_page_cost = 1.1
set jit = off
as $$
    with pairs as (
        select least(picture.id, other.id) as first_id, greatest(picture.id, other.id) as second_id,
               min(other.distance) as distance
        from gallery as picture
        cross join lateral (
            select gallery.id, gallery.embedding <=> picture.embedding as distance
            from gallery
            order by gallery.embedding <=> picture.embedding
            limit 11
        ) as other
        where other.id <> picture.id and other.distance <= max_distance
        group by 1, 2
    )
    select first_id, second_id, first_image.uri, second_image.uri, pairs.distance
    from pairs
    join images as first_image on first_image.id = first_id
    join images as second_image on second_image.id = second_id
    order by pairs.distance, first_id, second_id;
$$;

comment on function near_duplicates is 'Pairs of pictures whose vectors are almost the same';
