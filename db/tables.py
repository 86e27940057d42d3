"""The tables as SQLAlchemy sees them: what `alembic check` holds the migrations against. It does not query.

Alembic compares tables, columns, types, keys and plain indexes; constraints' texts, functions and views are
held by the frozen files of migrations/sql and their tests.
"""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

SCHEMA = "image_retrieval"
metadata = MetaData(schema=SCHEMA)

encoders = Table(
    "encoders",
    metadata,
    Column("id", SmallInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("checkpoint", Text, nullable=False, comment="Where it was loaded from: a hub name or a folder"),
    Column(
        "fingerprint",
        Text,
        nullable=False,
        unique=True,
        comment="SHA-256 over weights, tokenizer and preprocessing: the identity of a model",
    ),
    Column(
        "dimension",
        Integer,
        nullable=False,
        comment="Length of its vectors; 4000 is the most an HNSW index of halfvec takes",
    ),
    Column(
        "preprocessing",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="How a picture is made ready for it: size, resize mode, mean, standard deviation",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="loading",
        comment="loading (being filled), ready, active (what gallery shows), retired",
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state in ('loading', 'ready', 'active', 'retired')"),
    Index("encoders_one_active", "state", unique=True, postgresql_where=text("state = 'active'")),
    comment="Every model whose vectors are here; at most one is active",
)

encoder_switches = Table(
    "encoder_switches",
    metadata,
    Column(
        "encoder_id",
        SmallInteger,
        ForeignKey(encoders.c.id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="Which encoder",
    ),
    Column(
        "announced_at",
        DateTime(timezone=True),
        comment="When it was said to be the next active one; running services load it then",
    ),
    Column(
        "activated_at",
        DateTime(timezone=True),
        comment="When it became active; the latest but one is what rollback goes back to",
    ),
    comment="When each encoder was last announced and made active",
)

collections = Table(
    "collections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("root", Text, comment="Folder indexed in place; null: uploads, kept in the data folder"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Named sets of pictures",
)

images = Table(
    "images",
    metadata,
    Column(
        "id",
        Uuid,
        primary_key=True,
        comment="First 128 bits of SHA-256(collection, file bytes), as a version 8 UUID:"
        " the content is the key",
    ),
    Column("collection", ForeignKey(collections.c.name), nullable=False),
    Column(
        "uri", Text, nullable=False, comment="Path below the collection's root, or below the upload store"
    ),
    Column("width", Integer, nullable=False, comment="Pixels, of the upright picture"),
    Column("height", Integer, nullable=False, comment="Pixels, of the upright picture"),
    Column(
        "format",
        Text,
        nullable=False,
        comment="As decoded, not as the file is called: jpeg, png, webp, …",
    ),
    Column("byte_size", BigInteger, nullable=False),
    Column(
        "taken_at",
        DateTime(timezone=True),
        comment="When the camera says it was taken; null if it does not say",
    ),
    Column(
        "perceptual_hash",
        BigInteger,
        nullable=False,
        comment="64-bit difference hash: near duplicates differ in few bits",
    ),
    Column(
        "attributes",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="Anything else known about it, to filter on:"
        " search_images(…, attributes => '{\"year\": 2019}')",
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("images_collection_uri", "collection", "uri"),
    Index("images_attributes", "attributes", postgresql_using="gin"),
    Index("images_taken_at", "taken_at"),
    comment="One row a picture",
)

captions = Table(
    "captions",
    metadata,
    Column("image_id", ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, comment="0 is the first"),
    Column("language", Text, comment="ISO 639-1, where known"),
    Column("body", Text, nullable=False),
    Column(
        "search",
        TSVECTOR,
        Computed(
            "((setweight(to_tsvector('simple'::regconfig, NORMALIZE(body, NFC)), 'A'::\"char\")"
            " || '''|'':1'::tsvector)"
            " || setweight(to_tsvector('simple'::regconfig, image_retrieval.fold_accents(body)),"
            " 'D'::\"char\"))",
            persisted=True,
        ),
        nullable=False,
        comment="Words as typed (weight A) and without accents (weight D)",
    ),
    Index("captions_search", "search", postgresql_using="gin"),
    comment="What people said about a picture, in order",
)

text_embeddings = Table(
    "text_embeddings",
    metadata,
    Column("encoder_id", SmallInteger, ForeignKey(encoders.c.id, ondelete="CASCADE"), primary_key=True),
    Column(
        "digest",
        Text,
        Computed("md5(words)", persisted=True),
        primary_key=True,
        comment="MD5 of the words, for an index entry of theirs may be too long",
    ),
    Column("words", Text, nullable=False, comment="The words as they were encoded"),
    Column("embedding", HALFVEC, nullable=False, comment="Unit vector of the words by this encoder"),
    Column(
        "asked_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="When they were last encoded; the longest ago go first",
    ),
    Index("text_embeddings_asked_at", "encoder_id", "asked_at"),
    comment="What was asked in words lately, as the encoder understood it; for search_text",
)

image_embeddings = Table(
    "image_embeddings",
    metadata,
    Column("encoder_id", ForeignKey(encoders.c.id), primary_key=True),
    Column("image_id", ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    Column("embedding", HALFVEC, nullable=False, comment="Unit length; each partition takes one dimension"),
    Index("image_embeddings_image_id", "image_id"),
    postgresql_partition_by="LIST (encoder_id)",
    comment="Unit vectors: one partition an encoder, each with its own HNSW index",
)

reference_captions = Table(
    "reference_captions",
    metadata,
    Column("encoder_id", ForeignKey(encoders.c.id, ondelete="CASCADE"), primary_key=True),
    Column("image_id", Uuid, primary_key=True),
    Column("position", SmallInteger, primary_key=True, comment="Which of the picture's captions"),
    Column(
        "embedding",
        HALFVEC,
        nullable=False,
        comment="Unit length; a caption that changes takes it along",
    ),
    Column(
        "nearest",
        REAL,
        comment="Of some: its highest cosine similarity with a picture that is not its own, by fill_chance",
    ),
    Index(
        "reference_captions_nearest",
        "encoder_id",
        "nearest",
        postgresql_where=text("nearest is not null"),
    ),
    ForeignKeyConstraint(
        ["image_id", "position"], [captions.c.image_id, captions.c.position], ondelete="CASCADE"
    ),
    comment="A sample of the captions as an encoder's vectors: what people say here",
)

image_biases = Table(
    "image_biases",
    metadata,
    Column("encoder_id", ForeignKey(encoders.c.id, ondelete="CASCADE"), primary_key=True),
    Column("image_id", ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    Column(
        "bias",
        REAL,
        nullable=False,
        comment="0.75 times the mean of its 128 highest cosine similarities with reference_captions",
    ),
    Column(
        "reference",
        Text,
        nullable=False,
        comment="Digest of the reference captions that it was worked out from",
    ),
    comment="How near a picture is to whatever is asked: taken off its score by normalise",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column(
        "id",
        Text,
        primary_key=True,
        comment="Part of the key that is no secret: it names the key in lists and logs",
    ),
    Column("name", Text, nullable=False, comment="Whose key it is; of those not revoked, each has its own"),
    Column("scope", Text, nullable=False, comment="read, write (and read), admin (and both)"),
    Column("secret_hash", LargeBinary, nullable=False, comment="SHA-256 of the whole key"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "last_used_at",
        DateTime(timezone=True),
        comment="To the minute: it is noted once a minute at most",
    ),
    Column("revoked_at", DateTime(timezone=True), comment="From then on it is refused; null: it is good"),
    CheckConstraint("scope in ('read', 'write', 'admin')"),
    Index("api_keys_name", "name", unique=True, postgresql_where=text("revoked_at is null")),
    comment="Keys that the HTTP service takes, as hashes; image-retrieval keys makes and revokes them",
)

judgements = Table(
    "judgements",
    metadata,
    Column("image_id", ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    Column("question", Text, nullable=False, comment="The words that were asked"),
    Column(
        "question_hash",
        BigInteger,
        Computed("hashtextextended(question, (0)::bigint)", persisted=True),
        primary_key=True,
        comment="Of the question, which may be too long for an index",
    ),
    Column("fits", Boolean, nullable=False, comment="true: more like this; false: less like this"),
    Column("judged_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("question <> ''"),
    comment="Whether a picture fits a question, as somebody judged it; judged again, the last word counts",
)
