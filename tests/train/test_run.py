"""Guards the steps of a run folder: what one step writes fits the next, or is refused.

If it breaks, a model is trained on tokens of another tokenizer, and its completions are noise.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from attribution.index import INDEX_FILES
from runtime.spec import ModelSpec
from tests.train import tiny_corpus, tiny_run
from tests.train.tiny_run import changed_recipe
from train.corpus.pipeline import CorpusPaths
from train.corpus.source_file import SourceFile, write_shard
from train.errors import CheckpointError, CorpusError
from train.fitting.checkpoint import MODEL_FILE, read_state
from train.recipe import Recipe
from train.run import corpus_id_of_run, export, fit_model, make_tokens
from train.samples.shards import open_tokens

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(**settings: object) -> Recipe:
    changed = changed_recipe(**settings)
    return replace(changed, tokenizer=replace(changed.tokenizer, vocab_size=400))


def quiet(_: str) -> None:
    pass


def corpus(run: Path, files: list[SourceFile], held_out: list[SourceFile]) -> Path:
    """What `starling train corpus` leaves, as far as the other steps read it."""
    paths = CorpusPaths(root=run)
    for folder, content in ((paths.corpus, files), (paths.held_out, held_out)):
        folder.mkdir(parents=True)
        write_shard(folder / "part.jsonl.zst", content)
    paths.index.mkdir()
    for name in INDEX_FILES:
        (paths.index / name).write_text("the index")
    paths.notices.write_text("notices")
    paths.summary.write_text(json.dumps({"corpus_id": "c" * 64, "languages": ["Python"]}))
    return run


def test_from_corpus_to_exported_checkpoints(tmp_path: Path) -> None:
    run = corpus(tmp_path / "run", tiny_corpus.files(9), tiny_corpus.files(12)[9:])
    settings = recipe(n_steps=6, validation_every_steps=2, keep_every_steps=1)
    make_tokens(settings, run, say=quiet)
    assert open_tokens(run / "tokenizer" / "tokens.bin").n_documents == 9
    assert open_tokens(run / "tokenizer" / "held_out.bin").n_documents == 3
    fit_model(settings, run, minutes=None, say=quiet, n_workers=0)
    best = json.loads((run / "fit" / "best.json").read_text())["checkpoint"]
    for which, name in (("3", "step-00000003"), ("best", best), ("last", "step-00000006")):
        folder = export(settings, run, say=quiet, which=which)
        weights = load_file(run / "fit" / name / MODEL_FILE)
        exported = load_file(folder / MODEL_FILE)
        assert all(torch.equal(exported[key], value) for key, value in weights.items())
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "spec.json", "tokenizer.json", "held_out.txt", *INDEX_FILES}


def test_a_run_continues_another_model(tmp_path: Path) -> None:
    """Its tokenizer is taken over, its weights are those of the first step."""
    first = corpus(tmp_path / "first", tiny_corpus.files(), [])
    make_tokens(recipe(), first, say=quiet)
    fit_model(recipe(n_steps=30), first, minutes=None, say=quiet, n_workers=0)
    start = export(recipe(n_steps=30), first, say=quiet)
    second = corpus(tmp_path / "second", tiny_corpus.projects(), [])
    make_tokens(recipe(), second, say=quiet, start=start)
    assert (second / "tokenizer" / "tokenizer.json").read_bytes() == (
        start / "tokenizer.json"
    ).read_bytes()
    assert not (second / "tokenizer" / "held_out.bin").exists()
    small = recipe(n_steps=2, adamw_lr=1e-9, muon_lr=1e-9)
    fit_model(small, second, minutes=None, say=quiet, start=start, n_workers=0)
    weights = load_file(start / MODEL_FILE)
    for name, tensor in tiny_run.tensors(second / "fit", MODEL_FILE).items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-6)
    assert read_state(second / "fit" / "step-00000002").start
    exported = export(small, second, say=quiet)
    # What the start learned is in no index here, so there must be none that says "none".
    spec = ModelSpec.from_json((exported / "spec.json").read_text(encoding="utf-8"))
    assert spec.corpus_id != corpus_id_of_run(second)
    for name in INDEX_FILES:
        assert (start / name).exists() and not (exported / name).exists()
    with pytest.raises(CheckpointError, match="began with other weights"):
        other = tmp_path / "other"
        shutil.copytree(start, other)
        changed = {name: tensor + 1 for name, tensor in weights.items()}
        save_file(changed, other / MODEL_FILE, metadata={"format": "pt"})
        fit_model(small, second, minutes=None, say=quiet, start=other, n_workers=0)


def test_tokens_of_another_corpus_are_refused(tmp_path: Path) -> None:
    run = corpus(tmp_path / "run", tiny_corpus.files(), [])
    make_tokens(recipe(), run, say=quiet)
    summary = run / "corpus.json"
    summary.write_text(summary.read_text().replace("c" * 64, "d" * 64))
    with pytest.raises(CorpusError, match="are of another corpus: run `starling train tokenizer`"):
        fit_model(recipe(), run, minutes=None, say=quiet, n_workers=0)


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no finished corpus .* run `starling train corpus`"):
        make_tokens(recipe(), tmp_path, say=quiet)
    run = corpus(tmp_path / "run", [], [])
    with pytest.raises(CorpusError, match="is empty: add sources to the recipe"):
        make_tokens(recipe(), run, say=quiet)
    assert not (run / "tokenizer" / "tokens.bin").exists()
