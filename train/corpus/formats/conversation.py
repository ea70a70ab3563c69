"""People who talk in a thread: which of them are bots, what mail programs added, who is who.

The rules of StarCoder for issues (Li et al. 2023, appendix A, and the lists of its published
filter), which StarCoder2 uses for pull requests too. Where the published code has a fault the
docstring names it. Knows nothing of the format that the thread is written in.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from runtime.source_text import to_model_text

BOT_NAMES = frozenset({
    "apache-hbase", "autorestci", "claassistant", "claassistantio", "cmsbuild", "codecov-commenter",
    "codecov-io", "coveralls", "danger-public", "dnfclas", "karma-pr-reporter", "msftclas",
    "probot-stale", "pydocteur", "sparkqa",
})  # fmt: skip
"""StarCoder's list, in lower case; one of its 16 entries stands there twice."""
BOT_KEYWORDS = ("[bot]", "botmanager", "bors-", "jenkins", "k8s-", "-test-", "travis")
"""StarCoder: anywhere in the name."""
BOT_SUFFIXES = (
    "-automaton", "-automation", "-benchmark", "-build", "-deployer", "-cloud", "bot", "-ci",
    "-linter", "-teamcity", "-test", "-testing", "-service-account",
)  # fmt: skip
"""StarCoder: at the end of the name. Its own code compares lower-cased names with
``-Service-Account``, which therefore never fires; ours is in lower case."""
N_TAIL_LINES = 20
"""Last lines that a cut comment keeps (StarCoder): that is where the error stands."""
TRUNCATED = "[Truncated]"
"""The line that stands for what was cut, as in StarCoder."""
NOBODY = "ghost"
"""GitHub's own name for deleted accounts."""


def load_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`; {} for other JSON, None for what is no JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """Model text of a field: empty where it holds no text, lone surrogates become ``?``."""
    if not isinstance(value, str):
        return ""
    # Most texts have neither sign, and looking for one is ten times as fast as replacing none.
    text = to_model_text(value) if "\r" in value or value[:1] == "\ufeff" else value
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def line_of(value: object) -> str:
    """A field that is one line: titles, names, paths."""
    return " ".join(text_of(value).split())


def records_of(value: object) -> list[dict[str, Any]]:
    """The objects of a list field; anything else is not there."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def is_bot(author: str) -> bool:
    """Whether the account is a program by StarCoder's lists."""
    name = author.lower()
    return (
        name in BOT_NAMES
        or name.endswith(BOT_SUFFIXES)
        or any(keyword in name for keyword in BOT_KEYWORDS)
    )


def without_mail_text(text: str) -> str:
    """A comment without what mail programs add when its author answers by e-mail.

    Removed: from the line that introduces a quoted message to GitHub's footer, or through the
    quoted lines where there is no footer; footers; sign-offs; ruler lines. StarCoder's own code
    also deletes all that stands above any quoted line; ours keeps Markdown quotes and what is
    around them.
    """
    if not any(mark in text for mark in _MAIL_MARKS):
        return text.strip()
    lines = text.split("\n")
    footers = [idx for idx, line in enumerate(lines) if _FOOTER.search(line)]
    kept: list[str] = []
    line_idx = 0
    while line_idx < len(lines):
        n_head_lines = _n_mail_head_lines(lines, line_idx)
        if n_head_lines:
            line_idx += n_head_lines
            footer = bisect_left(footers, line_idx)
            if footer < len(footers):
                line_idx = footers[footer]
            while line_idx < len(lines) and _is_quoted(lines[line_idx]):
                line_idx += 1
            kept.append("")
            continue
        if not _FOOTER.search(lines[line_idx]) and not _SIGN_OFF.fullmatch(lines[line_idx].strip()):
            kept.append(_RULER.sub("", lines[line_idx]))
        line_idx += 1
    return _BLANK_LINES.sub("\n\n", "\n".join(kept)).strip()


def cut_middle(text: str, *, max_lines: int) -> str:
    """At most `max_lines` lines of `text`: its head and its last `N_TAIL_LINES`."""
    lines = text.split("\n", max_lines)
    if len(lines) <= max_lines:
        return text
    lines = text.split("\n")
    n_head_lines = max_lines - N_TAIL_LINES
    return "\n".join([*lines[:n_head_lines], TRUNCATED, *lines[-N_TAIL_LINES:]])


class Cast:
    """The participants of one thread, each with a label that is no name.

    Labels count in order of first appearance. StarCoder replaces names as substrings one after the
    other, so that an author ``al`` turns "also" into "username_0so"; here a name is replaced in one
    pass, as a mention or as a whole word, whatever its case.
    """

    def __init__(self, authors: Iterable[str]) -> None:
        names = dict.fromkeys(author.lower() for author in authors if author)
        self._labels: Mapping[str, str] = {
            name: f"username_{idx}" for idx, name in enumerate(names)
        }

    def label(self, author: str) -> str:
        """``username_0`` for the first participant, and so on."""
        return self._labels[author.lower()]

    def hide(self, text: str) -> str:
        """`text` with labels for the names of participants."""
        lowered = text.lower()
        present = [name for name in self._labels if name in lowered]
        return _names_pattern(tuple(present)).sub(self._replacement, text) if present else text

    def _replacement(self, found: re.Match[str]) -> str:
        return self._labels[found.group().lower()]


@lru_cache(maxsize=256)
def _names_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the names as a whole word, where a hyphen inside belongs to the word."""
    # Longest first; ASCII, so that a match and its name differ in nothing but ASCII case.
    choice = "|".join(map(re.escape, sorted(names, key=lambda name: (-len(name), name))))
    return re.compile(
        rf"(?<![A-Za-z0-9_])(?<![A-Za-z0-9]-)(?:{choice})(?![A-Za-z0-9_]|-[A-Za-z0-9])",
        re.IGNORECASE | re.ASCII,
    )


_MAIL_MARKS = (
    "wrote", "Reply to this email", "view it on GitHub", "You are receiving this because",
    "mute the thread", "notifications@github.com", "From:", "Signed-off-by:", "Sent from my",
    "____",
)  # fmt: skip
# What GitHub appends to its notifications; it comes back in the answers.
_FOOTER = re.compile(
    r"Reply to this email directly|view it on GitHub|You are receiving this because"
    r"|mute the thread|notifications@github\.com"
)
# The patterns below are matched against lines without blanks around them; all repeats are bounded,
# so that a line of a million characters costs no more than its length.
_WROTE = re.compile(
    r"(?:> *)?(?:On\s.{4,300}\bwrote:"
    r"|.{0,200}\b\d{1,4}/\d{1,2}/\d{1,4},? \d{1,2}:\d{2} ?[AP]M.{0,200}\bwrote:?)"
)
_WROTE_BEGINS = re.compile(r"(?:> *)?On\s.{4,300}")
_FROM = re.compile(r"\*?From:\*?\s+\S")
_MAIL_FIELD = re.compile(r"\*?(?:Sent|Date|To|Cc|Subject|Reply-To):\*?")
_SIGN_OFF = re.compile(
    r"Signed-off-by: [^<]{1,200}<[^>]{1,200}>|Sent from my \w[\w ]{0,30}\.?", re.IGNORECASE
)
_RULER = re.compile(r"_{20,}")
_BLANK_LINES = re.compile(r"\n{3,}")
_MAX_MAIL_FIELDS = 6


def _is_quoted(line: str) -> bool:
    """Inside a quoted message, or between it and the footer."""
    line = line.strip()
    return line in ("", "—", "--") or line.startswith(">") or bool(_FOOTER.search(line))


def _n_mail_head_lines(lines: list[str], line_idx: int) -> int:
    """How many lines introduce a quoted message here; 0 where none does."""
    line = lines[line_idx].strip()
    if _WROTE.fullmatch(line):
        return 1
    following = lines[line_idx + 1].strip() if line_idx + 1 < len(lines) else ""
    # Mail programs wrap the line at 72 or so, which leaves "wrote:" on the next one.
    if following.endswith("wrote:") and _WROTE_BEGINS.fullmatch(line):
        return 2
    if not (_FROM.match(line) and _MAIL_FIELD.match(following)):
        return 0
    n_lines = 2
    while n_lines <= _MAX_MAIL_FIELDS and _is_mail_field(lines, line_idx + n_lines):
        n_lines += 1
    return n_lines


def _is_mail_field(lines: list[str], line_idx: int) -> bool:
    return line_idx < len(lines) and bool(_MAIL_FIELD.match(lines[line_idx].strip()))
