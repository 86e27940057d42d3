"""Questions and answers as they travel over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.search import DEFAULT_K, MAX_EXCLUDED
from app.terms import DEFAULT_ALPHA, MAX_TERMS, MAX_WEIGHT, Kind
from db.searching import Sort

Moment = Annotated[
    str,
    Meta(
        description="ISO 8601; without a zone it is UTC",
        examples=["2024-05-01", "2024-05-01T12:00:00Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
PictureText = Annotated[
    str,
    Meta(description="A picture as base64 or as a data: URI", extra_json_schema={"format": "byte"}),
]
VectorText = Annotated[
    str,
    Meta(
        description="A vector of the encoder's: base64 of its numbers as little-endian float16",
        extra_json_schema={"format": "embedding"},
    ),
]
Start = Annotated[float, Meta(ge=0, le=1)]
Length = Annotated[float, Meta(gt=0, le=1)]
Pixels = Annotated[int, Meta(ge=1)]
CosineDistance = Annotated[float, Meta(ge=0, le=2)]


class Rectangle(Struct, frozen=True, forbid_unknown_fields=True):
    """Part of an upright picture: its left upper corner and its sides, in fractions of the picture's."""

    x: Start
    y: Start
    width: Length
    height: Length


class TermRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a question: exactly one of text, image, image_id and embedding, and what it weighs."""

    text: Annotated[str | None, Meta(description="Words")] = None
    image: PictureText | None = None
    image_id: Annotated[UUID | None, Meta(description="A picture of the gallery")] = None
    embedding: VectorText | None = None
    weight: Annotated[
        float, Meta(ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="Below zero it leads away from the term")
    ] = 1.0
    region: Annotated[
        Rectangle | None, Meta(description="Only this part of the picture (of image or image_id)")
    ] = None


class SearchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: words, a picture, or both; or any number of weighted terms.

    Multipart sends the picture as a file in the field image, and takes no terms.
    """

    text: Annotated[str | None, Meta(description="Words to search by")] = None
    image: PictureText | None = None
    image_id: Annotated[
        UUID | None, Meta(description="A picture of the gallery instead of an uploaded one")
    ] = None
    alpha: Annotated[float, Meta(ge=0, le=1, description="Weight of the words; the picture has the rest")] = (
        DEFAULT_ALPHA
    )
    terms: Annotated[
        Annotated[list[TermRequest], Meta(min_length=1, max_length=MAX_TERMS)] | None,
        Meta(description="Instead of text, image, image_id and alpha"),
    ] = None
    k: Annotated[int, Meta(ge=1, description="Most hits wanted")] = DEFAULT_K
    offset: Annotated[int, Meta(ge=0, description="Hits to leave out first")] = 0
    collection: Annotated[str | None, Meta(description="Only pictures of this collection")] = None
    attributes: Annotated[
        dict[str, Any] | None, Meta(description="Only pictures whose attributes contain these")
    ] = None
    exclude: Annotated[list[UUID], Meta(max_length=MAX_EXCLUDED, description="Never these pictures")] = (
        msgspec.field(default_factory=list)
    )
    exclude_self: Annotated[
        bool, Meta(description="Never the gallery's pictures that the question is made of")
    ] = False
    taken_from: Annotated[Moment | None, Meta(description="Only pictures taken then or later")] = None
    taken_to: Annotated[Moment | None, Meta(description="Only pictures taken before then")] = None
    min_score: Annotated[float | None, Meta(description="Only hits with at least this score")] = None
    sort: Annotated[
        Sort, Meta(description="newest and oldest sort the 200 best matches by when they were taken")
    ] = "relevance"
    exact: Annotated[bool, Meta(description="Compare with every picture instead of asking the index")] = False
    min_width: Annotated[Pixels | None, Meta(description="Only pictures at least so wide, in pixels")] = None
    min_height: Annotated[Pixels | None, Meta(description="Only pictures at least so high, in pixels")] = None
    caption_weight: Annotated[
        float, Meta(ge=0, le=1, description="How much the words count that are in the pictures' captions")
    ] = 0.0
    normalise: Annotated[bool, Meta(description="Hold back pictures that are near to whatever is asked")] = (
        False
    )
    fold_duplicates: Annotated[
        CosineDistance | None,
        Meta(description="Fold pictures this close (say 0.02) under the best of them"),
    ] = None
    background: Annotated[
        bool, Meta(description="Also say how near random pictures are, so what a score is worth")
    ] = False
    rerank: Annotated[bool, Meta(description="Have the service's reranker order the hits of the page")] = (
        False
    )
    literal: Annotated[
        bool,
        Meta(description='Words as they are; else what "without", "no", "không" negate is taken out'),
    ] = False
    balanced: Annotated[
        bool,
        Meta(description="Scale each term by the spread of its scores, so that weights mean what they say"),
    ] = False
    more: Annotated[list[UUID], Meta(description="More like these pictures of the gallery")] = msgspec.field(
        default_factory=list
    )
    less: Annotated[list[UUID], Meta(description="Less like these")] = msgspec.field(default_factory=list)


class JudgementRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures of the gallery that fit a question in words, and pictures that do not."""

    text: Annotated[str, Meta(description="The question")]
    more: Annotated[list[UUID], Meta(description="Pictures that fit")] = msgspec.field(default_factory=list)
    less: Annotated[list[UUID], Meta(description="Pictures that do not")] = msgspec.field(
        default_factory=list
    )


class JudgementAnswer(Struct, frozen=True):
    """How many judgements were noted."""

    text: str
    more: int
    less: int


class AskRequest(SearchRequest, frozen=True, forbid_unknown_fields=True):
    """A question whose answer is also told in words."""

    language: Annotated[Literal["en", "vi"], Meta(description="Of the words of the answer")] = "en"


class ReportedRequest(Struct, frozen=True):
    """A question in the form of the first front end; fields that it does not know are passed over."""

    query: str | None = None
    alpha: float = DEFAULT_ALPHA


class EncoderEcho(Struct, frozen=True):
    """The encoder that ranked the hits."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int


class TermEcho(Struct, frozen=True):
    """A term as it was understood.

    understood is what is asked for by words, without what they negate, and without are the concepts that were
    taken out of it. Words longer than the encoder reads are the mean of so many sentences; truncated says
    that one of these is a single word of which only the beginning was read.
    embedding is given for an uploaded picture, a region and a vector: sent as a term again, it asks the same.
    """

    kind: Kind
    text: str | None
    image_id: UUID | None
    weight: float
    understood: str | None
    without: list[str]
    sentences: int
    truncated: bool
    region: Rectangle | None
    embedding: str | None


class QueryEcho(Struct, frozen=True):
    """The question as it was understood: the weights used, and whether a text was too long (truncated).

    text, image and image_id are those of the only term of that kind; text_weight and image_weight are what
    the words and all else weigh together.
    """

    text: str | None
    image: str | None
    image_id: UUID | None
    alpha: float
    text_weight: float
    image_weight: float
    terms: list[TermEcho]
    k: int
    offset: int
    collection: str | None
    attributes: dict[str, Any] | None
    exclude: list[UUID]
    taken_from: datetime | None
    taken_to: datetime | None
    min_score: float | None
    sort: Sort
    truncated: bool
    exact: bool
    min_width: int | None
    min_height: int | None
    caption_weight: float
    normalise: bool
    fold_duplicates: float | None
    background: bool
    rerank: bool
    literal: bool
    balanced: bool
    more: list[UUID]
    less: list[UUID]
    encoder: EncoderEcho


class HitAnswer(Struct, frozen=True):
    """One picture found. Scores are cosine similarities, from -1 to 1: with the question, and with each term.

    text_score is that of the only words, image_score that of the only picture; null if there are none, or
    several. What else it was ranked by is null where it was not asked for: normalised is the score less the
    picture's bias, caption_score the share of the words in its captions (null: it has none), stack the
    pictures folded under this one, percentile how many of a hundred random pictures score less.
    """

    rank: int
    id: UUID
    score: float
    text_score: float | None
    image_score: float | None
    term_scores: list[float]
    captions: list[str]
    collection: str
    uri: str
    width: int
    height: int
    format: str
    byte_size: int
    taken_at: datetime | None
    attributes: dict[str, Any]
    image_url: str
    thumbnail_url: str
    normalised: float | None = None
    caption_score: float | None = None
    stack: list[UUID] | None = None
    percentile: float | None = None


class Timings(Struct, frozen=True):
    """Where the time went, in milliseconds."""

    encode: float
    database: float
    total: float


class BackgroundAnswer(Struct, frozen=True):
    """What scores are held against: mean and standard deviation of those of a sample of random pictures.

    chance is how near captions come, 19 times of 20, to pictures that they were not written for; nothing_near
    says that no hit scores as much. Both are null before `image-retrieval normalise`.
    """

    sample: int
    mean: float | None
    deviation: float | None
    chance: float | None
    nothing_near: bool | None


class SearchAnswer(Struct, frozen=True):
    """Ranked hits, and how they were found; background is null where it was not asked for."""

    query: QueryEcho
    hits: list[HitAnswer]
    timings_ms: Timings
    background: BackgroundAnswer | None = None


class SimilarAnswer(Struct, frozen=True):
    """The pictures most like one of the gallery, without itself."""

    image_id: UUID
    hits: list[HitAnswer]


class ReportedHit(Struct, frozen=True):
    """A hit in the form of the first front end: the picture itself, as a data: URI."""

    image: str
    score: float


class ReportedAnswer(Struct, frozen=True):
    """The five best, in the form of the first front end."""

    top5: list[ReportedHit]


class HitsEvent(Struct, frozen=True):
    """Some of the hits of an answer that is streamed, in the order of their ranks."""

    hits: list[HitAnswer]


class TextEvent(Struct, frozen=True):
    """The answer in words: as Markdown, and as HTML that holds nothing but formatted text."""

    html: str
    markdown: str


class Receipt(Struct, frozen=True):
    """How the hits were found; sql gives the same rows in psql, in the order before a reranker's.

    ef_search is how many candidates the HNSW index looked at; null when all that match were compared (exact).
    """

    encoder: EncoderEcho
    terms: list[TermEcho]
    balanced: bool
    more: list[UUID]
    less: list[UUID]
    k: int
    offset: int
    exact: bool
    ef_search: int | None
    caption_weight: float
    normalise: bool
    fold_duplicates: float | None
    reranker: str | None
    sql: str


class DoneEvent(Struct, frozen=True):
    """The end of an answer that is streamed; more says that a further page may hold hits."""

    timings_ms: Timings
    receipt: Receipt
    more: bool
    background: BackgroundAnswer | None = None


class ErrorEvent(Struct, frozen=True):
    """What went wrong after the answer had begun: the members of a problem (RFC 9457)."""

    status: int
    title: str
    detail: str
