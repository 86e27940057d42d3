-- fill_biases(encoder_id, at_most): work out the biases of pictures that have none, or one by other captions.
--
--   select image_retrieval.fill_biases((select id from image_retrieval.encoders where state = 'active'));
--
-- Some pictures are near to every question, and stand in the way of those that were meant ("hubs"). A picture's bias
-- is 0.75 times the mean of its 128 highest cosine similarities with the reference captions, its own left out; what is
-- left of a score without it says how much nearer the picture is to this question than to others.
-- Source: Chowdhury et al. 2024, Nearest Neighbor Normalization Improves Multimodal Retrieval (arXiv 2410.24114).
--
-- at_most pictures a call, and how many they were is returned: call it until that is 0. Each call keeps what it did.
create function fill_biases(encoder_id smallint, at_most integer default 1000)
returns integer
language plpgsql
set search_path from current
set jit = off
as $$
#variable_conflict use_column
declare
    weight constant double precision := 0.75;
    neighbours constant integer := 128;
    digest text;
    filled integer;
begin
    digest := reference_digest(encoder_id);
    if digest is null then
        raise exception 'fill_biases: encoder % has no reference captions', encoder_id
            using errcode = 'object_not_in_prerequisite_state', hint = 'image-retrieval normalise';
    end if;
    insert into image_biases (encoder_id, image_id, bias, reference)
    select fill_biases.encoder_id, due.image_id, weight * coalesce(avg(nearest.similarity), 0), digest
    from (
        select pictures.image_id, pictures.embedding
        from image_embeddings as pictures
        left join image_biases as known using (encoder_id, image_id)
        where pictures.encoder_id = fill_biases.encoder_id and known.reference is distinct from digest
        order by pictures.image_id
        limit at_most
    ) as due
    left join lateral (
        select -(captions.embedding <#> due.embedding) as similarity
        from reference_captions as captions
        where captions.encoder_id = fill_biases.encoder_id and captions.image_id <> due.image_id
        order by captions.embedding <#> due.embedding
        limit neighbours
    ) as nearest on true
    group by due.image_id
    on conflict (image_id, encoder_id) do update set bias = excluded.bias, reference = excluded.reference;
    get diagnostics filled = row_count;
    return filled;
end;
$$;

comment on function fill_biases is 'Work out how near pictures are to whatever is asked, at_most a call; 0: all are done';
