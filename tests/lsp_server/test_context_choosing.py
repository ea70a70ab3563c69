"""Guards which excerpts of other files the model sees: the ones that name what is being written,
never those of files that nobody meant to show, and the same ones from key to key.
"""
# ruff: noqa: E501

import os
import time
from pathlib import Path

import pytest

from lsp_server.context import choosing
from lsp_server.context.choosing import MAX_SIGNATURES_CHARS, Chooser
from lsp_server.context.cursor import OpenFile, OtherFile, Request
from runtime.other_files import MAX_OTHER_FILE_CHARS, MAX_OTHER_FILES

SHOP = '''\
"""A shop."""

import json

FILLING = [
    "nothing of use stands here",
]


def unrelated(first, second):
    return first


class Till:
    def __init__(self, size: int) -> None:
        self.size = size

    def open_drawer(self, reason: str) -> bool:
        """Whether the drawer opened."""
        return self.size > 0


def sell_item(till: Till, item: str, amount: int) -> int:
    till.open_drawer(item)
    return amount
'''
MAIN = """\
from app.shop import Till, sell_item

def main() -> None:
    till = Till(3)
    sell_item(till,
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "w"
    (root / "app").mkdir(parents=True)
    (root / "app" / "__init__.py").touch()
    (root / "app" / "shop.py").write_text(SHOP)
    (root / "app" / "main.py").write_text(MAIN)
    return root


def request(root: Path, **changes: object) -> Request:
    asked = {
        "uri": (root / "app" / "main.py").as_uri(),
        "text": MAIN,
        "line": 4,
        "root_uris": (root.as_uri(),),
        "open_files": (),
        "closed_uris": (),
        "before": (),
    } | changes
    return Request(**asked)


def opened(path: Path, text: str) -> OpenFile:
    return OpenFile(uri=path.as_uri(), revision=1, text=text)


def paths(files: tuple[OtherFile, ...]) -> list[str]:
    return [file.path for file in files]


def test_an_imported_file_is_shown_where_it_defines_what_is_used(root: Path) -> None:
    (file,) = Chooser().choose(request(root))
    assert file.path == "app/shop.py"
    assert "class Till:" in file.text and "def sell_item(till: Till, item: str" in file.text
    assert file.text in SHOP and file.text.endswith("\n")


def test_signatures_of_one_file_and_a_stretch_of_another(root: Path) -> None:
    usage = "def refund(till, item, amount):\n    till.open_drawer(item)\n    sell_item(till, item, -amount)\n"
    (root / "app" / "refunds.py").write_text("from app.shop import sell_item\n\n" + usage * 3)
    text = MAIN.replace(
        "sell_item(till,", "refund(till)\n    open_drawer(item, amount)\n    sell_item(till,"
    )
    signatures, stretch = Chooser().choose(request(root, text=text, line=6))
    assert (signatures.path, stretch.path) == ("app/shop.py", "app/refunds.py")
    assert signatures.text == (
        "class Till:\n    def open_drawer(self, reason: str) -> bool:\n"
        "def sell_item(till: Till, item: str, amount: int) -> int:\n"
    )
    assert len(signatures.text) <= MAX_SIGNATURES_CHARS and usage in stretch.text


def test_the_text_in_the_editor_counts_and_not_that_on_disk(root: Path) -> None:
    text = SHOP.replace("amount: int", "price: float")
    (file,) = Chooser().choose(request(root, open_files=(opened(root / "app" / "shop.py", text),)))
    assert "price: float" in file.text
    unsaved = opened(root / "app" / "new.py", "def sell_item(till, nothing_else): ...\n")
    (root / "app" / "shop.py").unlink()
    assert paths(Chooser().choose(request(root, open_files=(unsaved,)))) == ["app/new.py"]


def test_files_that_were_open_count(root: Path) -> None:
    (root / "lib").mkdir()
    far = root / "lib" / "far.py"
    far.write_text("def sell_item_slowly(till): ...\nTill = sell_item = None\n")
    (root / "app" / "shop.py").unlink()
    assert Chooser().choose(request(root)) == ()
    assert paths(Chooser().choose(request(root, closed_uris=(far.as_uri(),)))) == ["lib/far.py"]


def test_languages_that_import_each_other_are_shown_to_each_other(root: Path) -> None:
    for name, text in {
        "shop.h": "int sell_item(struct till *t);\n", "shop.css": ".sell_item { }\n",
        "till.ts": "export function sell_item(till: Till) {}\n", "shop.rs": "fn sell_item() {}\n",
    }.items():  # fmt: skip
        (root / "app" / name).write_text(text)
    for name, text, expected in (
        ("main.c", '#include "shop.h"\nsell_item(\n', "app/shop.h"),
        ("main.jsx", "import './shop.css'\nsell_item(\n", "app/till.ts"),
    ):
        asked = request(root, uri=(root / "app" / name).as_uri(), text=text, line=1)
        assert paths(Chooser().choose(asked)) == [expected]


def test_nothing_is_shown_where_nothing_is_in_common(root: Path) -> None:
    assert Chooser().choose(request(root, text="zzz = 1\n", line=0)) == ()


def test_what_is_never_shown(root: Path) -> None:
    """Each of these names what is being written, and would be the best excerpt there is."""
    best = "Till = sell_item = None\nsell_item(Till)\n"
    (root / "app" / "shop.py").unlink()
    outside = root.parent / "outside.py"
    outside.write_text(best)
    (root / ".gitignore").write_text("ignored.py\n")
    for name in ("secrets.py", "ignored.py", "notes.txt"):
        (root / "app" / name).write_text(best)
    (root / "app" / "huge.py").write_text(best + "x = 1\n" * 200_000)
    (root / "app" / "binary.py").write_bytes(best.encode() + b"\0")
    (root / "app" / "link.py").symlink_to(outside)
    other = root.parent / "w2"
    other.mkdir()
    (other / "theirs.py").write_text(best)
    open_files = (
        opened(root / "app" / "secrets.py", best),
        opened(root / "app" / "ignored.py", best),
        opened(outside, best),
        opened(other / "theirs.py", best),
        OpenFile(uri="untitled:Untitled-1", revision=1, text=best),
        OpenFile(uri="vscode-remote://host/a.py", revision=1, text=best),
    )
    roots = (root.as_uri(), other.as_uri())
    asked = request(
        root, open_files=open_files, closed_uris=(outside.as_uri(),), root_uris=roots,
        text=MAIN + "from app import secrets, link, ignored, huge, binary\n",
    )  # fmt: skip
    assert Chooser().choose(asked) == ()
    # The same text in a file without a flaw is shown.
    (root / "app" / "fine.py").write_text(best)
    assert paths(Chooser().choose(asked)) == ["app/fine.py"]


def test_without_a_workspace_only_the_own_folder_is_read(root: Path) -> None:
    (root / "top.py").write_text("Till = sell_item = None\n")
    asked = request(root, root_uris=(), closed_uris=((root / "top.py").as_uri(),))
    assert paths(Chooser().choose(asked)) == ["shop.py"]
    assert Chooser().choose(request(root, uri="untitled:Untitled-1")) == ()


def test_the_choice_stays_while_it_is_about_as_good(root: Path) -> None:
    chooser = Chooser()
    before = chooser.choose(request(root))
    rival = root / "app" / "rival.py"
    rival.write_text(
        "class Till: ...\ndef sell_item(): ...\ndef main(): ...\napp = shop = till = 1\n"
    )
    kept = chooser.choose(request(root, before=before))
    assert kept == before
    fresh = Chooser().choose(request(root))
    assert fresh != before, "the rival would have been chosen, had nothing been shown before"
    # What is far better wins all the same, and what is gone is not shown.
    text = "from app.rival import a\n" + "\n" * 80 + "wholly, other, words = rival_one(rival_two)\n"
    rival.write_text("wholly = other = words = rival_one = rival_two = 1\n")
    assert paths(chooser.choose(request(root, text=text, line=81, before=before))) == [
        "app/rival.py"
    ]
    (root / "app" / "shop.py").write_text("")
    assert before[0].text not in [f.text for f in chooser.choose(request(root, before=before))]


def test_the_amount_is_bounded(root: Path) -> None:
    for i in range(60):
        (root / "app" / f"part{i}.py").write_text(f"sell_item(till, Till, {i})\n" * 500)
    files = Chooser().choose(request(root))
    assert 0 < len(files) <= MAX_OTHER_FILES
    for file in files:
        assert len(file.text) <= MAX_OTHER_FILE_CHARS and file.text.endswith("\n")


def test_reading_ends_with_its_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        (root / "app" / f"part{i}.py").write_text(f"sell_item(till, Till, {i})\n" * 500)
    monkeypatch.setattr(choosing, "BUDGET_S", -1.0)
    chooser = Chooser()
    # Out of time after the first file, which is the most likely one.
    assert paths(chooser.choose(request(root))) == ["app/shop.py"]
    monkeypatch.undo()
    chooser.choose(request(root))
    start_s = time.process_time()
    for _ in range(3):
        chooser.choose(request(root))
    assert time.process_time() - start_s < 3.0, "what was read once is known"


def test_nothing_is_written(root: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(root.rglob("*"))
        }

    before = state()
    Chooser().choose(request(root))
    assert state() == before


def test_a_folder_that_cannot_be_read(root: Path) -> None:
    asked = request(root, uri=(root / "gone" / "a.py").as_uri())
    assert Chooser().choose(asked) == Chooser().choose(asked)
    if os.geteuid() == 0:
        return  # root may read everything
    (root / "app" / "shop.py").chmod(0)
    assert Chooser().choose(request(root)) == ()
