"""How licences are called in sentences, and the SPDX id that a name with its version means.

All patterns run over folded words (`statements.folded`): lower case, one space, no punctuation but
the dots of version numbers. The GNU family is apart, because its version may stand before the
name or far behind it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

VERSION_AFTER = re.compile(
    r"^[^|]{0,25}?(?:\b(?:version|ver|v) ?|\bv|\s)([1-4](?:\.\d{1,2})?)(?!\w)"
    r"|^[^|]{0,110}?\b(?:version |v)([1-4](?:\.\d{1,2})?)(?!\w)"
)
"""A bare number beside the name, or "version N" in the same sentence."""
GNU = re.compile(
    r"(?:gnu )?(affero |lesser |library )?(?:gnu )?general public licenses?\b"
    r"|\b(?:gnu )?(affero |lesser |library )?([la]?gpl)(?: ?v ?| )?([1-3](?:\.\d)?)?(\+)?(?![a-z])"
)
_VERSION_BEFORE = re.compile(
    r"\bversion ([1-4](?:\.\d)?) (?:(?:or|and) (?:[^ |]+ ){1,6})?of (?:the )?$"
)
_LATER = re.compile(r"\b(?:or|and) (?:[^ |]+ ){0,4}?(?:later|newer|higher|above|greater)\b|\d\+")
_VERSIONS = {
    "GPL": {"1": "1.0", "1.0": "1.0", "2": "2.0", "2.0": "2.0", "3": "3.0", "3.0": "3.0"},
    "LGPL": {"2": "2.0", "2.0": "2.0", "2.1": "2.1", "3": "3.0", "3.0": "3.0"},
    "AGPL": {"1": "1.0", "3": "3.0", "3.0": "3.0"},
}
ANY_GNU_VERSION = {
    "GPL": "GPL-1.0-or-later",
    "LGPL": "LGPL-2.0-or-later",
    "AGPL": "AGPL-1.0-or-later",
}
"""Without a version any published one may be used, as the licences themselves say."""


@dataclass(frozen=True, slots=True)
class Name:
    """One licence or family."""

    key: str
    """Occurs wherever the pattern matches, in words with a space before; looked for first."""
    pattern: re.Pattern[str]
    spdx_id: Callable[[re.Match[str], str], str]
    """From the match and the words after it."""


def gnu_id(match: re.Match[str], words: str) -> str:
    """The id that a match of `GNU` in `words` means, with version and "or later"."""
    long_kind, short_kind, short, number, plus = match.groups()
    kind = (long_kind or short_kind or "").strip()
    family = {"affero": "AGPL", "lesser": "LGPL", "library": "LGPL"}.get(kind)
    family = family or (short or "gpl").upper()
    after = words[match.end() :][:170]
    other = GNU.search(after)
    if other and other.start() > 24:
        # "GPL version 2 or LGPL version 3": the second number is the second name's.
        after = after[: other.start()]
    if not number:
        if before := _VERSION_BEFORE.search(words[max(0, match.start() - 80) : match.start()]):
            number, after = before.group(1), before.group()
        elif follows := VERSION_AFTER.match(after):
            number = follows.group(1) or follows.group(2)
    version = _VERSIONS[family].get(number or "")
    if not version:
        return ANY_GNU_VERSION[family]
    is_open = plus or _LATER.search(after[:150])
    return f"{family}-{version}-{'or-later' if is_open else 'only'}"


def _numbered(default: str, *others: str) -> Callable[[re.Match[str], str], str]:
    """The id whose version follows the name, else `default`."""
    by_version = {spdx_id.rpartition("-")[2]: spdx_id for spdx_id in (default, *others)}

    def choose(match: re.Match[str], after: str) -> str:
        number = VERSION_AFTER.match(after)
        version = (number.group(1) or number.group(2)) if number else ""
        return by_version.get(version) or by_version.get(f"{version}.0") or default

    return choose


def _always(spdx_id: str) -> Callable[[re.Match[str], str], str]:
    return lambda match, after: spdx_id


def _bsd(match: re.Match[str], after: str) -> str:
    words = f"{match.group()} {after[:20]}"
    if re.search(r"\b(?:2|two) clause|simplified|freebsd|bsd 2\b", words):
        return "BSD-2-Clause"
    if re.search(r"\b(?:0|zero) clause", words):
        return "0BSD"
    return "BSD-4-Clause" if re.search(r"\b(?:4|four) clause|original", words) else "BSD-3-Clause"


def _creative_commons(match: re.Match[str], after: str) -> str:
    words = re.sub(r"[^a-z]", "", f"{match.group()}{after[:40]}".replace("attribution", "by"))
    kind = "BY"
    if "noncommercial" in words or "bync" in words:
        kind += "-NC"
    if "sharealike" in words or re.search(r"by(?:nc)?sa", words):
        kind += "-SA"
    elif "noderiv" in words or re.search(r"by(?:nc)?nd", words):
        kind += "-ND"
    number = re.search(r"\b([1-4]\.[05])\b", f"{match.group()} {after[:70]}")
    return f"CC-{kind}-{number.group(1) if number else '4.0'}"


def _name(key: str, pattern: str, spdx_id: str | Callable[[re.Match[str], str], str]) -> Name:
    choose = _always(spdx_id) if isinstance(spdx_id, str) else spdx_id
    return Name(key, re.compile(rf"\b(?:{pattern})\b"), choose)


_BSD_KIND = r"(?:new|modified|revised|simplified|original|[0234]|two|three|four|zero) "
NAMES: tuple[Name, ...] = (
    _name(
        "llvm",
        r"apache license v?(?:ersion )?2\.0 with llvm exceptions?",
        "Apache-2.0 WITH LLVM-exception",
    ),
    _name(
        "apache",
        r"apache(?: software)? licenses?|apache(?: license)? v?(?:ersion )?2(?:\.0)?",
        _numbered("Apache-2.0", "Apache-1.0", "Apache-1.1"),
    ),
    _name("asl 2.0", r"asl 2\.0", "Apache-2.0"),
    _name(
        " mit",
        r"mit(?: x11| expat| open source| style)? licensed?|mit x11|mit(?= or)|mit(?= and)"
        r"|(?<=under )mit|(?<=under the )mit|(?<=terms of the )mit|(?<=either )mit",
        "MIT",
    ),
    _name("expat", "expat license", "MIT"),
    _name("x11", "x11 license", "X11"),
    _name(
        "bsd",
        rf"(?:{_BSD_KIND})?(?:clause )?(?:free)?bsd(?: [0234]| two| three| four)?(?: clause)?"
        r"(?: style)? licenses?d?|[234] clause bsd|bsd [234] clause"
        r"|(?<=under )bsd|(?<=under the )bsd|(?<=or )bsd|(?<=the )bsd(?= or)",
        _bsd,
    ),
    _name("mozilla", "mozilla public license", _numbered("MPL-2.0", "MPL-1.1", "MPL-1.0")),
    _name(" mpl", "mpl", _numbered("MPL-2.0", "MPL-1.1", "MPL-1.0")),
    _name("eclipse", "eclipse public license", _numbered("EPL-2.0", "EPL-1.0")),
    _name(" epl", "epl", _numbered("EPL-2.0", "EPL-1.0")),
    _name("eclipse", "eclipse distribution license", "BSD-3-Clause"),
    _name(
        "common development",
        "common development and distribution license",
        _numbered("CDDL-1.0", "CDDL-1.1"),
    ),
    _name("cddl", "cddl", _numbered("CDDL-1.0", "CDDL-1.1")),
    _name("common public", "common public license", "CPL-1.0"),
    _name(
        "european union",
        "european union public license",
        _numbered("EUPL-1.2", "EUPL-1.1", "EUPL-1.0"),
    ),
    _name("eupl", "eupl", _numbered("EUPL-1.2", "EUPL-1.1", "EUPL-1.0")),
    _name("boost", "boost software license", "BSL-1.0"),
    _name("business", "business source license", "BUSL-1.1"),
    _name("server side", "server side public license", "SSPL-1.0"),
    _name("sspl", "sspl", "SSPL-1.0"),
    _name("elastic", "elastic license", "Elastic-2.0"),
    _name("polyform", "polyform noncommercial license", "PolyForm-Noncommercial-1.0.0"),
    _name("zlib", "zlib(?: libpng)? license", "Zlib"),
    _name(" isc", "isc(?: style)? license|(?<=under )isc", "ISC"),
    _name("unlicense", "unlicense", "Unlicense"),
    _name("do what the fuck", "do what the fuck you want to public license", "WTFPL"),
    _name("wtfpl", "wtfpl", "WTFPL"),
    _name("python", "(?:python software foundation|python) license", "PSF-2.0"),
    _name(" psf", "psf license", "PSF-2.0"),
    _name(
        "academic",
        "academic free license",
        _numbered("AFL-3.0", "AFL-2.1", "AFL-2.0", "AFL-1.2", "AFL-1.1"),
    ),
    _name(
        "open software",
        "open software license",
        _numbered("OSL-3.0", "OSL-2.1", "OSL-2.0", "OSL-1.1", "OSL-1.0"),
    ),
    _name("artistic", "artistic license", _numbered("Artistic-1.0", "Artistic-2.0")),
    _name("as perl", "same terms as perl(?: itself)?", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
    _name("cc0", "cc0", "CC0-1.0"),
    _name("creative commons zero", "creative commons zero", "CC0-1.0"),
    _name("creative commons", "creative commons attribution", _creative_commons),
    _name("cc by", "cc by", _creative_commons),
    _name("microsoft", "microsoft public license", "MS-PL"),
    _name("microsoft", "microsoft reciprocal license", "MS-RL"),
    _name("illinois", "university of illinois(?: ncsa)? open source license", "NCSA"),
    _name("ncsa", "ncsa license", "NCSA"),
    _name("zope", "zope public license", _numbered("ZPL-2.1", "ZPL-2.0", "ZPL-1.1")),
    _name(" zpl", "zpl", _numbered("ZPL-2.1", "ZPL-2.0", "ZPL-1.1")),
    _name(" php", "php license", _numbered("PHP-3.01", "PHP-3.0")),
    _name(" ruby", "ruby s? ?license", "Ruby"),
    _name("postgresql", "postgresql license", "PostgreSQL"),
    _name("w3c", "w3c software(?: notice and)? license", "W3C"),
    _name(" vim", "vim license", "Vim"),
)
