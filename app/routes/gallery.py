"""What is in the gallery, and whether the service is well: collections, facets, encoders, /livez, /readyz."""

from importlib.metadata import version
from itertools import groupby

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from app.errors import QuestionError, StoppingError
from app.routes.access import writes
from app.routes.forms import AnyRequest
from app.schemas import (
    ActiveEncoder,
    CollectionAnswer,
    DuplicateAnswer,
    EncoderAnswer,
    Facet,
    FacetsAnswer,
    FacetValue,
    Health,
    StackAnswer,
    StatusAnswer,
    image_url,
    thumbnail_url,
)
from app.service import Service, require_same_encoder
from app.terms import MAX_TERMS, check_collection
from db.duplicates import MAX_DISTANCE, duplicate_stacks
from db.errors import EncoderMismatchError
from db.facets import read_facets
from db.gallery import active_encoder, count_images, list_collections, list_encoders

MOST_STACKS = 1000


@get("/api/collections", tags=["gallery"], operation_id="listCollections")
async def get_collections(service: NamedDependency[Service]) -> list[CollectionAnswer]:
    """List the collections with the number of their pictures."""
    async with service.pool.connection() as connection:
        collections = await list_collections(connection)
    return [
        CollectionAnswer(row.name, "uploads" if row.root is None else "folder", row.images, row.encoded)
        for row in collections
    ]


@get("/api/encoders", tags=["gallery"], operation_id="listEncoders")
async def get_encoders(service: NamedDependency[Service]) -> list[EncoderAnswer]:
    """List the encoders whose vectors are in the gallery, the active one first."""
    async with service.pool.connection() as connection:
        encoders = await list_encoders(connection)
    return [
        EncoderAnswer(row.name, row.checkpoint, row.fingerprint, row.dimension, row.state, row.images)
        for row in encoders
    ]


@get("/api/facets", tags=["gallery"], operation_id="listFacets")
async def get_facets(
    service: NamedDependency[Service], collection: FromQuery[str | None] = None
) -> FacetsAnswer:
    """List what questions can be narrowed to: attributes with their values, and the first and last date.

    At most 20 attributes and 20 values of each, the most frequent first.
    """
    if collection is not None:
        check_collection(collection)
    async with service.pool.connection() as connection:
        facets = await read_facets(connection, collection)
    return FacetsAnswer(
        count=facets.count,
        taken_from=facets.taken_from,
        taken_to=facets.taken_to,
        attributes=[
            Facet(key, [FacetValue(value, count) for value, count in values])
            for key, values in facets.attributes.items()
        ],
    )


@get("/api/duplicates", tags=["gallery"], operation_id="listDuplicates")
async def get_duplicates(
    service: NamedDependency[Service],
    collection: FromQuery[str | None] = None,
    max_distance: FromQuery[float] = MAX_DISTANCE,
    most: FromQuery[int] = 100,
) -> list[StackAnswer]:
    """List stacks of pictures that nearly repeat each other, the largest first; max_distance is cosine.

    It asks once for every picture: a large gallery needs longer than a request may take, and
    `image-retrieval duplicates` instead.
    """
    if collection is not None:
        check_collection(collection)
    if not 0 <= max_distance <= 2:
        raise QuestionError(f"max_distance is {max_distance}; it is a cosine distance, from 0 to 2")
    if not 1 <= most <= MOST_STACKS:
        raise QuestionError(f"most is {most}; it goes from 1 to {MOST_STACKS} stacks")
    async with service.pool.connection() as connection:
        found = await duplicate_stacks(
            connection, max_distance=max_distance, collection=collection, most_stacks=most
        )
    return [
        StackAnswer(
            [
                DuplicateAnswer(
                    picture.image_id,
                    picture.collection,
                    picture.uri,
                    picture.distance,
                    image_url(picture.image_id),
                    thumbnail_url(picture.image_id),
                )
                for picture in stack
            ]
        )
        for _, stack in groupby(found, key=lambda picture: picture.stack)
    ]


@get("/api/status", tags=["gallery"], operation_id="status")
async def get_status(request: AnyRequest, service: NamedDependency[Service]) -> StatusAnswer:
    """Tell what is here, what this client may do, and the bounds of what can be asked."""
    async with service.pool.connection() as connection:
        images = await count_images(connection)
        active = await active_encoder(connection)
    settings = service.settings
    return StatusAnswer(
        version=version("image-retrieval"),
        images=images,
        encoder=None
        if active is None
        else ActiveEncoder(active.name, active.checkpoint, active.fingerprint, active.dimension),
        writes=writes(request),
        max_upload_bytes=settings.max_upload_bytes,
        max_k=settings.max_k,
        max_text_chars=settings.max_text_chars,
        max_terms=MAX_TERMS,
    )


@get("/livez", tags=["health"], operation_id="live", opt={"scope": None})
async def live() -> Health:
    """Answer while the process runs."""
    return Health("ok")


@get("/readyz", tags=["health"], operation_id="ready", opt={"scope": None})
async def ready(service: NamedDependency[Service]) -> Health:
    """Answer 200 when questions can be answered: the database does, and the gallery is this encoder's.

    503 while the service stops, or has as much work as it takes on.
    """
    if service.admission.stopping:
        raise StoppingError("the service is stopping")
    service.admission.require_room()
    async with service.pool.connection(timeout=2.0) as connection:
        active = await active_encoder(connection)
    try:
        require_same_encoder(active, service.encoder)
    except EncoderMismatchError:  # the gallery may have changed its encoder since
        require_same_encoder(active, (await service.of_active_encoder()).encoder)
    return Health("ok")
