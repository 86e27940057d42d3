-- balanced_query(embeddings, weights): compose_query with each term centred and scaled by its own spread over the gallery.
--
--   select image_retrieval.balanced_query(array['[1,0]', '[0,1]']::vector[], array[0.6, 0.4]);
--
-- In a plain sum a picture outweighs words: pictures score further apart with it (see score_spread). Here each term's
-- scores have the same spread before they are weighed, so that a weight of 0.6 is six tenths of the say; and what all
-- pictures have in common, gallery_centre(), is taken from each. One term alone stays as it is.
create function balanced_query(embeddings vector[], weights double precision[])
returns vector
language plpgsql stable
set search_path from current
as $$
declare
    centre vector;
    centred vector[];
    balanced double precision[];
begin
    if coalesce(cardinality(embeddings), 0) < 2 or cardinality(embeddings) is distinct from cardinality(weights) then
        return compose_query(embeddings, weights);  -- which says what is wrong, if anything is
    end if;
    centre := gallery_centre();
    select array_agg(coalesce(l2_normalize(embedding) - centre, embedding) order by place)
    into centred
    from unnest(embeddings) with ordinality as term (embedding, place);
    select array_agg(weight / coalesce(nullif(score_spread(term), 0), 1) order by place)
    into balanced
    from unnest(centred, weights) with ordinality as term (term, weight, place);
    return compose_query(centred, balanced);
end;
$$;

comment on function balanced_query is 'Unit vector of weighted terms, each centred and scaled by the spread of its scores over the gallery';
