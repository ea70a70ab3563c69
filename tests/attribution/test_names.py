"""Guards what "am I in it?" and "forget me" take a name for: a reading too narrow denies an author,
one too wide forgets the work of others."""

from dataclasses import replace

import pytest

from attribution.errors import NameFormError
from attribution.names import rows_named
from tests.attribution.corpus import document

COMMIT = "0123456789" * 4


def row(origin, path, version=""):
    return replace(document(f"{origin}/{path}", origin=origin, path=path)[0], version=version)


ROWS = [
    row("pypi:requests", "src/requests/models.py"),
    row("pypi:requests", "setup.py"),
    row("pypi:requests-oauthlib", "setup.py"),
    row("github:psf/requests", "models.py", COMMIT),
    row("git:https://example.org/psf/black", "black.py"),
    row("folder:shop", "requests/models.py"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("requests", [0, 1]),
        ("pypi:requests", [0, 1]),
        ("PyPI:Requests", [0, 1]),
        ("psf", [3, 4]),
        ("psf/requests", [3]),
        ("example.org", [4]),
        ("shop", [5]),
        ("requests/setup.py", [1]),
        ("pypi:requests/setup.py", [1]),
        ("psf/requests/models.py", [3]),
        ("setup.py", [1, 2]),
        ("requests/models.py", [0, 5]),
        ("Models.py", [0, 3, 5]),
        ("/models.py", [0, 3, 5]),
        ("equests", []),
        ("dels.py", []),
        ("ps", []),
        ("", []),
        ("/", []),
        (ROWS[2].swhid, [2]),
        (ROWS[2].swhid + ";lines=1-3", [2]),
        ("swh:1:cnt:" + "0" * 40, []),
        ("swh:1:rev:" + COMMIT, [3]),
    ],
)
def test_what_a_name_means(name, expected):
    assert rows_named(ROWS, name) == expected


@pytest.mark.parametrize("name", ["swh:1:cnt:12", "swh:", "swh:2:cnt:" + "0" * 40])
def test_what_is_nearly_an_identifier_is_refused(name):
    with pytest.raises(NameFormError, match="40 hexadecimal digits"):
        rows_named(ROWS, name)


def test_an_identifier_of_a_directory_is_refused_by_kind():
    with pytest.raises(NameFormError, match="names a directory"):
        rows_named(ROWS, "swh:1:dir:" + "0" * 40)
