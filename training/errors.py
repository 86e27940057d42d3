"""Every error this package raises on purpose.

* TrainingError
  x CaptionsError               the caller can fix it: a captions file that cannot be read as one
  x SplitError                  the caller can fix it: photos that cannot be split as asked
  x StartError                  the caller can fix it: what is to be trained cannot be
  x EvaluationError             the caller can fix it: what is to be evaluated cannot be
  x TrainingStoppedError        the caller can fix it: a run cannot begin, or must not go on
  x CheckpointFolderError       the caller can fix it: the folder for a checkpoint holds something else
"""


class TrainingError(Exception):
    """Base class: catch this to catch everything below."""


class CaptionsError(TrainingError):
    """A captions file is missing or malformed; the message names the file and the line."""


class SplitError(TrainingError):
    """Photos cannot be split as asked; the message names the list and the photos."""


class StartError(TrainingError):
    """A checkpoint, or a pair of towers, cannot be trained; the message says which and why."""


class EvaluationError(TrainingError):
    """A set of photos, or a running service, cannot be evaluated as asked; the message says why."""


class CheckpointFolderError(TrainingError):
    """A checkpoint is to go where something else is; the message names the folder, nothing was touched."""


class TrainingStoppedError(TrainingError):
    """A run cannot begin, or must not go on, as it was asked for; the message says why and what to change."""
