"""Guards the words of a workspace: what is read of it, for whom it is kept, and when it is read.

If it breaks, suggestions are made of a password file or of another client's code, of a text that
was closed or changed long ago, or reading slows the typing that it is meant to help.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.context import workspace as workspace_module
from lsp_server.context.cursor import OpenFile, Request
from lsp_server.context.nearby import files_around
from lsp_server.context.refusals import Refusals
from lsp_server.context.workspace import MAX_FILE_CHARS, Workspace
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
from runtime.sampling import SamplingConfig
from runtime.text_index import BETWEEN
from tests.copying_bundle import ANYTHING, cursor

PATIENCE_S = 20.0
PATIENT = SamplingConfig(deadline_ms=60_000, max_tokens=12)
FILES = {
    "app/main.py": "main",
    "app/shop.py": "shop",
    "app/deep/inner.py": "inner",
    "lib/far.py": "far",
    "lib/notes.md": "notes",
    "lib/secrets.py": "password",
    "lib/.aws/keys.py": "password",
    "build/made.py": "made",
    "node_modules/a/b.py": "package",
    ".gitignore": "build/\n",
}


def tokens(text: str) -> list[int]:
    """Any vocabulary will do: a token for each character."""
    return [ord(char) for char in text]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "outside.py").write_text("outside")
    (root / "app/link.py").symlink_to(tmp_path / "outside.py")
    (root / "app/folder").symlink_to(tmp_path)
    return root


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace(tokens)
    yield made
    made.close()


def request(path: Path, *, text: str = "typed", root: Path | None = None, **more) -> Request:
    values = {
        "uri": path.as_uri(),
        "text": text,
        "line": 0,
        "root_uris": (root.as_uri(),) if root is not None else (),
        "open_files": (),
        "closed_uris": (),
        "before": (),
    }
    return Request(**{**values, **more})


def wait(condition) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.002)


def texts_beside(workspace: Workspace, uri: str) -> list[str] | None:
    index = workspace.index_beside(uri)
    if index is None:
        return None
    text = "".join("|" if one == BETWEEN else chr(one) for one in index.ids_M.tolist())
    return text.strip("|").split("|")


def read(workspace: Workspace, what: Request) -> list[str] | None:
    workspace.look_around(what)
    wait(lambda: workspace.n_tokens is not None)
    return texts_beside(workspace, what.uri)


def test_files_are_read_from_near_to_far_and_none_that_may_not(
    workspace: Workspace, project: Path
) -> None:
    main = request(project / "app/main.py", root=project)
    assert read(workspace, main) == ["shop", "inner", "far"]
    names = [one.name for one in files_around(main, Refusals(project), project)]
    assert names == ["shop.py", "inner.py", "far.py"]


def test_without_a_workspace_only_the_documents_own_folder(
    workspace: Workspace, project: Path
) -> None:
    assert read(workspace, request(project / "app/main.py")) == ["shop"]
    assert texts_beside(workspace, (project / "app/deep/inner.py").as_uri()) is None


def test_what_is_open_counts_as_it_stands_in_the_editor(
    workspace: Workspace, project: Path
) -> None:
    shop = OpenFile(uri=(project / "app/shop.py").as_uri(), revision=1, text="unsaved\r\n")
    main = request(project / "app/main.py", root=project, open_files=(shop,))
    assert read(workspace, main) == ["unsaved\n", "inner", "far"]
    changed = replace(shop, revision=2, text="again")
    assert read(workspace, replace(main, open_files=(changed,))) == [
        "again", "inner", "far",
    ]  # fmt: skip
    assert read(workspace, replace(main, open_files=())) == ["shop", "inner", "far"]
    (project / "app/shop.py").write_text("saved")
    assert read(workspace, main)[0] == "unsaved\n"
    assert read(workspace, replace(main, open_files=()))[0] == "saved"


def test_the_document_itself_is_nobodys_word(workspace: Workspace, project: Path) -> None:
    """Its longest match would be the cursor's own place, and a secret is no other file's word."""
    for name in ("app/main.py", "lib/secrets.py"):
        found = read(workspace, request(project / name, text="password", root=project))
        assert found is not None and "password" not in found and "far" in found


def test_it_is_for_one_document_only(workspace: Workspace, project: Path) -> None:
    read(workspace, request(project / "app/main.py", root=project))
    assert texts_beside(workspace, (project / "app/main.py").as_uri())
    assert texts_beside(workspace, (project / "lib/far.py").as_uri()) is None
    assert texts_beside(workspace, "untitled:Untitled-1") is None
    # Not even while another one is being read.
    far = request(project / "lib/far.py", root=project)
    workspace.touch()
    workspace.look_around(far)
    assert texts_beside(workspace, far.uri) is None
    assert "main" in (read(workspace, far) or [])


def test_nothing_is_read_while_somebody_types(workspace: Workspace, project: Path) -> None:
    workspace._touched_s = time.monotonic() + 3600
    workspace.look_around(request(project / "app/main.py", root=project))
    wait(lambda: workspace._is_reading)
    assert workspace.n_tokens is None and not workspace._kept
    workspace._touched_s = 0.0
    wait(lambda: workspace.n_tokens is not None)
    assert workspace.n_tokens > len("shopinnerfar")


def test_what_was_cleared_does_not_come_back(workspace: Workspace, project: Path) -> None:
    main = request(project / "app/main.py", root=project)
    workspace._touched_s = time.monotonic() + 3600
    workspace.look_around(main)
    wait(lambda: workspace._is_reading)
    workspace.clear()
    wait(lambda: workspace.n_tokens == 0)
    assert texts_beside(workspace, main.uri) is None and not workspace._kept


def test_memory_is_bounded(
    workspace: Workspace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "MAX_TOKENS", 7)
    monkeypatch.setattr(workspace_module, "MAX_KEPT_TOKENS", 8)
    (project / "app/aaa.py").write_text("x" * (MAX_FILE_CHARS + 1))
    main = request(project / "app/main.py", root=project)
    assert read(workspace, main) == ["shop", "inn"]
    for _ in range(3):
        monkeypatch.setattr(workspace_module, "MAX_TOKENS", 100)
        read(workspace, main)
        assert workspace._n_kept == sum(len(ids) for _, ids in workspace._kept.values()) <= 8


def test_after_closing_no_token_is_asked_for(project: Path) -> None:
    """The model is freed then, and llama.cpp would read what is gone."""
    is_closed = False

    def careful(text: str) -> list[int]:
        assert not is_closed
        return tokens(text)

    for name in range(60):
        (project / f"app/more{name}.py").write_text(f"text {name}\n" * 3000)
    workspace = Workspace(careful)
    workspace.look_around(request(project / "app/main.py", root=project))
    wait(lambda: workspace._kept)
    workspace.close()
    is_closed = True
    assert workspace._thread is not None
    workspace._thread.join(PATIENCE_S)
    assert not workspace._thread.is_alive()
    assert workspace.index_beside((project / "app/main.py").as_uri()) is None


def test_a_word_of_another_file_becomes_likelier(tiny_gguf: Path, tmp_path: Path) -> None:
    """Through the service, with a random model: only the workspace can know it."""
    line = "quartz_ledger = open_ledger(quartz_path)\n"
    (tmp_path / "other.py").write_text(line * 3)
    main = tmp_path / "main.py"
    at = replace(cursor("quartz_ledger = ", ""), uri=main.as_uri(), path="main.py")
    service = CompletionService.open(Settings(bundle_path=tiny_gguf))
    try:
        service.configure(ANYTHING)
        assert service._request(at).workspace is None
        service.look_around(request(main, text="", root=tmp_path))
        wait(lambda: service.n_workspace_tokens)
        (completion,) = service.engine.complete(service._request(at), PATIENT)
        assert completion.text.startswith("open_ledger(quar")
        service.configure(replace(ANYTHING, other_files=False))
        assert service._request(at).workspace is None and service.n_workspace_tokens == 0
        service.look_around(request(main, text="", root=tmp_path))
        assert service.n_workspace_tokens == 0
    finally:
        service.close()
