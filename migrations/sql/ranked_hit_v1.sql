-- ranked_hit: one row of an answer of search_images, with what else it was ranked by.
create type ranked_hit as (
    rank integer,
    image_id uuid,
    uri text,
    score double precision,
    captions text[],
    ef_search integer,
    normalised double precision,
    caption_score double precision,
    stack uuid[]
);

comment on type ranked_hit is 'One row of an answer, best first; what was not asked for is null';
comment on column ranked_hit.score is 'The cosine similarity, 1 - cosine distance, whatever it was ranked by';
comment on column ranked_hit.ef_search is 'How many candidates the HNSW index looked at; null: all that match were compared';
comment on column ranked_hit.normalised is 'Score less the picture''s bias, if normalise';
comment on column ranked_hit.caption_score is
    'Share of the question''s words that its captions have, rare words counting more; null: it has no captions';
comment on column ranked_hit.stack is 'Pictures folded under this one, best first, if fold_duplicates';
