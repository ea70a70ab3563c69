"""Guards the numbers that Starling publishes about itself: they must mean what they say.

A failure would show as a model that looks better than it is, as a comparison of two runs that did
not do the same, or as an hour of work lost to a file name.
"""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import starling
from runtime import trim
from runtime.engine import Engine, FimRequest
from runtime.errors import BundleError
from runtime.fim import Order
from runtime.other_files import MAX_OTHER_FILE_CHARS, MAX_OTHER_FILES
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode
from tests import tiny_model
from tests.train import tiny_corpus
from train.corpus.source_file import write_shard
from train.errors import CorpusError
from train.evaluation import bits_per_byte
from train.evaluation.fim import command as fim_command
from train.evaluation.fim.completers import copy_completer, copy_from_context, model_completer
from train.evaluation.fim.scores import MEASURES, Entry, score, score_tasks, table_rows
from train.evaluation.fim.tasks import MAX_MIDDLE_CHARS, FimTask, Kind, draw_tasks
from train.evaluation.held_out import held_out_files
from train.evaluation.models.models import name_models, open_engine


def task(prefix: str, middle: str, suffix: str = "\n", kind: Kind = Kind.LINE) -> FimTask:
    return FimTask(kind=kind, origin="o", path="p.py", prefix=prefix, middle=middle, suffix=suffix)


def measured(one: FimTask, completion: str) -> dict[str, float]:
    return dict(zip(MEASURES, score(one, completion), strict=True))


@pytest.mark.parametrize(
    ("completion", "exact"),
    [("b + c)", 1.0), ("b + c)  ", 1.0), ("b + c)\nmore", 1.0), ("b)", 0.0), ("", 0.0)],
)
def test_exact_match_of_a_line_is_of_the_first_line(completion: str, exact: float) -> None:
    values = measured(task("x = (a + ", "b + c)"), completion)
    assert values["exact"] == values["exact_trimmed"] == values["first_line"] == exact
    assert all(0.0 <= value <= 1.0 for value in values.values())


def test_what_is_of_several_lines_is_compared_whole() -> None:
    block = task("def f(a):\n    ", "b = a\n    return b", kind=Kind.SYNTAX_BLOCK)
    assert set(measured(block, "b = a\n    return b\n").values()) == {1.0}
    half = measured(block, "b = a\n    raise")
    assert half["exact"] == half["exact_trimmed"] == 0.0
    assert half["first_line"] == half["first_line_trimmed"] == 1.0
    assert 0.5 < half["edit_similarity"] < 1.0


@pytest.mark.parametrize(
    ("completion", "is_right"),
    [
        ("\n    return 1\n    x", 1.0),
        ("\n    return 1  ", 1.0),
        ("\n        return 1", 0.0),
        ("return 1", 0.0),
        ("\nreturn 1", 0.0),
        ("\n\n", 0.0),
    ],
)
def test_a_first_line_stands_where_it_belongs(completion: str, is_right: float) -> None:
    """In Python another indentation is another program."""
    one = task("def f():", "\n    return 1\n    # end", kind=Kind.RANDOM_SPAN)
    assert measured(one, completion)["first_line"] == is_right


def test_trimming_is_the_editors() -> None:
    # The closing bracket stands after the cursor already.
    one = measured(task("print(", "total", ")\n", Kind.RANDOM_SPAN), "total)")
    assert one["exact"] == 0.0 and one["exact_trimmed"] == 1.0
    # The next line is not suggested again.
    two = measured(task("a = 1\n", "b = 2", "\nc = 3\n", Kind.SYNTAX_BLOCK), "b = 2\nc = 3")
    assert two["exact"] == 0.0 and two["exact_trimmed"] == 1.0
    # A repetition of the line above is not shown.
    three = measured(task("total = 1234\n", "total = 1234"), "total = 1234")
    assert three["exact"] == 1.0 and three["exact_trimmed"] == 0.0


@pytest.mark.parametrize(
    ("prefix", "copied"),
    [
        ("for i in range(10):\n    pass\nfor i in ra", "nge(10):"),
        ("alpha = compute(1)\nbeta = 2\nalpha = comp", "ute(1)"),
        ("nothing alike", ""),
        # The match reaches up to the cursor: nothing of it is lost.
        ("pairs = [(1, 2), (1, 2", "), (1, 2"),
        ("abcd", ""),
        ("a", ""),
    ],
)
def test_copying_takes_what_follows_the_longest_match(prefix: str, copied: str) -> None:
    assert copy_completer()(task(prefix, "")) == copied


def test_copying_of_several_lines_ends_where_the_suffix_comes_again() -> None:
    text = "def f():\n    a = 1\n    b = 2\n    return a\n\n\ndef g():\n    a = 1\n"
    suffix = "    return a\n"
    assert copy_from_context(text, suffix, mode=Mode.BLOCK) == "    b = 2\n"
    assert copy_from_context(text, "    raise\n", mode=Mode.SPAN) == "    b = 2"
    assert copy_from_context("import comp", "", others=["import compiler\n"]) == "iler"


def test_tasks_are_holes_of_the_files_and_the_same_every_time() -> None:
    files = tiny_corpus.files()
    tasks = draw_tasks(files, n_per_kind=12, seed=4)
    assert tasks == draw_tasks(files, n_per_kind=12, seed=4)
    assert [t.kind for t in tasks] == [kind for kind in Kind for _ in range(12)]
    originals = {file.path: file.text for file in files}
    assert len({(t.kind, t.path, len(t.prefix), len(t.suffix)) for t in tasks}) == len(tasks)
    for t in tasks:
        assert t.prefix + t.middle + t.suffix == originals[t.path]
        assert t.middle.strip() and 4 <= len(t.middle) <= MAX_MIDDLE_CHARS
        if t.kind.mode is Mode.LINE:
            assert "\n" not in t.middle and (t.suffix == "" or t.suffix.startswith("\n"))
    spans = [t.middle for t in tasks if t.kind is Kind.RANDOM_SPAN]
    assert any("\n" in middle for middle in spans)
    assert any("\n" in t.middle for t in tasks if t.kind is Kind.SYNTAX_BLOCK)
    assert all("Keeps" in t.middle for t in tasks if t.kind is Kind.DOCSTRING)


def test_one_kind_is_drawn_as_among_all() -> None:
    files = tiny_corpus.files()
    of_all = [t for t in draw_tasks(files, n_per_kind=7, seed=2) if t.kind is Kind.SYNTAX_BLOCK]
    assert of_all == draw_tasks(files, n_per_kind=7, seed=2, kinds=[Kind.SYNTAX_BLOCK])


def test_tasks_know_the_heads_of_other_files_of_their_project() -> None:
    files = tiny_corpus.files()
    long_file = replace(files[0], path="shelf0/long.py", text=files[0].text * 3)
    text_of = {file.path: file.text for file in [*files, long_file]}
    project_of = {file.path: file.origin for file in [*files, long_file]}
    for t in draw_tasks([*files, long_file], n_per_kind=20, seed=1):
        assert len(t.snippets) == MAX_OTHER_FILES
        for snippet in t.snippets:
            assert snippet.path != t.path and project_of[snippet.path] == t.origin
            assert len(snippet.text) <= MAX_OTHER_FILE_CHARS and snippet.text.endswith("\n")
            assert text_of[snippet.path].startswith(snippet.text)
    # A form feed ends no line for an editor, so that a head does not end there either.
    fed = replace(files[0], path="shelf0/fed.py", text="x = 1\n" + "y\f" * 400)
    drawn = draw_tasks([files[0], fed], n_per_kind=5, seed=1, kinds=[Kind.LINE])
    heads = [one.text for t in drawn if t.path != fed.path for one in t.snippets]
    assert heads and set(heads) == {"x = 1\n"}
    (alone, *_) = draw_tasks(files[:1], n_per_kind=1, seed=1)
    assert alone.snippets == ()


def test_lines_that_nobody_could_complete_are_no_tasks() -> None:
    data = "x = [" + "1, " * 400 + "]"
    files = [replace(tiny_corpus.files(1)[0], text=f"{data}\nname = 12\n")]
    (one,) = draw_tasks(files, n_per_kind=5, seed=0, kinds=[Kind.LINE])
    assert one.middle == "name = 12"


def test_files_without_a_hole_are_an_error() -> None:
    files = [replace(tiny_corpus.files(1)[0], text="x\ny")]
    with pytest.raises(CorpusError, match="nothing to cut out of these files"):
        draw_tasks(files, n_per_kind=3, seed=0)


def test_perfect_and_empty_completers_bound_the_scale() -> None:
    tasks = draw_tasks(tiny_corpus.files(), n_per_kind=8, seed=1)
    entries = [Entry(completer=name, order="", other_files="none") for name in ("right", "empty")]
    scores = {
        entries[0]: score_tasks(tasks, lambda t: t.middle),
        entries[1]: score_tasks(tasks, lambda t: ""),
    }
    rows = table_rows(tasks, scores, seed=0)
    assert [(row["kind"], row["completer"]) for row in rows] == [
        (str(kind), name) for kind in Kind for name in ("right", "empty")
    ]
    for right, empty in zip(rows[::2], rows[1::2], strict=True):
        assert right["exact"]["mean"] == right["exact"]["high"] == 1.0 and right["against"] is None
        assert 0.5 < right["exact"]["low"] < 1.0
        assert empty["exact"]["mean"] == empty["edit_similarity"]["mean"] == 0.0
        change = empty["against"]["exact"]
        assert (change["mean"], change["verdict"]) == (-1.0, "worse")
        assert empty["against"]["completer"] == "right"


def test_prompts_are_held_against_the_prompt_that_they_differ_from() -> None:
    tasks = draw_tasks(tiny_corpus.files(), n_per_kind=3, seed=1, kinds=[Kind.LINE])
    prompts = [(order, shown) for order in ("spm", "psm") for shown in ("none", "heads")]
    entries = [
        Entry(completer=name, order=order, other_files=shown)
        for name in ("a", "b")
        for order, shown in prompts
    ]
    entries.append(Entry(completer="copy", order="", other_files="heads"))
    rows = table_rows(tasks, dict.fromkeys(entries, np.ones((3, len(MEASURES)))), seed=0)
    bases = [row["against"] and tuple(row["against"].values())[:3] for row in rows]
    first = ("a", "spm", "none")
    assert bases[:4] == [None, first, first, first]
    assert bases[4:8] == [("a", order, shown) for order, shown in prompts]
    assert bases[8] == ("a", "spm", "heads")


def test_bits_per_byte_of_a_random_model_is_near_uniform(tiny_gguf: Path) -> None:
    files = tiny_corpus.files(4)
    with Engine.load(tiny_gguf) as engine:
        lengths = bits_per_byte.code_lengths(engine, [file.text for file in files])
        n_tokens = sum(len(engine.tokenize(file.text)) for file in files)
    n_bytes = sum(len(file.text.encode()) for file in files)
    uniform = math.log2(engine.info.vocab_size) * n_tokens / n_bytes
    result = bits_per_byte.summarize(bits_per_byte.by_project(lengths, files), seed=0)
    assert 0.7 * uniform < result["bits_per_byte"] < 2.5 * uniform
    low, high = result["interval"]
    assert low <= result["bits_per_byte"] <= high


def test_code_lengths_are_the_sum_of_log_probabilities(tiny_gguf: Path) -> None:
    text = tiny_corpus.files(1)[0].text
    with Engine.load(tiny_gguf) as engine:
        ((n_bits, n_bytes),) = bits_per_byte.code_lengths(engine, [text])
        ids = engine.tokenize(text)
        logits = engine.logits(ids).astype(np.float64)
        expected = sum(
            (np.logaddexp.reduce(logits[i]) - logits[i, ids[i + 1]]) / math.log(2)
            for i in range(len(ids) - 1)
        )
        assert n_bytes == len(engine.detokenize(ids[1:]))
    assert n_bits == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("max_bytes", [1, 17, 1000, 10**9])
def test_every_model_gets_the_same_text(max_bytes: int) -> None:
    files = [replace(file, text=file.text + "☺" * n) for n, file in enumerate(tiny_corpus.files(5))]
    chosen = bits_per_byte.choose_files(files, max_bytes=max_bytes, seed=3)
    texts = [file.text for file in chosen]
    n_bytes = sum(len(text.encode()) for text in texts)
    everything = sum(len(file.text.encode()) for file in files)
    assert min(max_bytes, everything) - 3 <= n_bytes <= max_bytes
    assert all(any(file.text.startswith(text) for file in files) for text in texts)


def test_intervals_are_over_projects_where_there_are_enough() -> None:
    lengths = np.array([[1.0, 2.0], [10.0, 20.0], [3.0, 5.0]] * 3)
    file = tiny_corpus.files(1)[0]
    many = [replace(file, origin=f"pypi:{n % 5}") for n in range(9)]
    summed = bits_per_byte.by_project(lengths, many)
    assert summed.shape == (5, 2) and (summed.sum(0) == lengths.sum(0)).all()
    assert summed[0].tolist() == [1.0 + 3.0, 2.0 + 5.0]
    few = [replace(file, origin=f"pypi:{n % 4}") for n in range(9)]
    assert bits_per_byte.by_project(lengths, few) is lengths


def test_too_little_text_is_an_error(tiny_gguf: Path) -> None:
    (file,) = bits_per_byte.choose_files(tiny_corpus.files(1), max_bytes=1, seed=0)
    with Engine.load(tiny_gguf) as engine:
        lengths = bits_per_byte.code_lengths(engine, [file.text])
    with pytest.raises(CorpusError, match="too short"):
        bits_per_byte.summarize(lengths, seed=0)


@pytest.mark.parametrize("order", [None, *Order])
@pytest.mark.parametrize("with_other_files", [False, True])
def test_model_completer_is_the_engine_that_serves(
    tiny_gguf: Path, order: Order | None, with_other_files: bool
) -> None:
    tasks = draw_tasks(tiny_corpus.files(6), n_per_kind=2, seed=1)
    with open_engine(tiny_gguf) as engine:
        complete = model_completer(engine, order=order, with_other_files=with_other_files)
        for t in tasks:
            request = FimRequest(
                prefix=t.prefix,
                suffix=t.suffix,
                path=t.path,
                snippets=t.snippets if with_other_files else (),
                mode=t.kind.mode,
                order=order,
            )
            # As many tokens for a line as for a block: the line rule ends it.
            sampling = SamplingConfig(deadline_ms=math.inf, max_tokens=128)
            (expected,) = engine.complete(request, sampling)
            assert complete(t) == expected.text
        assert any(complete(t) for t in tasks)
    (model,) = name_models([tiny_gguf])
    assert model.to_json()["file_sha256"] == hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    folder = tmp_path / "held_out"
    folder.mkdir()
    write_shard(folder / "a.jsonl.zst", tiny_corpus.files(4))
    return folder


def evaluate(verb: str, held_out: Path, *more: str | Path) -> int:
    return starling.main(["eval", verb, "--held-out", str(held_out), *map(str, more)])


def test_reports_of_two_models_are_not_mixed(
    tiny_gguf: Path, held_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"

    def run(verb: str, bundle: Path, *more: str) -> int:
        return evaluate(verb, held_out, "--bundle", bundle, "--out", out, *more)

    assert run("bpb", tiny_gguf, "--max-kb", "1") == 0
    assert run("fim", tiny_gguf, "-n", "1") == 0
    assert set(json.loads(out.read_text())) == {"model", "bpb", "fim"}
    other = tmp_path / "other.gguf"
    tiny_model.write(other, seed=7)
    assert run("bpb", other, "--max-kb", "1") == 0
    assert set(json.loads(out.read_text())) == {"model", "bpb"}
    shipped = json.dumps({"model": json.loads(out.read_text())["model"], "benchmark": "HumanEval"})
    for foreign in ("[1]", "no JSON", "{}", '{"model": {"type": "BPE"}}', shipped):
        out.write_text(foreign)
        assert run("bpb", other, "--max-kb", "1") == 2
        assert out.read_text() == foreign


def test_fim_compares_models_prompts_and_copying_in_one_table(
    tiny_gguf: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fim_command.KINDS == tuple(Kind)
    other, out, markdown, plot = (
        tmp_path / name for name in ("other.gguf", "r.json", "r.md", "r.png")
    )
    tiny_model.write(other, seed=7, name="other")
    status = evaluate(
        "fim", held_out, "--bundle", tiny_gguf, "--against", other, "--kind", "line", "--kind",
        "syntax block", "--order", "both", "--other-files", "both", "-n", "2",
        "--out", out, "--markdown", markdown, "--plot", plot,
    )  # fmt: skip
    assert status == 0
    report = json.loads(out.read_text())["fim"]
    assert [model["name"] for model in report["models"]] == ["tiny-random", "other"]
    rows = report["rows"]
    prompts = [(order, shown) for order in ("spm", "psm") for shown in ("none", "heads")]
    expected = [(name, *prompt) for name in ("tiny-random", "other") for prompt in prompts]
    expected += [("copy from context", "", shown) for shown in ("none", "heads")]
    for kind in ("line", "syntax block"):
        of_kind = [row for row in rows if row["kind"] == kind]
        assert [(r["completer"], r["order"], r["other_files"]) for r in of_kind] == expected
        assert all(row["n_tasks"] == 2 for row in of_kind)
    shown = capsys.readouterr().out
    assert markdown.read_text() == shown
    assert "| syntax block | other | PSM | heads | 2 |" in shown
    assert [row["n_tasks"] for row in report["filtered"]] == [4] * len(expected)
    copied = report["filtered"][-1]
    assert copied["completer"] == "copy from context, with other files"
    assert set(copied["reasons"]) <= {str(reason) for reason in trim.Reason}
    assert "Cut or refused by the filters, of 4 completions of other, PSM: " in shown
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_bpb_compares_models(tiny_gguf: Path, held_out: Path, tmp_path: Path) -> None:
    twin, out = tmp_path / "twin.gguf", tmp_path / "r.json"
    twin.write_bytes(tiny_gguf.read_bytes())
    status = evaluate(
        "bpb", held_out, "--bundle", tiny_gguf, "--against", twin, "--max-kb", "1", "--out", out
    )
    assert status == 0
    first, second = json.loads(out.read_text())["bpb"]["rows"]
    assert first["against"] is None and second["completer"] == f"tiny-random ({twin})"
    assert second["bits_per_byte"] == first["bits_per_byte"]
    assert second["against"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "verdict": "no difference"}


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("--out", "nowhere/r.json", "there is no folder"),
        ("--markdown", "nowhere/r.md", "there is no folder"),
        ("--plot", "r.pdf", "plots are PNG files"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_the_work(
    tiny_gguf: Path,
    held_out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    name: str,
    sentence: str,
) -> None:
    status = evaluate("fim", held_out, "--bundle", tiny_gguf, option, tmp_path / name)
    captured = capsys.readouterr()
    assert status == 2 and sentence in captured.err and captured.out == ""


def test_a_model_without_sentinels_is_refused(
    held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain.gguf"
    tiny_model.write(plain)
    data = plain.read_bytes()
    # The same file with other spellings for the sentinels and their metadata.
    for text in (b"<fim_", b"ggml.fim_"):
        data = data.replace(text, text.replace(b"fim", b"fun"))
    plain.write_bytes(data)
    monkeypatch.setenv("STARLING_DEBUG", "1")
    with pytest.raises(BundleError, match=r"plain\.gguf has no fill-in-the-middle tokens"):
        evaluate("fim", held_out, "--bundle", plain)
    assert evaluate("bpb", held_out, "--bundle", plain, "--max-kb", "1") == 0


def test_a_held_out_folder_without_files_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CorpusError, match="starling train corpus"):
            held_out_files(folder)
    write_shard(tmp_path / "empty.jsonl.zst", [])
    with pytest.raises(CorpusError, match="holds no files"):
        held_out_files(tmp_path)
    # Blank files and layouts that spell special tokens are none that one types.
    (one, two) = tiny_corpus.files(2)
    write_shard(tmp_path / "a.jsonl.zst", [replace(one, text=" \n"), replace(two, kind="issue")])
    with pytest.raises(CorpusError, match="holds no files"):
        held_out_files(tmp_path)
    write_shard(tmp_path / "b.jsonl.zst", [one])
    assert held_out_files(tmp_path, language="python") == [one]
    with pytest.raises(CorpusError, match="no Rust file: take --language of Python"):
        held_out_files(tmp_path, language="Rust")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.jsonl.zst", tiny_corpus.files(4))
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"a\.jsonl\.zst"):
        held_out_files(tmp_path)
