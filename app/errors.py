"""Our exceptions, and the HTTP status of every one (RFC 9457 problem details).

* AppError
  x QuestionError             the caller can fix it: a question or upload that cannot be answered as it stands
    + ImageNotFoundError        no picture of this id in the gallery
    + UploadRefusedError        a picture or its captions cannot be taken into this collection
    + NotAllowedError           a write without the right to it
  x OperatorError             the operator can fix it
    + SettingsError             a setting that does not exist, or a value out of range
    + GalleryFileMissingError   the row is there, the file is not
"""


class AppError(Exception):
    """Base class: catch this to catch everything below."""


class QuestionError(AppError):
    """A question that cannot be answered as it stands."""


class ImageNotFoundError(QuestionError):
    """No picture of this id is in the gallery."""


class UploadRefusedError(QuestionError):
    """A picture, or its captions, cannot be taken into this collection."""


class NotAllowedError(QuestionError):
    """A write without the right to it."""


class OperatorError(AppError):
    """The operator can fix it."""


class SettingsError(OperatorError):
    """A setting that does not exist, or a value of the wrong type or range."""


class GalleryFileMissingError(OperatorError):
    """The row is there, the picture's file is not."""
