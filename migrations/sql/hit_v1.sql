-- hit: one row of an answer, the same from every search function.
create type hit as (
    rank integer,
    image_id uuid,
    uri text,
    score double precision,
    captions text[]
);

comment on type hit is 'One row of an answer, best first; score is the cosine similarity, 1 - cosine distance';
