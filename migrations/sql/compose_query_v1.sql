-- compose_query(embeddings, weights): one unit vector for any number of weighted terms, negative weights included.
--
--   select image_retrieval.compose_query(array['[1,0]', '[0,1]']::vector[], array[2, -1]);
--
-- A sum near zero points nowhere, and is refused.
create function compose_query(embeddings vector[], weights double precision[])
returns vector
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    dimension integer;
    combined vector;
    total double precision;
begin
    if coalesce(cardinality(embeddings), 0) = 0 or cardinality(embeddings) <> coalesce(cardinality(weights), 0) then
        raise exception 'compose_query: % embeddings and % weights; one weight for each is needed, and at least one',
            coalesce(cardinality(embeddings), 0), coalesce(cardinality(weights), 0)
            using errcode = 'invalid_parameter_value';
    end if;
    if array_position(embeddings, null) is not null or array_position(weights, null) is not null then
        raise exception 'compose_query: an embedding or a weight is null' using errcode = 'null_value_not_allowed';
    end if;
    dimension := vector_dims(embeddings[1]);
    select sum(term.embedding * array_fill(term.weight::real, array[dimension])::vector)
    into combined
    from unnest(embeddings, weights) as term(embedding, weight);
    select sum(abs(weight)) into total from unnest(weights) as weight;
    if not vector_norm(combined) > 1e-3 * total then
        raise exception 'compose_query: the terms add up to nothing; they cancel each other out, or are zero'
            using errcode = 'data_exception';
    end if;
    return l2_normalize(combined);
end;
$$;

comment on function compose_query is 'Unit vector of any number of weighted terms, negative weights included';
