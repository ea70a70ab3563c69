"""The words that go with code taken from somewhere: whose it is, where it stands, its licence, and
what that licence asks for.

`duties` is a summary from a table (`licences`), not legal advice. `append` keeps a file in the
manner of THIRD_PARTY_NOTICES; `header_comment` is for the code itself. Whatever comes from an index
(paths, names) is cut to one line first, so that it cannot break out of a comment.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from attribution.atomic import write_files
from attribution.comment_styles import comment_out
from attribution.errors import NoticeFileError
from attribution.licence_texts import NO_TEXTS, LicenceTexts, project_of
from attribution.licences import (
    NO_LICENCE,
    Choice,
    Condition,
    ExpressionUnreadableError,
    choose,
    terms_of,
)
from attribution.match import Source
from attribution.swhid import with_lines
from attribution.visible import LAYOUT, visible

NOTICES_HEAD = """\
THIRD-PARTY NOTICES

This project holds code of the projects below. Each part stays under its licence.
"""

_RULE = "-" * 80
_TEXT_ELSEWHERE = (
    "The licence's text is not here: copy it from the project, where it is mostly called LICENSE\n"
    "or COPYING, with the copyright line."
)

_DUTIES = {
    Condition.NOTICE: "Keep the copyright line and the text of {licences} with the code.",
    Condition.NOTICE_FILE: "Pass on what the project's NOTICE file says, if it has one.",
    Condition.CHANGES: "State that you changed the code, if you do.",
    Condition.NAMES: "Do not use the authors' names to promote your product.",
    Condition.ADVERTISING: "Name the authors in advertisements that speak of the code.",
    Condition.FILE_SOURCE: "Leave the file that holds it under {licences} and share its source.",
    Condition.LIBRARY_SOURCE: "Share the source of what you copy it into under {licences}; "
    "programs that only link to that need not be shared.",
    Condition.SOURCE: "Share the source of the whole work under {licences} when you pass it on.",
    Condition.NETWORK_SOURCE: "Share the source of the whole work under {licences}, also with "
    "those who use it over a network.",
    Condition.NO_COMMERCE: "Do not use it commercially.",
    Condition.NO_CHANGES: "Do not change it: only verbatim copies are allowed.",
    Condition.NO_PERMISSION: "Ask the authors for permission first: copying is not allowed.",
}


def notice(source: Source) -> str:
    """Attribution text of a source: package, version, path, licence, SWHID."""
    return "\n".join(_notice_lines(source))


def header_comment(source: Source, language_id: str) -> str:
    """The notice as a comment of the language (LSP's id, e.g. ``typescriptreact``), to be put above
    the code; ends with a newline. Empty for a language without comments, such as JSON."""
    lines = [*_notice_lines(source), f"SPDX-License-Identifier: {_one_line(source.licence)}"]
    return comment_out(lines, language_id)


def duties(licence: str, project_licence: str | None = None) -> tuple[str, ...]:
    """What the user must do to keep code under `licence`, each a sentence; conflicts with the
    project's own licence first. Both are SPDX expressions. No legal advice."""
    if licence.strip() in NO_LICENCE:
        return ("Ask the authors for permission first: no licence of this code is known.",)
    try:
        choice = choose(licence, project_licence or None)
    except ExpressionUnreadableError:
        try:
            choice = choose(licence)
        except ExpressionUnreadableError:
            return (f"Find out what '{_one_line(licence)}' allows: it is not an SPDX expression.",)
        unreadable = f"'{_one_line(project_licence or '')}' is not an SPDX expression, so whether "
        unreadable += "the project may hold this code is not known."
        return (unreadable, *_sentences(choice, None))
    return _sentences(choice, project_licence)


def append(path: Path, sources: Sequence[Source], texts: LicenceTexts = NO_TEXTS) -> int:
    """Adds a notice for each source to the file `path` (made if need be), unless it is there.

    Each comes with the licence texts of its project that `texts` has and the file has not. Returns
    how many were added. What the file holds is not touched; it is replaced whole or not at all.
    Raises NoticeFileError when it cannot be read, IndexWriteError when the disk refuses.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise NoticeFileError(
            f"{path} cannot be read as UTF-8 text ({error}): name another file for the notices"
        ) from error
    n_new = len(_new_sources(text, sources))
    if n_new:
        data = appended(text, sources, texts).encode("utf-8", "replace")

        def write_text(file: BinaryIO) -> None:
            file.write(data)

        write_files(path.parent, {path.name: write_text}, lambda _: None)
    return n_new


def appended(text: str, sources: Sequence[Source], texts: LicenceTexts = NO_TEXTS) -> str:
    """The text of a file of notices with those of `sources` that it lacks; `text` is empty for a
    new file."""
    for source in _new_sources(text, sources):
        block = _block(source, texts.get(project_of(source), ()), text)
        text = (text or NOTICES_HEAD).rstrip("\n") + "\n\n" + block
    return text


def title(source: Source) -> str:
    """Name and version, e.g. ``requests 2.32.3``."""
    return f"{source.origin.partition(':')[2] or source.origin} {source.version}".rstrip()


def place(source: Source) -> str:
    """Path and lines, e.g. ``requests/models.py, lines 10-22``."""
    if source.first_line == source.last_line:
        return f"{source.path}, line {source.first_line}"
    return f"{source.path}, lines {source.first_line}-{source.last_line}"


def _notice_lines(source: Source) -> list[str]:
    return [
        f"Contains code of {_one_line(title(source))}, licence {_one_line(source.licence)}:",
        _one_line(place(source)),
        _reference(source),
    ]


def _reference(source: Source) -> str:
    return with_lines(source.swhid, source.first_line, source.last_line)


def _new_sources(text: str, sources: Sequence[Source]) -> list[Source]:
    known = set(text.splitlines())
    new = {_reference(one): one for one in sources if _reference(one) not in known}
    return list(new.values())


def _block(source: Source, licence_texts: Sequence[str], above: str) -> str:
    """A notice; `above` is the text that it is added to."""
    licence_texts = [visible(one, kept=LAYOUT) for one in licence_texts]
    lines = [
        _RULE,
        _one_line(title(source)),
        f"SPDX-License-Identifier: {_one_line(source.licence)}",
        f"From: {_one_line(place(source))}",
        _reference(source),
        *(f"* {duty}" for duty in duties(source.licence)),
    ]
    missing = [one for one in licence_texts if one not in above]
    if not licence_texts and _asks_for_text(source.licence):
        lines.append(_TEXT_ELSEWHERE)
    elif len(missing) < len(licence_texts):
        lines.append("Licence texts of this project stand above.")
    for one in missing:
        lines += ["", one]
    return "\n".join(lines) + "\n"


def _asks_for_text(licence: str) -> bool:
    try:
        return Condition.NOTICE in choose(licence).conditions
    except ExpressionUnreadableError:
        return False


def _sentences(choice: Choice, project_licence: str | None) -> tuple[str, ...]:
    found = [
        f"Code under {licence} cannot go into a project under {_one_line(project_licence or '')}: "
        "write it anew, or ask the authors for another licence."
        for licence in choice.conflicts
    ]
    if choice.has_alternatives:
        found.append(f"There is a choice of licences; this is for {' AND '.join(choice.licences)}.")
    for condition in choice.conditions:
        found.append(_DUTIES[condition].format(licences=_asking(choice, condition)))
    found += [f"Read {licence}: Starling does not know its terms." for licence in choice.unknown]
    return tuple(found) or ("Nothing: the code is free of conditions.",)


def _asking(choice: Choice, condition: Condition) -> str:
    return " and ".join(
        licence for licence in choice.licences if condition in terms_of(licence).conditions
    )


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
