-- caption_evidence(words, image_ids): how much of a question's words the captions of these pictures have, 0 to 1.
--
--   select * from image_retrieval.caption_evidence('hai con chó', array(select id from image_retrieval.gallery));
--
-- The best of a picture's captions counts. A word counts by its rarity (question_words), half of that where only its
-- letters are there and not its accents. A picture without captions has no row: nothing is known against it.
create function caption_evidence(words text, image_ids uuid[])
returns table (image_id uuid, share double precision)
language sql stable
set search_path from current
set jit = off
as $$
    with asked as materialized (
        select typed, folded, rarity / nullif(sum(rarity) over (), 0) as share from question_words(words)
    )
    select captions.image_id, max(found.share)
    from captions
    cross join lateral (
        select coalesce(sum(
            case when captions.search @@ asked.typed then asked.share
                 when captions.search @@ asked.folded then asked.share / 2
            end
        ), 0) as share
        from asked
    ) as found
    where captions.image_id = any (image_ids)
    group by captions.image_id;
$$;

comment on function caption_evidence is 'The share of a question''s words that the captions of these pictures have';
