"""Guards the playground as a user meets it: the built page in a real browser, the real server.

If it breaks, a visitor types and sees nothing, or does not see whose code is suggested. The page
is built by `make page`; the browser is Chromium. What is missing is said, loudly, as a skip.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError

from lsp_server.web.playground import PAGE_FOLDER
from tests.e2e.test_default_bundle import COPIED, source_of
from tests.lsp_client import REPOSITORY

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SHOTS = REPOSITORY / "build" / "screenshots" / "playground"
WAIT_MS = 60_000

pytestmark = [
    # Its server has the deadlines of a real one, which beside other tests pass.
    pytest.mark.alone,
    pytest.mark.skipif(
        CHROMIUM is None, reason="THE PLAYGROUND WAS NOT TESTED: there is no Chromium"
    ),
    pytest.mark.skipif(
        not (PAGE_FOLDER / "main.js").is_file(),
        reason="THE PLAYGROUND WAS NOT TESTED: its page is not built (make page)",
    ),
]


class Playground:
    """The command, with its page open in the browser."""

    def __init__(self, browser: Any, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "starling.py"), "playground", "--no-browser",
             *arguments],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found
        self.page = browser.new_page(viewport={"width": 1280, "height": 820})
        self.page.set_default_timeout(WAIT_MS)
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type == "error" else None,
        )
        self.page.goto(found[0])
        assert "token" not in self.page.url
        self.page.wait_for_selector("#status[data-state=ready]")

    @property
    def text(self) -> str:
        """The editor's document, without what is only shown."""
        lines = self.page.eval_on_selector_all(
            ".cm-line",
            "lines => lines.map(line => { const copy = line.cloneNode(true);"
            " copy.querySelectorAll('.ghost').forEach(ghost => ghost.remove());"
            " return copy.textContent; })",
        )
        return "\n".join(lines)

    def put_cursor(self, text: str) -> None:
        """At the end of the first line that holds `text`."""
        self.page.click(f".cm-line:has-text({json.dumps(text)})")
        self.page.keyboard.press("End")

    def ghost(self) -> str:
        return str(self.page.wait_for_selector(".ghost").text_content())

    def ask_until_shown(self, *further: str) -> None:
        """As a user would: the first answer for a cold cache may come too late to be shown.

        `further`: selectors of what a later answer may bring.
        """
        for _ in range(10):
            self.page.keyboard.press("Alt+\\")
            with suppress(TimeoutError):
                self.page.wait_for_selector(".ghost", timeout=WAIT_MS / 10)
                for selector in further:
                    self.page.wait_for_selector(selector, timeout=WAIT_MS / 60)
                return
        raise AssertionError("nothing was suggested: " + str(self.page.text_content("#status")))

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def close(self) -> None:
        self.page.close()
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout
        self.process.stdout.close()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def playground(browser: Any) -> Iterator[Playground]:
    opened = Playground(browser)
    yield opened
    opened.close()
    assert not opened.errors
    assert {host.partition(":")[0] for host in opened.hosts} == {"127.0.0.1"}


def test_typing_shows_ghost_text_that_tab_inserts(playground: Playground) -> None:
    page = playground.page
    playground.put_cursor("if name not in")
    # The prompt is read, so that no deadline can empty the answer to the keys.
    playground.ask_until_shown()
    page.keyboard.press("Escape")
    page.wait_for_selector(".ghost", state="detached")
    page.keyboard.type("s")  # Of what follows this the model is sure enough.
    ghost = playground.ghost()
    before = playground.text
    certainties = page.eval_on_selector_all(
        ".ghost span", "spans => spans.map(one => one.style.getPropertyValue('--certainty'))"
    )
    assert certainties and all(0 <= float(value) <= 1 for value in certainties)
    assert page.text_content("#tokens") == ghost
    assert re.search(r"key to suggestion \d+ ms, median", page.text_content("#time"))
    playground.shot("ghost")
    # What spells the head of the ghost text leaves the rest of it.
    page.keyboard.type(ghost[0])
    assert playground.ghost() == ghost[1:]
    page.keyboard.press("Tab")
    line = next(line for line in before.split("\n") if "if name not in s" in line)
    assert playground.text == before.replace(line, line + ghost)
    page.keyboard.press("Control+z")
    assert line + ghost not in playground.text


def test_word_by_word_escape_and_alternatives(playground: Playground) -> None:
    page = playground.page
    playground.put_cursor("self.counts = {}")
    page.keyboard.press("Enter")
    page.keyboard.type("self.names = [na")
    playground.ask_until_shown()
    whole = playground.ghost()
    line = "self.names = [na"
    page.keyboard.press("Control+ArrowRight")
    word = next(one for one in playground.text.split("\n") if line in one).split(line)[1]
    assert word.strip("]") and whole.startswith(word.rstrip("]"))
    page.keyboard.press("Escape")
    page.wait_for_selector(".ghost", state="detached")
    page.keyboard.press("Alt+]")
    page.wait_for_selector("#alternatives button")
    shown = [one.text_content() for one in page.query_selector_all("#alternatives button")]
    assert len(shown) == len(set(shown)) and playground.ghost() in shown
    if len(shown) > 1:
        page.click("#alternatives li:nth-child(2) button")
        assert playground.ghost() == shown[1]


def test_a_selection_is_explained(playground: Playground) -> None:
    page = playground.page
    playground.put_cursor("def add(self, name, count=1)")
    page.click("#explain")
    page.wait_for_selector("#explanation:has-text('ValueError')")
    assert "count" in page.text_content("#explanation")
    playground.shot("explanation")


def test_what_the_model_sees_and_its_card(playground: Playground) -> None:
    page = playground.page
    page.click("summary:has-text('What the model sees')")
    page.click("#show-prompt")
    page.wait_for_selector("#prompt:has-text('fim_')")
    page.click("summary:has-text('Model card')")
    assert "fill-in-the-middle" in page.text_content("#card")


def test_pausing_keeps_silent(playground: Playground) -> None:
    page = playground.page
    page.click("#pause")
    page.wait_for_selector("#status[data-state=paused]")
    playground.put_cursor("def save(self)")
    page.keyboard.press("Enter")
    page.keyboard.type("self.pa")
    # An answered request behind the typing: whatever was to be shown has been shown.
    page.click("#show-prompt")
    assert page.query_selector(".ghost") is None
    page.click("#pause")
    page.wait_for_selector("#status[data-state=ready]")


def test_another_language(playground: Playground) -> None:
    page = playground.page
    page.select_option("#language", "go")
    playground.page.wait_for_selector("#status[data-state=ready]")
    page.click("#show-prompt")
    page.wait_for_selector("#prompt:has-text('playground.go')")


def test_a_copied_function_is_flagged_before_it_is_accepted(browser: Any, tmp_path: Path) -> None:
    """The default bundle, at a place in attrs that it knows by heart."""
    package, module, line, column = COPIED[0]
    lines = source_of(module).split("\n")[:line]
    file = tmp_path / "mine.py"
    typed = "\n".join([*lines[:-1], lines[-1][:column]])
    file.write_text(typed)
    (tmp_path / "beside.py").write_text("its_words_are_counted = 1\n")
    opened = Playground(browser, str(file))
    try:
        page = opened.page
        page.keyboard.press("Control+End")
        opened.ask_until_shown("#status:has-text('tokens of other files')")
        assert page.get_attribute("#verdict", "data-verdict") == "copy"
        assert page.query_selector(".ghost .matched")
        matches = page.text_content("#matches")
        assert package in matches and "MIT" in matches and "swh:1:cnt:" in matches
        opened.shot("copy")
        page.keyboard.press("Tab")
        assert file.read_text() == typed, "the file that was named is not written to"
        # A dead server is said, not hidden.
        children = Path(f"/proc/{opened.process.pid}/task/{opened.process.pid}/children")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        page.wait_for_selector("#status[data-state=off]")
        assert "start it again" in page.text_content("#status")
    finally:
        opened.close()
