"""Guards the numbers that Starling publishes about itself: they must mean what they say."""

import hashlib
import json
import math
from pathlib import Path

import pytest

import starling
from runtime.engine import Engine, FimRequest
from runtime.sampling import SamplingConfig
from tests import tiny_model
from tests.train import tiny_corpus
from train.corpus.source_file import write_shard
from train.errors import CorpusError
from train.evaluation import fim_tasks as evaluate


def task(prefix: str, middle: str, suffix: str = "\n") -> evaluate.FimTask:
    return evaluate.FimTask(
        kind="line", origin="o", path="p.py", prefix=prefix, middle=middle, suffix=suffix
    )


@pytest.mark.parametrize(
    ("completion", "exact"),
    [("b + c)", 1.0), ("b + c)  ", 1.0), ("b + c)\nmore", 1.0), ("b)", 0.0), ("", 0.0)],
)
def test_exact_match_is_of_the_first_line(completion: str, exact: float) -> None:
    score = evaluate.score(task("x = (a + ", "b + c)"), completion)
    assert score.exact == exact
    assert 0.0 <= score.edit_similarity <= 1.0


@pytest.mark.parametrize(
    ("prefix", "copied"),
    [
        ("for i in range(10):\n    pass\nfor i in ra", "nge(10):"),
        ("alpha = compute(1)\nbeta = 2\nalpha = comp", "ute(1)"),
        ("nothing alike", ""),
    ],
)
def test_copy_completer_copies_after_the_longest_match(prefix: str, copied: str) -> None:
    assert evaluate.copy_completer(task(prefix, "")) == copied


def test_tasks_are_holes_of_the_files_and_the_same_every_time() -> None:
    files = tiny_corpus.files()
    tasks = evaluate.draw_tasks(files, n_per_kind=30, seed=4)
    assert tasks == evaluate.draw_tasks(files, n_per_kind=30, seed=4)
    assert {t.kind for t in tasks} == set(evaluate.KINDS) and len(tasks) == 90
    originals = {file.path: file.text for file in files}
    for t in tasks:
        assert t.prefix + t.middle + t.suffix == originals[t.path]
        assert "\n" not in t.middle and t.middle.strip()
        assert t.suffix == "" or t.suffix.startswith("\n")


def test_perfect_and_empty_completers_bound_the_scale() -> None:
    tasks = evaluate.draw_tasks(tiny_corpus.files(), n_per_kind=20, seed=1)
    perfect = evaluate.score_tasks(tasks, lambda t: t.middle)
    empty = evaluate.score_tasks(tasks, lambda t: "")
    for kind in evaluate.KINDS:
        assert perfect[kind]["exact"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
        assert empty[kind]["exact"]["mean"] == empty[kind]["edit_similarity"]["mean"] == 0.0


def test_bits_per_byte_of_a_random_model_is_near_uniform(tiny_gguf: Path) -> None:
    files = tiny_corpus.files(4)
    with Engine.load(tiny_gguf) as engine:
        result = evaluate.bits_per_byte(engine, files, max_bytes=2000, seed=0)
        n_tokens = sum(len(engine.tokenize(file.text)) for file in files)
    n_bytes = sum(len(file.text.encode()) for file in files)
    uniform = math.log2(engine.info.vocab_size) * n_tokens / n_bytes
    assert 0.7 * uniform < result["bits_per_byte"] < 2.5 * uniform
    low, high = result["interval"]
    assert low <= result["bits_per_byte"] <= high


def test_model_completer_is_the_engine_that_serves(tiny_gguf: Path) -> None:
    tasks = evaluate.draw_tasks(tiny_corpus.files(3), n_per_kind=2, seed=1)
    with evaluate.open_model(tiny_gguf) as (engine, model):
        complete = evaluate.model_completer(engine)
        for t in tasks:
            request = FimRequest(prefix=t.prefix, suffix=t.suffix, path=t.path)
            (expected,) = engine.complete(request, SamplingConfig(deadline_ms=math.inf))
            assert complete(t) == expected.text
        assert any(complete(t) for t in tasks)
    assert model["file_sha256"] == hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()


def test_confidence_table_counts_what_is_shown(tiny_gguf: Path) -> None:
    tasks = evaluate.draw_tasks(tiny_corpus.files(3), n_per_kind=3, seed=1)
    with evaluate.open_model(tiny_gguf) as (engine, _):
        everything, some, nothing = evaluate.confidence_table(engine, tasks, (-100.0, -5.0, 0.0))
    assert everything["shown"] == 1.0
    assert everything["shown"] >= some["shown"] >= nothing["shown"] == 0.0
    assert nothing["exact_of_shown"] == nothing["shown_of_exact"] == 0.0


def test_reports_of_two_models_are_not_mixed(tiny_gguf: Path, tmp_path: Path) -> None:
    held_out, out = tmp_path / "held_out", tmp_path / "report.json"
    held_out.mkdir()
    write_shard(held_out / "a.jsonl.zst", tiny_corpus.files(4))

    def run(verb: str, bundle: Path, *more: str) -> int:
        return starling.main(["eval", verb, "--bundle", str(bundle), "--held-out", str(held_out),
                              "--out", str(out), *more])  # fmt: skip

    assert run("bpb", tiny_gguf, "--max-kb", "1") == 0
    assert run("fim", tiny_gguf, "-n", "1") == 0
    assert set(json.loads(out.read_text())) == {"model", "bpb", "fim"}
    other = tmp_path / "other.gguf"
    tiny_model.write(other, seed=7)
    assert run("bpb", other, "--max-kb", "1") == 0
    assert set(json.loads(out.read_text())) == {"model", "bpb"}
    out.write_text("[1]")
    assert run("bpb", other, "--max-kb", "1") == 2
    assert out.read_text() == "[1]"


def test_empty_held_out_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="starling train corpus"):
        evaluate.held_out_files(tmp_path)
    write_shard(tmp_path / "empty.jsonl.zst", [])
    with pytest.raises(CorpusError, match="holds no files"):
        evaluate.held_out_files(tmp_path)
