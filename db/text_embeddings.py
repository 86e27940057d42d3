"""What was asked in words, kept in the database for search_text.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Mapping

from pgvector import HalfVector

from db.connection import Connection
from db.gallery import Embedding


async def store_texts(
    connection: Connection, fingerprint: str, texts: Mapping[str, Embedding], *, keep: int
) -> None:
    """Store texts as this encoder understood them, float32 (d,), and forget all but the keep asked last.

    An encoder that the gallery does not know stores nothing.
    """
    async with connection.transaction():
        await connection.execute(
            """
            insert into text_embeddings (encoder_id, words, embedding)
            select encoders.id, arriving.words, arriving.embedding
            from encoders, unnest(%s::text[], %b::halfvec[]) as arriving (words, embedding)
            where encoders.fingerprint = %s
            order by arriving.words
            on conflict (encoder_id, digest) do update set asked_at = excluded.asked_at
            """,
            (list(texts), [HalfVector(embedding) for embedding in texts.values()], fingerprint),
        )
        await connection.execute(
            """
            delete from text_embeddings
            using encoders
            where encoders.id = encoder_id and encoders.fingerprint = %s
              and asked_at < (
                  select asked_at from text_embeddings as known
                  where known.encoder_id = encoders.id
                  order by asked_at desc
                  offset %s - 1
                  limit 1
              )
            """,
            (fingerprint, keep),
        )
