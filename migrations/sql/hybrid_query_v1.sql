-- hybrid_query(text_embedding, image_embedding, alpha): one unit vector for a question in words and a picture.
--
--   select image_retrieval.hybrid_query('[1,0]', '[0,1]', 0.6);   -- [0.8320503,0.5547002]
--
-- l2_normalize(alpha · text + (1 - alpha) · image): alpha is the weight of the words. One side null gives the other.
-- For unit vectors, alpha · d_text + (1 - alpha) · d_image orders exactly as the distance to this vector does, so a
-- question with two parts still is one ordered index scan.
create function hybrid_query(text_embedding vector, image_embedding vector, alpha double precision default 0.6)
returns vector
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    dimension integer;
    combined vector;
begin
    if text_embedding is null and image_embedding is null then
        raise exception 'hybrid_query: both embeddings are null' using errcode = 'null_value_not_allowed';
    end if;
    if alpha is null or not alpha between 0 and 1 then
        raise exception 'hybrid_query: alpha is %, it must be from 0 (the picture alone) to 1 (the words alone)', alpha
            using errcode = 'invalid_parameter_value';
    end if;
    if text_embedding is null then
        combined := image_embedding;
    elsif image_embedding is null then
        combined := text_embedding;
    else
        dimension := vector_dims(text_embedding);
        if dimension <> vector_dims(image_embedding) then
            raise exception 'hybrid_query: the text embedding has % dimensions, the image embedding %',
                dimension, vector_dims(image_embedding) using errcode = 'data_exception';
        end if;
        alpha := round(alpha::numeric, 9);  -- a single-precision weight beyond this would only underflow
        combined := text_embedding * array_fill(alpha::real, array[dimension])::vector
                  + image_embedding * array_fill((1 - alpha)::real, array[dimension])::vector;
    end if;
    if not vector_norm(combined) >= 1e-3 then
        raise exception 'hybrid_query: the parts add up to nothing; they are opposite to each other, or zero'
            using errcode = 'data_exception';
    end if;
    return l2_normalize(combined);
end;
$$;

comment on function hybrid_query is 'Unit vector of words (weight alpha) and a picture (weight 1 - alpha)';
