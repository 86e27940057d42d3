"""Small pictures that made-up requests send and ask for, so that some of what is made up is there."""

from io import BytesIO
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


PICTURES = [picture(colour, form) for colour in COLOURS for form in FORMATS]


def ids() -> list[UUID]:
    """Return the ids of the folder's pictures, and of all the pictures once they are uploaded."""
    return [image_id(FOLDER, picture(colour)) for colour in COLOURS] + [
        image_id(UPLOADS, data) for data in PICTURES
    ]
