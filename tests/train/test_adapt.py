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
from click.testing import CliRunner

from attribution.index import Index
from attribution.indexes import INDEXES_FOLDER, joint_corpus_id, open_all, read_manifests
from attribution.match import Verdict, find
from lsp_server.doctor import examine
from runtime.bundle import open_bundle
from runtime.engine import Engine
from tests.train import adapt_world
from tests.train.adapt_world import (
    LOCAL,
    N_BASE_FILES,
    N_FUNCTIONS,
    N_HELD_OUT,
    N_OWN_FILES,
    asked_of,
    tiny_recipe,
)
from tests.train.corpus_project import code
from train.adapt import report as adapt_report
from train.adapt.adaptation import (
    Adaptation,
    adapt,
    default_work_folder,
)
from train.adapt.command import adapt as command
from train.adapt.data import WorkPaths
from train.errors import CheckpointError, RecipeError
from train.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("adapt")
    adapt_world.write(world)
    return world


@pytest.fixture(autouse=True)
def few_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_report, "N_HOLES_PER_KIND", 4)


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
from tests.train.adapt_world import LOCAL, asked_of, tiny_recipe
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
