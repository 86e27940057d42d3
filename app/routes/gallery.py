"""What is in the gallery, and whether the service is well: collections, encoders, /livez, /readyz."""

from litestar import get
from litestar.di import NamedDependency

from app.errors import StoppingError
from app.schemas import CollectionAnswer, EncoderAnswer, Health
from app.service import Service, require_same_encoder
from db.gallery import active_encoder, list_collections, list_encoders


@get("/api/collections", tags=["gallery"], operation_id="listCollections")
async def get_collections(service: NamedDependency[Service]) -> list[CollectionAnswer]:
    """List the collections with the number of their pictures."""
    async with service.pool.connection() as connection:
        collections = await list_collections(connection)
    return [
        CollectionAnswer(row.name, "uploads" if row.root is None else "folder", row.images)
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


@get("/livez", tags=["health"], operation_id="live")
async def live() -> Health:
    """Answer while the process runs."""
    return Health("ok")


@get("/readyz", tags=["health"], operation_id="ready")
async def ready(service: NamedDependency[Service]) -> Health:
    """Answer 200 when questions can be answered: the database does, and the gallery is this encoder's.

    503 while the service stops, or has as much work as it takes on.
    """
    if service.admission.stopping:
        raise StoppingError("the service is stopping")
    service.admission.require_room()
    async with service.pool.connection(timeout=2.0) as connection:
        require_same_encoder(await active_encoder(connection), service.encoder)
    return Health("ok")
