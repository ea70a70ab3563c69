"""What can go wrong between an editor (or the command line) and a completion.

LspServerError
 +-- SourceFileError    a file that was named cannot be read as source text
 +-- CursorError        the cursor of the command line stands outside its file
 +-- FramingError       the client's bytes are not LSP messages
 +-- ExplainError       a text cannot be explained
 +-- KernelLibraryError the library of compiled kernels cannot be made here
 +-- WebServerError     the local web server cannot start, or not show what was asked for

Each message is one sentence that names the cure. Stale, superseded, cancelled and empty answers are
not errors.
"""


class LspServerError(Exception):
    """Base of every error that this package raises for its user."""


class SourceFileError(LspServerError):
    """The file is missing, too large, or not UTF-8."""


class CursorError(LspServerError):
    """The cursor lies outside the file."""


class FramingError(LspServerError):
    """The bytes on stdin are not framed as LSP messages."""


class KernelLibraryError(LspServerError):
    """There is no compiler, no folder for it, or nothing to make it of."""


class WebServerError(LspServerError):
    """The port is taken, the page is not built, or its document cannot be read."""


class ExplainError(LspServerError):
    """There is no grammar for its language, it is too long, or the lines are not there."""
