"""The demo: the whole product on a drawn world, in a folder and a database of its own."""

GALLERY_SIZE = 300
WORDS = "two red stars above a blue boat"
