"""Every error this package raises on purpose.

* EmbeddingError
  x ImageError                  the caller can fix it: a picture that we do not decode
    + UnreadableImageError        the bytes are no picture that we decode, or are cut short
    + ImageTooLargeError          more pixels than the budget, read from the header before decoding
  x EncoderUnavailableError     the operator can fix it: no such checkpoint, broken, or of no known kind
  x EncoderBusyError            wait and try again: the queue before the encoder is full
  x EncoderOutOfMemoryError     the same: the device has no memory for even one picture or text
"""


class EmbeddingError(Exception):
    """Base class: catch this to catch everything below."""


class ImageError(EmbeddingError):
    """A picture that cannot be used; the message names the file and says why."""


class UnreadableImageError(ImageError):
    """The bytes are no picture of a known format, or the file is cut short or damaged."""


class ImageTooLargeError(ImageError):
    """The header promises more pixels than the budget allows."""


class EncoderUnavailableError(EmbeddingError):
    """A checkpoint cannot be loaded; the message says why and what to do."""


class EncoderBusyError(EmbeddingError):
    """More work is queued than the encoder takes on; try again shortly."""


class EncoderOutOfMemoryError(EmbeddingError):
    """The encoder's device has no memory left for even one picture or text; the message says what to do."""
