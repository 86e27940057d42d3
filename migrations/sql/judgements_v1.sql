-- What people said of answers: this picture fits this question, or does not. Exported, they train the next encoder.

create table judgements (
    image_id uuid not null references images (id) on delete cascade,
    question text not null check (question <> ''),
    question_hash bigint not null generated always as (hashtextextended(question, 0)) stored,
    fits boolean not null,
    judged_at timestamptz not null default now(),
    primary key (image_id, question_hash)
);
comment on table judgements is 'Whether a picture fits a question, as somebody judged it; judged again, the last word counts';
comment on column judgements.question is 'The words that were asked';
comment on column judgements.question_hash is 'Of the question, which may be too long for an index';
comment on column judgements.fits is 'true: more like this; false: less like this';
