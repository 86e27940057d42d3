"""Every error this package raises on purpose.

* TrainingError
  x CaptionsError               the caller can fix it: a captions file that cannot be read as one
"""


class TrainingError(Exception):
    """Base class: catch this to catch everything below."""


class CaptionsError(TrainingError):
    """A captions file is missing or malformed; the message names the file and the line."""
