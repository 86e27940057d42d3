"""What is in the gallery, and where it is."""

from msgspec import Struct

from app.service import open_pool
from app.settings import Settings, without_password
from db.embedding_index import has_embedding_index
from db.gallery import list_collections, list_encoders


class CollectionStatus(Struct, frozen=True):
    """A collection, its place and its number of pictures."""

    name: str
    root: str | None
    images: int


class EncoderStatus(Struct, frozen=True):
    """An encoder and the number of pictures that it has seen."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int
    state: str
    images: int
    indexed: bool


class Status(Struct, frozen=True):
    """The whole gallery at a glance."""

    database: str
    data_dir: str
    images: int
    collections: list[CollectionStatus]
    encoders: list[EncoderStatus]

    def text(self) -> str:
        """Return it for people."""
        lines = [f"database    {self.database}", f"data folder {self.data_dir}", f"pictures    {self.images}"]
        for collection in self.collections:
            place = collection.root or "uploads"
            lines.append(f"collection  {collection.name}: {collection.images} pictures ({place})")
        for encoder in self.encoders:
            index = "HNSW index" if encoder.indexed else "no index yet"
            lines.append(
                f"encoder     {encoder.name}: {encoder.state}, {encoder.images} pictures,"
                f" {encoder.dimension} dimensions, {index}"
                f" ({encoder.checkpoint}, fingerprint {encoder.fingerprint[:12]})"
            )
        if not self.encoders:
            lines.append("nothing is indexed yet: image-retrieval index PATH")
        return "\n".join(lines)


async def read_status(settings: Settings) -> Status:
    """Return what is in the gallery; raises what open_pool raises."""
    async with open_pool(settings) as pool, pool.connection() as connection:
        collections = await list_collections(connection)
        encoders = await list_encoders(connection)
        indexed = {row.id: await has_embedding_index(connection, row.id) for row in encoders}
    embedded = f"embedded PostgreSQL in {settings.data_dir / 'postgres'}"
    return Status(
        database=embedded if settings.database_url is None else without_password(settings.database_url),
        data_dir=str(settings.data_dir),
        images=sum(row.images for row in collections),
        collections=[CollectionStatus(row.name, row.root, row.images) for row in collections],
        encoders=[
            EncoderStatus(
                row.name,
                row.checkpoint,
                row.fingerprint,
                row.dimension,
                row.state,
                row.images,
                indexed[row.id],
            )
            for row in encoders
        ],
    )
