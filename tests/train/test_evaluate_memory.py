"""Guards the fit of the memory's shares: if it breaks, the engine copies too much or too little."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.engine import Engine
from runtime.memory import SHARES, WORKSPACE_SHARES
from tests.train import tiny_corpus
from train.errors import CorpusError
from train.evaluation import memory
from train.evaluation.memory import fitted_shares


def test_votes_help_a_random_model_in_repetitive_files(tiny_gguf: Path) -> None:
    files = [
        replace(file, text=file.text * (1 + 1500 // len(file.text)))
        for file in tiny_corpus.files(6)
    ]
    with Engine.load(tiny_gguf) as engine:
        report = fitted_shares(engine, files, max_files=6, seed=1)
    bits = report["bits_per_token"]
    assert bits["with the fitted shares"] < bits["with the engine's shares"] < bits["model alone"]
    assert bits["the same, fitted"] < bits["the engine's and the workspace's"]
    assert bits["the engine's and the workspace's"] < bits["with the engine's shares"]
    rows = report["rows"]
    assert [row["workspace_engine"] for row in rows] == list(WORKSPACE_SHARES)
    assert [row["engine"] for row in rows] == list(SHARES) and rows[0]["fitted"] == 0
    assert rows[-1]["fitted"] > 0.8, "a random model should leave nearly all to long matches"


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_known_share_is_found_again(share: float) -> None:
    """Tokens drawn from a mixture of the model's and the votes' distributions, two tokens wide."""
    rng = np.random.default_rng(1)
    alone, voted = rng.random(20_000), rng.random(20_000)
    came = rng.random(20_000) < (1 - share) * alone + share * voted
    rows = np.stack([np.ones(20_000), np.where(came, alone, 1 - alone),
                     np.where(came, voted, 1 - voted)], axis=1)  # fmt: skip
    assert memory._fit(rows) == pytest.approx(share, abs=0.05)


def test_one_project_is_not_enough(tiny_gguf: Path) -> None:
    with Engine.load(tiny_gguf) as engine, pytest.raises(CorpusError, match="two projects"):
        fitted_shares(engine, tiny_corpus.files(1), max_files=4, seed=1)
