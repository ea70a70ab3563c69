"""What happens to one file on its way into the corpus, stage by stage.

A stage is a callable that may change the item and gives the reason to drop it, or "". The same
list of stages runs in the pipeline's workers and behind `starling train corpus --explain`. What
needs to see all files at once (deduplication, shares) is not here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from attribution.swhid import content_swhid
from runtime.source_text import decode_source, to_model_text
from train.corpus import filters
from train.corpus.decontaminate import Benchmarks
from train.corpus.encodings import decode_declared
from train.corpus.formats import commit, issue, notebook, pull_request
from train.corpus.languages import language_of
from train.corpus.ledger import Size, n_lexemes
from train.corpus.licensing.detect import Finding, detect_header
from train.corpus.licensing.expressions import NOASSERTION
from train.corpus.licensing.project import NOTHING_FOUND, ProjectLicences, judge
from train.corpus.optout import OptOut
from train.corpus.pii.redact import redact
from train.corpus.raw_file import Kind, RawFile, Rendered
from train.corpus.source_file import SourceFile
from train.recipe import CorpusConfig

NOTEBOOK_LANGUAGE = "Jupyter Notebook"
_NO_LICENCE = Finding(expression=NOASSERTION, evidence=NOTHING_FOUND, score=0.0)
HEAD_BYTES = 8_192
"""So much of a file is looked at for its language."""


@dataclass(slots=True, kw_only=True)
class Item:
    """One file on its way, with all that is known of it so far."""

    raw: RawFile
    origin: str
    version: str
    swhid: str
    kind: Kind
    language: str = ""
    licence: Finding = _NO_LICENCE
    text: str = ""
    n_bytes: int = 0
    """Of the published file at first, of the text as UTF-8 once there is one."""
    n_tokens: int = 0
    redacted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_raw(cls, raw: RawFile, origin: str, version: str) -> "Item":
        """The start of the way."""
        return cls(
            raw=raw,
            origin=raw.origin or origin,
            version=version,
            # What was not read has no content to be named by.
            swhid=raw.swhid or ("" if raw.problem else content_swhid(raw.data)),
            kind=raw.kind,
            n_bytes=len(raw.data),
        )

    @property
    def size(self) -> Size:
        """For the ledger."""
        return Size(1, self.n_bytes, self.n_tokens)

    def set_text(self, text: str) -> None:
        """A new text and its sizes."""
        self.text = text
        self.n_bytes = len(text.encode("utf-8", "surrogatepass"))
        self.n_tokens = n_lexemes(text)

    def to_source_file(self) -> SourceFile:
        """The end of the way."""
        return SourceFile(
            origin=self.origin,
            version=self.version,
            path=self.raw.path,
            licence=self.licence.expression,
            licence_evidence=self.licence.evidence,
            language=self.language,
            swhid=self.swhid,
            kind=self.kind.value,
            text=self.text,
        )


class Stage(Protocol):
    """One stage."""

    name: str

    def __call__(self, item: Item) -> str:
        """Why the item is dropped, or "" when it goes on."""
        ...


def build_stages(
    config: CorpusConfig,
    directory: Path,
    licences: Mapping[str, ProjectLicences],
    source_swhids: tuple[str, ...] = (),
) -> tuple[Stage, ...]:
    """The stages of one source; the file names in `config` start at `directory`.

    `licences` are those of its projects by origin, and under "" what holds for any other.
    `source_swhids` are those of the source as a whole, by which somebody may have opted out.
    """
    opt_out = opt_out_of(config, directory)
    benchmarks = benchmarks_of(config, directory)
    return (
        Read(),
        Language(config.languages),
        Format(config.notebooks),
        Licence(licences, config.licences),
        *([LeaveOut(opt_out, source_swhids)] if opt_out else []),
        Quality(),
        Redact(),
        *([Decontaminate(benchmarks)] if benchmarks else []),
    )


def opt_out_of(config: CorpusConfig, directory: Path) -> OptOut | None:
    """The list of what must be left out."""
    return OptOut.load(directory / config.opt_out) if config.opt_out else None


def benchmarks_of(config: CorpusConfig, directory: Path) -> Benchmarks | None:
    """The benchmarks that the corpus must not hold."""
    if not config.decontaminate:
        return None
    return Benchmarks.load([directory / name for name in config.decontaminate])


@dataclass(frozen=True, slots=True)
class Read:
    """Unsafe, oversized and unreadable files."""

    name = "read"

    def __call__(self, item: Item) -> str:
        """The reader's problem with it, and paths that would break a line of the prompt."""
        return item.raw.problem or ("odd path" if _ODD_PATH.search(item.raw.path) else "")


@dataclass(frozen=True, slots=True)
class Language:
    """By name, interpreter line and content."""

    wanted: Sequence[str]
    name = "language"

    def __call__(self, item: Item) -> str:
        """Languages that the recipe does not name; items of dumps have theirs by their format."""
        if item.kind is not Kind.FILE:
            return ""
        if b"\0" in item.raw.data and not item.raw.data.startswith(_BYTE_ORDER_MARKS):
            return "binary"
        language = language_of(item.raw.path, item.raw.data[:HEAD_BYTES])
        if language is None:
            return "unknown language"
        item.language = language
        if language == NOTEBOOK_LANGUAGE:
            item.kind = Kind.NOTEBOOK
        return "" if "*" in self.wanted or language in self.wanted else "other language"


@dataclass(frozen=True, slots=True)
class Format:
    """Bytes to text: decoding for files, StarCoder's layouts for everything else."""

    notebooks: str
    name = "format"

    def __call__(self, item: Item) -> str:
        """Undecodable bytes, and what the layouts' own filters drop."""
        if item.kind is Kind.FILE:
            try:
                text = decode(item.raw.data)
            except (UnicodeError, LookupError):
                return "not UTF-8, nor declared"
            item.set_text(text)
            if _LONE_SURROGATE.search(text):
                return "lone surrogates"
            return "binary" if "\0" in text else ""
        rendered = self._render(item)
        item.language = rendered.language or item.language or item.kind.value.capitalize()
        item.set_text(to_model_text(rendered.text))
        if not rendered.reason and _LONE_SURROGATE.search(item.text):
            return "lone surrogates"  # JSON can spell what UTF-8 cannot.
        return rendered.reason

    def _render(self, item: Item) -> Rendered:
        if item.kind is Kind.NOTEBOOK:
            return notebook.render(item.raw.data, self.notebooks)
        layout = {
            Kind.ISSUE: issue.render,
            Kind.PULL_REQUEST: pull_request.render,
            Kind.COMMIT: commit.render,
        }[item.kind]
        return layout(item.raw.data)


@dataclass(frozen=True, slots=True)
class Licence:
    """The file's own licence, else the content list's, its folder's, its project's."""

    licences: Mapping[str, ProjectLicences]
    policy: str
    name = "licence"

    def __call__(self, item: Item) -> str:
        """Files that may not be learned from."""
        project = self.licences.get(item.raw.origin) or self.licences[""]
        item.licence = (
            detect_header(item.text) or _listed(item.raw) or project.of_path(item.raw.path)
        )
        return judge(item.licence, self.policy).reason


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """What somebody asked not to be learned from."""

    opt_out: OptOut
    source_swhids: tuple[str, ...]
    name = "opt-out"

    def __call__(self, item: Item) -> str:
        """The entry of the list that the file falls under."""
        return self.opt_out.excludes_source(
            item.origin, item.version, self.source_swhids
        ) or self.opt_out.excludes_file(item.origin, item.raw.path, item.swhid)


@dataclass(frozen=True, slots=True)
class Quality:
    """StarCoder's and StarCoder2's filters; layouts have filters of their own."""

    name = "quality"

    def __call__(self, item: Item) -> str:
        """Files that teach nothing, or nothing good."""
        if item.kind is not Kind.FILE:
            return ""
        return filters.judge(item.raw.path, item.language, item.text).reason


@dataclass(frozen=True, slots=True)
class Redact:
    """Addresses, names and secrets out of every text."""

    name = "redact"

    def __call__(self, item: Item) -> str:
        """Drops nothing."""
        redaction = redact(item.text)
        item.redacted = dict(redaction.counts)
        if item.redacted:
            item.set_text(redaction.text)
        return ""


@dataclass(frozen=True, slots=True)
class Decontaminate:
    """Files that hold an item of a benchmark."""

    benchmarks: Benchmarks
    name = "decontaminate"

    def __call__(self, item: Item) -> str:
        """The benchmark, without the number of the item."""
        found = self.benchmarks.find(item.text)
        return f"holds {found.partition('/')[0]}" if found else ""


_ODD_PATH = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _listed(raw: RawFile) -> Finding | None:
    """What the table of a content list says of the file."""
    if not raw.licence:
        return None
    return Finding(expression=raw.licence, evidence="content list", score=1.0)


_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
# PEP 263: in the first or second line.
_DECLARED_ENCODING = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


def decode(data: bytes) -> str:
    """Model text of a file: UTF-8, UTF-16 by its mark, or the encoding that a comment declares.

    Raises UnicodeError or LookupError for anything else: an encoding is never guessed.
    """
    try:
        return decode_source(data)
    except UnicodeDecodeError:
        if data.startswith(_BYTE_ORDER_MARKS):
            return to_model_text(data.decode("utf-16"))
        if declared := _DECLARED_ENCODING.match(data):
            return to_model_text(decode_declared(data, declared.group(1).decode("ascii")))
        raise
