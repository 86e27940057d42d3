-- What the better rankings stand on: vectors of some captions, and how much each picture is liked by all of them.
--
-- Both are worked out from the gallery (image-retrieval normalise) and may be deleted at any time. A picture's bias is
-- not a column of image_embeddings: changing a row there would put its vector into the HNSW index once more.

create table reference_captions (
    encoder_id smallint not null references encoders (id) on delete cascade,
    image_id uuid not null,
    position smallint not null,
    embedding halfvec not null check (l2_norm(embedding) between 0.99 and 1.01),
    nearest real,
    primary key (image_id, position, encoder_id),
    foreign key (image_id, position) references captions (image_id, position) on delete cascade
);
create index reference_captions_nearest on reference_captions (encoder_id, nearest) where nearest is not null;
comment on table reference_captions is 'A sample of the captions as an encoder''s vectors: what people say here';
comment on column reference_captions.position is 'Which of the picture''s captions';
comment on column reference_captions.embedding is 'Unit length; a caption that changes takes it along';

create table image_biases (
    encoder_id smallint not null references encoders (id) on delete cascade,
    image_id uuid not null references images (id) on delete cascade,
    bias real not null check (bias between -1 and 1),
    reference text not null,
    primary key (image_id, encoder_id)
);
comment on column reference_captions.nearest is
    'Of some: its highest cosine similarity with a picture that is not its own, by fill_chance';
comment on table image_biases is 'How near a picture is to whatever is asked: taken off its score by normalise';
comment on column image_biases.bias is '0.75 times the mean of its 128 highest cosine similarities with reference_captions';
comment on column image_biases.reference is 'Digest of the reference captions that it was worked out from';
