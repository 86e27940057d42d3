-- background_scores(query, collection, sample): what a question's scores are held against.
--
--   select hits.uri, hits.score, percentile_of(hits.score, background.scores), hits.score > background.chance as near
--   from image_retrieval.search_images('[…]') as hits, image_retrieval.background_scores('[…]') as background;
--
-- scores  how near at most sample random pictures are to the question: cosine similarities, ascending. They are the first
--         by id: an id is a hash, so they are as random as any, and the same each time. mean and deviation are theirs
-- chance  how near captions come to pictures that they were not written for: 19 of 20 come nearer to the best of those
--         (fill_chance). A question whose best hit scores less has found nothing. Null before image-retrieval normalise
create function background_scores(query halfvec, collection text default null, sample integer default 1000)
returns table (mean double precision, deviation double precision, chance double precision, scores double precision[])
language sql stable
rows 1
set search_path from current
set random_page_cost = 1.1
set jit = off
as $$
    with drawn as materialized (
        select 1 - (gallery.embedding <=> (select l2_normalize(query))) as score
        from gallery
        where background_scores.collection is null or gallery.collection = background_scores.collection
        order by gallery.id
        limit sample
    )
    select avg(score), stddev_samp(score),
           (
               select percentile_cont(0.05) within group (order by nearest)
               from reference_captions
               where encoder_id = (select id from encoders where state = 'active') and nearest is not null
           ),
           coalesce(array_agg(score order by score), '{}')
    from drawn;
$$;

comment on function background_scores is 'How near random pictures are to a question, and what is no nearer than chance';
