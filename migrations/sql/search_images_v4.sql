-- search_images(query, k, collection, attributes, skip, exact, exclude, taken_from, taken_to, min_score, sort,
--               min_width, min_height, caption_query, caption_weight, normalise, fold_duplicates):
-- the pictures nearest to one query vector, and, where more is asked than to be near, the best of them.
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
-- min_width, min_height  only pictures of at least so many pixels
--
-- Any of the following hands the search to rank_candidates, which see; left out, they cost nothing:
-- caption_weight   from 0 to 1: how much the words of caption_query count, by the pictures' captions, beside the vector
-- normalise        leave off each score what the picture scores with whatever is asked (image_biases)
-- fold_duplicates  a cosine distance: pictures this close to a better one are folded under it (0.02 is a good one)
--
-- The index looks at hnsw.ef_search candidates: clamp(4 (k + skip + excluded), 64, 1000), from 400 under a filter. If
-- too few of them match, it looks at 1000; if those are or would be too few, every picture that matches is compared.
-- Too few is less than twice what is wanted (from 250 without a filter: less than 500, or than what is wanted), for the
-- last candidates are the least sure; so it is also after many deletions, until VACUUM has taken the deleted from the
-- index (three in four of 24,000: recall 0.98 at k = 10 with once what is wanted).
-- hnsw.iterative_scan is off: of matches that all lie far from the query it met some, but not the nearest (recall 0.4).
-- More hits than there can be candidates are compared exactly from the start.
-- Each hit says in ef_search how many candidates the index looked at; null: every match was compared. It is known by
-- counting the index's scans, for the planner is free to pass over the index where another way is cheaper.
-- The hits are sorted outside the inner scan, where a second sort key would cost the index.
-- The set clauses make all of it local to the call.
create or replace function search_images(
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
    sort text default 'relevance',
    min_width integer default null,
    min_height integer default null,
    caption_query text default null,
    caption_weight double precision default 0,
    normalise boolean default false,
    fold_duplicates double precision default null
)
returns setof ranked_hit
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
        num_nonnulls(collection, attributes, taken_from, taken_to, min_width, min_height) > 0;
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

    if caption_weight is null or not caption_weight between 0 and 1 then
        raise exception 'search_images: caption_weight is %; it goes from 0 (the vector alone) to 1 (captions alone)',
            caption_weight using errcode = 'invalid_parameter_value';
    end if;
    if not fold_duplicates between 0 and 2 then
        raise exception 'search_images: fold_duplicates is %; it is a cosine distance, from 0 to 2', fold_duplicates
            using errcode = 'invalid_parameter_value';
    end if;
    if caption_weight > 0 or normalise or fold_duplicates is not null then
        return query
            select *
            from rank_candidates(
                query, k, collection, attributes, skip, exact, excluded, taken_from, taken_to, min_score, sort,
                min_width, min_height, caption_query, caption_weight, coalesce(normalise, false), fold_duplicates
            );
        return;
    end if;

    wanted := case by_date when 0 then k::bigint + skip else strongest end;
    exact := coalesce(exact, false) or wanted + coalesce(cardinality(excluded), 0) > most_candidates;
    if not exact then
        index := to_regclass('image_embeddings_' || encoder || '_hnsw');
        needed := case
            when filtered then 2 * wanted
            else greatest(wanted, least(2 * wanted, most_candidates / 2))
        end;
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
                          and (search_images.min_width is null or gallery.width >= search_images.min_width)
                          and (search_images.min_height is null or gallery.height >= search_images.min_height)
                          and (excluded is null or gallery.id <> all (excluded))
                        order by gallery.embedding <=> target
                        limit needed
                    ) as nearest
                ) as strong
                where strong.place <= wanted
            ) as page;
            if matching >= needed then
                used := pg_stat_get_xact_numscans(index) > scans or not current_setting('track_counts')::boolean;
                return query
                    select found.*, case when used then candidates end,
                           null::double precision, null::double precision, null::uuid[]
                    from unnest(hits) as found;
                return;
            end if;
            exit when coalesce(matching, 0) * most_candidates < needed * candidates;  -- 1000 would be too few as well
        end loop;
    end if;

    return query
        select page.rank::integer, page.id, page.uri, page.score,
               array(select body from captions where image_id = page.id order by position), null::integer,
               null::double precision, null::double precision, null::uuid[]
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
                  and (search_images.min_width is null or gallery.width >= search_images.min_width)
                  and (search_images.min_height is null or gallery.height >= search_images.min_height)
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
    'The k pictures nearest to a query vector, or the best by captions and more besides; columns as ranked_hit';
