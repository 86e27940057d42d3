-- rank_candidates(…): the second look of search_images, at the 200 nearest pictures and those that captions speak for.
--
-- Arguments and columns are those of search_images, which calls it. The candidates are the same whatever page is asked
-- for, so that pages neither repeat nor drop a picture; the others follow them, the nearest first.
--
-- normalise        a picture's value is its score less its bias (fill_biases), else its score; one that has no bias yet
--                  is taken for an average candidate
-- caption_weight   value and evidence (caption_evidence), each in standard deviations among the candidates, are added,
--                  the evidence weighing caption_weight and the value the rest. A picture without captions has average
--                  evidence: it is neither favoured nor held back. Candidates are then also the pictures whose captions
--                  have one of the question's rarest words, as many words as are in 1,000 captions at most.
-- fold_duplicates  fold_stacks, in the order so far
-- sort             newest and oldest: in the end, the candidates by when they were taken
create function rank_candidates(
    query halfvec,
    k integer,
    collection text,
    attributes jsonb,
    skip integer,
    exact boolean,
    exclude uuid[],
    taken_from timestamptz,
    taken_to timestamptz,
    min_score double precision,
    sort text,
    min_width integer,
    min_height integer,
    caption_query text,
    caption_weight double precision,
    normalise boolean,
    fold_duplicates double precision
)
returns setof ranked_hit
language plpgsql stable
rows 10
set search_path from current
set plan_cache_mode = force_custom_plan
set random_page_cost = 1.1
set jit = off
as $$
#variable_conflict use_column
declare
    nearest constant integer := 200;
    most_captions constant integer := 1000;
    by_date constant integer := case sort when 'newest' then -1 when 'oldest' then 1 else 0 end;
    wanted constant integer := least(  -- what is folded away is made up for
        greatest(k::bigint + skip + case when fold_duplicates is null then 0 else nearest end, nearest), 2147483647
    );
    encoder constant smallint := (select id from encoders where state = 'active');
    target constant halfvec := l2_normalize(query);
    near ranked_hit[];
    rare tsquery;
    spoken ranked_hit[];
begin
    if normalise and not exists (select from image_biases where encoder_id = encoder) then
        raise exception 'search_images: there are no biases yet to normalise by'
            using errcode = 'object_not_in_prerequisite_state', hint = 'image-retrieval normalise';
    end if;

    select array_agg(hits order by hits.rank) into near
    from search_images(
        query, wanted, collection, attributes, 0, exact, exclude,
        taken_from, taken_to, min_score, 'relevance', min_width, min_height
    ) as hits;

    if caption_weight > 0 then
        select string_agg(words.folded::text, ' | ')::tsquery into rare
        from (
            select asked.folded, sum(asked.captions) over (order by asked.captions, asked.word) as captions
            from question_words(caption_query) as asked
        ) as words
        where words.captions <= most_captions;
        select array_agg(
                   (null, gallery.id, gallery.uri, 1 - (gallery.embedding <=> target),
                    array(select body from captions where image_id = gallery.id order by position),
                    (near[1]).ef_search, null, null, null)::ranked_hit
               )
        into spoken
        from gallery
        where gallery.id in (select captions.image_id from captions where captions.search @@ rare)
          and gallery.id not in (select hit.image_id from unnest(near[:nearest]) as hit)
          and (rank_candidates.collection is null or gallery.collection = rank_candidates.collection)
          and (rank_candidates.attributes is null or gallery.attributes @> rank_candidates.attributes)
          and (rank_candidates.taken_from is null or gallery.taken_at >= rank_candidates.taken_from)
          and (rank_candidates.taken_to is null or gallery.taken_at < rank_candidates.taken_to)
          and (rank_candidates.min_width is null or gallery.width >= rank_candidates.min_width)
          and (rank_candidates.min_height is null or gallery.height >= rank_candidates.min_height)
          and (exclude is null or gallery.id <> all (exclude))
          and (min_score is null or 1 - (gallery.embedding <=> target) >= min_score);
    end if;

    return query
        with candidates as (
            select hit.image_id, hit.uri, hit.score, hit.captions, hit.ef_search,
                   hit.score - case when normalise then coalesce(biases.bias, avg(biases.bias) over (), 0) else 0 end
                       as value,
                   evidence.share as evidence
            from unnest(near[:nearest] || spoken) as hit
            left join image_biases as biases
                on normalise and biases.image_id = hit.image_id and biases.encoder_id = encoder
            left join caption_evidence(
                case when caption_weight > 0 then caption_query end,
                array(select hit.image_id from unnest(near[:nearest] || spoken) as hit)
            ) as evidence on evidence.image_id = hit.image_id
        ),
        fused as (
            select candidates.*,
                   case when caption_weight > 0 then
                       (1 - caption_weight) * coalesce(
                           (value - avg(value) over ()) / nullif(stddev_pop(value) over (), 0), 0
                       ) + caption_weight * coalesce(
                           (evidence - avg(evidence) over ()) / nullif(stddev_pop(evidence) over (), 0), 0
                       )
                   else value end as fused
            from candidates
        ),
        placed as (
            select fused.*, row_number() over (order by fused.fused desc, fused.score desc, fused.image_id) as place
            from fused
            union all
            select hit.image_id, hit.uri, hit.score, hit.captions, hit.ef_search, null, null, null,
                   1000000 + hit.rank
            from unnest(near[nearest + 1:]) as hit
            where by_date = 0 and hit.image_id not in (select candidates.image_id from candidates)
        ),
        folded as (
            select shown_id, array_agg(stacked.image_id order by stacked.place) as stack
            from fold_stacks(
                array(select placed.image_id from placed where placed.fused is not null order by placed.place),
                fold_duplicates
            ) with ordinality as stacked (image_id, shown_id, place)
            where fold_duplicates is not null
            group by shown_id
        ),
        ranked as (
            select placed.*, folded.stack[2:] as stack,
                   row_number() over (
                       order by case when by_date <> 0 then by_date * extract(epoch from images.taken_at) end nulls last,
                                placed.place
                   ) as rank
            from placed
            left join folded on folded.shown_id = placed.image_id
            left join images on by_date <> 0 and images.id = placed.image_id
            where fold_duplicates is null or placed.fused is null or folded.shown_id is not null
        )
        select ranked.rank::integer, ranked.image_id, ranked.uri, ranked.score, ranked.captions, ranked.ef_search,
               case when normalise then ranked.value end, case when caption_weight > 0 then ranked.evidence end,
               case when fold_duplicates is not null then coalesce(ranked.stack, '{}') end
        from ranked
        where ranked.rank > skip and ranked.rank <= k::bigint + skip
        order by ranked.rank;
end;
$$;

comment on function rank_candidates is 'What search_images does where more is asked than to be near; call that';
