"""A run folder: the steps from a recipe to an exported checkpoint, each from files to files.

    RUN/corpus, held_out, index, corpus.json     `make_corpus`
    RUN/tokenizer/tokenizer.json, tokens.bin     `make_tokens`
    RUN/fit/step-*                               `fit_model`
    RUN/checkpoint                               `export`

A step whose result is there is not repeated, except `fit`, which continues.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from runtime.fim import Order
from runtime.spec import ModelSpec
from train.checkpoint import (
    MODEL_FILE,
    export_model,
    finished_checkpoints,
    load_model_tensors,
)
from train.corpus.pipeline import CORPUS_SUMMARY, CorpusPaths, build_corpus
from train.corpus.source_file import read_shards
from train.errors import CheckpointError, CorpusError
from train.fit import fit
from train.model import ARCHITECTURE, N_KV_HEADS, NORM_EPS, build_model, n_params
from train.recipe import Recipe
from train.shards import open_tokens, write_tokens
from train.tokenizer import load_tokenizer, save_tokenizer, sha256_of, train_tokenizer

Say = Callable[[str], None]

TOKENIZER_SAMPLE_CHARS = 120_000_000
"""BPE merges settle long before this; it bounds the memory of training on a large corpus."""


def make_corpus(recipe: Recipe, run: Path, *, n_workers: int, say: Say) -> None:
    """Corpus, held-out set, manifest and index."""
    build_corpus(recipe, run, n_workers=n_workers, say=say)


def make_tokens(recipe: Recipe, run: Path, *, say: Say) -> None:
    """Tokenizer and token shard of the run's corpus."""
    paths = CorpusPaths(root=run)
    corpus_id = corpus_id_of_run(run)
    tokenizer_path = run / "tokenizer" / "tokenizer.json"
    tokenizer = train_tokenizer(_sample(paths.corpus), recipe.tokenizer.vocab_size)
    save_tokenizer(tokenizer, tokenizer_path)
    shard = write_tokens(
        run / "tokenizer" / "tokens.bin",
        read_shards(paths.corpus),
        tokenizer,
        tokenizer_sha256=sha256_of(tokenizer_path),
        corpus_id=corpus_id,
    )
    say(
        f"{tokenizer.get_vocab_size()} tokens; {len(shard.tokens_N) / 1e6:.2f}M tokens in "
        f"{shard.n_documents} documents, {shard.n_bytes / len(shard.tokens_N):.3f} bytes each"
    )


def fit_model(recipe: Recipe, run: Path, *, minutes: float | None, say: Say) -> None:
    """Train, or continue."""
    tokenizer = load_tokenizer(run / "tokenizer" / "tokenizer.json")
    shard = open_tokens(run / "tokenizer" / "tokens.bin")
    if shard.corpus_id != corpus_id_of_run(run):
        raise CorpusError(
            f"the tokens in {run} are of another corpus: run `starling train tokenizer` again"
        )
    fit(recipe, shard, tokenizer, run / "fit", minutes=minutes, say=say)


def export(recipe: Recipe, run: Path, *, say: Say) -> Path:
    """The exported checkpoint of the newest finished checkpoint, with its index."""
    checkpoints = finished_checkpoints(run / "fit")
    if not checkpoints:
        raise CheckpointError(f"{run} has no checkpoint yet: run `starling train fit` first")
    tokenizer_path = run / "tokenizer" / "tokenizer.json"
    vocab_size = load_tokenizer(tokenizer_path).get_vocab_size()
    model = build_model(recipe.model, vocab_size, seed=recipe.fit.seed)
    load_model_tensors(model, load_file(checkpoints[-1] / MODEL_FILE), checkpoints[-1])
    summary = json.loads((run / CORPUS_SUMMARY).read_text(encoding="utf-8"))
    spec = ModelSpec(
        name=recipe.model.name,
        architecture=ARCHITECTURE,
        n_params=n_params(model),
        n_layers=recipe.model.n_layers,
        d_model=recipe.model.d_model,
        d_ff=recipe.model.d_ff,
        n_heads=recipe.model.n_heads,
        n_kv_heads=N_KV_HEADS,
        head_dim=recipe.model.head_dim,
        vocab_size=vocab_size,
        context_tokens=recipe.model.context_tokens,
        rope_theta=recipe.model.rope_theta,
        norm_eps=NORM_EPS,
        fim_order=Order.SPM,
        languages=tuple(summary["languages"]),
        tokenizer_sha256=sha256_of(tokenizer_path),
        corpus_id=summary["corpus_id"],
        recipe=recipe.name,
        code_commit=_code_commit(),
    )
    target = run / "checkpoint"
    temporary = run / "checkpoint.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    export_model(temporary, model, model.config)
    (temporary / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    shutil.copy2(tokenizer_path, temporary)
    paths = CorpusPaths(root=run)
    for file in (paths.summary, paths.notices, recipe.path, *paths.index.iterdir()):
        shutil.copy2(file, temporary)
    _write_held_out_text(run, temporary / "held_out.txt")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    say(f"exported {checkpoints[-1].name} to {target}")
    return target


def corpus_id_of_run(run: Path) -> str:
    """corpus_id of the run's corpus; raises CorpusError when there is none."""
    try:
        summary = json.loads((run / CORPUS_SUMMARY).read_text(encoding="utf-8"))
        return str(summary["corpus_id"])
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{run} has no finished corpus ({error}): run `starling train corpus` first"
        ) from error


def _sample(corpus: Path) -> list[str]:
    texts, n_chars = [], 0
    for file in read_shards(corpus):
        n_chars += len(file.text)
        if n_chars > TOKENIZER_SAMPLE_CHARS:
            break
        texts.append(file.text)
    return texts


def _write_held_out_text(run: Path, path: Path, max_chars: int = 400_000) -> None:
    """Held-out code on which quantization proves itself; one file after the other."""
    held_out = CorpusPaths(root=run).held_out
    if not any(held_out.glob("*.zst")):
        return
    by_origin: dict[str, list[str]] = {}
    for file in read_shards(held_out):
        by_origin.setdefault(file.origin, []).append(file.text)
    share = max_chars // len(by_origin)
    path.write_text(
        "\n".join("\n".join(texts)[:share] for texts in by_origin.values()), encoding="utf-8"
    )


def _code_commit() -> str:
    finished = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.stdout.strip() if finished.returncode == 0 else "unknown"
