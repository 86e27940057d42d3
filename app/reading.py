"""A file's bytes -> a picture for the encoder, and its row: the same whether it was found or uploaded."""

from PIL import Image

from db.gallery import ImageRow
from db.storing import image_id
from embedding.encoder import Encoder
from embedding.errors import EncoderUnavailableError
from embedding.images import decode_image, decode_image_with_facts, perceptual_hash
from embedding.preprocessing import Preprocessing

HASHED_PX = 1024
"""Shorter side of the pictures that are hashed: one for all encoders, so that the hash is the file's own."""


def read_picture(
    data: bytes, *, collection: str, uri: str, max_pixels: int, enough_px: int = HASHED_PX
) -> tuple[Image.Image, ImageRow]:
    """Return a picture as the encoder needs it, and its row.

    Args:
        data: the file.
        collection: whose row it is.
        uri: where the file is; messages call it that.
        max_pixels: the largest picture decoded.
        enough_px: a large picture comes reduced, its shorter side still at least this long.

    Raises:
        ImageError: it cannot be decoded.
    """
    image, facts = decode_image_with_facts(data, name=uri, max_pixels=max_pixels, enough_px=HASHED_PX)
    row = ImageRow(
        id=image_id(collection, data),
        collection=collection,
        uri=uri,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        byte_size=len(data),
        taken_at=facts.taken_at,
        perceptual_hash=perceptual_hash(image),
    )
    if enough_px > HASHED_PX:
        return decode_image(data, name=uri, max_pixels=max_pixels, enough_px=enough_px), row
    shrink = min(image.size) // enough_px
    return image.reduce(shrink) if shrink > 1 else image, row


def enough_px_for(encoder: Encoder) -> int:
    """Return the shorter side that the encoder's pictures need; one that does not say gets what we hash."""
    try:
        return Preprocessing.from_processor(encoder.preprocessing()).enough_px
    except EncoderUnavailableError:
        return HASHED_PX
