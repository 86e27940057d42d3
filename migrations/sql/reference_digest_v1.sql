-- reference_digest(encoder_id): which captions pictures are compared with to find their biases; null: none.
--
--   select image_retrieval.reference_digest(1::smallint);
create function reference_digest(encoder_id smallint)
returns text
language sql stable
set search_path from current
as $$
    select md5(string_agg(image_id || '/' || position, ',' order by image_id, position))
    from reference_captions
    where reference_captions.encoder_id = reference_digest.encoder_id;
$$;

comment on function reference_digest is 'Digest of an encoder''s reference captions; biases by another one are out of date';
