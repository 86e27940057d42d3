"""What holds whatever happened: nothing acknowledged is lost, nothing is there by half, answers stay."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from app.uploads import UNFINISHED
from db.storing import image_id
from embedding.encoder import Encoder
from embedding.images import decode_image

DOCUMENTED = {200, 201, 204, 503, 504, 507}
"""What sound requests may be answered while something is broken."""
BEYOND_DEADLINE_S = 5.0
"""Work that was cancelled has half a second to end; the rest is for a busy machine."""
PICTURES = """
    select i.id, i.collection, i.uri, c.root, i.byte_size, e.embedding,
           array(select body from image_retrieval.captions where image_id = i.id order by position)
    from image_retrieval.images as i
    join image_retrieval.collections as c on c.name = i.collection
    left join image_retrieval.image_embeddings as e on e.image_id = i.id
    order by i.id
"""
STRAYS = """
    select (select count(*) from image_retrieval.image_embeddings as e
            where not exists (select from image_retrieval.images where id = e.image_id)),
           (select count(*) from image_retrieval.captions as c
            where not exists (select from image_retrieval.images where id = c.image_id))
"""


@dataclass
class Told:
    """All that may be in the gallery, what of it the service said it has, and how it answered whom."""

    pictures: dict[UUID, tuple[bytes, list[str]]] = field(default_factory=dict)
    """File and captions of every picture that was ever sent or lay in an indexed folder."""
    acknowledged: set[UUID] = field(default_factory=set)
    answers: list[tuple[str, int, float]] = field(default_factory=list)
    """What was asked, the status, the seconds."""

    def expect(self, collection: str, data: bytes, captions: list[str]) -> UUID:
        """Note a picture that may come; return its id."""
        id_ = image_id(collection, data)
        self.pictures[id_] = (data, captions)
        return id_

    def summary(self) -> str:
        """Return how many answers of each kind there were, and the slowest of all."""
        kinds = Counter((what, status) for what, status, _ in self.answers)
        counts = ", ".join(f"{what} {status}: {count}" for (what, status), count in sorted(kinds.items()))
        slowest = max(seconds for _, _, seconds in self.answers)
        return f"{counts}; slowest {slowest:.1f} s; {len(self.acknowledged)} pictures acknowledged;"

    def statuses(self, what: str) -> list[int]:
        return [status for asked, status, _ in self.answers if asked == what]


def require_sound(database_url: str, encoder: Encoder, upload_dir: Path, told: Told) -> set[UUID]:
    """Assert that every picture is whole and agrees with its file; return the ids that are there."""
    with psycopg.connect(database_url) as connection:
        register_vector(connection)
        rows = connection.execute(PICTURES).fetchall()
        assert connection.execute(STRAYS).fetchone() == (0, 0)
        active = connection.execute(
            "select fingerprint from image_retrieval.encoders where state = 'active'"
        ).fetchall()
    assert active in ([(encoder.fingerprint,)], [])
    there = {row[0] for row in rows}
    assert len(there) == len(rows)  # one vector each, of one encoder
    assert told.acknowledged <= there, "what was acknowledged is lost"
    for id_, collection, uri, root, byte_size, embedding, captions in rows:
        data = (Path(root) / uri if root else upload_dir / uri).read_bytes()
        assert image_id(collection, data) == id_, f"{uri}: the file is not the row's"
        assert byte_size == len(data)
        assert (data, captions) == told.pictures[id_], f"{uri}: not what was sent"
        assert isinstance(embedding, HalfVector), f"{uri}: no vector"
        (expected,) = encoder.encode_images([decode_image(data, name=uri)])
        assert embedding.to_numpy().astype(np.float32) @ expected > 0.999, f"{uri}: another's vector"
    for path in upload_dir.rglob("*"):
        if path.is_file():
            assert path.suffix != UNFINISHED, f"{path} is half a file"
            assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    return there


def require_in_time(answers: Iterable[tuple[str, int, float]], deadline_s: float) -> None:
    """Assert that every request ended by its deadline, with a status that the API's document names."""
    for what, status, seconds in answers:
        assert status in DOCUMENTED, f"{what}: {status}"
        assert seconds < deadline_s + BEYOND_DEADLINE_S, f"{what}: {status} after {seconds:.1f} s"


async def read_answers(
    client: httpx.AsyncClient, words: Iterable[str], collection: str
) -> Mapping[str, object]:
    """Return what questions about a collection are answered, by the index and without it."""
    answers: dict[str, object] = {}
    for word in words:
        for exact in ("false", "true"):
            asked = {"text": f"a {word} picture", "k": "10", "collection": collection, "exact": exact}
            answer = await client.get("/api/search", params=asked)
            assert answer.status_code == 200, answer.text
            answers[f"{word} {exact}"] = [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]
    return answers
