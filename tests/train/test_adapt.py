"""Guards `starling train adapt`: a tiny bundle learns a user's code and becomes a bundle.

A failure would be a bundle that is worse than its base on the user's own code, that denies to have
seen it, that has lost what it knew of its base's corpus, or an evening of training that is gone.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from attribution.build import build_index
from attribution.index import Index
from attribution.indexes import INDEXES_FOLDER, joint_corpus_id, open_all, read_manifests
from attribution.manifest import ManifestRow, corpus_id_of
from attribution.match import Verdict, find
from lsp_server.doctor import examine
from quantize.budget import Budget
from quantize.bundle_writer import write_bundle
from quantize.checkpoint import open_checkpoint
from quantize.llama_quantize import QuantType
from quantize.rounding import Rounding
from quantize.texts import HeldOut, Texts
from runtime.bundle import open_bundle
from runtime.engine import Engine
from tests.quantize import tiny_checkpoint
from tests.train.corpus_project import code
from train.adapt import report as adapt_report
from train.adapt.adaptation import (
    Adaptation,
    adapt,
    default_replay,
    default_work_folder,
    fitted_recipe,
)
from train.adapt.command import adapt as command
from train.adapt.data import MIN_BYTES, AdaptData, WorkPaths, make_data
from train.adapt.export import Base, write_base
from train.corpus.executors import Cluster
from train.corpus.source_file import SourceFile, read_shards, write_shard
from train.errors import CheckpointError, CorpusError, RecipeError
from train.model.start import read_start
from train.recipe import Recipe
from train.recipe_file import load_recipe
from train.samples.shards import open_tokens, write_tokens
from train.samples.tokenizer import load_tokenizer, sha256_of

ROOT = Path(__file__).resolve().parents[2]
LOCAL = Cluster(kind="local", n_workers=1)
N_BASE_FILES, N_OWN_FILES, N_FUNCTIONS = 30, 28, 8
N_HELD_OUT = 2


def tiny_recipe() -> Recipe:
    """The shipped one with rows that fit a tiny model, and steps large enough to see."""
    recipe = load_recipe("adapt")
    return replace(
        recipe,
        fit=replace(
            recipe.fit,
            row_tokens=64,
            batch_rows=16,
            muon_lr=0.02,
            adamw_lr=0.004,
            compile=False,
        ),
    )


def base_file(number: int) -> SourceFile:
    text = code(f"base{number}", 8)
    return SourceFile(
        origin=f"pypi:base{number % 3}",
        version="1",
        path=f"{number}.py",
        licence="MIT",
        language="Python",
        swhid=f"swh:1:cnt:{number:040x}",
        text=text,
    )


def row_of(file: SourceFile) -> ManifestRow:
    return ManifestRow(
        swhid=file.swhid,
        origin=file.origin,
        version=file.version,
        path=file.path,
        licence=file.licence,
        language=file.language,
        n_bytes=len(file.text.encode()),
        cluster=0,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle `base`, its training files and more in `run`, the user's code in `shop`."""
    world = tmp_path_factory.mktemp("adapt")
    files = [base_file(number) for number in range(N_BASE_FILES)]
    checkpoint = world / "checkpoint"
    spec = tiny_checkpoint.write(checkpoint)
    spec = replace(spec, corpus_id=corpus_id_of(map(row_of, files)))
    (checkpoint / "spec.json").write_text(spec.to_json())
    build_index(checkpoint, [(row_of(file), file.text) for file in files])
    (checkpoint / "THIRD_PARTY_NOTICES.txt").write_text("the base's licences\n")
    (checkpoint / "corpus.json").write_text(
        json.dumps({"n_files": 30, "n_bytes": 1000, "languages": {"Python": 1000},
                    "licences": {"MIT": 30}, "origins": {"pypi:base0": "1"}})
    )  # fmt: skip
    sample = HeldOut(name="sample", text=code("sample", 3))
    write_bundle(
        checkpoint,
        world / "base",
        roundings=[Rounding.of(QuantType.Q8_0)],
        texts=Texts(proof=sample, calibration=sample),
        budget=Budget(),
        overwrite=False,
        on_progress=lambda *_: None,
    )
    for folder, some in (
        # One file that the base never saw, and one that changed since.
        ("corpus", [*files, base_file(99), replace(files[0], path="0b.py", text="x = 1\n")]),
        ("held_out", [replace(base_file(n), origin="pypi:other") for n in range(100, 110)]),
    ):
        (world / "run" / folder).mkdir(parents=True)
        write_shard(world / "run" / folder / "files.jsonl.zst", some)
    write_shop(world / "shop")
    return world


def write_shop(folder: Path) -> None:
    folder.mkdir()
    for number in range(N_OWN_FILES):
        (folder / f"own{number}.py").write_text(code(f"own{number}", N_FUNCTIONS))
    (folder / "LICENSE").write_text("All rights reserved. Copyright 2024 the shop.\n")


@pytest.fixture(autouse=True)
def few_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_report, "N_HOLES_PER_KIND", 4)


def asked_of(world: Path, out: Path, **changes: Any) -> Adaptation:
    asked = Adaptation(
        paths=(world / "shop",),
        base=world / "base",
        out=out,
        work=default_work_folder(out),
        name="",
        replay=world / "run" / "corpus",
        minutes=None,
    )
    return replace(asked, **changes)


def run(asked: Adaptation, recipe: Recipe | None = None) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    rows = adapt(asked, recipe or tiny_recipe(), cluster=LOCAL, say=said.append, n_row_workers=0)
    return rows, said


@pytest.fixture(scope="module")
def adapted(world: Path) -> Iterator[tuple[Path, dict[str, Any], list[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt_report, "N_HOLES_PER_KIND", 4)
        out = world / "bundles" / "adapted"
        rows, said = run(asked_of(world, out))
        yield out, rows, said


def test_own_code_is_learned_and_the_bundle_is_whole(world: Path, adapted: Any) -> None:
    out, rows, said = adapted
    assert [path.name for path in out.parent.iterdir()] == ["adapted"]
    assert rows["own code, bits per byte"]["change"] < -0.2
    assert rows["own code, bits per byte"]["change_high"] < 0
    assert "other code, bits per byte" in rows
    assert any(f"held out {N_HELD_OUT} files" in line for line in said)
    spec, base = open_bundle(out).spec, open_bundle(world / "base").spec
    assert spec is not None and base is not None
    assert (spec.name, spec.recipe) == ("tiny-random-adapted", "adapt")
    assert spec.languages == ("Python", "C++")
    assert spec.tokenizer_sha256 == base.tokenizer_sha256 and spec.n_params == base.n_params
    with Engine.load(out / "model.gguf") as engine:
        assert engine.info.spec == spec
    card = (out / "MODEL_CARD.md").read_text()
    assert "own code, bits per byte" in card
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation == {"before and after": rows}
    corpus = json.loads((out / "corpus.json").read_text())
    assert corpus["n_files"] == 30 + N_OWN_FILES - N_HELD_OUT
    assert set(corpus["origins"]) == {"pypi:base0", "folder:shop"}
    notices = (out / "THIRD_PARTY_NOTICES.txt").read_text()
    assert "the base's licences" in notices and "Copyright 2024 the shop" in notices


def opened_of(bundle: Path) -> tuple[tuple[Index, ...], tuple[str, ...]]:
    """The indexes that the server asks, and why others are not among them."""
    found = open_bundle(bundle)
    assert found.spec is not None
    opened = open_all(found.directory, found.spec.corpus_id)
    return opened.indexes, opened.problems


def test_the_indexes_cover_the_base_s_code_and_the_user_s(world: Path, adapted: Any) -> None:
    out, _, _ = adapted
    indexes, problems = opened_of(out)
    assert problems == () and [index.n_files for index in indexes] == [30, N_OWN_FILES - N_HELD_OUT]
    (checked,) = [check for check in examine(out) if check.name == "attribution index"]
    assert checked.ok and f"{30 + N_OWN_FILES - N_HELD_OUT} files" in checked.found
    rows = read_manifests(out, expected_corpus_id=None)
    learned = {row.path for row in rows if row.origin == "folder:shop"}
    for number in range(N_OWN_FILES):
        report = find("", code(f"own{number}", N_FUNCTIONS)[200:700], indexes)
        wanted = Verdict.COPY if f"own{number}.py" in learned else Verdict.NONE
        assert report.verdict is wanted, number
    for number in range(0, N_BASE_FILES, 7):
        assert find("", code(f"base{number}", 8)[200:700], indexes).verdict is Verdict.COPY
    assert find("", code("unseen", 8)[200:700], indexes).verdict is Verdict.NONE


def test_without_one_of_its_indexes_the_bundle_says_unknown(adapted: Any, tmp_path: Path) -> None:
    out, _, _ = adapted
    for missing in (INDEXES_FOLDER, "bloom.bin"):
        part = shutil.copytree(out, tmp_path / missing)
        shutil.rmtree(part / missing) if missing == INDEXES_FOLDER else (part / missing).unlink()
        indexes, problems = opened_of(part)
        assert indexes == () and problems


def test_an_adapted_bundle_can_be_adapted_again(world: Path, adapted: Any, tmp_path: Path) -> None:
    out, _, _ = adapted
    (tmp_path / "tools").mkdir()
    for number in range(N_OWN_FILES):
        (tmp_path / "tools" / f"{number}.py").write_text(code(f"tool{number}", N_FUNCTIONS))
    again = tmp_path / "again"
    asked = asked_of(world, again, base=out, paths=(tmp_path / "tools",), replay=None)
    rows, said = run(asked)
    spec = open_bundle(again).spec
    assert spec is not None and spec.name == "tiny-random-adapted"
    indexes, problems = opened_of(again)
    assert problems == () and len(indexes) == 3
    assert {path.name for path in (again / INDEXES_FOLDER).iterdir()} == {"own-1", "own-2"}
    assert spec.corpus_id == joint_corpus_id(index.corpus_id for index in indexes)
    for name in ("base3", "own3", "tool3"):
        assert find("", code(name, 8)[200:700], indexes).verdict is not Verdict.UNKNOWN
    # Without replay there is less of everything, and nothing to measure forgetting on.
    assert any("no replay (no corpus of the base at hand)" in line for line in said)
    assert not any(name.startswith("other code") for name in rows)
    assert any("not measured" in line for line in adapt_report.verdicts(rows))


_CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.train.test_adapt import LOCAL, asked_of, tiny_recipe
from train.adapt import report as adapt_report
from train.adapt.adaptation import adapt

adapt_report.N_HOLES_PER_KIND = 4
world, out = map(Path, sys.argv[1:])
recipe = tiny_recipe()
recipe = replace(recipe, fit=replace(recipe.fit, checkpoint_seconds=0.01))
if __name__ == "__main__":
    adapt(asked_of(world, out), recipe, cluster=LOCAL, n_row_workers=0,
          say=lambda line: print(line, flush=True))
"""


@pytest.mark.timeout(300)
def test_a_killed_adaptation_goes_on_with_the_same_data(
    world: Path, adapted: Any, tmp_path: Path
) -> None:
    """SIGKILL in the middle of training; meanwhile the user edits the code."""
    out = tmp_path / "out"
    own = tmp_path / "world"
    own.mkdir()
    for name in ("base", "run", "shop"):
        shutil.copytree(world / name, own / name)
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(own), str(out)],
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    fits = default_work_folder(out) / "fit"
    try:
        until = time.monotonic() + 120
        while len(list(fits.glob("step-????????"))) < 2 and child.poll() is None:
            assert time.monotonic() < until
            try:
                child.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        assert child.poll() is None, child.communicate()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert not out.exists()
    data = json.loads(WorkPaths(root=default_work_folder(out)).data.read_text())
    (own / "shop" / "own0.py").write_text("changed = True\n")
    recipe = tiny_recipe()
    recipe = replace(recipe, fit=replace(recipe.fit, checkpoint_seconds=0.01))
    with pytest.raises(RecipeError, match="begun with another paths"):
        run(asked_of(own, out, paths=(own / "base",)), recipe)
    rows, said = run(asked_of(own, out), recipe)
    assert any(line.startswith("continuing from step-") for line in said)
    assert not default_work_folder(out).exists()
    corpus = json.loads((out / "corpus.json").read_text())
    assert corpus["adapted_to"]["n_bytes"] == data["n_bytes"]
    # Continued or not, it is the same run.
    assert rows == adapted[1]


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


def test_a_base_whose_training_is_unknown_gives_a_bundle_that_says_so(
    world: Path, tmp_path: Path
) -> None:
    """An exported checkpoint without its index: it can be continued, but nothing can be denied."""
    folder = tmp_path / "export"
    shutil.copytree(world / "checkpoint", folder)
    for name in ("bloom.bin", "provenance.bin", "manifest.jsonl.zst"):
        (folder / name).unlink()
    out = tmp_path / "out"
    rows, said = run(asked_of(world, out, base=folder, name="mine"))
    assert rows["own code, bits per byte"]["change"] < 0
    assert any("will answer `unknown`" in line for line in said)
    spec, base = open_bundle(out).spec, open_bundle(world / "base").spec
    assert spec is not None and base is not None and spec.name == "mine"
    assert spec.corpus_id != base.corpus_id and not (out / INDEXES_FOLDER).exists()
    assert opened_of(out)[0] == ()


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


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"out": "base"}, CheckpointError, "exists: choose another folder for --out"),
        ({"work": "shop/work"}, RecipeError, "lies inside"),
        ({"work": "run"}, RecipeError, "is not the work folder of an adaptation"),
        ({"replay": "shop"}, RecipeError, "is not a corpus: give --replay"),
        ({"base": "shop"}, CheckpointError, "is not a bundle"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    world: Path, tmp_path: Path, changes: dict[str, str], error: type[Exception], said: str
) -> None:
    out = tmp_path / "out"
    before = sorted(world.rglob("*"))
    with pytest.raises(error, match=said):
        run(replace(asked_of(world, out), **{n: world / path for n, path in changes.items()}))
    assert sorted(world.rglob("*")) == before and not list(tmp_path.iterdir())


def test_the_command_tells_what_was_reached(world: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    recipe = tmp_path / "quick.toml"
    recipe.write_text(
        'extends = "adapt"\n[fit]\nrow_tokens = 64\nbatch_rows = 32\ncompile = false\n'
    )
    arguments = [
        str(world / "shop"), "--bundle", str(world / "base"), "--out", str(tmp_path / "out"),
        "--no-replay", "--recipe", str(recipe), "--minutes", "1", "--workers", "1",
    ]  # fmt: skip
    done = runner.invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "own code, bits per byte" in done.stdout
    assert "the aim is -5% or better" in done.stdout
    assert f"STARLING_BUNDLE={tmp_path / 'out'}" in done.stdout
    refused = runner.invoke(command, [*arguments, "--replay", str(world / "run" / "corpus")])
    assert refused.exit_code == 2 and "exclude each other" in refused.output
    assert runner.invoke(command, []).exit_code == 2
    assert runner.invoke(command, [str(tmp_path / "nowhere")]).exit_code == 2


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
