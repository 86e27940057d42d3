-- search_images(query, k, collection, attributes, skip, exact): the pictures nearest to one query vector.
--
--   select * from image_retrieval.search_images((select embedding from image_retrieval.gallery limit 1), 5);
--
-- query       vector of the active encoder; null is an error, for ordering by null would return arbitrary rows
-- k           number of hits, best first; that many come back whenever that many match
-- collection  only pictures of this collection
-- attributes  only pictures whose attributes contain these
-- skip        leave out this many hits first
-- exact       compare with every picture instead of asking the HNSW index
--
-- hnsw.ef_search is clamp(4k, 40, 1000), and scans go on (strict_order) until k rows match. Should the index still
-- give fewer, as it may under a rare filter, the exact scan answers. The set clauses make all of it local to the call.
-- Ties are broken outside the inner scan: a second sort key there would cost the index.
create function search_images(
    query vector,
    k integer default 5,
    collection text default null,
    attributes jsonb default null,
    skip integer default 0,
    exact boolean default false
)
returns setof hit
language plpgsql stable
rows 10
set search_path from current
set hnsw.ef_search = 40
set hnsw.iterative_scan = strict_order
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
    target halfvec;
    hits hit[];
    dimension integer;
begin
    if query is null then
        raise exception 'search_images: the query vector is null' using errcode = 'null_value_not_allowed';
    end if;
    if k is null or k < 1 or skip is null or skip < 0 then
        raise exception 'search_images: k is % and skip is %; k must be at least 1 and skip at least 0', k, skip
            using errcode = 'invalid_parameter_value';
    end if;
    select encoders.dimension into dimension from encoders where state = 'active';
    if dimension is null then
        raise exception 'search_images: nothing has been indexed yet'
            using errcode = 'object_not_in_prerequisite_state', hint = 'image-retrieval index PATH';
    end if;
    if vector_dims(query) <> dimension then
        raise exception 'search_images: the query has % dimensions, the active encoder''s vectors have %',
            vector_dims(query), dimension using errcode = 'data_exception';
    end if;
    target := query;
    if not l2_norm(target) > 0 then
        raise exception 'search_images: the query vector is zero' using errcode = 'data_exception';
    end if;

    if not exact then
        perform set_config('hnsw.ef_search', least(greatest(4 * (k::bigint + skip), 40), 1000)::text, true);
        select array_agg(row(
            found.place, found.id, found.uri, 1 - found.distance,
            array(select body from captions where image_id = found.id order by position)
        )::hit order by found.place)
        into hits
        from (
            select row_number() over (order by nearest.distance, nearest.id) + skip as place, nearest.*
            from (
                select gallery.id, gallery.uri, gallery.embedding <=> target as distance
                from gallery
                where (search_images.collection is null or gallery.collection = search_images.collection)
                  and (search_images.attributes is null or gallery.attributes @> search_images.attributes)
                order by gallery.embedding <=> target
                limit k offset skip
            ) as nearest
        ) as found;
        if cardinality(hits) = k then
            return query select * from unnest(hits);
            return;
        end if;
    end if;

    return query
        select (row_number() over (order by nearest.distance, nearest.id) + skip)::integer,
               nearest.id, nearest.uri, 1 - nearest.distance,
               array(select body from captions where image_id = nearest.id order by position)
        from (
            select gallery.id, gallery.uri, (gallery.embedding <=> target) + 0 as distance
            from gallery
            where (search_images.collection is null or gallery.collection = search_images.collection)
              and (search_images.attributes is null or gallery.attributes @> search_images.attributes)
            order by (gallery.embedding <=> target) + 0, gallery.id  -- "+ 0": no index serves this order
            limit k offset skip
        ) as nearest
        order by nearest.distance, nearest.id;
end;
$$;

comment on function search_images is 'The k pictures nearest to a query vector: rank, image_id, uri, score, captions';
