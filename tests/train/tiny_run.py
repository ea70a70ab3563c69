"""Runs of a tiny model on a tiny corpus, in this process or as a command in another one.

    python -m tests.train.tiny_run TOKENS OUT SETTINGS

SETTINGS is a JSON object of `changed_recipe`'s arguments; `float32` switches bfloat16 off.
"""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.train import tiny_corpus
from train.fitting import objective
from train.fitting.checkpoint import finished_checkpoints
from train.fitting.loop import TokenFiles, fit
from train.fitting.metrics import METRICS_FILE
from train.recipe import FitConfig, Recipe
from train.recipe_file import load_recipe

TIMES = {"step_seconds", "data_wait_seconds", "tokens_per_second", "mfu", "elapsed_seconds"}


def changed_recipe(**settings: Any) -> Recipe:
    """Two layers of width 64; `settings` are keys of [fit] or [model]."""
    tiny = load_recipe("tiny")
    in_fit = {field.name for field in fields(FitConfig)}
    model: dict[str, Any] = {"d_model": 64, "n_layers": 2, "d_ff": 128, "n_heads": 1}
    fitting: dict[str, Any] = {
        "n_steps": 12,
        "row_tokens": 64,
        "batch_rows": 2,
        "warmup_steps": 2,
        "validation_rows": 3,
    }
    for name, value in settings.items():
        (fitting if name in in_fit else model)[name] = value
    return replace(tiny, model=replace(tiny.model, **model), fit=replace(tiny.fit, **fitting))


def token_files(directory: Path) -> TokenFiles:
    """Tokenizer and tokens of a tiny corpus, made when `directory` has none; also held out."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens = directory / "tokens.bin"
    if not tokens.exists():
        tiny_corpus.tokenizer_and_shard(directory)
    return TokenFiles(tokenizer=directory / "tokenizer.json", tokens=tokens, held_out=tokens)


def train(recipe: Recipe, tokens: TokenFiles, out: Path, **arguments: Any) -> list[str]:
    """One sitting of a run, with rows made in a thread; what it said."""
    said: list[str] = []
    settings: dict[str, Any] = {"minutes": None, "say": said.append, "n_workers": 0}
    fit(recipe, tokens, out, languages=("Python",), **settings | arguments)
    return said


def tensors(out: Path, name: str) -> dict[str, torch.Tensor]:
    """Tensors of the last checkpoint in one of its files."""
    stored = load_file(finished_checkpoints(out)[-1] / name)
    # They are views of the file, which a test may change.
    return {key: tensor.clone() for key, tensor in stored.items()}


def rows(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock measured."""
    lines = (out / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMES}
        for line in lines
    ]


def losses(out: Path) -> list[float]:
    """Of the steps, in order."""
    return [row["loss"] for row in rows(out) if "loss" in row]


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Longer files cannot be written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _main(directory: str, out: str, settings: str) -> None:
    values = json.loads(settings)
    torch.set_num_threads(1)
    if values.pop("float32", False):
        objective.COMPUTE_DTYPE = torch.float32
    stop = values.pop("stop_after_steps", None)
    fit(
        changed_recipe(**values),
        token_files(Path(directory)),
        Path(out),
        languages=("Python",),
        minutes=None,
        say=lambda line: print(line, flush=True),
        n_workers=0,
        stop_after_steps=stop,
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
