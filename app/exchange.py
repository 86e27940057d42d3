"""A collection as files that other programs read: parquet, or webdataset's shards; written and read back.

Both hold the pictures themselves, their captions (as `train --captions` reads them), attributes, judgements
and vectors; and which encoder made those.

    out/pictures.parquet                      a row a picture; the encoder in the schema's metadata
    out/shard-000000.tar …  out/encoder.json  a picture, its .json and its .npy side by side, under its id
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from webdataset import ShardWriter, TarWriter

from app.errors import ExchangeError
from db.exchange import Judged
from db.gallery import Caption, Embedding
from training.captions_webdataset import read_samples

Format = Literal["parquet", "webdataset"]
PARQUET, ENCODER = "pictures.parquet", "encoder.json"
ROWS_AT_ONCE = 64
SHARD_BYTES = 500_000_000
_METADATA = b"image_retrieval"
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("captions", pa.list_(pa.string())),
        ("caption_languages", pa.list_(pa.string())),
        ("attributes", pa.string()),
        ("judgements", pa.list_(pa.struct([("question", pa.string()), ("fits", pa.bool_())]))),
        ("embedding", pa.list_(pa.float16())),
    ]
)


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """Whose vectors these are."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int
    preprocessing: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file and all that is known of it; embedding is float32 (d,)."""

    id: str
    uri: str
    data: bytes
    captions: list[Caption] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    judgements: list[Judged] = field(default_factory=list)
    embedding: Embedding | None = None


def write(out: Path, form: Format, encoder: EncoderFacts | None, pictures: Iterable[Picture]) -> None:
    """Write pictures into a folder, which is made.

    Raises:
        ExchangeError: there is an export in it already.
    """
    out.mkdir(parents=True, exist_ok=True)
    if (out / PARQUET).exists() or (out / ENCODER).exists() or any(out.glob("shard-*.tar")):
        raise ExchangeError(f"{out} holds an export already; name another folder, or delete it")
    facts = json.dumps(None if encoder is None else asdict(encoder))
    if form == "parquet":
        _write_parquet(out / PARQUET, facts, pictures)
    else:
        _write_shards(out, pictures)
        (out / ENCODER).write_text(facts, encoding="utf-8")  # last: an export with it is whole


def read(folder: Path) -> tuple[EncoderFacts | None, Iterator[Picture]]:
    """Return the encoder and the pictures of an export, whichever form it has.

    Raises:
        ExchangeError: it is none, or not whole; also while the pictures are read.
    """
    if (folder / PARQUET).is_file():
        return _read_parquet(folder / PARQUET)
    if (folder / ENCODER).is_file():
        return _facts((folder / ENCODER).read_text(encoding="utf-8"), folder), _read_shards(folder)
    raise ExchangeError(
        f"{folder} holds no whole export: neither {PARQUET}, nor {ENCODER} with shards beside it"
    )


def _write_parquet(path: Path, facts: str, pictures: Iterable[Picture]) -> None:
    part = path.with_suffix(".part")
    with pq.ParquetWriter(part, _SCHEMA.with_metadata({_METADATA: facts})) as writer:
        rows: list[dict[str, Any]] = []
        for picture in pictures:
            rows.append(
                {
                    "id": picture.id,
                    "uri": picture.uri,
                    "image": {"bytes": picture.data, "path": picture.uri},
                    "captions": [caption.body for caption in picture.captions],
                    "caption_languages": [caption.language for caption in picture.captions],
                    "attributes": json.dumps(picture.attributes),
                    "judgements": [asdict(judged) for judged in picture.judgements],
                    "embedding": None if picture.embedding is None else picture.embedding.astype(np.float16),
                }
            )
            if len(rows) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    part.replace(path)


def _read_parquet(path: Path) -> tuple[EncoderFacts | None, Iterator[Picture]]:
    try:
        file = pq.ParquetFile(path)
        facts = (file.schema_arrow.metadata or {})[_METADATA].decode()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ExchangeError(f"{path} is no export, or damaged: {error}") from error

    def pictures() -> Iterator[Picture]:
        try:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    embedding = row["embedding"]
                    yield Picture(
                        id=row["id"],
                        uri=row["uri"],
                        data=row["image"]["bytes"],
                        captions=_captions(row),
                        attributes=json.loads(row["attributes"]),
                        judgements=[Judged(**judged) for judged in row["judgements"]],
                        embedding=None if embedding is None else np.asarray(embedding, np.float32),
                    )
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ExchangeError(f"{path} is damaged: {error}") from error

    return _facts(facts, path), pictures()


def _write_shards(out: Path, pictures: Iterable[Picture]) -> None:
    with ExitStack() as stack:
        shards: TarWriter = stack.enter_context(
            ShardWriter(str(out / "shard-%06d.tar"), maxsize=SHARD_BYTES, maxcount=100_000, verbose=0)
        )
        for picture in pictures:
            known = {
                "uri": picture.uri,
                "captions": [caption.body for caption in picture.captions],
                "caption_languages": [caption.language for caption in picture.captions],
                "attributes": picture.attributes,
                "judgements": [asdict(judged) for judged in picture.judgements],
            }
            sample = {
                "__key__": picture.id,
                Path(picture.uri).suffix.lstrip(".").lower() or "bin": picture.data,
                "json": json.dumps(known).encode(),
            }
            if picture.embedding is not None:
                vector = BytesIO()
                np.save(vector, picture.embedding.astype(np.float16), allow_pickle=False)
                sample["npy"] = vector.getvalue()
            shards.write(sample)


def _read_shards(folder: Path) -> Iterator[Picture]:
    for key, files in read_samples(folder):
        try:
            known = json.loads(files.pop("json"))
            vector = files.pop("npy", None)
            ((_, data),) = files.items()
            yield Picture(
                id=key,
                uri=known["uri"],
                data=data,
                captions=_captions(known),
                attributes=known["attributes"],
                judgements=[Judged(**judged) for judged in known["judgements"]],
                embedding=None
                if vector is None
                else np.load(BytesIO(vector), allow_pickle=False).astype(np.float32),
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ExchangeError(f"{folder}, {key}: damaged, or no part of an export: {error!r}") from error


def _captions(known: dict[str, Any]) -> list[Caption]:
    pairs = zip(known["captions"], known["caption_languages"], strict=True)
    return [Caption(body, language) for body, language in pairs]


def _facts(text: str, where: Path) -> EncoderFacts | None:
    try:
        facts = json.loads(text)
        return None if facts is None else EncoderFacts(**facts)
    except (TypeError, ValueError) as error:
        raise ExchangeError(f"{where}: what it says of its encoder cannot be read: {error}") from error
