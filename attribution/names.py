"""What a person may call files of a corpus, and which rows of the manifest are meant.

| name                                     | means                                             |
|------------------------------------------|---------------------------------------------------|
| ``pypi:requests``, ``requests``          | all files of that origin                          |
| ``psf``, ``psf/requests``                | all files of origins below that owner             |
| ``requests/src/models.py``               | the file of that path in that origin              |
| ``src/models.py``, ``models.py``         | every file whose path ends so                     |
| ``swh:1:cnt:...``                        | every file with that content                      |
| ``swh:1:rev:...``                        | all files that were taken from that commit        |

Letter case does not count. The first line of the table that fits any row is what is meant.
"""

from collections.abc import Callable, Iterable

from attribution.errors import NameFormError
from attribution.manifest import ManifestRow
from attribution.swhid import ObjectType, parse_swhid

Rule = Callable[[ManifestRow], bool]


def rows_named(rows: Iterable[ManifestRow], name: str) -> list[int]:
    """Numbers of the rows that `name` means; NameFormError for a SWHID that names no files."""
    rules = _swhid_rules(name) if name.startswith("swh:") else _plain_rules(name)
    found: list[list[int]] = [[] for _ in rules]
    for number, row in enumerate(rows):
        for rule, numbers in zip(rules, found, strict=True):
            if rule(row):
                numbers.append(number)
                break
    return next((numbers for numbers in found if numbers), [])


def _swhid_rules(name: str) -> list[Rule]:
    try:
        swhid = parse_swhid(name)
    except ValueError as error:
        raise NameFormError(
            f"{error}: give one like swh:1:cnt: and 40 hexadecimal digits"
        ) from error
    if swhid.object_type is ObjectType.CONTENT:
        return [lambda row: row.swhid == swhid.core]
    if swhid.object_type is ObjectType.REVISION:
        return [lambda row: row.version == swhid.object_id]
    raise NameFormError(
        f"{swhid.core} names a {swhid.object_type.name.lower()}, which a manifest does not list: "
        "give the identifier of a file or of a commit"
    )


def _plain_rules(name: str) -> list[Rule]:
    wanted = name.casefold().strip("/")
    if not wanted:
        return []
    return [
        lambda row: wanted in _spellings(row.origin),
        lambda row: f"/{wanted}/" in f"/{_spellings(row.origin)[1]}/",
        lambda row: any(
            wanted == f"{origin}/{row.path.casefold()}" for origin in _spellings(row.origin)
        ),
        lambda row: f"/{row.path.casefold()}".endswith(f"/{wanted}"),
    ]


def _spellings(origin: str) -> tuple[str, str]:
    """An origin with and without its kind."""
    folded = origin.casefold()
    return folded, folded.partition(":")[2].strip("/")
