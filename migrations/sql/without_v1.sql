-- without(query, concept, strength): a question with one concept taken out of it, "a man" without "a hat".
--
--   select image_retrieval.without('[1,0]', '[0,1]', 0.75);   -- [0.8,-0.6]
--
-- query − strength · concept, made unit length again, of unit vectors. Taking out the concept's projection instead takes
-- more the more alike the two are, and with it what was asked for.
create function without(query vector, concept vector, strength double precision default 0.4)
returns vector
language plpgsql immutable parallel safe
set search_path from current
as $$
begin
    if query is null or concept is null or strength is null then
        raise exception 'without: the query, the concept or the strength is null'
            using errcode = 'null_value_not_allowed';
    end if;
    if not strength between 0 and 10 then
        raise exception 'without: strength is %, it must be from 0 to 10', strength
            using errcode = 'invalid_parameter_value';
    end if;
    return compose_query(array[l2_normalize(query), l2_normalize(concept)], array[1, -strength]);
end;
$$;

comment on function without is 'Unit vector of a question with a concept taken out of it';
