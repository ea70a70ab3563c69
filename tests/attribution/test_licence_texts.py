"""Guards the licence texts of a bundle: MIT and BSD code may be kept only with its text, so a text
of another project, or half of one, would leave a user with a notice that does not do."""

from pathlib import Path

from attribution.licence_texts import NOTICES_FILE, project_of, read_licence_texts
from attribution.report import Source

SHIPPED = Path(__file__).resolve().parents[2] / "runtime/default_bundle"
RULE = "-" * 80


def test_of_the_default_bundle_every_project_that_has_texts():
    head = (SHIPPED / NOTICES_FILE).read_text(encoding="utf-8").partition(RULE)[0]
    listed = [line for line in head.splitlines() if ": " in line]
    texts = read_licence_texts(SHIPPED)
    with_texts = {line.rpartition(": ")[0] for line in listed if "no licence text" not in line}
    assert len(with_texts) > 100 and set(texts) == with_texts
    assert all(text for several in texts.values() for text in several)
    flask = next(texts[name] for name in texts if name.startswith("pypi:flask "))
    assert any("Copyright 2010 Pallets" in text for text in flask)


def test_texts_that_hold_rules_and_texts_of_several(tmp_path):
    parts = [
        "Preface.\n\npypi:a 1: MIT\npypi:b: BSD-3-Clause\n",
        f"pypi:a 1 (LICENSE)\npypi:b (COPYING)\n\nOne.\n{RULE}\nNot a project (x)\n\nTwo.\n",
        "pypi:b (NOTICE)\n\nThree.\n",
    ]
    (tmp_path / NOTICES_FILE).write_text(f"\n{RULE}\n".join(parts), encoding="utf-8")
    first = f"One.\n{RULE}\nNot a project (x)\n\nTwo."
    assert read_licence_texts(tmp_path) == {"pypi:a 1": (first,), "pypi:b": (first, "Three.")}


def test_a_folder_without_notices_has_none(tmp_path):
    assert read_licence_texts(tmp_path) == {}
    (tmp_path / NOTICES_FILE).write_bytes(b"\xff\xfe")
    assert read_licence_texts(tmp_path) == {}


def test_the_name_of_a_project_without_version():
    source = Source(
        origin="folder:own", version="", path="a.c", licence="MIT", swhid="swh:1:cnt:" + "0" * 40,
        first_line=1, last_line=2,
    )  # fmt: skip
    assert project_of(source) == "folder:own"
