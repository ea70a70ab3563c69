"""SPDX licence expressions: what they name, and whether they can be satisfied permissively.

`license-expression` does the parsing. Its scanner keeps state in the parser object, so that one
object must not serve two threads: a lock guards it. Ids that the library's own list lacks are added
from the SPDX texts that we carry.
"""

import threading
from functools import cache
from typing import Any

from license_expression import (
    ExpressionError,
    ExpressionParseError,
    LicenseSymbol,
    Licensing,
    get_spdx_licensing,
)

from train.corpus.licensing.permissive import PERMISSIVE, is_copyleft
from train.corpus.licensing.texts import spdx_ids
from train.errors import LicenceRefused

NOASSERTION = "NOASSERTION"
"""SPDX's word for "nobody knows"."""
_BY_NAME: dict[str, str] = {
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0", "apache license": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "apache2": "Apache-2.0", "apache v2": "Apache-2.0",
    "asl 2.0": "Apache-2.0", "bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause", "bsd 3": "BSD-3-Clause", "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "bsd3": "BSD-3-Clause",
    "modified bsd license": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause", "bsd 3 clause": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause", "bsd 2-clause": "BSD-2-Clause", "simplified bsd": "BSD-2-Clause",
    "2-clause bsd": "BSD-2-Clause", "bsd 2-clause license": "BSD-2-Clause", "mit": "MIT",
    "mit license": "MIT", "the mit license": "MIT", "the mit license (mit)": "MIT",
    "mit/x11": "MIT", "expat": "MIT", "expat license": "MIT", "isc license": "ISC",
    "gpl": "GPL-1.0-or-later", "gplv2": "GPL-2.0-only", "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only", "gplv3+": "GPL-3.0-or-later", "gpl v2": "GPL-2.0-only",
    "gpl v3": "GPL-3.0-only", "gpl-2": "GPL-2.0-only", "gpl-3": "GPL-3.0-only",
    "gpl2": "GPL-2.0-only", "gpl3": "GPL-3.0-only", "lgpl": "LGPL-2.0-or-later",
    "lgplv2": "LGPL-2.0-only", "lgplv2.1": "LGPL-2.1-only", "lgplv2.1+": "LGPL-2.1-or-later",
    "lgpl v2.1": "LGPL-2.1-only", "lgplv3": "LGPL-3.0-only", "lgplv3+": "LGPL-3.0-or-later",
    "lgpl-3": "LGPL-3.0-only", "agplv3": "AGPL-3.0-only", "agplv3+": "AGPL-3.0-or-later",
    "agpl": "AGPL-1.0-or-later", "mpl": "MPL-2.0", "mpl 2.0": "MPL-2.0", "mpl2": "MPL-2.0",
    "psf": "PSF-2.0", "psfl": "PSF-2.0", "python": "PSF-2.0", "zlib": "Zlib", "cc0": "CC0-1.0",
    "zpl": "ZPL-2.1", "zpl 2.1": "ZPL-2.1", "unlicense": "Unlicense", "the unlicense": "Unlicense",
    "public domain": "LicenseRef-public-domain", "proprietary": "LicenseRef-proprietary",
}  # fmt: skip
_lock = threading.Lock()
# The library fails with the last three over some texts that are no expression.
_UNREADABLE = (
    ExpressionError, ExpressionParseError, AssertionError, IndexError, RecursionError
)  # fmt: skip
_MAX_EXPRESSION_CHARS = 4_000


def licences_of(expression: str) -> frozenset[str]:
    """SPDX ids that an expression names; raises LicenceRefused when it is not one."""
    parsed = _parsed(expression)
    if parsed is None:
        return frozenset()
    # A licence with an exception is one symbol, e.g. "Apache-2.0 WITH LLVM-exception".
    return frozenset(symbol.render() for symbol in parsed.symbols)


def expression_of(text: str) -> str:
    """In SPDX's present spelling (``GPL-3.0`` is ``GPL-3.0-only``) and sorted; empty if none."""
    try:
        parsed = _parsed(text)
    except LicenceRefused:
        return ""
    return parsed.simplify().render() if parsed is not None else ""


def id_of_name(name: str) -> str:
    """Expression for what people write in place of an SPDX id; empty when it says nothing sure."""
    name = " ".join(name.split()).strip("\"'. ")
    if known := _BY_NAME.get(name.lower()):
        return known
    return expression_of(name) if len(name) < 200 else ""


def is_permissive(expression: str) -> bool:
    """Whether the expression can be satisfied with licences of the allow-list alone.

    An exception only adds permissions, so a permissive licence stays one with it.
    """
    parsed = _parsed(expression)
    if parsed is None:
        return False
    return _satisfied(parsed, lambda symbol: symbol.partition(" WITH ")[0] in PERMISSIVE)


def needs_copyleft(expression: str) -> bool:
    """Whether every way to satisfy the expression takes a copyleft licence."""
    parsed = _parsed(expression)
    if parsed is None:
        return False
    return not _satisfied(parsed, lambda symbol: not is_copyleft(symbol))


def _satisfied(parsed: Any, allows: Any) -> bool:
    operator = getattr(parsed, "operator", "").strip()
    if operator == "OR":
        return any(_satisfied(part, allows) for part in parsed.args)
    if operator == "AND":
        return all(_satisfied(part, allows) for part in parsed.args)
    return bool(allows(parsed.render()))


def _parsed(expression: str) -> Any:
    if len(expression) > _MAX_EXPRESSION_CHARS:
        raise _refusal(expression[:80] + " ...", "too long")
    with _lock:
        licensing = _licensing()
        try:
            parsed = licensing.parse(expression)
            unknown = [
                symbol.key if hasattr(symbol, "key") else str(symbol)
                for symbol in licensing.unknown_license_symbols(parsed)
            ] if parsed is not None else []  # fmt: skip
        except _UNREADABLE as error:
            raise _refusal(expression, str(error)) from error
    unknown = [key for key in unknown if not key.startswith(("LicenseRef-", "DocumentRef-"))]
    if unknown:
        raise _refusal(expression, "unknown: " + ", ".join(unknown))
    return parsed


def _refusal(expression: str, why: str) -> LicenceRefused:
    return LicenceRefused(
        f"{expression!r} is not an SPDX licence expression ({why}): correct the recipe"
    )


@cache
def _licensing() -> Licensing:
    symbols = dict(get_spdx_licensing().known_symbols)
    known = {key.lower() for key in symbols}
    ours = [LicenseSymbol(key) for key in sorted(spdx_ids()) if key.lower() not in known]
    return Licensing([*symbols.values(), *ours])
