-- feedback_query(query, more, less, more_weight, less_weight): a question moved towards some pictures of the gallery and
-- away from others: more like these, less like those.
--
--   select image_retrieval.feedback_query('[1,0]', more => array['01234567-89ab-8def-8123-456789abcdef']::uuid[]);
--
-- Rocchio (1971): query + more_weight · mean(more) − less_weight · mean(less), the pictures taken from gallery_centre(),
-- for what all have in common says nothing. The means are scaled to the spread of the question's own scores (see
-- score_spread), or they would outweigh it. Without pictures the question stays as it is.
create function feedback_query(
    query vector,
    more uuid[] default '{}',
    less uuid[] default '{}',
    more_weight double precision default 0.2,
    less_weight double precision default 0.2
)
returns vector
language plpgsql stable
set search_path from current
as $$
declare
    centre vector;
    spread double precision;
    unknown uuid;
    moved vector;
    terms vector[] := array[query];
    weights double precision[] := array[1];
    side record;
begin
    if query is null then
        raise exception 'feedback_query: the query vector is null' using errcode = 'null_value_not_allowed';
    end if;
    if more_weight is null or less_weight is null or not (more_weight between 0 and 10 and less_weight between 0 and 10)
    then
        raise exception 'feedback_query: the weights are % and %, they must be from 0 to 10', more_weight, less_weight
            using errcode = 'invalid_parameter_value';
    end if;
    if coalesce(cardinality(more), 0) + coalesce(cardinality(less), 0) = 0 then
        return (query);  -- in brackets, for "return query" is another statement
    end if;
    select judged.id into unknown
    from unnest(more || less) as judged (id)
    where not exists (select from gallery where gallery.id = judged.id);
    if found then
        raise exception 'feedback_query: there is no picture % in the gallery', unknown using errcode = 'no_data_found';
    end if;
    centre := gallery_centre();
    spread := score_spread(query);
    for side in
        select * from (values (more, more_weight), (less, -less_weight)) as sides (ids, weight)
        where cardinality(ids) > 0
    loop
        select avg(gallery.embedding::vector) - centre into moved from gallery where gallery.id = any (side.ids);
        terms := terms || moved;
        -- pictures that are the centre itself, or a gallery of one, lead nowhere
        weights := weights || coalesce(side.weight * spread / nullif(score_spread(moved), 0), 0);
    end loop;
    return compose_query(terms, weights);
end;
$$;

comment on function feedback_query is 'Unit vector of a question moved towards some pictures of the gallery, and away from others';
