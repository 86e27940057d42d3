-- drop_encoder(encoder_id): forget an encoder and all of its vectors; pictures and captions stay. Not the active one.
create function drop_encoder(encoder_id smallint)
returns void
language plpgsql
set search_path from current
as $$
declare
    state text;
begin
    perform pg_advisory_xact_lock(hashtext('image_retrieval.activate_encoder'));
    select encoders.state into state from encoders where id = drop_encoder.encoder_id;
    if not found then
        raise exception 'there is no encoder %', drop_encoder.encoder_id using errcode = 'no_data_found';
    end if;
    if state = 'active' then
        raise exception 'encoder % is the active one; activate another first', drop_encoder.encoder_id
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    -- the order in which store_images locks, so that neither waits for the other
    lock table images in share row exclusive mode;
    execute format('drop table %I', 'image_embeddings_' || drop_encoder.encoder_id);
    delete from encoders where id = drop_encoder.encoder_id;
end;
$$;

comment on function drop_encoder is 'Forget an encoder and its vectors; pictures and captions stay';
