"""Guards what of a folder gets into an index of the user's own code."""

import os

from attribution.sources.documents import MAX_FILE_BYTES, Skipped
from attribution.sources.folder import documents_of, files_of
from attribution.swhid import content_swhid


def test_text_files_in_order_with_model_text(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/b.py").write_bytes(b"\xef\xbb\xbfx = 1\r\ny = 2\rz = 3\n")
    (tmp_path / "src/a.rs").write_text("fn main() {}\n")
    (tmp_path / "Makefile").write_text("all:\n")
    for ignored in (".git/config", "node_modules/x.js", "src/__pycache__/b.pyc", ".env"):
        path = tmp_path / ignored
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret = 1\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "__init__.py").write_text("\n")
    with open(tmp_path / "big.sql", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    os.symlink(tmp_path / "Makefile", tmp_path / "link")
    skipped = Skipped()
    documents = list(
        documents_of(
            tmp_path, files_of(tmp_path), origin="folder:mine", licence="MIT", skipped=skipped
        )
    )
    assert [(row.path, row.language, text) for row, text in documents] == [
        ("Makefile", "text", "all:\n"),
        ("src/a.rs", "rs", "fn main() {}\n"),
        ("src/b.py", "py", "x = 1\ny = 2\nz = 3\n"),
    ]
    row, text = documents[2]
    # The identifier is of the file as it is; the size is of the text that is fingerprinted.
    assert row.swhid == content_swhid((tmp_path / "src/b.py").read_bytes())
    assert row.n_bytes == len(text.encode())
    assert skipped == Skipped(n_not_text=2, n_too_large=1, n_empty=1)
