"""Names of persons, where a comment or a metadata line says that they are one.

Only clear patterns count: two to five capitalised words behind a word such as "Author:" or "written
by", before an e-mail address, beside one in a table of metadata, or behind the date in a history of
changes. Names in lines of copyright and licence are never touched: whoever copies the code owes
them their names, and so does attribution. User names (`TODO(jdoe)`) are not told from other
identifiers, and nothing tells a person in running text from a place.
"""

import re
from collections.abc import Iterator

from train.corpus.pii import harmless
from train.corpus.pii.span import Kind, Span, line_bounds

_WORD = r"[^\W\d_][^\W\d_]*(?:['\u2019-][^\W\d_]+)*"
_PARTICLE = r"(?:van|von|vom|de|del|der|den|di|da|do|dos|du|la|le|bin|ibn|al|el|ten|ter|y|zu)"
_INITIAL = r"[^\W\d_]\."
_PERSON = rf"(?:{_INITIAL}|{_WORD})(?:[ \u00a0](?:{_INITIAL}|{_PARTICLE}|{_WORD})){{0,4}}[ ]{_WORD}"
_ONE = re.compile(rf"(?:{_INITIAL}|{_WORD})(?:[ \u00a0](?:{_INITIAL}|{_PARTICLE}\b|{_WORD}))*")
_GAP = re.compile(r"(?:,? and |, ?| & | \\and )")
_DONE_BY = (
    r"[Ww]ritten|[Cc]reated|[Cc]ontributed|[Rr]eported|[Dd]eveloped|[Mm]aintained|[Aa]uthored|"
    r"[Ii]mplemented|[Dd]esigned|[Mm]odified|[Uu]pdated|[Pp]orted|[Aa]dded|[Ff]ixed|[Pp]rovided|"
    r"[Ss]uggested|[Rr]eviewed|[Rr]ewritten|[Pp]atch(?:ed)?|[Cc]ode|[Aa]dapted|[Dd]one|[Ff]ound|"
    r"[Ss]potted|[Dd]iscovered|[Pp]roposed|[Ii]nspired|[Tt]ranslated|[Rr]evised|[Ee]dited|"
    r"[Ee]xtended|[Ii]mproved|[Oo]ptimi[sz]ed|[Cc]onverted|[Pp]ackaged|[Pp]repared|[Cc]hanged|"
    r"[Rr]efactored|[Rr]equested|[Ii]dea|[Ww]ork|[Hh]acked|[Tt]ested|[Ss]ubmitted|[Dd]rawn|[Ss]cript"
)
_LEAD = re.compile(
    r"[@\\]authors?\b(?:\[[^\]\n]*\])?[ \t:{]*"
    r"|__(?:author|maintainer|credits|contact)s?__[ \t]*=[ \t]*[\[(]?[\"']"
    r"|\b(?:author|maintainer)s?[\"']?[ \t]*[=:][ \t]*[\[({]?[\"']"
    r"|\bauthor[\"'][ \t]+content[ \t]*=[ \t]*[\"']|<author>(?:<name>)?|<(?:dc:)?creator>"
    r"|(?:\b|\w-)(?:[Cc]o-)?(?:[Aa]uthor|AUTHOR|[Mm]aintainer|MAINTAINER|[Cc]ontributor|[Oo]wner|"
    r"[Cc]ontact|[Ee]ditor|[Tt]ranslator|[Cc]reator|[Cc]oordinator|[Dd]eveloper|[Pp]rogrammer|"
    r"[Rr]eviewer|[Aa]ssignee|[Mm]oduleauthor|[Ss]ectionauthor|[Cc]redit)s?(?:\(s\))?\**"
    r"[ \t]*:{1,2}\**[ \t]*(?:[\"'])?"
    r"|\bMAINTAINER[ \t]+"
    rf"|\b(?:{_DONE_BY})"
    r" (?:originally |initially |mainly |first )?by:?[ \t]+"
    r"|\b[A-Z][a-z]+(?:-[a-z]+)?-by:[ \t]*"
    r"|\b(?:TODO|FIXME|XXX|HACK)\("
    r"|\b(?:[Tt]hanks to|[Kk]udos to|[Cc]redits? (?:to|goes to)|[Aa]sk(?:ed)?)[ \t]+"
)
_NAME_FIELD = re.compile(r"\bname[\"']?[ \t]*[=:][ \t]*[\"']?|<name>[ \t]*")
_LIST_HEAD = re.compile(
    r"(?:[Aa]uthor|AUTHOR|[Mm]aintainer|MAINTAINER|[Cc]ontributor|CONTRIBUTOR|[Cc]redit)[Ss]?"
    r"[\"']?[ \t]*[:=]{0,2}[ \t]*[\[({]?[ \t]*\n(?:[ \t#*/%;]*[=~-]*[ \t]*\n){0,2}"
)
_LIST_LINE = re.compile(
    r"[ \t#*/%;.\"'(\[{-]{1,16}(?:name[\"']?[ \t]*[=:][ \t]*[\"']?)?(?P<rest>[^\n]*)\n?"
)
_MAX_LIST_LINES = 30
_HISTORY = re.compile(
    r"(?:[Hh]istory|HISTORY|[Cc]hange ?[Ll]og|CHANGELOG)\b[^\n]{0,40}\n(?:[ \t#*/%;!=-]*\n)?"
)
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = (
    r"(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{2,4}"
    rf"|\d\d?[- ]{_MONTH}[- ,]+\d{{2,4}}|{_MONTH} \d\d?,? \d{{4}})"
)
_HISTORY_LINE = re.compile(rf"[ \t#*/%;!|.-]{{0,16}}{_DATE}[ \t:,|-]+(?P<rest>[^\n]*)\n?")
_BEFORE_ADDRESS = re.compile(rf"(?P<names>{_PERSON})[\"']?,?[ \t]{{1,2}}[<(]$")
_LEGAL = (
    "license", "licence", "(c)", "spdx", "all rights", "permission", "warrant",
)  # fmt: skip
# Capitalised words that stand behind "by" or "Author:" and are in no names of persons.
_NOT_NAMES = frozenset(
    "The This That These Those An If When Where It Its In On At For From With All Any Each Your "
    "Our Inc Ltd Llc Corp Corporation Company Co Foundation Team Teams Group Project Projects "
    "Developers Developer Contributors Contributor Authors Author Community University Institute "
    "Laboratory Laboratories Labs Lab Research Center Centre Software Systems Technologies "
    "Technology Technical Google Microsoft Facebook Meta Amazon Apple Intel Nvidia Ibm Oracle Red "
    "Hat Hugging Face Open Source Python Django Flask Apache Mozilla Linux Windows Ubuntu Debian "
    "Github Gitlab Support Security Core Department School College Press Publishing Journal "
    "Service Services Server Client User Users Name Names Email Address First Last Full None True "
    "False Default Optional Required String List Object Type Value Key Note See Returns Using "
    "Model Models Deep Learning Machine Data Science Engine Engineering International National "
    "Web Framework Library Standard Version Release Android Unknown Anonymous Someone Nobody "
    "Bot Mailing Mail Help Desk Office Committee Council Association Society Agency Ministry "
    "Bureau Division Network Networks Platform Infrastructure Product Sales Marketing Customer "
    "Admin Administrator Account Accounts Bug Bugs Issue Issues Report Reports Reply Info News "
    "Test Tester Example Sample Doe Alice Bob Foo Bar Page Table Figure Section Chapter "
    "Added Fixed Removed Changed Updated Initial Created Version Merge Update Add Fix Remove Bump "
    "Make Use New Move Rename Refactor Support Improve Allow Change Set Code File Files Class "
    "Method Function Module Package System Cloud Digital Global Monte Fourier Gaussian Bayesian "
    "Internet Information Computer Electronic Space Energy Health United States Kingdom European "
    "Stack Overflow Visual Studio Java Node React Go Rust Script Content Title Date".split()
)
_VERBS = frozenset({"n by", "d by", "h by", "e by", "k by", "ask ", "sked", "ks t", "os t"})
"""Marks behind which a name has to come at once; in other text they are common."""
_BLANKS = re.compile(r"(?:o\b)?:?[ \t]*")
_REACH_CHARS = 250
_LEAD_CHARS = 24
"""From the beginning of the longest lead to its mark."""
_MAX_WORD_CHARS = 24
# Inside of names there are capitals only behind a sign or one of these, as in McCarthy.
_INNER_CAPITAL = re.compile(
    r"(?<!^Mc)(?<!^Mac)(?<!^De)(?<!^Di)(?<!^La)(?<!^Le)(?<=[^\W_])(?<!['-])[A-Z]"
)


def find_names(text: str, start: int, end: int) -> Iterator[Span]:
    """Names of persons that the mark from `start` to `end` announces."""
    mark = text[start:end].lower()
    if mark in _VERBS:
        behind = _BLANKS.match(text, end)
        if not (behind and text[behind.end() : behind.end() + 1].isupper()):
            return
    low, high = line_bounds(text, start, end, _REACH_CHARS)
    if mark not in ("emai", "isto", "elog"):
        begin = max(low, start - _LEAD_CHARS)
        for found in _LEAD.finditer(text, begin, min(high, end + _LEAD_CHARS)):
            if found.start() <= start <= found.end():
                yield from _people(text, found.end(), low, high)
    if mark == "emai":
        yield from _named_beside(text, start)
    elif mark in ("utho", "inta", "utor", "dits", "dit "):
        head = _LIST_HEAD.search(text, max(low, start - 8), end + 40)
        if head and head.start() <= start:
            yield from _listed(text, head.end(), _LIST_LINE)
    elif mark in ("isto", "elog"):
        head = _HISTORY.search(text, max(low, start - 8), end + 80)
        if head and head.start() <= start:
            yield from _listed(text, head.end(), _HISTORY_LINE)


def find_name_before_address(text: str, at: int) -> Iterator[Span]:
    """The name of the person whose address in brackets begins at `at`."""
    if at == 0 or text[at - 1] not in "<(":
        return
    low, high = line_bounds(text, at, at, _REACH_CHARS)
    low = max(low, at - 80)
    found = _BEFORE_ADDRESS.search(text, low, at)
    if found:
        words = found.group("names").split()
        # The words before a name belong to the text: "Contact Maria Keller <...>".
        yield from _people(text, found.start(), low, high) if len(words) < 4 else ()


def _people(text: str, at: int, low: int, high: int) -> Iterator[Span]:
    """The persons that are named from `at` on, one behind the other."""
    while found := _ONE.match(text, at, high):
        name = _person(found.group())
        if not name or _is_legal(text, low, high):
            return
        yield Span(at, at + len(name), Kind.NAME)
        gap = _GAP.match(text, at + len(name), high)
        if not gap:
            return
        at = gap.end()


def _is_legal(text: str, low: int, high: int) -> bool:
    lowered = text[low:high].lower()
    return any(word in lowered for word in _LEGAL) or harmless.is_attribution(text, low, high)


def _person(words: str) -> str:
    """The name that these words begin with, or nothing."""
    pieces = re.split("([ \u00a0])", words)
    n_pieces = n_capitalised = 0
    for idx in range(0, len(pieces), 2):
        word = pieces[idx]
        if _is_capitalised(word):
            if word in _NOT_NAMES:
                return ""
            n_capitalised += 1
            n_pieces = idx + 1
        elif not (word[-1] == "." or (idx and re.fullmatch(_PARTICLE, word))):
            break
    is_name = n_capitalised >= 2 or (n_capitalised == 1 and pieces[0][-1] == ".")
    return "".join(pieces[:n_pieces]) if is_name and n_pieces <= 9 else ""


def _is_capitalised(word: str) -> bool:
    return (
        2 <= len(word) <= _MAX_WORD_CHARS
        and word[0].isupper()
        and any(map(str.islower, word))
        and _INNER_CAPITAL.search(word) is None
        and word[-1].islower()
        and not word.endswith(("'s", "\u2019s"))
    )


def _named_beside(text: str, at: int) -> Iterator[Span]:
    """The person in a field `name` of the same line as a field of an address, or the one above."""
    low, high = line_bounds(text, at, at, _REACH_CHARS)
    if not re.match(r"e-?mail[\"']?[ \t]*(?:[=:]|>)", text[at : at + 12], re.IGNORECASE):
        return
    above = max(text.rfind("\n", max(0, low - 120), max(0, low - 1)) + 1, low - 120, 0)
    for found in _NAME_FIELD.finditer(text, above, high):
        yield from _people(text, found.end(), above, high)


def _listed(text: str, at: int, pattern: re.Pattern[str]) -> Iterator[Span]:
    """The persons on the lines from `at` on, until one names nobody."""
    n_empty = 0
    for _ in range(_MAX_LIST_LINES):
        found = pattern.match(text, at, min(len(text), at + _REACH_CHARS))
        people = []
        if found:
            low, high = line_bounds(text, found.start("rest"), found.start("rest"), _REACH_CHARS)
            people = list(_people(text, found.start("rest"), low, high))
        yield from people
        n_empty = 0 if people else n_empty + 1
        # Lines of history have lines of text between them.
        if n_empty > (0 if pattern is _LIST_LINE else 3):
            return
        newline = text.find("\n", at, at + _REACH_CHARS)
        if newline < 0:
            return
        at = newline + 1
