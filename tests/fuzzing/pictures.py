"""Small pictures that made-up requests send and ask for, so that some of what is made up is there."""

from io import BytesIO
from itertools import product
from uuid import UUID

from PIL import Image

from db.storing import image_id

COLOURS = ("red", "lime", "blue", "yellow", "black", "white", "purple", "orange")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
FOLDER = "colours"
UPLOADS = "uploads"


def picture(colour: str, form: str = "PNG") -> bytes:
    """Return a picture file of one colour."""
    file = BytesIO()
    Image.new("RGB", (24, 16), colour).save(file, form)
    return file.getvalue()


def bitmap(red: int, green: int, blue: int) -> bytes:
    """Return a BMP of one dark colour, every byte of it ASCII."""
    file = BytesIO()
    Image.new("RGB", (10, 2), (red, green, blue)).save(file, "BMP", dpi=(1, 1))
    return file.getvalue()


PICTURES = [picture(colour, form) for colour in COLOURS for form in FORMATS]
ASCII_PICTURES = [bitmap(*colour) for colour in product((0, 127), repeat=3)]


def ids_at_first() -> list[UUID]:
    """Return the ids of the folder's pictures."""
    return [image_id(FOLDER, picture(colour)) for colour in COLOURS]


def ids() -> list[UUID]:
    """Return the ids of all the pictures, once they are uploaded."""
    return ids_at_first() + [image_id(UPLOADS, data) for data in ASCII_PICTURES]
