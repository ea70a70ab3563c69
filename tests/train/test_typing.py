"""Guards `starling eval typing`: a failure would mean keystrokes counted wrongly, a server that is
typed into at the wrong column, or a run that hangs when the server does.

The typist's arithmetic is tested with plain functions as completers, everything else with the real
server and the tiny model.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import click
import pytest

import starling
from runtime.errors import BundleError
from tests.train import tiny_corpus
from train.corpus.source_file import SourceFile, write_shard
from train.errors import CorpusError, TrainError
from train.evaluation.fim.completers import COPY, copy_from_context
from train.evaluation.typing import command as typing_command
from train.evaluation.typing import editors as typing_editors
from train.evaluation.typing.editor_client import ServerEditor
from train.evaluation.typing.passages import (
    MODES,
    Document,
    Passage,
    choose_passages,
    function_bodies,
)
from train.evaluation.typing.projects import laid_out, with_others
from train.evaluation.typing.replay import (
    CopyEditor,
    FunctionEditor,
    copy_completer,
    n_right_chars,
    replay,
)
from train.evaluation.typing.report import summarize, to_markdown
from train.evaluation.typing.tally import Tally

SERVE = (sys.executable, "-m", "starling", "serve")
TEXT = "def f(a):\n    b = a + 1\n    return b\n\n\nprint(f(2))"
# One key for each character but the indentation: 9 + 1 + 9 + 1 + 8 + 1 + 1 + 1 + 11.
N_KEYS_ALONE = 42


def passage(typed: str, *, before: str = "", after: str = "", line_end: str = "\n") -> Passage:
    document = Document(
        project="p", path="p/x.py", language="Python", before=before, after=after, line_end=line_end
    )
    return Passage(mode="new", document=document, typed=typed)


def typed_with(complete: dict[str, str], typed: str) -> Tally:
    """What the typist does when `complete` has a suggestion for some texts before the cursor."""
    return replay(
        passage(typed), FunctionEditor(lambda prefix, suffix, path: complete.get(prefix, ""))
    )


def test_a_perfect_completer_leaves_two_keys() -> None:
    tally = replay(passage(TEXT), FunctionEditor(lambda prefix, *_: TEXT[len(prefix) :]))
    assert (tally.n_keys_alone, tally.n_keys) == (N_KEYS_ALONE, 2)
    assert (tally.n_shown, tally.n_accepted, tally.n_accepted_chars) == (1, 1, len(TEXT) - 1)
    (row,) = summarize([tally], mode="new", completer="c", seed=0)[:1]
    assert row["saved"]["mean"] == pytest.approx(1 - 2 / N_KEYS_ALONE)
    assert row["wrong_of_shown"]["mean"] == 0


def test_a_useless_completer_saves_nothing_and_a_silent_one_shows_nothing() -> None:
    useless = replay(passage(TEXT), FunctionEditor(lambda *_: "zzz"))
    assert useless.n_keys == useless.n_keys_alone == N_KEYS_ALONE
    assert (useless.n_shown, useless.n_accepted) == (N_KEYS_ALONE - 1, 0)
    silent = replay(passage(TEXT), FunctionEditor(lambda *_: ""))
    assert silent.n_keys == N_KEYS_ALONE and silent.n_shown == 0
    rows = summarize([useless], mode="new", completer="c", seed=0)
    assert rows[0]["saved"]["mean"] == 0 and rows[0]["wrong_of_shown"]["mean"] == 1
    rows = summarize([silent], mode="new", completer="c", seed=0)
    assert rows[0]["wrong_of_shown"]["mean"] is None and "| - |" in to_markdown(rows)


def test_a_completer_that_knows_one_line_saves_that_line_less_a_key() -> None:
    tally = typed_with({"def f(a):\n    b": " = a + 1"}, TEXT)
    assert tally.n_keys == N_KEYS_ALONE - len(" = a + 1") + 1
    assert (tally.n_shown, tally.n_accepted, tally.n_accepted_chars) == (1, 1, 8)


def test_only_the_first_line_of_a_half_right_block_is_accepted() -> None:
    tally = typed_with({"def f(a):": "\n    b = a + 1\n    raise b"}, TEXT)
    # Enter with its indentation and nine more characters, for one key.
    assert tally.n_keys == N_KEYS_ALONE - 10 + 1
    assert (tally.n_shown, tally.n_accepted, tally.n_accepted_chars) == (1, 1, 14)


def test_the_rest_of_a_suggestion_is_the_same_suggestion() -> None:
    wrong = {"a": "bcX", "ab": "cX", "abc": "X", "abcd": "Y"}
    assert typed_with(wrong, "abcde").n_shown == 2
    taken_line_by_line = {"a": "\nb\nX", "a\nb": "\nX"}
    tally = typed_with(taken_line_by_line, "a\nb\nc")
    assert (tally.n_shown, tally.n_accepted, tally.n_keys) == (1, 1, 4)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("x = 1", 5),
        ("x = 1\ny = 2", 11),
        ("x = 1\ny = 3", 5),
        ("x = 1\ny", 5),
        ("x =", 3),
        ("x", 0),
        ("x = 12", 0),
        ("x = 1 ", 0),
        ("\n", 0),
        ("x = 2\ny = 2", 0),
        ("", 0),
    ],
)
def test_a_suggestion_is_right_up_to_the_end_of_its_first_line(text: str, accepted: int) -> None:
    assert n_right_chars(text, "a; x = 1\ny = 2", 3) == accepted
    whole = n_right_chars(text, "a; x = 1\ny = 2", 3, only_whole_lines=True)
    assert whole == (0 if text == "x =" else accepted)


def test_a_head_that_cuts_a_word_is_not_accepted() -> None:
    assert n_right_chars("total", "totals = 1", 0) == 0
    assert n_right_chars("total", "total = 1", 0) == 5


@pytest.mark.parametrize(("text", "accepted"), [("x = 1", 5), ("x = 1 ", 6), ("x", 0)])
def test_blanks_at_the_end_of_a_line_may_be_missing(text: str, accepted: int) -> None:
    assert n_right_chars(text, "a; x = 1  \ny = 2", 3) == accepted


def test_copying_is_the_floor_and_follows_the_servers_rules() -> None:
    before = "total = compute(first, second)\n"
    assert copy_completer(before + "other = comp", "", "x.py") == "ute(first, second)"
    assert copy_completer(before + "other = comp", "ute()", "x.py") == ""
    # A repetition of the line above is not shown.
    assert copy_completer(before + "total = comp", "", "x.py") == ""


def test_copying_sees_the_files_around_too() -> None:
    document = passage("x = 1").document
    editor = CopyEditor()
    editor.open(replace(document, before="total = comp", others=("", "# comp\ny = compute(one)\n")))
    assert editor.ask().text == "ute(one)"
    editor.open(replace(document, before="total = comp"))
    assert editor.ask().text == ""


def test_the_longest_match_is_copied() -> None:
    rng = Random(1)
    for _ in range(200):
        texts = ["".join(rng.choices("ab\n", k=rng.randrange(90))) for _ in range(4)]
        prefix, suffix, *others = texts
        expected = ""
        for n in range(min(60, len(prefix)), 3, -1):
            found = [(t, t.rfind(prefix[-n:], 0, len(t) - (t is prefix))) for t in texts]
            if any(at >= 0 for _, at in found):
                text, at = next(one for one in found if one[1] >= 0)
                expected = text[at + n :].split("\n", 1)[0]
                break
        assert copy_from_context(prefix, suffix, others=others) == expected


def test_the_project_lies_around_what_is_typed_without_it() -> None:
    """What lies there of the file itself would be copied, and every completer would look good."""
    files = tiny_corpus.files(12)
    typed_file = files[0]
    project = [file for file in files if file.origin == typed_file.origin]
    copy = replace(typed_file, path="old/copy.py", text=typed_file.text + "\n# the same\n")
    wicked = replace(project[1], path="../../wicked.py", text="wicked = 'not here'\n")
    (chosen,) = choose_passages([typed_file], mode="new", max_files=1, max_chars=80, seed=0)
    with laid_out([chosen], [*files, copy, wicked]) as (laid,):
        folder = laid.document.folder
        assert folder is not None and laid.typed == chosen.typed
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
        assert found == {file.path for file in project[1:]}
        assert not (folder / "../../wicked.py").exists()
        assert (folder / project[1].path).read_text() == project[1].text
        assert project[1].text in laid.document.others
        (in_memory,) = with_others([chosen], [*files, copy, wicked])
        assert in_memory.document == replace(laid.document, folder=None)
    assert not folder.exists()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("max_chars", [37, 150, 10_000])
def test_passages_are_parts_of_files_and_the_same_every_time(mode: str, max_chars: int) -> None:
    files = tiny_corpus.files()
    options = {"mode": mode, "max_files": 7, "max_chars": max_chars, "seed": 3}
    chosen = choose_passages(files, **options)
    assert chosen == choose_passages(files[::-1], **options)
    assert len(chosen) == 7 and len({one.document.project for one in chosen}) == 3
    texts = {(file.origin, file.path): file.text for file in files}
    for one in chosen:
        document, text = one.document, texts[one.document.project, one.document.path]
        assert 0 < len(one.typed) <= max_chars and one.typed == one.typed.rstrip()
        assert text.startswith(document.before + one.typed)
        if mode == "new":
            assert document.after == ""
            assert max_chars < len(text) or document.before == ""
        else:
            assert document.before.endswith("):") and one.typed.startswith("\n  ")
            deleted = text[len(document.before) : len(text) - len(document.after)]
            assert text.endswith(document.after) and deleted.startswith(one.typed)


def test_a_file_more_changes_no_other_passage() -> None:
    files = tiny_corpus.files()
    options = {"mode": "edit", "max_files": 100, "max_chars": 100, "seed": 1}
    few = {one.document.path: one for one in choose_passages(files[4:], **options)}
    many = {one.document.path: one for one in choose_passages(files, **options)}
    assert few and few.items() <= many.items()


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        ("def f():\n    return 1\nx = 2\n", ["\n    return 1"]),
        ("def f(\n    a,\n) -> int:\n\n    return a\n\n\n", ["\n\n    return a"]),
        ("class A(B):\n    x = 1\n", []),
        ("if f(x):\n    y()\nfor a in b(c):\n    d\n", []),
        ("async def f(a):  \n\treturn a", ["\n\treturn a"]),
        ("int main(void) {\n  return 0;\n}\n", ["\n  return 0;"]),
        ("} else if (x) {\n  y();\n}\n", []),
        ("def f(): pass\n", []),
        ("def f():", []),
        ("", []),
    ],
)
def test_function_bodies_are_found_by_indentation(text: str, bodies: list[str]) -> None:
    assert [text[start:end] for start, end in function_bodies(text)] == bodies


def test_numbers_of_several_projects_are_sums_over_files() -> None:
    def tally(project: str, n_keys: int, n_shown: int, n_accepted: int) -> Tally:
        return Tally(
            project=project, n_chars=120, n_keys_alone=100, n_keys=n_keys, n_shown=n_shown,
            n_accepted=n_accepted, n_accepted_chars=10 * n_accepted, n_late=1,
            latencies_ms=[1.0, 3.0], elapsed_s=2.0,
        )  # fmt: skip

    tallies = [tally("a", 80, 4, 3), tally("b", 60, 4, 1), tally("b", 100, 0, 0)]
    rows = summarize(tallies, mode="new", completer="c", seed=0)
    assert [row["project"] for row in rows] == ["all", "a", "b"]
    everything, a, b = rows
    assert everything["saved"]["mean"] == pytest.approx(0.2)
    assert everything["saved"]["low"] < 0.2 < everything["saved"]["high"]
    assert everything["wrong_of_shown"]["mean"] == pytest.approx(0.5)
    assert everything["chars_by_accepted"]["mean"] == pytest.approx(10)
    assert everything["latency_ms"] == {"p50": 2.0, "p95": 3.0, "max": 3.0}
    assert everything["late"] == 0.5 and everything["keys_per_s"] == 40
    assert a["saved"] == {"mean": pytest.approx(0.2), "low": None, "high": None}
    # A draw without any suggestion has no share of wrong ones, and is left out.
    assert b["wrong_of_shown"]["mean"] == pytest.approx(0.75)
    assert json.loads(json.dumps(rows)) == rows
    assert len(to_markdown(rows).split("\n")) == 3 + 1 + 4


@pytest.fixture(scope="module")
def editor(tiny_gguf: Path) -> Iterator[ServerEditor]:
    """The real server with the tiny model; it shows whatever comes to its mind."""
    with ServerEditor(
        SERVE,
        projects=["p"],
        settings={"minConfidence": 0},
        environment={"STARLING_BUNDLE": str(tiny_gguf)},
    ) as started:
        yield started


def server_text(editor: ServerEditor) -> str:
    """What the server believes to stand before the cursor, less the end of a word or more."""
    # The model never sees the token at the cursor, which may be unfinished: type on.
    editor.insert("\n")
    editor.insert("# end")
    place = {"textDocument": {"uri": "file:///p/p/x.py"}, "position": editor._position()}
    params = {"command": "starling.showPrompt", "arguments": [place]}
    prompt = editor._server.call("workspace/executeCommand", params)
    return str(prompt).partition("<fim_middle>")[2]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_server_sees_what_was_typed(editor: ServerEditor, line_end: str) -> None:
    before, after = "# 😀 é\nx = '😀", "\n# below 😀\n"
    typed = "😁é'; y = 𝒳\n    z = '日本'\n\nreturn 😀x"
    tally = replay(passage(typed, before=before, after=after, line_end=line_end), editor)
    assert tally.n_keys <= tally.n_keys_alone == len(typed) - 4
    assert server_text(editor).startswith(before + typed + "\n")


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_the_server_suggests_is_accepted_where_it_is_right(
    editor: ServerEditor, line_end: str
) -> None:
    before = "# 😀\ndef total(numbers):\n    s = '😀'; "
    first = passage("r", before=before, line_end=line_end)
    editor.open(first.document)
    editor.insert("r")
    answer = editor.ask()
    assert answer.text.strip() and answer.command is not None, "choose another place"
    typed = "r" + answer.text
    tally = replay(passage(typed, before=before, line_end=line_end), editor)
    assert (tally.n_keys, tally.n_shown, tally.n_accepted) == (2, 1, 1)
    assert server_text(editor).startswith(before + typed + "\n")


def test_late_answers_are_dropped_and_a_death_while_typing_is_an_error(tiny_gguf: Path) -> None:
    with pytest.raises(TrainError, match="ended with status -9"):
        with ServerEditor(
            SERVE,
            projects=["p"],
            settings={"minConfidence": 0},
            environment={"STARLING_BUNDLE": str(tiny_gguf)},
            pace_ms=1e-6,
        ) as hasty:
            tally = replay(passage(TEXT), hasty)
            assert tally.n_late == len(tally.latencies_ms) == N_KEYS_ALONE - 1
            assert tally.n_shown == 0 and tally.n_keys == N_KEYS_ALONE
            assert server_text(hasty).startswith(TEXT + "\n")
            hasty._server._process.kill()
            hasty._server._process.wait()
            server_text(hasty)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; sys.exit('no room for a model')", r"status 1 \(no room for a model\)"),
        ("print('hello', flush=True); input()", "no LSP message"),
        ("print('Content-Length: x\\n', flush=True); input()", "no LSP message"),
        ("import sys; sys.stdin.read()", "did not answer initialize within 0"),
        ("import time; time.sleep(600)", "did not answer initialize within 0"),
    ],
)
def test_a_program_that_is_no_server_is_an_error(program: str, sentence: str) -> None:
    command = [sys.executable, "-c", program]
    patience_s = 0.4 if "within" in sentence else 30.0
    with pytest.raises(TrainError, match=sentence):
        # More than a pipe holds, so that nobody may wait for it to be read.
        names = ["p" * 100_000]
        ServerEditor(command, projects=names, settings={}, patience_s=patience_s)


def test_a_model_that_does_not_load_is_the_servers_own_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    environment = {"STARLING_BUNDLE": str(broken)}
    with pytest.raises(TrainError, match=r"cannot complete: .*broken\.gguf"):
        ServerEditor(SERVE, projects=["p"], settings={}, environment=environment)
    with pytest.raises(BundleError, match=r"broken\.gguf"):
        run("--file", __file__, "--bundle", broken)


def test_a_setting_that_the_server_refuses_ends_the_run(tiny_gguf: Path) -> None:
    environment = {"STARLING_BUNDLE": str(tiny_gguf)}
    with pytest.raises(TrainError, match="minConfidence must be a number from"):
        ServerEditor(SERVE, projects=["p"], settings={"minConfidence": 5}, environment=environment)


def run(*arguments: str | Path) -> None:
    typing_command.typing.main([str(one) for one in arguments], standalone_mode=False)


def test_command_reports_both_modes_beside_copying(
    tiny_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typing_command.MODES == MODES
    assert typing_editors.BUNDLE_VARIABLE == starling.BUNDLE_VARIABLE
    held_out, out = tmp_path / "held_out", tmp_path / "report.json"
    held_out.mkdir()
    write_shard(held_out / "a.jsonl.zst", tiny_corpus.files(4))
    run("--held-out", held_out, "--bundle", tiny_gguf, "--max-files", "2", "--max-chars", "40",
        "--min-confidence", "0", "--out", out)  # fmt: skip
    report = json.loads(out.read_text())
    assert report["model"]["name"] == "tiny-random" and report["typing"]["settings"]["seed"] == 0
    totals = {
        (row["mode"], row["completer"]): row
        for row in report["typing"]["rows"]
        if row["project"] == "all"
    }
    assert set(totals) == {(m, c) for m in MODES for c in ("tiny-random", COPY)}
    for mode in MODES:
        ours, copied = totals[mode, "tiny-random"], totals[mode, COPY]
        assert ours["n_keys_alone"] == copied["n_keys_alone"] > 0 and ours["n_files"] == 2
        assert ours["latency_ms"]["max"] > 0 and ours["late"] == 0
    shown = capsys.readouterr().out
    assert "| edit | copy from context | 2 |" in shown and "| pypi:shelf0 | new |" in shown


@pytest.mark.parametrize("options", [("--min-confidence", "nan"), ("--pace", "inf")])
def test_what_is_not_a_number_is_refused(options: tuple[str, str]) -> None:
    with pytest.raises(click.BadParameter, match="is not a finite number"):
        run("--file", __file__, *options)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is empty"), (b" \r\n", "is empty"), (b"x = '\xff'", r"not UTF-8 \(byte 6\)")],
)
def test_a_file_that_cannot_be_typed_is_named(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"x\.py {sentence}|x\.py is {sentence}"):
        run("--file", path)


def test_folders_and_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no corpus in .*nowhere"):
        run("--held-out", tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="there is no file .*nothing"):
        run("--file", tmp_path / "nothing.py")
    with pytest.raises(CorpusError, match="is a folder"):
        run("--file", tmp_path)
    write_shard(tmp_path / "a.jsonl.zst", tiny_corpus.files(2))
    with pytest.raises(CorpusError, match="no Rust file: take --language of Python"):
        run("--held-out", tmp_path, "--language", "Rust")
    only_data = tmp_path / "data.py"
    only_data.write_text("x = 1\n")
    with pytest.raises(CorpusError, match="nothing to type"):
        run("--file", only_data, "--mode", "edit")


def test_line_ends_and_byte_order_marks_of_a_file_are_not_typed(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_bytes("\ufeffa = '😀'\r\nb = 2\r\n".encode())
    file: SourceFile = typing_command.read_file(path)
    assert file.text == "a = '😀'\nb = 2\n" and file.language == "Python"
    assert file.path == f"{tmp_path.name}/x.py"
