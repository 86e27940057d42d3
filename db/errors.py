"""Every error this package raises on purpose.

* GalleryError
  x NothingIndexedError       the gallery has no active encoder yet: index something first
  x NotNormalisedError        there are no biases to normalise by, or no captions to find them by
  x EncoderMismatchError      the gallery's vectors and this encoder do not belong together
  x EncoderStateError         no such encoder, or it is not in a state for what is asked of it
  x CollectionConflictError   a collection of this name lives in another folder, or takes no uploads
  x KeyConflictError          an API key of this name is there already
  x CopyError                 a copy of the gallery cannot be made, or read back
  x DatabaseUnsuitableError   PostgreSQL or pgvector is too old, or the extension cannot be had
  x NotMigratedError          the schema is not there, or of another revision than this program
"""


class GalleryError(Exception):
    """Base class: catch this to catch everything below."""


class NothingIndexedError(GalleryError):
    """The gallery has no active encoder yet."""


class NotNormalisedError(GalleryError):
    """There are no biases yet to normalise scores by, or no captions to work them out from."""


class EncoderMismatchError(GalleryError):
    """The gallery's vectors and this encoder do not belong together; the message names both."""


class EncoderStateError(GalleryError):
    """No such encoder, or it is not in a state for what is asked of it; the message says what to do first."""


class CollectionConflictError(GalleryError):
    """A collection of this name lives in another folder, or takes no uploads."""


class KeyConflictError(GalleryError):
    """An API key of this name is there already."""


class CopyError(GalleryError):
    """A copy of the gallery cannot be made, or read back; the message says why."""


class DatabaseUnsuitableError(GalleryError):
    """PostgreSQL or pgvector is too old, or the extension cannot be had."""


class NotMigratedError(GalleryError):
    """The schema is not there, or of another revision than this program."""
