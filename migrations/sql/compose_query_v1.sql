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
    heaviest double precision;
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
    select max(abs(weight)), sum(abs(weight)) into heaviest, total from unnest(weights) as weight;
    -- relative to the heaviest, and rounded: in single precision the rest would only underflow
    select sum(embedding * array_fill(round((weight / heaviest)::numeric, 9)::real, array[dimension])::vector)
    into combined
    from unnest(embeddings, weights) as term(embedding, weight)
    where heaviest > 0;
    if combined is null or vector_norm(combined) < 1e-3 * total / heaviest then
        raise exception 'compose_query: the terms add up to nothing; they cancel each other out, or are zero'
            using errcode = 'data_exception';
    end if;
    return l2_normalize(combined);
end;
$$;

comment on function compose_query is 'Unit vector of any number of weighted terms, negative weights included';
