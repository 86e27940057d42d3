-- register_encoder(name, checkpoint, fingerprint, dimension, preprocessing): the id of this encoder, known or new.
--
-- A new one gets a partition of image_embeddings that takes vectors of its dimension only. The first of all
-- becomes active at once, so that what is indexed can be searched while the rest is still coming in.
create function register_encoder(
    name text,
    checkpoint text,
    fingerprint text,
    dimension integer,
    preprocessing jsonb default '{}'
)
returns smallint
language plpgsql
set search_path from current
as $$
#variable_conflict use_column
declare
    known smallint;
    free_name text := register_encoder.name;
begin
    -- two processes that bring the same encoder take turns
    perform pg_advisory_xact_lock(hashtext('image_retrieval.register_encoder'));
    select id into known from encoders where fingerprint = register_encoder.fingerprint;
    if found then
        return known;
    end if;
    if exists (select from encoders where name = register_encoder.name) then
        free_name := register_encoder.name || '-' || left(register_encoder.fingerprint, 8);
    end if;
    insert into encoders (name, checkpoint, fingerprint, dimension, preprocessing)
    values (free_name, register_encoder.checkpoint, register_encoder.fingerprint, register_encoder.dimension,
            register_encoder.preprocessing)
    returning id into known;
    -- a partition locks images and then image_embeddings, as store_images does: in this order nobody waits in a circle
    lock table images in share row exclusive mode;
    execute format(
        'create table %I partition of image_embeddings (constraint %I check (vector_dims(embedding) = %s))'
        ' for values in (%s)',
        'image_embeddings_' || known, 'image_embeddings_' || known || '_dimension', register_encoder.dimension, known
    );
    if not exists (select from encoders where state = 'active') then
        perform activate_encoder(known);
    end if;
    return known;
end;
$$;

comment on function register_encoder is 'The id of this encoder, known or new; a new one gets a partition, the first is active';
