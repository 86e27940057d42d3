-- duplicate_stacks(max_distance, collection): the pictures that nearly repeat each other, in stacks.
--
--   select * from image_retrieval.duplicate_stacks(0.02);
--
-- Of a stack the picture with the most pixels, then the most bytes, is at place 1: the one to keep. The others are each
-- at most max_distance (cosine) from it. The largest stack comes first. near_duplicates finds the pairs by a search for
-- every picture, which takes its time in a large gallery; with a collection, pairs within it count.
create function duplicate_stacks(max_distance double precision default 0.02, collection text default null)
returns table (stack integer, place integer, image_id uuid, uri text, distance double precision)
language sql stable
set search_path from current
set jit = off
as $$
    with found as materialized (
        select pairs.image_id as one_id, pairs.duplicate_id as other_id from near_duplicates(max_distance) as pairs
    ),
    sized as materialized (
        select images.id, images.uri,
               row_number() over (
                   order by images.width::bigint * images.height desc, images.byte_size desc, images.id
               )::integer as number
        from images
        where images.id in (select one_id from found union select other_id from found)
          and (duplicate_stacks.collection is null or images.collection = duplicate_stacks.collection)
    ),
    pairs as (
        select greatest(one.number, other.number) as worse, least(one.number, other.number) as better
        from found
        join sized as one on one.id = found.one_id
        join sized as other on other.id = found.other_id
    ),
    folded as (
        select shown.number, shown.leader
        from unnest(fold_pairs(
            (select count(*)::integer from sized),
            (select array_agg(worse order by worse, better) from pairs),
            (select array_agg(better order by worse, better) from pairs)
        )) with ordinality as shown (leader, number)
    ),
    stacked as (
        select folded.leader, sized.number, sized.id, sized.uri, count(*) over (partition by folded.leader) as pictures
        from folded join sized using (number)
    )
    select dense_rank() over (order by stacked.pictures desc, stacked.leader)::integer,
           row_number() over (partition by stacked.leader order by stacked.number)::integer,
           stacked.id, stacked.uri, shown.embedding <=> folded.embedding
    from stacked
    join sized as keeper on keeper.number = stacked.leader
    join gallery as shown on shown.id = keeper.id
    join gallery as folded on folded.id = stacked.id
    where stacked.pictures > 1
    order by 1, 2;
$$;

comment on function duplicate_stacks is 'Pictures that nearly repeat each other, in stacks, the one to keep first';
