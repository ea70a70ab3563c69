"""What can go wrong between a model on disk and text at the cursor.

StarlingRuntimeError
 +-- BundleError          the bundle or GGUF file is missing, damaged, or cannot be used
 +-- ClosedError          somebody asks a model that was closed
 +-- ContextOverflowError a caller asked for more tokens than the model's context holds
 +-- DecodeError          llama.cpp refused a batch, or the logits are not numbers
 +-- GrammarError         a tree-sitter package is not installed

Each message is one sentence that names the cure. A cancelled request is not an error: it is a
`StopReason`.
"""


class StarlingRuntimeError(Exception):
    """Base of every error that this package raises for its user."""


class BundleError(StarlingRuntimeError):
    """The bundle or model file cannot be used; the message says which file and what to do."""


class ClosedError(StarlingRuntimeError):
    """The model was closed."""


class ContextOverflowError(StarlingRuntimeError):
    """More tokens than the context holds."""


class DecodeError(StarlingRuntimeError):
    """The model could not compute a step."""


class GrammarError(StarlingRuntimeError):
    """The parser of a language is not installed."""
