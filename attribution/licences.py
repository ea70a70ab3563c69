"""SPDX licence expressions: what each licence asks of whoever copies a few lines under it.

A table of facts, not legal advice: it knows the licences that code on package indexes and in
distributions mostly has, in the spirit of choosealicense.com's rules and of the compatibility lists
of the FSF and of the licences' own texts. A licence that is not in it is `is_known` False, which a
user must read himself. `license-expression` parses; no list of ids is loaded, which keeps the
import at 30 ms. The words for users are in `notice`.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from typing import Any

from license_expression import ExpressionError, ExpressionParseError, Licensing


class Condition(IntEnum):
    """What a licence asks for, from the lightest to the heaviest."""

    NOTICE = 1
    """Keep copyright line and licence text."""
    NOTICE_FILE = 2
    """Pass on the NOTICE file."""
    CHANGES = 3
    """Say that the code was changed."""
    NAMES = 4
    """Do not advertise with the authors' names."""
    ADVERTISING = 5
    """Name the authors in advertisements."""
    FILE_SOURCE = 6
    """The file stays under the licence, its source is shared."""
    LIBRARY_SOURCE = 7
    """As SOURCE, but programs that only link to the library are free."""
    SOURCE = 8
    """The whole work is shared as source under the licence."""
    NETWORK_SOURCE = 9
    """As SOURCE, also for users over a network."""
    NO_COMMERCE = 10
    """No commercial use."""
    NO_CHANGES = 11
    """Only verbatim copies."""
    NO_PERMISSION = 12
    """Nobody allowed copying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one licence says."""

    conditions: frozenset[Condition]
    only_into: frozenset[str] | None = None
    """Licences of projects that may hold such code; None: all that are not in `not_into`."""
    not_into: frozenset[str] = frozenset()
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The way to satisfy an expression that asks for least."""

    licences: tuple[str, ...]
    """With their exceptions, in the order of the expression."""
    conditions: tuple[Condition, ...]
    conflicts: tuple[str, ...]
    """Those of `licences` that the project's own licence does not admit."""
    unknown: tuple[str, ...]
    """Those of `licences` that the table does not have."""
    has_alternatives: bool


class ExpressionUnreadableError(ValueError):
    """The text is not an SPDX expression."""


NO_LICENCE = frozenset({"", "NOASSERTION", "NONE"})
"""SPDX's words for "nobody knows" and "there is none"."""


def choose(expression: str, project_licence: str | None = None) -> Choice:
    """What `expression` asks for at least, of a project under `project_licence`.

    A conflict outweighs every condition, an unknown licence every known one. Raises
    ExpressionUnreadableError for either of the two.
    """
    project = _ids_of(project_licence) if project_licence else ()
    best = _best(_parsed(expression), project)
    licences = tuple(dict.fromkeys(best))
    conditions = {condition for one in licences for condition in terms_of(one).conditions}
    return Choice(
        licences=licences,
        conditions=tuple(sorted(conditions)),
        conflicts=tuple(one for one in licences if _conflicts(one, project)),
        unknown=tuple(one for one in licences if not terms_of(one).is_known),
        has_alternatives=set(licences) != set(_ids_of(expression)),
    )


def is_expression(text: str) -> bool:
    """Whether `text` can be read as an SPDX expression."""
    try:
        _parsed(text)
    except ExpressionUnreadableError:
        return False
    return True


def is_known(expression: str) -> bool:
    """Whether what `expression` asks for at least is known here; raises as `choose`."""
    return not choose(expression).unknown


@lru_cache(maxsize=4096)
def is_permissive(expression: str) -> bool:
    """Whether one way to satisfy it asks for nothing but notices; False when that is not known."""
    try:
        choice = choose(expression)
    except ExpressionUnreadableError:
        return False
    return not choice.unknown and max(choice.conditions, default=0) < Condition.FILE_SOURCE


def allows(allowed: Iterable[str], expression: str) -> bool:
    """Whether the expression can be satisfied with the licences in `allowed` alone.

    ``MIT`` in `allowed` also allows ``MIT OR GPL-2.0-only``; a whole expression allows itself.
    """
    names = {name.strip().casefold() for name in allowed}
    if expression.strip().casefold() in names:
        return True
    try:
        return _is_satisfied(_parsed(expression), names)
    except ExpressionUnreadableError:
        return False


def terms_of(licence: str) -> Terms:
    """What the table has of one licence, with its exception or without."""
    spdx_id, _, exception = licence.partition(" WITH ")
    terms = _TERMS.get(_canonical(spdx_id).casefold(), _UNKNOWN)
    if exception.casefold() == "llvm-exception":
        # It lifts what keeps Apache-2.0 out of version 2 of the GPL.
        return Terms(conditions=terms.conditions, is_known=terms.is_known)
    return terms


def _best(parsed: Any, project: tuple[str, ...]) -> tuple[str, ...]:
    """The licences to take, as a tuple: all of an AND, the lightest of an OR."""
    operator = getattr(parsed, "operator", "").strip()
    if not operator:
        return (parsed.render(),)
    parts = [_best(part, project) for part in parsed.args]
    if operator == "OR":
        return min(parts, key=lambda part: _weight(part, project))
    return tuple(one for part in parts for one in part)


def _weight(licences: tuple[str, ...], project: tuple[str, ...]) -> tuple[int, int, int, int]:
    conditions = {condition for one in licences for condition in terms_of(one).conditions}
    return (
        sum(_conflicts(one, project) for one in licences),
        sum(not terms_of(one).is_known for one in licences),
        max(conditions, default=0),
        len(conditions),
    )


def _conflicts(licence: str, project: tuple[str, ...]) -> bool:
    """Whether a project that is offered under all of `project` may not hold such code."""
    terms = terms_of(licence)
    for own in project:
        own_id = _canonical(own.partition(" WITH ")[0])
        if own_id.casefold() == _canonical(licence.partition(" WITH ")[0]).casefold():
            continue
        if own_id in terms.not_into:
            return True
        if terms.only_into is not None and own_id not in terms.only_into:
            return True
    return False


def _is_satisfied(parsed: Any, names: set[str]) -> bool:
    operator = getattr(parsed, "operator", "").strip()
    if operator == "OR":
        return any(_is_satisfied(part, names) for part in parsed.args)
    if operator == "AND":
        return all(_is_satisfied(part, names) for part in parsed.args)
    licence = parsed.render()
    # An exception only adds permissions.
    return bool({licence.casefold(), licence.partition(" WITH ")[0].casefold()} & names)


def _ids_of(expression: str) -> tuple[str, ...]:
    parsed = _parsed(expression)
    return tuple(dict.fromkeys(symbol.render() for symbol in parsed.symbols))


def _canonical(spdx_id: str) -> str:
    """SPDX's present spelling: ``GPL-3.0`` is ``GPL-3.0-only``, ``GPL-2.0+`` is ``-or-later``."""
    base = spdx_id.removesuffix("+")
    if base.upper().startswith(("GPL-", "LGPL-", "AGPL-", "GFDL-")):
        base = base.upper().replace("-ONLY", "-only").replace("-OR-LATER", "-or-later")
        if not base.endswith(("-only", "-or-later")):
            base += "-or-later" if spdx_id.endswith("+") else "-only"
    return base


_SYMBOL = re.compile(r"[\w.+:-]+( WITH [\w.+:-]+)?", re.ASCII)
_lock = threading.Lock()
# The library fails with the last three over some texts that are no expression.
_UNREADABLE = (
    ExpressionError, ExpressionParseError, AssertionError, IndexError, RecursionError
)  # fmt: skip
_MAX_EXPRESSION_CHARS = 4_000
"""The parser calls itself for each parenthesis, and takes seconds for a hundred thousand words."""


@cache
def _licensing() -> Licensing:
    return Licensing()


def _parsed(expression: str) -> Any:
    if len(expression) > _MAX_EXPRESSION_CHARS:
        raise ExpressionUnreadableError(f"{len(expression)} characters are too many")
    try:
        with _lock:  # The parser keeps state.
            parsed = _licensing().parse(expression)
    except _UNREADABLE as error:
        raise ExpressionUnreadableError(f"{expression[:200]!r}: {error}") from error
    if parsed is None:
        raise ExpressionUnreadableError("the expression is empty")
    for symbol in parsed.symbols:
        if not _SYMBOL.fullmatch(symbol.render()):
            raise ExpressionUnreadableError(f"{symbol.render()!r} is not the id of a licence")
    return parsed


_UNKNOWN = Terms(conditions=frozenset(), is_known=False)

_GPL_2 = frozenset({"GPL-2.0-only", "GPL-2.0-or-later"})
_GPL_3 = frozenset({"GPL-3.0-only", "GPL-3.0-or-later"})
_AGPL_3 = frozenset({"AGPL-3.0-only", "AGPL-3.0-or-later"})
_LGPL_2 = frozenset({"LGPL-2.0-only", "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later"})
_LGPL_3 = frozenset({"LGPL-3.0-only", "LGPL-3.0-or-later"})
_GNU = _GPL_2 | _GPL_3 | _AGPL_3 | _LGPL_2 | _LGPL_3
_VERSION_3 = _GPL_3 | _AGPL_3 | {"GPL-2.0-or-later"}
"""Projects that can be passed on under version 3 of the GPL."""
_EUROPEAN = _GNU | {
    "EUPL-1.1", "EUPL-1.2", "MPL-2.0", "EPL-1.0", "EPL-2.0", "OSL-2.1", "OSL-3.0", "CECILL-2.0",
    "CECILL-2.1",
}  # fmt: skip
"""The EUPL's appendix."""


def _terms(*conditions: Condition) -> Terms:
    return Terms(conditions=frozenset(conditions))


def _copyleft(condition: Condition, only_into: frozenset[str], *others: Condition) -> Terms:
    return Terms(
        conditions=frozenset({Condition.NOTICE, Condition.CHANGES, condition, *others}),
        only_into=only_into,
    )


def _table(rows: dict[str, Terms]) -> dict[str, Terms]:
    """Ids, several in a key, to terms; ids without regard to case."""
    return {spdx_id.casefold(): terms for ids, terms in rows.items() for spdx_id in ids.split()}


_TERMS = _table(
    {
        "0BSD BlueOak-1.0.0 CC0-1.0 MIT-0 PDDL-1.0 Unlicense WTFPL FSFAP CC-PDDC "
        "LicenseRef-public-domain": _terms(),
        "MIT ISC X11 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-2-Clause-Views BSL-1.0 "
        "MIT-CMU HPND HPND-sell-variant NTP PostgreSQL UPL-1.0 MulanPSL-2.0 Unicode-3.0 "
        "Unicode-DFS-2016 ICU NCSA Fair MirOS Beerware curl TCL bzip2-1.0.6 "
        "MIT-Modern-Variant": _terms(Condition.NOTICE),
        "BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-3-Clause-Open-MPI BSD-Source-Code "
        "AFL-3.0 W3C ZPL-2.1": _terms(Condition.NOTICE, Condition.NAMES),
        "PSF-2.0 Python-2.0 Python-2.0.1 CNRI-Python Zlib Libpng libpng-2.0 Artistic-2.0 "
        "CC-BY-3.0 CC-BY-4.0 MS-PL ZPL-2.0": _terms(Condition.NOTICE, Condition.CHANGES),
        "Apache-1.1 ECL-2.0 PHP-3.01": _terms(Condition.NOTICE, Condition.CHANGES, Condition.NAMES),
        "Apache-2.0": Terms(
            conditions=frozenset({Condition.NOTICE, Condition.NOTICE_FILE, Condition.CHANGES}),
            not_into=frozenset({"GPL-2.0-only", "LGPL-2.0-only", "LGPL-2.1-only"}),
        ),
        "BSD-4-Clause BSD-4-Clause-UC OpenSSL Apache-1.0": Terms(
            conditions=frozenset({Condition.NOTICE, Condition.NAMES, Condition.ADVERTISING}),
            not_into=_GNU,
        ),
        "MPL-2.0": _terms(Condition.NOTICE, Condition.FILE_SOURCE),
        "MPL-1.1 CDDL-1.0 CDDL-1.1 EPL-1.0 EPL-2.0 CPL-1.0 IPL-1.0 MS-RL": Terms(
            conditions=frozenset({Condition.NOTICE, Condition.CHANGES, Condition.FILE_SOURCE}),
            not_into=_GNU,
        ),
        "LGPL-2.0-only LGPL-2.1-only": _copyleft(
            Condition.LIBRARY_SOURCE, _LGPL_2 | _GPL_2 | _GPL_3 | _AGPL_3
        ),
        "LGPL-2.0-or-later LGPL-2.1-or-later": _copyleft(Condition.LIBRARY_SOURCE, _GNU),
        "LGPL-3.0-only LGPL-3.0-or-later": _copyleft(
            Condition.LIBRARY_SOURCE,
            _LGPL_3 | _VERSION_3 | {"LGPL-2.0-or-later", "LGPL-2.1-or-later"},
        ),
        "GPL-1.0-or-later GPL-2.0-or-later": _copyleft(Condition.SOURCE, _GPL_2 | _VERSION_3),
        "GPL-1.0-only": _copyleft(Condition.SOURCE, frozenset({"GPL-1.0-or-later"})),
        "GPL-2.0-only": _copyleft(Condition.SOURCE, _GPL_2),
        "GPL-3.0-only GPL-3.0-or-later": _copyleft(Condition.SOURCE, _VERSION_3),
        "AGPL-3.0-only AGPL-3.0-or-later": _copyleft(Condition.NETWORK_SOURCE, _AGPL_3),
        "EUPL-1.1 EUPL-1.2": _copyleft(Condition.NETWORK_SOURCE, _EUROPEAN),
        "CECILL-2.0 CECILL-2.1": _copyleft(Condition.SOURCE, _GPL_2 | _VERSION_3),
        "OSL-3.0": _copyleft(Condition.NETWORK_SOURCE, frozenset()),
        "SSPL-1.0": _copyleft(Condition.NETWORK_SOURCE, frozenset()),
        "CC-BY-SA-4.0": _copyleft(Condition.SOURCE, _GPL_3 | _AGPL_3),
        "CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0": _copyleft(
            Condition.SOURCE, frozenset({"CC-BY-SA-3.0", "CC-BY-SA-4.0"})
        ),
        "CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0": _copyleft(Condition.NO_COMMERCE, frozenset()),
        "CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0": _copyleft(
            Condition.SOURCE, frozenset(), Condition.NO_COMMERCE
        ),
        "CC-BY-ND-3.0 CC-BY-ND-4.0": _copyleft(Condition.NO_CHANGES, frozenset()),
        "CC-BY-NC-ND-4.0": _copyleft(Condition.NO_CHANGES, frozenset(), Condition.NO_COMMERCE),
        "LicenseRef-proprietary NOASSERTION NONE": Terms(
            conditions=frozenset({Condition.NO_PERMISSION}), only_into=frozenset()
        ),
    }
)
