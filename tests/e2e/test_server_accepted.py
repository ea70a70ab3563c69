"""Guards what happens after a copy was accepted, over real stdio: the mark on the text, and what an
editor offers to do about it. A failure is a user who ships somebody's code without knowing it, or a
warning on the wrong lines.
"""

import json
from pathlib import Path

import pytest

from attribution.manifest import ManifestRow
from attribution.swhid import content_swhid
from tests import scripted_model
from tests.editor import Editor, window
from tests.lsp_client import LspClient

COPIED = (
    "records = [parse_record(line, strict=strict) for line in lines if not is_comment(line)]\n"
    "    rejected = [record for record in records if record is None]\n"
    "    return records, rejected"
)
CLOSED = "compute_the_checksum_of_every_block_in_the_archive_and_compare(archive, blocks, 4096)"
IGNORED = (
    "paid_invoices = [invoice for invoice in our_own_invoices if invoice.is_paid_in_full]\n"
    "    return sum(invoice.amount_in_cents for invoice in paid_invoices)"
)
COMMON = "values = sorted(values)\n    return values"
FILE = (
    '"""Reads records."""\n\n\ndef read_records(lines, strict):\n    '
    + COPIED
    + "\n\n\ndef check(archive, blocks):\n    assert_equal("
    + CLOSED
    + ")\n"
)
OTHER_FILE = f"def pay(our_own_invoices):\n    {IGNORED}\n"
HEADER = "def read_records(lines, strict):\n    "
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0}
CAPABILITIES = {
    "textDocument": {
        "inlineCompletion": {},
        "publishDiagnostics": {"relatedInformation": True},
    },
    "workspace": {
        "applyEdit": True,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]},
    },
}


def row(package: str, text: str) -> ManifestRow:
    data = text.encode()
    return ManifestRow(
        swhid=content_swhid(data),
        origin=f"pypi:{package}",
        version="1.2.3",
        path=f"{package}/reader.py",
        licence="MIT",
        language="python",
        n_bytes=len(data),
        cluster=0,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    corpus = [
        (row("records", FILE), FILE),
        *(
            (row(package, text), text)
            for package, text in (("ours", OTHER_FILE), ("theirs", "# by them\n" + OTHER_FILE))
        ),
    ]
    directory = tmp_path_factory.mktemp("accepted") / "bundle"
    return scripted_model.write_bundle(directory, [COPIED, CLOSED + ")", IGNORED, COMMON], corpus)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def state_home(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def client(model, workspace, state_home):
    with LspClient(bundle=model.path, environment={"XDG_STATE_HOME": str(state_home)}) as session:
        session.initialize(
            position_encodings=["utf-16"],
            root_uri=workspace.as_uri(),
            capabilities=CAPABILITIES,
            settings=SETTINGS,
        )
        session.wait_ready()
        yield session
        assert session.shut_down() == 0
        assert session.stderr == b""


@pytest.fixture
def editor(client):
    with window(client) as editor:
        yield editor


def open_in(editor: Editor, model, workspace: Path, text: str, marked: str) -> None:
    uri = model.uri(text, folder=str(workspace).lstrip("/"))
    editor.open(uri, marked)


@pytest.fixture
def accepted(editor, model, workspace):
    """An editor that has just accepted a copy."""
    open_in(editor, model, workspace, COPIED, "# é😀\n" + HEADER + "|\n")
    (item,) = editor.ask()
    assert item["insertText"] == COPIED
    editor.accept(item)
    return editor


def the_diagnostic(editor: Editor):
    (diagnostic,) = editor.diagnostics()
    return diagnostic


def act(editor: Editor, title: str) -> None:
    """Runs the action of this title on the only diagnostic."""
    actions = editor.actions(the_diagnostic(editor)["range"])
    (action,) = [action for action in actions if title in action["title"]]
    assert action["kind"] == "quickfix"
    editor.run(action["command"])


def test_the_diagnostic_says_whose_code_it_is(accepted) -> None:
    diagnostic = the_diagnostic(accepted)
    assert accepted.covered(diagnostic["range"]) == COPIED
    assert diagnostic["severity"] == 3
    assert (diagnostic["source"], diagnostic["code"]) == ("starling", "MIT")
    swhid = f"{content_swhid(FILE.encode())};lines=4-6"
    assert "records 1.2.3" in diagnostic["message"] and "MIT" in diagnostic["message"]
    assert "records/reader.py, lines 4-6" in diagnostic["message"]
    assert swhid in diagnostic["message"]
    assert diagnostic["codeDescription"]["href"].endswith(swhid)


def test_the_mark_follows_edits_and_ends_with_the_first_inside(accepted) -> None:
    editor = accepted
    for marked, typed in (("# é", "x😀\n"), ("def", "async "), ("records = ", "kept = ")):
        editor.go(marked)
        editor.type(typed)
        assert editor.covered(the_diagnostic(editor)["range"]) == COPIED
    editor.replace(len(editor.text), len(editor.text), "\n# more\n")
    editor.replace(0, 3, "")
    assert editor.covered(the_diagnostic(editor)["range"]) == COPIED
    editor.go("is_comment")
    editor.type("_")
    assert editor.diagnostics() == []
    editor.backspace()
    assert editor.diagnostics() == [], "what was changed is the user's own from then on"


def test_a_formatter_that_rewrites_the_file_moves_the_mark(accepted) -> None:
    editor = accepted
    editor.replace(0, len(editor.text), "import os\n\n\n" + editor.text)
    assert editor.covered(the_diagnostic(editor)["range"]) == COPIED
    editor.replace(0, len(editor.text), editor.text.replace("    ", "\t"))
    assert editor.diagnostics() == []


def test_line_ends_of_windows(editor, model, workspace) -> None:
    open_in(editor, model, workspace, COPIED, "# one\r\n" + HEADER.replace("\n", "\r\n") + "|\r\n")
    (item,) = editor.ask()
    editor.accept(item)
    covered = editor.covered(the_diagnostic(editor)["range"])
    assert covered == COPIED.replace("\n", "\r\n")
    act(editor, "undo")
    assert editor.text == "# one\r\n" + HEADER.replace("\n", "\r\n") + "\r\n"


def test_the_command_may_come_before_the_edit(editor, model, workspace) -> None:
    open_in(editor, model, workspace, COPIED, HEADER + "|")
    (item,) = editor.ask()
    editor.run(item["command"])
    assert editor.diagnostics() == []
    editor.replace(editor.cursor, editor.cursor, COPIED)
    assert editor.covered(the_diagnostic(editor)["range"]) == COPIED


def test_nothing_is_marked_that_is_not_there(editor, model, workspace) -> None:
    open_in(editor, model, workspace, COPIED, HEADER + "|")
    (item,) = editor.ask()
    editor.accept(item, n_chars=7)
    assert editor.diagnostics() == []
    editor.run(item["command"])
    for _ in range(5):
        editor.type("x")
    assert editor.diagnostics() == []
    editor.replace(len(HEADER), len(editor.text), COPIED)
    assert editor.diagnostics() == [], "too late to be that suggestion"


def test_closing_and_opening_again(accepted) -> None:
    assert accepted.diagnostics()
    uri, text = accepted.uri, accepted.text
    accepted.close()
    assert accepted.diagnostics(uri) == []
    accepted.open(uri, text + "|")
    assert accepted.diagnostics() == []
    everywhere = {"start": _place(0, 0), "end": _place(9, 0)}
    assert accepted.actions(everywhere, only=["quickfix"]) == []


def test_no_mark_for_what_is_not_a_copy(editor, model, workspace) -> None:
    open_in(editor, model, workspace, COMMON, "def order(values):\n    |\n")
    (item,) = editor.ask()
    editor.accept(item)
    assert editor.diagnostics() == []


def test_undo_deletes_exactly_the_accepted_text(accepted) -> None:
    accepted.go("def ")
    accepted.type("# mine\n")
    accepted.replace(len(accepted.text), len(accepted.text), "# also mine\n")
    act(accepted, "undo")
    assert accepted.text == "# é😀\n# mine\n" + HEADER + "\n# also mine\n"
    assert accepted.diagnostics() == []


def test_undo_brings_back_the_bracket_that_was_replaced(editor, model, workspace) -> None:
    marked = "def check(archive, blocks):\n    assert_equal(|)\n"
    open_in(editor, model, workspace, CLOSED + ")", marked)
    (item,) = editor.ask()
    editor.accept(item)
    assert the_diagnostic(editor)
    act(editor, "undo")
    assert editor.text == marked.replace("|", "")


def test_a_notice_above_the_copy_in_the_languages_comment_style(accepted) -> None:
    act(accepted, "notice")
    before, _, after = accepted.text.partition("    records = [")
    lines = before.removeprefix("# é😀\n" + HEADER.removesuffix("    ")).splitlines()
    assert lines and all(line.startswith("    # ") for line in lines)
    assert "records 1.2.3" in lines[0] and any("SPDX-License-Identifier: MIT" in x for x in lines)
    assert accepted.covered(the_diagnostic(accepted)["range"]) == COPIED
    text = accepted.text
    act(accepted, "notice")
    assert accepted.text == text, "once is enough"


def test_the_notices_file_is_made_by_the_editor_and_grows_without_duplicates(
    accepted, workspace
) -> None:
    act(accepted, "THIRD_PARTY_NOTICES")
    (uri,) = [uri for uri in accepted.texts if "THIRD_PARTY" in uri]
    assert uri.startswith(workspace.as_uri())
    text = accepted.texts[uri]
    assert text.count(f"{content_swhid(FILE.encode())};lines=4-6") == 1
    assert "records 1.2.3" in text and text.endswith("\n")
    accepted.uri, own_uri = uri, accepted.uri
    accepted.replace(len(text), len(text), "Something of the user's\n\n\n")
    accepted.uri = own_uri
    act(accepted, "THIRD_PARTY_NOTICES")
    assert accepted.texts[uri] == text + "Something of the user's\n\n\n"


def test_the_notices_file_on_disk_is_added_to(accepted, workspace) -> None:
    path = workspace / "THIRD_PARTY_NOTICES.txt"
    path.write_bytes("Ours: é\r\n\r\n".encode())
    try:
        act(accepted, "THIRD_PARTY_NOTICES")
        text = accepted.texts[path.as_uri()]
        assert text.startswith("Ours: é\r\n\r\n---")
        assert "records 1.2.3" in text
        assert path.read_bytes() == "Ours: é\r\n\r\n".encode(), "the editor saves it, not we"
    finally:
        path.unlink()


def test_ignoring_a_source_says_which_setting_keeps_it(editor, model, workspace) -> None:
    for is_ignored in (False, True):
        open_in(editor, model, workspace, IGNORED, "    |\n")
        (item,) = editor.ask()
        editor.accept(item)
        if not is_ignored:
            (other,) = the_diagnostic(editor)["relatedInformation"]
            assert other["location"]["uri"] == editor.uri
            assert "theirs" in other["message"] + the_diagnostic(editor)["message"]
            act(editor, "ignore")
        assert editor.diagnostics() == []
        editor.close()
    told = editor.client.wait_message(lambda m: m.get("method") == "window/showMessage")["params"]
    assert told["type"] == 3
    assert '"ours"' in told["message"] and '"theirs"' in told["message"]
    assert "starling.allowedSources" in told["message"]


def test_without_resource_operations_the_notices_are_written_to_disk(model, tmp_path) -> None:
    with LspClient(bundle=model.path) as client:
        client.initialize(
            position_encodings=["utf-16"], root_uri=tmp_path.as_uri(), settings=SETTINGS
        )
        client.wait_ready()
        editor = Editor(client)
        open_in(editor, model, tmp_path, COPIED, HEADER + "|\n")
        (item,) = editor.ask()
        editor.accept(item)
        assert "relatedInformation" not in the_diagnostic(editor)
        for _ in range(2):
            act(editor, "THIRD_PARTY_NOTICES")
            text = (tmp_path / "THIRD_PARTY_NOTICES").read_text("utf-8")
            assert text.count(";lines=4-6") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["THIRD_PARTY_NOTICES"]
        act(editor, "undo")
        assert editor.text == HEADER + "\n"
        assert client.shut_down() == 0


def test_actions_on_what_is_gone_do_nothing_and_say_so(accepted) -> None:
    actions = accepted.actions(the_diagnostic(accepted)["range"], only=["quickfix"])
    assert len(actions) == 4
    assert accepted.actions(the_diagnostic(accepted)["range"], only=["refactor"]) == []
    accepted.go("is_comment")
    accepted.type("_")
    text = accepted.text
    for action in actions:
        assert accepted.run(action["command"]) is None
    assert accepted.text == text
    assert "changed meanwhile" in accepted.command("starling.status", {})["reason"]
    for wrong in ([], [None], [{"uri": 1}], [{"uri": accepted.uri, "copy": "x", "part": 0}]):
        command = {"command": "starling.undoAccept", "arguments": wrong}
        assert accepted.run(command) is None
    for wrong in (None, 3, {}, {"uri": accepted.uri, "range": {}, "text": "x", "matches": [1]}):
        assert accepted.command("starling.accepted", wrong) is None


def test_matches_of_the_last_suggestion(accepted) -> None:
    answer = accepted.command("starling.matches", {})
    (match,) = answer["matches"]
    assert match["verdict"] == "copy" and match["sources"][0]["package"] == "records"
    assert "records 1.2.3" in match["notice"] and match["duties"]
    for part in (match["notice"], *match["duties"], "| records 1.2.3 | MIT |"):
        assert part in answer["markdown"]


def test_the_record_is_kept_only_if_asked_for(accepted, client, state_home) -> None:
    path = state_home / "starling" / "accepted.jsonl"
    assert not path.exists()
    client.notify(
        "workspace/didChangeConfiguration",
        {"settings": {"starling": {**SETTINGS, "recordAccepted": True}}},
    )
    act(accepted, "undo")
    accepted.cursor = accepted.text.index(HEADER) + len(HEADER)
    (item,) = accepted.ask()
    accepted.accept(item)
    (line,) = path.read_text("utf-8").splitlines()
    entry = json.loads(line)
    assert set(entry) == {"time", "uri", "range", "verdict", "sources"}
    assert (entry["uri"], entry["verdict"]) == (accepted.uri, "copy")
    assert entry["range"] == item["range"] and entry["time"].endswith("+00:00")
    (source,) = entry["sources"]
    assert source["swhid"] == content_swhid(FILE.encode()) and source["lines"] == [4, 6]
    assert "parse_record" not in line
    assert path.stat().st_mode & 0o077 == 0


def _place(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}
