"""Guards the claims of speed: the recorded typing is whole, and the rival gets its own cache.

A failure would look like this: the table in bench/RESULTS.md says that Starling is three times as
fast as a rival that was held back.
"""

import json
from typing import Any

from bench.report import Report
from bench.rivals.llama_vim import REQUEST, LlamaVim, context, wants
from bench.typing_trace.trace import position, read_trace
from runtime.trim import may_complete


class ScriptedServer:
    """Answers one text after the other and keeps what was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[dict[str, Any]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/infill"
        self.asked.append(body)
        return {"content": self.texts.pop(0)}


def test_the_trace_is_500_keys_of_all_kinds_over_five_files() -> None:
    trace = read_trace()
    assert len(trace.keys) == 500
    assert {key.path for key in trace.keys} == set(trace.files) and len(trace.files) == 5
    kinds = {
        "typed": sum(len(key.typed) == 1 for key in trace.keys),
        "new lines": sum(key.typed.startswith("\n") for key in trace.keys),
        "accepted": sum(len(key.typed) > 3 and key.typed[0] != "\n" for key in trace.keys),
        "deleted": sum(key.n_deleted > 0 for key in trace.keys),
        "jumps": sum(not key.typed and not key.n_deleted for key in trace.keys),
        "files changed": sum(
            before.path != after.path
            for before, after in zip(trace.keys, trace.keys[1:], strict=False)
        ),
    }
    assert min(kinds.values()) >= 10, kinds


def test_both_are_asked_at_every_key() -> None:
    moments = list(read_trace().replay())
    assert all(may_complete(moment.suffix) for moment in moments)
    assert all(wants(moment.suffix) for moment in moments)


def test_replaying_gives_the_texts_that_an_editor_has() -> None:
    trace = read_trace()
    texts = dict(trace.files)
    for moment in trace.replay():
        key = moment.key
        lines = texts[key.path].split("\n")
        (first, start), (last, end) = moment.start, moment.end
        head, tail = lines[first][:start], lines[last][end:]
        lines[first : last + 1] = (head + key.typed + tail).split("\n")
        texts[key.path] = "\n".join(lines)
        assert texts[key.path] == moment.prefix + moment.suffix
        assert position(moment.prefix, len(moment.prefix)) == moment.cursor


def test_the_rival_is_asked_as_llama_vim_asks() -> None:
    server = ScriptedServer("a + b")
    vim = LlamaVim(server)
    assert vim.ask("import os\n\ndef f(a, b):\n    return ", "\n\nprint(f)\n") == "a + b"
    asked = server.asked[0]
    assert asked["input_prefix"] == "import os\n\ndef f(a, b):\n"
    assert asked["prompt"] == "    return "
    assert asked["input_suffix"] == "\n\nprint(f)\n\n"
    assert asked["n_indent"] == 4
    assert asked.items() >= REQUEST.items()


def test_a_line_of_blanks_is_left_out_of_the_rivals_prompt() -> None:
    at = context("def f():\n    ", "\nx = 1\n")
    assert (at.middle, at.n_indent, at.suffix) == ("", 0, "\nx = 1\n\n")


def test_the_rival_does_not_ask_again_for_what_it_knows() -> None:
    vim = LlamaVim(ScriptedServer("turn a", "other"))
    vim.ask("    re", "\n")
    assert vim.recall("    re", "\n") == "turn a"
    assert vim.recall("    retu", "\n") == "rn a"
    assert vim.recall("    reX", "\n") is None
    assert vim.recall("    return a", "\n") is None
    assert vim.recall("    retu", " # other\n") is None


def test_the_rival_knows_an_answer_again_after_scrolling() -> None:
    vim = LlamaVim(ScriptedServer("turn a"))
    vim.ask("1\n2\n    re", "\n")
    assert vim.recall("2\n    re", "\n") == "turn a"


def test_a_report_is_the_shape_that_is_gathered() -> None:
    report = Report(title="speed", notes=["a note"])
    report.at_most("median", 40.0, 50, "ms", rival=130.0)
    report.ratio_at_least("decode", 90.0, 100.0, 0.97, "tokens/s")
    report.fact("alone", None, "ms")
    read = json.loads(json.dumps(report.to_json()))
    assert set(read) == {"title", "machine", "notes", "rows"}
    assert read["rows"] == [
        {"what": "median", "ours": 40.0, "unit": "ms", "rival": 130.0, "bar": "<= 50 ms",
         "met": True, "ratio": 0.3077},
        {"what": "decode", "ours": 90.0, "unit": "tokens/s", "rival": 100.0, "bar": ">= 0.97x",
         "met": False, "ratio": 0.9},
        {"what": "alone", "ours": None, "unit": "ms", "rival": None, "bar": "", "met": None,
         "ratio": None},
    ]  # fmt: skip
    assert "| decode | 90 | 100 | 0.9 | tokens/s | >= 0.97x | **no** |" in report.to_markdown()
