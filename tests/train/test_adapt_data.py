"""Guards what `starling train adapt` learns from, holds out and replays, and what it measures by.

A failure would be an adaptation that is measured on what it learned, that forgets because nothing
was replayed, or that calls chance an improvement.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attribution.indexes import read_manifests
from quantize.checkpoint import open_checkpoint
from tests.train import adapt_world
from tests.train.adapt_world import (
    LOCAL,
    N_BASE_FILES,
    N_HELD_OUT,
    N_OWN_FILES,
    base_file,
    tiny_recipe,
)
from tests.train.corpus_project import code
from train.adapt import report as adapt_report
from train.adapt.adaptation import (
    default_replay,
    fitted_recipe,
)
from train.adapt.data import MIN_BYTES, AdaptData, WorkPaths, make_data
from train.adapt.export import Base, write_base
from train.corpus.source_file import read_shards, write_shard
from train.errors import CorpusError
from train.model.start import read_start
from train.recipe_file import load_recipe
from train.samples.shards import open_tokens, write_tokens
from train.samples.tokenizer import load_tokenizer, sha256_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("adapt")
    adapt_world.write(world)
    return world


@pytest.fixture(scope="module")
def work(world: Path) -> Path:
    """A work folder with its data."""
    work = world / "work"
    tokenizer = WorkPaths(root=work).tokenizer
    read_start(world / "base", tokenizer_folder=tokenizer.parent)
    make_data(
        load_recipe("adapt"),
        [world / "shop"],
        work,
        base_rows=read_manifests(world / "base", expected_corpus_id=None),
        replay=world / "run" / "corpus",
        cluster=LOCAL,
        say=lambda _: None,
    )
    return work


class TestData:
    """What is learned, held out and replayed."""

    def test_held_out_files_are_nowhere_else(self, work: Path) -> None:
        here = WorkPaths(root=work)
        held_out = {file.path for file in read_shards(here.held_out)}
        learned = {file.path for file in read_shards(here.corpus)}
        assert len(held_out) == N_HELD_OUT and not held_out & learned
        assert held_out | learned == {f"own{n}.py" for n in range(N_OWN_FILES)}
        assert {row.path for row in read_manifests(here.index, expected_corpus_id=None)} == learned
        shard = open_tokens(here.tokens)
        assert learned <= set(shard.paths) and not held_out & set(shard.paths)
        assert set(open_tokens(here.held_out_tokens).paths) == held_out

    def test_only_what_the_base_was_trained_on_is_replayed(self, work: Path) -> None:
        here = WorkPaths(root=work)
        shard = open_tokens(here.tokens)
        replayed = {path for path in shard.paths if not path.startswith("own")}
        assert replayed and replayed <= {f"{n}.py" for n in range(N_BASE_FILES)}
        data = json.loads(here.data.read_text())
        share = data["n_replay_bytes"] / (data["n_replay_bytes"] + data["n_bytes"])
        assert 0.2 < share <= 1 / 3
        assert data["other_code"] == "projects that the base was not trained on"
        assert {file.origin for file in read_shards(here.other)} == {"pypi:other"}

    def test_without_held_out_projects_the_rest_of_the_corpus_stands_in(
        self, world: Path, work: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "small").mkdir()
        for number in range(6):
            (tmp_path / "small" / f"small{number}.py").write_text(code(f"small{number}", 40))
        shutil.copytree(world / "run" / "corpus", tmp_path / "corpus")
        here = WorkPaths(root=tmp_path / "work")
        shutil.copytree(work / "tokenizer", here.tokenizer.parent)
        data = make_data(
            load_recipe("adapt"),
            [tmp_path / "small"],
            tmp_path / "work",
            base_rows=read_manifests(world / "base", expected_corpus_id=None),
            replay=tmp_path / "corpus",
            cluster=LOCAL,
            say=lambda _: None,
        )
        other = {file.path for file in read_shards(here.other)}
        assert data.other_code == "training files of the base that are not replayed"
        assert other and not other & set(open_tokens(here.tokens).paths)

    @pytest.mark.parametrize(("n_files", "said"), [(1, "only 1 files"), (3, f"and {MIN_BYTES}")])
    def test_too_little_code_is_one_sentence(
        self, work: Path, tmp_path: Path, n_files: int, said: str
    ) -> None:
        (tmp_path / "few").mkdir()
        for number in range(n_files):
            n_functions = 300 if n_files == 1 else 5
            (tmp_path / "few" / f"{number}.py").write_text(code(f"few{number}", n_functions))
        shutil.copytree(work / "tokenizer", tmp_path / "work" / "tokenizer")
        with pytest.raises(CorpusError, match=said):
            make_data(load_recipe("adapt"), [tmp_path / "few"], tmp_path / "work", base_rows=(),
                      replay=None, cluster=LOCAL, say=lambda _: None)  # fmt: skip


def test_without_replay_it_learns_less_and_more_slowly(world: Path, work: Path) -> None:
    start = read_start(world / "base")
    # What is there already is taken as it is.
    data = make_data(load_recipe("adapt"), [], work, base_rows=(), replay=None, cluster=LOCAL,
                     say=lambda _: None)  # fmt: skip
    recipe = load_recipe("adapt")
    careful = fitted_recipe(recipe, start, replace(data, n_replay_files=0), name="x").fit
    usual = fitted_recipe(recipe, start, data, name="x").fit
    assert careful.muon_lr == usual.muon_lr / 2 and careful.adamw_lr == usual.adamw_lr / 2
    assert careful.n_steps == pytest.approx(usual.n_steps / 2, abs=1)
    n_seen = usual.n_steps * usual.batch_rows * usual.row_tokens
    assert 4 < n_seen / data.n_tokens < 5
    assert usual.row_tokens == start.model.context_tokens


def test_rows_behind_the_last_token_are_left_out_before_the_base_is_measured(
    world: Path, tmp_path: Path
) -> None:
    """Published models often have some, to fill up the matrix; the spec must not count them."""
    start = read_start(world / "checkpoint")
    name = "model.embed_tokens.weight"
    padded = torch.cat([start.weights[name], torch.zeros(16, start.model.d_model)])
    start = replace(
        start, spec=None, vocab_size=len(padded), weights=start.weights | {name: padded}
    )
    here = WorkPaths(root=tmp_path)
    here.tokenizer.parent.mkdir()
    shutil.copy(start.tokenizer_path, here.tokenizer)
    files = [base_file(number) for number in range(3)]
    write_tokens(
        here.tokens, files, load_tokenizer(here.tokenizer),
        tokenizer_sha256=sha256_of(here.tokenizer), corpus_id="c" * 64,
    )  # fmt: skip
    here.held_out.mkdir()
    write_shard(here.held_out / "files.jsonl.zst", files)
    base = Base(start=start, directory=None, model_path=None, indexes=(), rows=())
    data = AdaptData(
        own_corpus_id="", language_bytes={"Python": 1}, licence_files={}, origins={}, n_files=3,
        n_bytes=1, n_held_out_files=1, n_held_out_bytes=1, n_replay_files=0, n_replay_bytes=0,
        n_tokens=1, other_code="",
    )  # fmt: skip
    recipe = fitted_recipe(tiny_recipe(), start, data, name="padded")
    write_base(tmp_path / "base", recipe, base, data, tmp_path)
    assert open_checkpoint(tmp_path / "base").spec.vocab_size == len(padded) - 16


def test_a_change_has_a_paired_interval() -> None:
    """Files differ more among themselves than the models on them: only pairing shows the change."""
    rows = [[100.0 * number, 400.0] for number in range(1, 40)]
    better = [[0.9 * bits, n_bytes] for bits, n_bytes in rows]
    sides = [{"own code": {"bits": side, "exact": []}} for side in (rows, better)]
    row = adapt_report.compare(*sides)["own code, bits per byte"]
    assert row["change"] == pytest.approx(-0.1)
    assert (row["change_low"], row["change_high"]) == (pytest.approx(-0.1), pytest.approx(-0.1))
    assert row["before_low"] < row["after"] < row["before_high"] and row["n"] == 39
    text = adapt_report.to_text({"own code, bits per byte": row})
    assert "-10.0% (-10.0% to -10.0%)" in text
    assert adapt_report.verdicts({"own code, bits per byte": row})[0].endswith("reached")
    lone = adapt_report.compare(*[{"own code": {"bits": side[:1], "exact": [[1.0, 1.0]]}}
                                  for side in (rows, better)])  # fmt: skip
    assert lone["own code, bits per byte"]["change_low"] is None
    assert "(" not in adapt_report.to_text(lone).splitlines()[1]


def test_replay_is_the_corpus_of_the_run_that_made_the_base(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = json.loads((world / "base" / "spec.json").read_text(encoding="utf-8"))["recipe"]
    assert default_replay(world / "base") is None
    corpus = Path("runs") / recipe / "corpus"
    corpus.mkdir(parents=True)
    assert default_replay(world / "base") == corpus
    assert default_replay(world / "base" / "model.gguf") is None
