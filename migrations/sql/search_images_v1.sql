-- search_images(query, k, collection, attributes, skip, exact): the pictures nearest to one query vector.
--
--   select * from image_retrieval.search_images((select embedding from image_retrieval.gallery limit 1), 5);
--
-- query       vector of the active encoder, or halfvec, which a vector turns into by itself; null is an error, for
--             ordering by null would return arbitrary rows
-- k           number of hits, best first; that many come back whenever that many match
-- collection  only pictures of this collection
-- attributes  only pictures whose attributes contain these
-- skip        leave out this many hits first
-- exact       compare with every picture that matches instead of asking the HNSW index
--
-- The index looks at hnsw.ef_search candidates: clamp(4 (k + skip), 64, 1000), from 400 under a filter. If too few of
-- them match, it looks at 1000; if those are or would be too few, every picture that matches is compared. Under a
-- filter, too few is less than twice what is wanted, for the last candidates are the least sure. hnsw.iterative_scan
-- is off: of matches that all lie far from the query it met some, but not the nearest (recall 0.4).
-- More hits than there can be candidates are compared exactly from the start.
-- The hits are sorted outside the inner scan, where a second sort key would cost the index.
-- The set clauses make all of it local to the call.
create function search_images(
    query halfvec,
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
set hnsw.ef_search = 64
set hnsw.iterative_scan = off
set plan_cache_mode = force_custom_plan
set random_page_cost = 1.1
set jit = off
as $$
#variable_conflict use_column
declare
    most_candidates constant integer := 1000;  -- hnsw.ef_search goes no higher
    filtered constant boolean := collection is not null or attributes is not null;
    wanted bigint;
    needed bigint;
    candidates integer;
    matching bigint;
    dimension integer;
    target halfvec;
    hits hit[];
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
    target := l2_normalize(query);
    if not l2_norm(target) > 0 then
        raise exception 'search_images: the query vector is zero' using errcode = 'data_exception';
    end if;

    wanted := k::bigint + skip;
    exact := coalesce(exact, false) or wanted > most_candidates;
    if not exact then
        needed := case when filtered then 2 * wanted else wanted end;
        foreach candidates in array array[
            least(greatest(4 * wanted, case when filtered then 400 else 64 end), most_candidates), most_candidates
        ]
        loop
            perform set_config('hnsw.ef_search', candidates::text, true);
            select max(found.matching),
                   array_agg(row(
                       found.place, found.id, found.uri, 1 - found.distance,
                       array(select body from captions where image_id = found.id order by position)
                   )::hit order by found.place)
            into matching, hits
            from (
                -- "+ 0": else the planner takes the index's order, which is only nearly right, for sorted already
                select row_number() over (order by nearest.distance + 0, nearest.id) as place,
                       count(*) over () as matching,
                       nearest.*
                from (
                    select gallery.id, gallery.uri, gallery.embedding <=> target as distance
                    from gallery
                    where (search_images.collection is null or gallery.collection = search_images.collection)
                      and (search_images.attributes is null or gallery.attributes @> search_images.attributes)
                    order by gallery.embedding <=> target
                    limit needed
                ) as nearest
            ) as found
            where found.place > skip and found.place <= wanted;
            if matching >= needed then
                return query select * from unnest(hits);
                return;
            end if;
            exit when coalesce(matching, 0) * most_candidates < needed * candidates;  -- 1000 would be too few as well
        end loop;
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
