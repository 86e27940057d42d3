-- encoder_switches: when an encoder was announced as the next one, and when it last became active: what a switch and its
-- way back go by.
create table encoder_switches (
    encoder_id smallint primary key references encoders on delete cascade,
    announced_at timestamptz,
    activated_at timestamptz
);
comment on table encoder_switches is 'When each encoder was last announced and made active';
comment on column encoder_switches.encoder_id is 'Which encoder';
comment on column encoder_switches.announced_at is
    'When it was said to be the next active one; running services load it then';
comment on column encoder_switches.activated_at is
    'When it became active; the latest but one is what rollback goes back to';
insert into encoder_switches (encoder_id, activated_at) select id, now() from encoders where state = 'active';
