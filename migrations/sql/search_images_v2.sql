-- search_images(query, k, collection, attributes, skip, exact, exclude, taken_from, taken_to, min_score, sort):
-- the pictures nearest to one query vector.
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
-- exclude     never these pictures
-- taken_from  only pictures taken at this time or later
-- taken_to    only pictures taken before this time; with either, undated pictures do not match
-- min_score   only hits with at least this score
-- sort        relevance; or newest, or oldest: the 200 best matches by when they were taken, undated ones last
--
-- The index looks at hnsw.ef_search candidates: clamp(4 (k + skip + excluded), 64, 1000), from 400 under a filter. If
-- too few of them match, it looks at 1000; if those are or would be too few, every picture that matches is compared.
-- Under a filter, too few is less than twice what is wanted, for the last candidates are the least sure.
-- hnsw.iterative_scan is off: of matches that all lie far from the query it met some, but not the nearest (recall 0.4).
-- More hits than there can be candidates are compared exactly from the start.
-- Each hit says in ef_search how many candidates the index looked at; null: every match was compared. It is known by
-- counting the index's scans, for the planner is free to pass over the index where another way is cheaper.
-- The hits are sorted outside the inner scan, where a second sort key would cost the index.
-- The set clauses make all of it local to the call.
do $$
begin
    drop function search_images(halfvec, integer, text, jsonb, integer, boolean);
exception when dependent_objects_still_exist then
    -- somebody's view asks it: that goes on under this name, and is answered by the new one (see the end)
    alter function search_images(halfvec, integer, text, jsonb, integer, boolean) rename to search_images_v1;
end;
$$;

create function search_images(
    query halfvec,
    k integer default 5,
    collection text default null,
    attributes jsonb default null,
    skip integer default 0,
    exact boolean default false,
    exclude uuid[] default null,
    taken_from timestamptz default null,
    taken_to timestamptz default null,
    min_score double precision default null,
    sort text default 'relevance'
)
returns table (
    rank integer, image_id uuid, uri text, score double precision, captions text[], ef_search integer
)
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
    strongest constant integer := 200;         -- matches that are sorted by date
    filtered constant boolean :=
        collection is not null or attributes is not null or taken_from is not null or taken_to is not null;
    excluded constant uuid[] := nullif(array_remove(exclude, null), '{}');
    by_date constant integer := case sort when 'newest' then -1 when 'oldest' then 1 when 'relevance' then 0 end;
    wanted bigint;
    needed bigint;
    candidates integer;
    encoder smallint;
    dimension integer;
    index oid;
    scans bigint;
    target halfvec;
    used boolean;
    matching bigint;
    hits hit[];
begin
    if query is null then
        raise exception 'search_images: the query vector is null' using errcode = 'null_value_not_allowed';
    end if;
    if k is null or k < 1 or skip is null or skip < 0 then
        raise exception 'search_images: k is % and skip is %; k must be at least 1 and skip at least 0', k, skip
            using errcode = 'invalid_parameter_value';
    end if;
    if by_date is null then
        raise exception 'search_images: sort is %; it is relevance, newest or oldest', sort
            using errcode = 'invalid_parameter_value';
    end if;
    if min_score = 'nan' then
        raise exception 'search_images: min_score is NaN' using errcode = 'invalid_parameter_value';
    end if;
    if taken_from > taken_to then
        raise exception 'search_images: taken_from % is after taken_to %', taken_from, taken_to
            using errcode = 'invalid_parameter_value';
    end if;
    select encoders.id, encoders.dimension into encoder, dimension from encoders where state = 'active';
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

    wanted := case by_date when 0 then k::bigint + skip else strongest end;
    exact := coalesce(exact, false) or wanted + coalesce(cardinality(excluded), 0) > most_candidates;
    if not exact then
        index := to_regclass('image_embeddings_' || encoder || '_hnsw');
        needed := case when filtered then 2 * wanted else wanted end;
        foreach candidates in array array[
            least(
                greatest(4 * (wanted + coalesce(cardinality(excluded), 0)), case when filtered then 400 else 64 end),
                most_candidates
            ),
            most_candidates
        ]
        loop
            perform set_config('hnsw.ef_search', candidates::text, true);
            scans := pg_stat_get_xact_numscans(index);
            select max(page.matching),
                   array_agg(row(
                       page.rank, page.id, page.uri, page.score,
                       array(select body from captions where image_id = page.id order by position)
                   )::hit order by page.rank) filter (where page.fits and page.rank > skip and page.rank <= skip + k)
            into matching, hits
            from (
                select strong.id, strong.uri, strong.matching, strong.score, strong.fits,
                       row_number() over (order by strong.fits desc, by_date * strong.taken nulls last, strong.place)
                           as rank
                from (
                    -- "+ 0": else the planner takes the index's order, which is only nearly right, for sorted already
                    select row_number() over (order by nearest.distance + 0, nearest.id) as place,
                           count(*) over () as matching,
                           1 - nearest.distance as score,
                           min_score is null or 1 - nearest.distance >= min_score as fits,
                           extract(epoch from case when by_date <> 0 then nearest.taken_at end) as taken,
                           nearest.id, nearest.uri
                    from (
                        select gallery.id, gallery.uri, gallery.taken_at, gallery.embedding <=> target as distance
                        from gallery
                        where (search_images.collection is null or gallery.collection = search_images.collection)
                          and (search_images.attributes is null or gallery.attributes @> search_images.attributes)
                          and (search_images.taken_from is null or gallery.taken_at >= search_images.taken_from)
                          and (search_images.taken_to is null or gallery.taken_at < search_images.taken_to)
                          and (excluded is null or gallery.id <> all (excluded))
                        order by gallery.embedding <=> target
                        limit needed
                    ) as nearest
                ) as strong
                where strong.place <= wanted
            ) as page;
            if matching >= needed then
                used := pg_stat_get_xact_numscans(index) > scans or not current_setting('track_counts')::boolean;
                return query select found.*, case when used then candidates end from unnest(hits) as found;
                return;
            end if;
            exit when coalesce(matching, 0) * most_candidates < needed * candidates;  -- 1000 would be too few as well
        end loop;
    end if;

    return query
        select page.rank::integer, page.id, page.uri, page.score,
               array(select body from captions where image_id = page.id order by position), null::integer
        from (
            select nearest.id, nearest.uri, 1 - nearest.distance as score,
                   row_number() over (order by by_date * nearest.taken nulls last, nearest.distance, nearest.id) as rank
            from (
                select gallery.id, gallery.uri, (gallery.embedding <=> target) + 0 as distance,
                       extract(epoch from case when by_date <> 0 then gallery.taken_at end) as taken
                from gallery
                where (search_images.collection is null or gallery.collection = search_images.collection)
                  and (search_images.attributes is null or gallery.attributes @> search_images.attributes)
                  and (search_images.taken_from is null or gallery.taken_at >= search_images.taken_from)
                  and (search_images.taken_to is null or gallery.taken_at < search_images.taken_to)
                  and (excluded is null or gallery.id <> all (excluded))
                order by (gallery.embedding <=> target) + 0, gallery.id  -- "+ 0": no index serves this order
                limit wanted
            ) as nearest
            where min_score is null or 1 - nearest.distance >= min_score
        ) as page
        where page.rank > skip and page.rank <= k::bigint + skip
        order by page.rank;
end;
$$;

comment on function search_images is
    'The k pictures nearest to a query vector: rank, image_id, uri, score, captions, how many candidates were looked at';

do $$
begin
    if to_regproc('search_images_v1') is not null then
        create or replace function search_images_v1(
            query halfvec,
            k integer default 5,
            collection text default null,
            attributes jsonb default null,
            skip integer default 0,
            exact boolean default false
        )
        returns setof hit
        language sql stable
        rows 10
        set search_path from current
        as 'select rank, image_id, uri, score, captions from search_images($1, $2, $3, $4, $5, $6)';
        comment on function search_images_v1 is 'search_images as it was, for views that were made on it';
    end if;
end;
$$;
