-- search_captions(words, k): pictures by the words of their captions, as in a web search: "two dogs" -cat or bird.
--
--   select * from image_retrieval.search_captions('đường phố');
--
-- Words match with or without their accents; a caption that has them as typed comes first (duong, dương and đường are
-- three words). score is PostgreSQL's ts_rank, not a cosine: compare it within one answer only.
create function search_captions(words text, k integer default 5)
returns table (rank integer, image_id uuid, uri text, score real, caption text)
language sql stable
rows 10
set search_path from current
as $$
    with question as (
        select websearch_to_tsquery('simple', normalize(words, nfc)) as typed,
               websearch_to_tsquery('simple', fold_accents(words)) as folded
    ),
    best as (
        select distinct on (captions.image_id) captions.image_id, captions.body,
               ts_rank('{0,0,0,1}', captions.search, question.typed)
               + ts_rank('{0.1,0,0,0}', captions.search, question.folded) as score
        from captions, question
        where captions.search @@ question.folded
        order by captions.image_id, score desc, captions.position
    )
    select row_number() over (order by best.score desc, best.image_id)::integer, best.image_id, images.uri, best.score,
           best.body
    from best join images on images.id = best.image_id
    order by best.score desc, best.image_id
    limit k;
$$;

comment on function search_captions is 'Pictures by the words of their captions; accents may be left out';
