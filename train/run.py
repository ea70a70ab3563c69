"""A run folder: the steps from a recipe to an exported checkpoint, each from files to files.

    RUN/corpus, held_out, index, corpus.json                   `make_corpus`
    RUN/tokenizer/tokenizer.json, tokens.bin, held_out.bin     `make_tokens`
    RUN/fit/step-*, best.json, metrics.jsonl, plots            `fit_model`
    RUN/checkpoint                                             `export`

Each step checks that what it reads belongs together. `corpus` takes up finished stages again, and
`fit` continues a run; the others are quick and start over.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from attribution.index import INDEX_FILES
from attribution.indexes import joint_corpus_id
from runtime.bundle import SPEC_FILE
from train.corpus.executors import Cluster
from train.corpus.pipeline import CorpusPaths, build_corpus
from train.corpus.source_file import SHARD_SUFFIX, read_shards, whole_file
from train.errors import CorpusError
from train.fitting.checkpoint import (
    RunState,
    export_model,
    load_state,
    load_weights,
    whole_folder,
)
from train.fitting.loop import TokenFiles, fit, run_identity
from train.fitting.retention import chosen_checkpoint
from train.model.architectures import build_model
from train.model.start import read_start
from train.recipe import Recipe
from train.samples.shards import TokenShard, open_tokens, write_tokens
from train.samples.tokenizer import load_tokenizer, save_tokenizer, sha256_of, train_tokenizer

Say = Callable[[str], None]

HELD_OUT_TOKENS = "held_out.bin"
TOKENIZER_SAMPLE_CHARS = 120_000_000
"""BPE merges settle long before this; it bounds the memory of training on a large corpus."""


def make_corpus(recipe: Recipe, run: Path, *, cluster: Cluster, say: Say) -> None:
    """Corpus, held-out set, manifest and index."""
    build_corpus(recipe, run, cluster=cluster, say=say)


def make_tokens(recipe: Recipe, run: Path, *, say: Say, start: Path | None = None) -> None:
    """Tokenizer of the run's corpus, or that of `start`; token shards of corpus and held-out set.

    `start` is as `train.model.start.read_start` takes it.
    """
    paths, files = CorpusPaths(root=run), _token_files(run)
    corpus_id = corpus_id_of_run(run)
    if start is None:
        tokenizer = train_tokenizer(_sample(paths.corpus), recipe.tokenizer.vocab_size)
        save_tokenizer(tokenizer, files.tokenizer)
    else:
        files.tokenizer.parent.mkdir(parents=True, exist_ok=True)
        theirs = read_start(start).tokenizer_path
        with whole_file(files.tokenizer) as file:
            file.write(theirs.read_bytes())
        tokenizer = load_tokenizer(files.tokenizer)
    made_of = {"tokenizer_sha256": sha256_of(files.tokenizer), "corpus_id": corpus_id}
    shard = write_tokens(files.tokens, read_shards(paths.corpus), tokenizer, **made_of)
    say(
        f"{tokenizer.get_vocab_size()} tokens; {len(shard.tokens_N) / 1e6:.2f}M tokens in "
        f"{shard.n_documents} documents, {shard.n_bytes / len(shard.tokens_N):.3f} bytes each"
    )
    held_out = run / "tokenizer" / HELD_OUT_TOKENS
    held_out.unlink(missing_ok=True)
    if _has_held_out(run):
        write_tokens(held_out, read_shards(paths.held_out), tokenizer, **made_of)


def fit_model(
    recipe: Recipe,
    run: Path,
    *,
    minutes: float | None,
    say: Say,
    start: Path | None = None,
    n_workers: int | None = None,
) -> None:
    """Train, or continue; a new run begins with the weights of `start`."""
    _shard_of_run(run)
    fit(
        recipe,
        _token_files(run),
        run / "fit",
        languages=_summary(run)["languages"],
        minutes=minutes,
        say=say,
        start=None if start is None else read_start(start),
        n_workers=n_workers,
    )


def export(recipe: Recipe, run: Path, *, say: Say, which: str = "last") -> Path:
    """A checkpoint as `quantize` reads it, with the index of its corpus.

    `which` is ``last``, ``best`` or the number of a step.
    """
    checkpoint = chosen_checkpoint(run / "fit", which)
    shard = _shard_of_run(run)
    state, spec = load_state(checkpoint, run_identity(recipe, shard))
    if state.start:
        spec = replace(spec, corpus_id=joint_corpus_id((state.start, spec.corpus_id)))
        say(
            "the run began with other weights, and what these were trained on is in no index here: "
            "attribution will answer `unknown`"
        )
    model = build_model(recipe.model, shard.vocab_size, seed=recipe.fit.seed)
    load_weights(checkpoint, model)
    paths = CorpusPaths(root=run)
    target = run / "checkpoint"
    with whole_folder(target) as making:
        export_model(making, model, model.config)
        (making / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
        tokenizer_path = _token_files(run).tokenizer
        for file in (tokenizer_path, paths.summary, paths.notices, *_index_files(paths, state)):
            shutil.copy2(file, making)
        _write_held_out_text(run, making / "held_out.txt")
    say(f"exported {checkpoint.name} to {target}")
    return target


def _index_files(paths: CorpusPaths, state: RunState) -> list[Path]:
    """The index, if it is whole and of all that was learned; else it would deny the rest."""
    files = [paths.index / name for name in INDEX_FILES]
    return files if not state.start and all(file.is_file() for file in files) else []


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


def _token_files(run: Path) -> TokenFiles:
    folder = run / "tokenizer"
    held_out = folder / HELD_OUT_TOKENS
    return TokenFiles(
        tokenizer=folder / "tokenizer.json",
        tokens=folder / "tokens.bin",
        held_out=held_out if held_out.is_file() else None,
    )


def _shard_of_run(run: Path) -> TokenShard:
    """Tokens of the run, checked to be of its tokenizer and corpus, as the held-out ones are."""
    files = _token_files(run)
    load_tokenizer(files.tokenizer)
    shards = [open_tokens(path) for path in (files.tokens, files.held_out) if path is not None]
    made_of = {"corpus": corpus_id_of_run(run), "tokenizer": sha256_of(files.tokenizer)}
    for shard in shards:
        theirs = {"corpus": shard.corpus_id, "tokenizer": shard.tokenizer_sha256}
        for what, mine in made_of.items():
            if mine != theirs[what]:
                raise CorpusError(
                    f"the tokens in {run} are of another {what}: run `starling train tokenizer` "
                    "again"
                )
    return shards[0]


def _sample(corpus: Path) -> list[str]:
    """Every n-th text, over all projects."""
    n_chars = sum(len(file.text) for file in read_shards(corpus))
    if not n_chars:
        raise CorpusError(
            f"the corpus in {corpus} is empty: add sources to the recipe, or see in the report of "
            "`starling train corpus` why no file was kept"
        )
    step = -(-n_chars // TOKENIZER_SAMPLE_CHARS)
    return [file.text for file in islice(read_shards(corpus), 0, None, step)]


def _write_held_out_text(run: Path, path: Path, max_chars: int = 400_000) -> None:
    """Held-out code on which quantization proves itself; one file after the other."""
    if not _has_held_out(run):
        return
    by_origin: dict[str, list[str]] = {}
    for file in read_shards(CorpusPaths(root=run).held_out):
        by_origin.setdefault(file.origin, []).append(file.text)
    share = max_chars // len(by_origin)
    path.write_text(
        "\n".join("\n".join(texts)[:share] for texts in by_origin.values()), encoding="utf-8"
    )


def _has_held_out(run: Path) -> bool:
    folder = CorpusPaths(root=run).held_out
    return any(folder.glob("*" + SHARD_SUFFIX)) and any(True for _ in read_shards(folder))
