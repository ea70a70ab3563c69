"""What can go wrong between a corpus, its index and a question about a piece of text.

AttributionError
 +-- IndexFileError           an index cannot be opened; no answer may be drawn from it
 |    +-- IndexMissingError   the folder or one of its three files is not there
 |    +-- IndexDamagedError   truncated, bit-flipped, not an index file at all
 |    +-- IndexVersionError   written by another version of the format, normaliser or fingerprint
 |    `-- IndexMismatchError  sound, but built from another corpus than the one asked for
 +-- IndexBuildError          the documents given to a build contradict their manifest rows
 +-- IndexWriteError          the disk refused; nothing half-written was left
 +-- ManifestError            a manifest cannot be read
 +-- NameFormError            what was asked for is nearly an identifier, but is none
 +-- CodeSourceError          code that is to be indexed cannot be read
 +-- FullTextError            the database of texts is missing or cannot be used
 +-- DiffError                what was given as a unified diff is none
 +-- NoticeFileError          the file of third-party notices is not text that can be added to
 `-- RecordError              the record of accepted suggestions cannot be read or written

Each message is one sentence that names the cure. "Nothing found" is not an error: it is a Verdict.
"""


class AttributionError(Exception):
    """Base of every error that this package raises for its user."""


class IndexFileError(AttributionError):
    """The index cannot be used; whoever asked must answer "unknown", never "no match"."""


class IndexMissingError(IndexFileError):
    """No index at this place."""


class IndexDamagedError(IndexFileError):
    """The bytes are not those that were written."""


class IndexVersionError(IndexFileError):
    """Sound, but not readable by this version."""


class IndexMismatchError(IndexFileError):
    """An index of another corpus."""


class IndexBuildError(AttributionError):
    """The documents given to a build are not what their rows say."""


class IndexWriteError(AttributionError):
    """The index could not be written."""


class ManifestError(AttributionError):
    """The manifest is missing or not readable."""


class NameFormError(AttributionError):
    """What was asked for cannot be a name of anything."""


class CodeSourceError(AttributionError):
    """A folder, repository, archive or list that was to be indexed cannot be read."""


class FullTextError(AttributionError):
    """There is no database of texts, or it cannot be used."""


class NoticeFileError(AttributionError):
    """The file of third-party notices cannot be read."""


class RecordError(AttributionError):
    """The record of accepted suggestions cannot be read or written."""


class DiffError(AttributionError):
    """Not a unified diff."""
