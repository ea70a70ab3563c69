"""Guards what is read as context: a secret that reaches a prompt can be suggested back, and an
unstable order makes the model read everything again at each key.
"""

import pytest

from lsp_server import context
from lsp_server.documents import Documents, Point
from runtime.other_files import MAX_OTHER_FILE_CHARS, MAX_OTHER_FILES


def opened(*named_texts: tuple[str, str], language_id: str = "python") -> Documents:
    documents = Documents()
    for name, text in named_texts:
        documents.open(uri=f"file:///w/{name}", language_id=language_id, version=1, text=text)
    return documents


def taken(documents: Documents, name: str = "a.py") -> context.CursorContext:
    document = documents.get(f"file:///w/{name}")
    assert document is not None
    return context.at_cursor(documents, document, Point(0, 1), ["file:///w"])


def test_other_files_come_in_the_order_of_opening_and_without_the_own_one() -> None:
    documents = opened(("a.py", "xy"), ("sub/b.py", "b = 1\n"), ("c.py", "c = 1\r\n"))
    at = taken(documents)
    assert (at.path, at.prefix, at.suffix) == ("a.py", "x", "y")
    assert [(f.path, f.text) for f in at.other_files] == [
        ("sub/b.py", "b = 1\n"),
        ("c.py", "c = 1\n"),
    ]
    documents.get("file:///w/c.py").replace(Point(0, 0), Point(0, 0), "z", version=2)
    assert [f.path for f in taken(documents).other_files] == ["sub/b.py", "c.py"]


def test_the_amount_is_bounded_and_lines_are_whole() -> None:
    long_text = "".join(f"line_{n} = {n}\n" for n in range(1000))
    documents = opened(("a.py", "x"), *((f"b{n}.py", long_text) for n in range(5)))
    files = taken(documents).other_files
    assert len(files) == MAX_OTHER_FILES
    for file in files:
        assert 0.9 * MAX_OTHER_FILE_CHARS < len(file.text) <= MAX_OTHER_FILE_CHARS
        assert long_text.startswith(file.text) and file.text.endswith("\n")


def test_what_is_never_read() -> None:
    documents = opened(("a.py", "x"), (".env", "TOKEN=1\n"), ("secrets.py", "KEY=1\n"))
    documents.open(uri="file:///w/n.md", language_id="markdown", version=1, text="# n\n")
    documents.open(uri="file:///w/e.py", language_id="python", version=1, text="\n \n")
    huge = "x\n" * context.MAX_OTHER_DOCUMENT_CHARS
    documents.open(uri="file:///w/huge.py", language_id="python", version=1, text=huge)
    assert taken(documents).other_files == ()


@pytest.mark.parametrize(
    "uri",
    [
        "file:///w/.env",
        "file:///w/.env.local",
        "file:///w/prod.env",
        "file:///w/.ENV",
        "file:///home/u/.ssh/config",
        "file:///home/u/.aws/credentials",
        "file:///w/id_rsa",
        "file:///w/server.pem",
        "file:///w/server%2Ekey",
        "file:///w/terraform.tfstate",
        ".env",
        "untitled:.env",
    ],
)
def test_secret_names(uri) -> None:
    assert context.is_secret(uri)


@pytest.mark.parametrize(
    "uri", ["file:///w/env.py", "file:///w/keyboard.py", "file:///w/environment/a.py"]
)
def test_names_that_only_look_secret(uri) -> None:
    assert not context.is_secret(uri)


@pytest.mark.parametrize(
    ("uri", "roots", "path"),
    [
        ("file:///w/sub/a%20b.py", ["file:///w"], "sub/a b.py"),
        ("file:///w/sub/a.py", ["file:///other", "file:///w/sub/"], "a.py"),
        ("file:///w/sub/a.py", [], "a.py"),
        ("file:///wide/a.py", ["file:///w"], "a.py"),
        ("untitled:Untitled-1", ["file:///w"], "Untitled-1"),
    ],
)
def test_paths_for_the_model(uri, roots, path) -> None:
    assert context.prompt_path(uri, roots) == path
