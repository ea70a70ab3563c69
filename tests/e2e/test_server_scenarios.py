"""Guards what a person sees while typing: `scenarios` over real stdio, in the units of VS Code and
of Neovim, with line ends of Unix and of Windows. The model says what the table wants; all around it
is real. A failure is ghost text that is wrong, or that breaks the text when it is accepted.
"""

import pytest

from runtime.fim import SPECIAL_TOKENS
from tests import scripted_model
from tests.e2e.scenarios import ACCEPTING, TABLE, Scenario
from tests.editor import Editor, one_editor_each, split_cursor

SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "prefetch": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenarios") / "model.gguf"
    return scripted_model.write(path, [row.says for row in TABLE])


@pytest.fixture(scope="module")
def editors(model):
    with one_editor_each(("utf-16", "utf-8"), bundle=model.path, settings=SETTINGS) as editors:
        yield editors


def cases() -> list:
    """Each row with both kinds of line ends; in UTF-8 what depends on units."""
    return [
        pytest.param(encoding, row, line_end, id=f"{encoding} {line_name} {row.name}")
        for encoding, rows in (("utf-16", TABLE), ("utf-8", ACCEPTING))
        for line_name, line_end in (("unix", "\n"), ("windows", "\r\n"))
        for row in rows
    ]


@pytest.mark.parametrize(("encoding", "row", "line_end"), cases())
def test_scenario(editors, model, encoding: str, row: Scenario, line_end: str) -> None:
    editor = editors[encoding]
    language_id, suffix = row.language
    before = row.before.replace("\n", line_end)
    editor.open(model.uri(row.says, suffix=suffix), before, language_id=language_id)
    try:
        items = editor.ask()
        if row.after is None:
            assert items == []
            return
        (item,) = items
        check_item(editor, item)
        check_typing_its_head(editor, item)
        editor.accept(item)
        has_line_ends = "\n" in row.before
        assert editor.shown == (row.after.replace("\n", line_end) if has_line_ends else row.after)
    finally:
        editor.close()


def check_item(editor: Editor, item: dict) -> None:
    """What holds for every suggestion."""
    start, end = editor.span(item["range"])
    assert start == editor.cursor and item["range"]["start"]["line"] == item["range"]["end"]["line"]
    text = item["insertText"]
    assert text.strip() and text == text.rstrip() and "\r" not in text
    leaked = [token for token in SPECIAL_TOKENS if token in text and token not in editor.text]
    assert leaked == []
    (argument,) = item["command"]["arguments"]
    assert item["command"]["command"] == "starling.accepted"
    assert argument["uri"] == editor.uri and argument["text"] == text
    assert argument["range"] == item["range"] and argument["replaced"] == editor.text[start:end]


def check_typing_its_head(editor: Editor, item: dict) -> None:
    """Typing what is shown leaves the rest of it, not something else; then back again."""
    before, (marked, head) = editor.shown, (editor.cursor, item["insertText"][:2])
    if "\n" in head or len(item["insertText"]) < 4:
        return
    editor.type(head)
    (rest,) = editor.ask()
    assert rest["insertText"] == item["insertText"][2:]
    assert rest["range"]["start"]["character"] > item["range"]["start"]["character"]
    editor.backspace(2)
    assert (editor.shown, editor.cursor) == (before, marked)
    (again,) = editor.ask()
    assert again["insertText"] == item["insertText"]


def test_the_table_is_whole() -> None:
    assert len(TABLE) * 2 + len(ACCEPTING) * 2 >= 200
    assert len({(row.before, row.says, row.language) for row in TABLE}) == len(TABLE)
    assert all(split_cursor(row.before) for row in TABLE)
