"""Quality filters as pure functions: a path or a text gives a Verdict with its reason.

The rules are those of StarCoder2 (Lozhkov et al. 2024, section 2.1 "Basic filters": lines, letters,
encoded data, generated files, data languages) and of StarCoder (Li et al. 2023, section 3.1: XML
heads, HTML, JSON, YAML). Where we differ, the constant says so. Which rule holds for which language
has one home, `QUALITY_OF_LANGUAGE`; what the characters are is counted in `character_counts`.
It knows nothing of licences, secrets and duplicates.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from train.corpus.character_counts import Counts, count
from train.corpus.generated import generated_by_path, generated_by_text
from train.corpus.markup import n_visible_chars
from train.corpus.source_file import KEEP, Verdict, drop

MAX_LINES = 100_000
"""StarCoder2: longer files are data."""
MAX_LINE_CHARS = 1_000
MAX_MEAN_LINE_CHARS = 100.0
MAX_DATA_LINE_CHARS = 100_000
"""StarCoder2: languages in which a paragraph or a table is one line have this limit alone."""
MIN_LETTER_SHARE = 0.25
MAX_ENCODED_RUN_CHARS = 1_024
MAX_ENCODED_SHARE = 0.5
MAX_TABLE_LINES = 512
"""StarCoder2: Text, JSON, YAML, Web Ontology Language and DOT."""
MIN_CONFIG_CHARS, MAX_CONFIG_CHARS = 50, 5_000
"""StarCoder: JSON and YAML outside are markers or dumps."""
MIN_CONFIG_LETTER_SHARE = 0.5
MIN_VISIBLE_CHARS = 100
MIN_VISIBLE_SHARE = 0.2
XML_HEAD_CHARS = 100
"""StarCoder looks so far for an XML declaration in a file of another language."""
MIN_CHARS = 60
"""Ours: shorter files (empty ``__init__.py``) teach nothing and match everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What is asked of a file of one language."""

    min_chars: int = MIN_CHARS
    """Characters without the white space at both ends."""
    max_chars: int | None = None
    max_lines: int = MAX_LINES
    max_line_chars: int = MAX_LINE_CHARS
    max_mean_line_chars: float | None = MAX_MEAN_LINE_CHARS
    min_letter_share: float = MIN_LETTER_SHARE
    digits_are_letters: bool = False
    """Languages whose operands are numbers."""
    is_xml: bool = False
    """An XML declaration at the head is expected; elsewhere it shows a wrong extension."""
    min_visible_share: float = 0.0
    """Of the characters of a page; with it go MIN_VISIBLE_CHARS."""
    stems: frozenset[str] = frozenset()
    """Only files called like this, in lower case; empty for any name."""


_LONG_LINES = Quality(max_line_chars=MAX_DATA_LINE_CHARS, max_mean_line_chars=None)
_XML = Quality(max_line_chars=MAX_DATA_LINE_CHARS, max_mean_line_chars=None, is_xml=True)

QUALITY_OF_LANGUAGE: dict[str, Quality] = {
    "DOT": Quality(max_lines=MAX_TABLE_LINES),
    "HTML": Quality(
        max_line_chars=MAX_DATA_LINE_CHARS,
        max_mean_line_chars=None,
        is_xml=True,
        min_visible_share=MIN_VISIBLE_SHARE,
    ),
    "JSON": Quality(
        min_chars=MIN_CONFIG_CHARS,
        max_chars=MAX_CONFIG_CHARS,
        max_lines=MAX_TABLE_LINES,
        max_line_chars=MAX_DATA_LINE_CHARS,
        max_mean_line_chars=None,
        min_letter_share=MIN_CONFIG_LETTER_SHARE,
    ),
    "MXML": _XML,
    "Markdown": _LONG_LINES,
    "RMarkdown": _LONG_LINES,
    "Roff": _LONG_LINES,
    "SMT": _LONG_LINES,
    "SVG": _XML,
    "TeX": _LONG_LINES,
    "Text": Quality(
        max_lines=MAX_TABLE_LINES,
        max_line_chars=MAX_DATA_LINE_CHARS,
        max_mean_line_chars=None,
        stems=frozenset({"readme", "notes", "todo", "description", "cmakelists"}),
    ),
    "Web Ontology Language": Quality(max_lines=MAX_TABLE_LINES, is_xml=True),
    "WebAssembly": Quality(digits_are_letters=True),
    "XML": _XML,
    "XSLT": Quality(is_xml=True),
    "YAML": Quality(
        min_chars=MIN_CONFIG_CHARS,
        max_chars=MAX_CONFIG_CHARS,
        max_lines=MAX_TABLE_LINES,
        min_letter_share=MIN_CONFIG_LETTER_SHARE,
    ),
    # Extensions go before languages. Cells of text are Markdown, whatever the cells of code are.
    ".ipynb": _LONG_LINES,
}
"""Languages (or extensions, with their dot) that are judged otherwise than `DEFAULT_QUALITY`."""
DEFAULT_QUALITY = Quality()

# Copies of other projects inside a project: their licence is not the one in the metadata.
_VENDORED = re.compile(
    r"(^|/)(_?vendor|_?vendored|_?extern|_?externals?|third_?party|node_modules|site-packages"
    r"|bundled|typeshed)(/|$)"
)
_XML_DECLARATION = "<?xml version="
_TEXT_NAME_PART = "requirement"


def judge(path: str, language: str, text: str) -> Verdict:
    """The first rule that drops the file, or KEEP. `text` is model text (lines end in ``\\n``)."""
    verdict = judge_path(path)
    return verdict if not verdict.keep else judge_text(path, language, text)


def judge_path(path: str) -> Verdict:
    """What the path alone says; may be asked before a file is decoded."""
    verdict = vendored(path)
    if verdict.keep and generated_by_path(path):
        return drop("generated")
    return verdict


def judge_text(path: str, language: str, text: str) -> Verdict:
    """What the text says; of the path only the name is looked at, for the table's sake."""
    name = PurePosixPath(path)
    quality = (
        QUALITY_OF_LANGUAGE.get(name.suffix.lower())
        or QUALITY_OF_LANGUAGE.get(language)
        or DEFAULT_QUALITY
    )
    if quality.stems and not _is_text_to_read(name, quality.stems):
        return drop("text of another name")
    verdict = too_short(text, quality.min_chars)
    if not verdict.keep:
        return verdict
    if quality.max_chars is not None and len(text) > quality.max_chars:
        return drop("too long for its language")
    if not quality.is_xml and _XML_DECLARATION in text[:XML_HEAD_CHARS]:
        return drop("XML under another name")
    counts = count(text)
    reason = _line_reason(quality, counts)
    if reason:
        return drop(reason)
    n_letters = counts.n_letters + (counts.n_digits if quality.digits_are_letters else 0)
    if n_letters < quality.min_letter_share * counts.n_chars:
        return drop("few letters")
    if generated_by_text(text):
        return drop("generated")
    if (
        counts.longest_encoded_run > MAX_ENCODED_RUN_CHARS
        or counts.n_encoded > MAX_ENCODED_SHARE * counts.n_chars
    ):
        return drop("encoded data")
    if quality.min_visible_share:
        n_visible = n_visible_chars(text)
        if n_visible < max(MIN_VISIBLE_CHARS, quality.min_visible_share * len(text)):
            return drop("little visible text")
    return KEEP


def vendored(path: str) -> Verdict:
    """Copies of other projects, by folder name."""
    return drop("vendored copy") if _VENDORED.search(path.rpartition("/")[0]) else KEEP


def too_short(text: str, min_chars: int = MIN_CHARS) -> Verdict:
    """Next to nothing."""
    return drop("too short") if len(text.strip()) < min_chars else KEEP


def _line_reason(quality: Quality, counts: Counts) -> str:
    if counts.n_lines > quality.max_lines:
        return "too many lines"
    if counts.longest_line > quality.max_line_chars:
        return "line too long"
    if quality.max_mean_line_chars is not None:
        # Line ends are not part of a line.
        n_in_lines = counts.n_chars - counts.n_line_ends
        if n_in_lines > quality.max_mean_line_chars * counts.n_lines:
            return "mean line too long"
    return ""


def _is_text_to_read(name: PurePosixPath, stems: frozenset[str]) -> bool:
    return _TEXT_NAME_PART in name.name.lower() or name.stem.lower() in stems
