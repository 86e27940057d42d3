-- activate_encoder(encoder_id): from the next statement on, gallery and every search use this encoder's vectors.
--
-- One transaction; the encoder that was active stays ready, so that going back is as quick.
create or replace function activate_encoder(encoder_id smallint)
returns void
language plpgsql
set search_path from current
as $$
begin
    perform pg_advisory_xact_lock(hashtext('image_retrieval.activate_encoder'));
    if not exists (select from encoders where id = activate_encoder.encoder_id) then
        raise exception 'there is no encoder %', activate_encoder.encoder_id using errcode = 'no_data_found';
    end if;
    update encoders set state = 'ready' where state = 'active' and id <> activate_encoder.encoder_id;
    update encoders set state = 'active' where id = activate_encoder.encoder_id;
    insert into encoder_switches as known (encoder_id, activated_at)
    values (activate_encoder.encoder_id, clock_timestamp())
    on conflict on constraint encoder_switches_pkey do update set activated_at = excluded.activated_at;
    perform create_gallery_view(activate_encoder.encoder_id);
end;
$$;
