"""What can go wrong on the way from packages to weights.

TrainError
 +-- RecipeError      the recipe is missing, misspelt or asks for something impossible
 +-- SourceError      a package or folder cannot be fetched or read
 |    +-- LicenceRefused   its licence is not on the allow-list, or is not stated
 +-- CorpusError      a corpus, held-out set or shard is missing, empty or damaged
 +-- CheckpointError  a checkpoint does not fit what is asked of it

Each message is one sentence that names the cure.
"""


class TrainError(Exception):
    """Base of every error that this package raises for its user."""


class RecipeError(TrainError):
    """The recipe cannot be used as it stands."""


class SourceError(TrainError):
    """A source of code cannot be fetched or read."""


class LicenceRefused(SourceError):
    """The source's licence does not allow training on it."""


class CorpusError(TrainError):
    """A corpus or token shard is missing, empty or damaged."""


class CheckpointError(TrainError):
    """A checkpoint is damaged or of another model."""
