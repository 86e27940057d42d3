-- fold_stacks(image_ids, max_distance): which of these pictures, given best first, stands for which, as fold_pairs says.
--
--   select * from image_retrieval.fold_stacks(array(select id from image_retrieval.gallery limit 200), 0.02);
--
-- max_distance is the largest cosine distance to the picture that is shown. All are compared with each other: for the
-- hundreds of an answer; duplicate_stacks is for all there are.
create function fold_stacks(image_ids uuid[], max_distance double precision default 0.02)
returns table (image_id uuid, shown_id uuid)
language sql stable
set search_path from current
set jit = off
as $$
    with given as materialized (
        select given.place::integer, gallery.embedding
        from unnest(image_ids) with ordinality as given (id, place)
        join gallery on gallery.id = given.id
    ),
    pairs as (
        select array_agg(worse.place order by worse.place, better.place) as worse,
               array_agg(better.place order by worse.place, better.place) as better
        from given as worse
        join given as better on better.place < worse.place
        where worse.embedding <=> better.embedding <= max_distance
    )
    select image_ids[shown.place], image_ids[shown.leader]
    from pairs, unnest(fold_pairs(cardinality(image_ids), pairs.worse, pairs.better)) with ordinality as shown (leader, place);
$$;

comment on function fold_stacks is 'Of pictures given best first, those that nearly repeat a better one, and which';
