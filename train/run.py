"""A run folder: the steps from a recipe to an exported checkpoint, each from files to files.

    RUN/corpus, held_out, index, corpus.json     `make_corpus`
    RUN/tokenizer/tokenizer.json, tokens.bin     `make_tokens`
    RUN/fit/step-*                               `fit_model`
    RUN/checkpoint                               `export`

Each step checks that what it reads belongs together. `corpus` takes up finished stages again, and
`fit` continues a run; the others are quick and start over.
"""

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from runtime.bundle import SPEC_FILE
from train.corpus.executors import Cluster
from train.corpus.pipeline import CorpusPaths, build_corpus
from train.corpus.source_file import read_shards
from train.errors import CheckpointError, CorpusError
from train.fitting.checkpoint import (
    export_model,
    finished_checkpoints,
    load_checkpoint,
    load_state,
    whole_folder,
)
from train.fitting.loop import fit, run_identity
from train.model.architectures import build_model
from train.recipe import Recipe
from train.samples.shards import TokenShard, open_tokens, write_tokens
from train.samples.tokenizer import load_tokenizer, save_tokenizer, sha256_of, train_tokenizer

Say = Callable[[str], None]

TOKENIZER_SAMPLE_CHARS = 120_000_000
"""BPE merges settle long before this; it bounds the memory of training on a large corpus."""


def make_corpus(recipe: Recipe, run: Path, *, cluster: Cluster, say: Say) -> None:
    """Corpus, held-out set, manifest and index."""
    build_corpus(recipe, run, cluster=cluster, say=say)


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
    _tokens_of_run(run)
    languages = _summary(run)["languages"]
    tokenizer = run / "tokenizer"
    fit(
        recipe, tokenizer / "tokens.bin", tokenizer / "tokenizer.json", run / "fit",
        languages=languages, minutes=minutes, say=say,
    )  # fmt: skip


def export(recipe: Recipe, run: Path, *, say: Say) -> Path:
    """The newest finished checkpoint as `quantize` reads it, with the index of its corpus."""
    checkpoints = finished_checkpoints(run / "fit")
    if not checkpoints:
        raise CheckpointError(f"{run} has no checkpoint yet: run `starling train fit` first")
    _, shard = _tokens_of_run(run)
    _, spec = load_state(checkpoints[-1], run_identity(recipe, shard))
    model = build_model(recipe.model, shard.vocab_size, seed=recipe.fit.seed)
    load_checkpoint(checkpoints[-1], model)
    paths = CorpusPaths(root=run)
    target = run / "checkpoint"
    with whole_folder(target) as making:
        export_model(making, model, model.config)
        (making / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
        tokenizer_path = run / "tokenizer" / "tokenizer.json"
        for file in (tokenizer_path, paths.summary, paths.notices, *paths.index.iterdir()):
            shutil.copy2(file, making)
        _write_held_out_text(run, making / "held_out.txt")
    say(f"exported {checkpoints[-1].name} to {target}")
    return target


def corpus_id_of_run(run: Path) -> str:
    """corpus_id of the run's corpus; raises CorpusError when there is none."""
    return str(_summary(run)["corpus_id"])


def _summary(run: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads(
            CorpusPaths(root=run).summary.read_text(encoding="utf-8")
        )
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{run} has no finished corpus ({error}): run `starling train corpus` first"
        ) from error
    return summary


def _tokens_of_run(run: Path) -> tuple[Tokenizer, TokenShard]:
    """Tokenizer and shard, checked to be of one another and of the run's corpus."""
    tokenizer_path = run / "tokenizer" / "tokenizer.json"
    tokenizer = load_tokenizer(tokenizer_path)
    shard = open_tokens(run / "tokenizer" / "tokens.bin")
    for what, mine, theirs in (
        ("corpus", corpus_id_of_run(run), shard.corpus_id),
        ("tokenizer", sha256_of(tokenizer_path), shard.tokenizer_sha256),
    ):
        if mine != theirs:
            raise CorpusError(
                f"the tokens in {run} are of another {what}: run `starling train tokenizer` again"
            )
    return tokenizer, shard


def _sample(corpus: Path) -> list[str]:
    """Every n-th text, over all projects."""
    n_chars = sum(len(file.text) for file in read_shards(corpus))
    step = -(-n_chars // TOKENIZER_SAMPLE_CHARS)
    return [file.text for file in islice(read_shards(corpus), 0, None, step)]


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
