"""What can go wrong between a checkpoint folder and a bundle.

QuantizeError
 +-- CheckpointError   the checkpoint is incomplete, damaged, or of a kind that cannot be converted
 |    +-- TokenizerError   its tokenizer cannot be said in llama.cpp's terms
 +-- ConversionError   llama.cpp refused to load, compute or quantize the file
 +-- CalibrationError  the text to calibrate on is too short, or the model computes no numbers
 +-- TypeChoiceError   a tensor type that does not exist, or for which there is no tensor
 +-- BudgetError       the result is larger or further from the original than was asked for
 +-- OutputError       the bundle cannot be written where it was asked for
      +-- OutputExistsError   there is something already

Each message is one sentence that names the cure.
"""


class QuantizeError(Exception):
    """Base of every error that this package raises for its user."""


class CheckpointError(QuantizeError):
    """The checkpoint cannot be converted; the message says which file or tensor and what to do."""


class TokenizerError(CheckpointError):
    """tokenizer.json describes a tokenizer that llama.cpp would not reproduce."""


class ConversionError(QuantizeError):
    """llama.cpp could not quantize the file."""


class CalibrationError(QuantizeError):
    """No importance of inputs can be measured."""


class TypeChoiceError(QuantizeError):
    """An override names no tensor, or a type that its rows do not allow."""


class BudgetError(QuantizeError):
    """The size or the divergence is beyond the limit that the caller gave."""


class OutputError(QuantizeError):
    """The bundle cannot be written."""


class OutputExistsError(OutputError):
    """The output is there already, and overwriting was not asked for."""
