"""What a distribution's metadata says of its licence, and whether the recipe agrees with it."""

from email.message import Message

from train.corpus.licensing.expressions import (
    is_permissive,
    licences_of,
)
from train.corpus.licensing.permissive import PERMISSIVE
from train.errors import LicenceRefused

_CLASSIFIERS: dict[str, frozenset[str]] = {
    "Apache Software License": frozenset({"Apache-2.0"}),
    "BSD License": frozenset({"BSD-2-Clause", "BSD-3-Clause", "0BSD"}),
    "MIT License": frozenset({"MIT"}),
    "MIT No Attribution License (MIT-0)": frozenset({"MIT-0"}),
    "ISC License (ISCL)": frozenset({"ISC"}),
    "Python Software Foundation License": frozenset({"PSF-2.0", "Python-2.0"}),
    "zlib/libpng License": frozenset({"Zlib"}),
    "Zope Public License": frozenset({"ZPL-2.1"}),
    "The Unlicense (Unlicense)": frozenset({"Unlicense"}),
    "Boost Software License 1.0 (BSL-1.0)": frozenset({"BSL-1.0"}),
}
_FREE_TEXT: dict[str, frozenset[str]] = {
    "apache": frozenset({"Apache-2.0"}),
    "apache 2.0": frozenset({"Apache-2.0"}),
    "apache 2.0 license": frozenset({"Apache-2.0"}),
    "apache license": frozenset({"Apache-2.0"}),
    "apache license 2.0": frozenset({"Apache-2.0"}),
    "apache license, version 2.0": frozenset({"Apache-2.0"}),
    "apache software license": frozenset({"Apache-2.0"}),
    "bsd": frozenset({"BSD-2-Clause", "BSD-3-Clause"}),
    "bsd license": frozenset({"BSD-2-Clause", "BSD-3-Clause"}),
    "bsd 3-clause license": frozenset({"BSD-3-Clause"}),
    "mit license": frozenset({"MIT"}),
}


def stated_licences(metadata: Message) -> frozenset[str]:
    """SPDX ids that a distribution's metadata states; empty when it states none that we know.

    Evidence: License-Expression alone if there is one, else a License field of a few words and the
    classifiers. A classifier that is not known here stands for itself, so that it is never mistaken
    for permission.
    """
    if expression := metadata.get("License-Expression"):
        return licences_of(expression)
    stated: set[str] = set()
    text = " ".join((metadata.get("License") or "").split())
    if known := _FREE_TEXT.get(text.lower()):
        stated |= known
    elif text and len(text) < 80:
        try:
            stated |= licences_of(text)
        except LicenceRefused:
            pass
    prefix = "License :: OSI Approved :: "
    for classifier in metadata.get_all("Classifier", []):
        if classifier.startswith(prefix):
            name = classifier.removeprefix(prefix)
            known = _CLASSIFIERS.get(name, frozenset({name}))
            # The general "BSD License" says no more than the exact id that stands already.
            if not (stated & known):
                stated |= known
    return frozenset(stated)


def check_distribution(name: str, declared: str, metadata: Message) -> None:
    """Raise LicenceRefused unless the recipe's licence is permissive and the metadata agrees."""
    declared_ids = licences_of(declared)
    if not is_permissive(declared):
        raise LicenceRefused(
            f"{name} is under {declared}, which is not on the list of permissive licences: "
            "remove it from the recipe"
        )
    stated = stated_licences(metadata)
    if not stated:
        raise LicenceRefused(
            f"the metadata of {name} states no licence that is known here: remove it from the "
            "recipe, or use a version whose metadata has a licence"
        )
    expression = metadata.get("License-Expression")
    agrees = declared_ids <= stated and (
        is_permissive(expression) if expression else stated <= PERMISSIVE
    )
    if not agrees:
        raise LicenceRefused(
            f"the recipe says that {name} is under {declared}, its metadata says "
            f"{expression or ' / '.join(sorted(stated))}: correct the recipe, or remove it"
        )
