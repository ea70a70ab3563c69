"""From recorded typing to a calibration, and to what each threshold shows and costs.

Every head that might be shown at a place is an example: its probability by the model, and whether
it was right. A calibration is fitted on every other project and examined on the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.confidence import AS_THE_MODEL_SAYS, Calibration
from train.errors import CorpusError
from train.evaluation.typing.places import Recorded, RecordedEditor
from train.evaluation.typing.replay import is_right_head, n_right_chars, replay

THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
N_BINS = 10
# Pulls a fit to few examples towards what the model says: as much as so many examples would.
_PRIOR = 10.0
_N_STEPS = 50
_LEAST = 1e-9


def parts_of(recorded: Sequence[Recorded]) -> tuple[list[Recorded], list[Recorded]]:
    """(to fit, to examine): every other project. Raises CorpusError for fewer than two."""
    projects = sorted({one.passage.document.project for one in recorded})
    if len(projects) < 2:
        raise CorpusError(
            "a calibration is fitted on some projects and examined on others: name a folder of "
            "held-out files of two projects or more"
        )
    to_fit = set(projects[::2])
    return (
        [one for one in recorded if one.passage.document.project in to_fit],
        [one for one in recorded if one.passage.document.project not in to_fit],
    )


def examples_of(recorded: Sequence[Recorded]) -> NDArray[np.float64]:
    """(n, 2): the model's probability of a head, and whether it was right (1 or 0)."""
    rows = []
    for one in recorded:
        typed = one.passage.typed
        for at, written in one.written.items():
            for head in written.heads(AS_THE_MODEL_SAYS):
                text = written.text[: head.n_chars]
                is_whole = written.text[head.n_chars : head.n_chars + 1] in ("", "\n")
                is_right = (
                    n_right_chars(text, typed, at, only_whole_lines=True) == len(text)
                    if is_whole
                    else is_right_head(text, typed, at)
                )
                rows.append((head.probability, float(is_right)))
    return np.array(rows, np.float64).reshape(-1, 2)


def fitted(examples: NDArray[np.float64]) -> Calibration:
    """The most likely calibration (Newton's method), pulled a little towards the model's own word.

    A slope that would come out negative is 0 (Kull et al. 2017, section 4.2).
    """
    p = np.clip(examples[:, 0], _LEAST, 1 - _LEAST)
    features = np.column_stack([np.ones(len(p)), np.log(p), -np.log1p(-p)])
    prior = np.array([0.0, 1.0, 1.0])
    free = np.ones(3, np.bool_)
    weights = prior.copy()
    for _ in range(_N_STEPS):
        predicted = 1 / (1 + np.exp(-features @ weights))
        slope = features.T @ (examples[:, 1] - predicted) - _PRIOR * (weights - prior)
        curve = (features.T * (predicted * (1 - predicted))) @ features + _PRIOR * np.eye(3)
        step = np.linalg.solve(curve[np.ix_(free, free)], slope[free])
        weights[free] += step
        is_negative = free & (np.arange(3) > 0) & (weights < 0)
        weights[is_negative], free[is_negative] = 0.0, False
        if np.abs(step).max() < _LEAST:
            break
    bias, by_sure, by_unsure = (round(float(weight), 3) for weight in weights)
    return Calibration(bias=bias, by_sure=by_sure, by_unsure=by_unsure)


def reliability(examples: NDArray[np.float64], calibration: Calibration) -> dict[str, Any]:
    """JSON-able: the expected calibration error, the log loss, and a row for each tenth.

    The error is the mean distance of promised and true share over bins, weighted by their sizes
    (Guo et al. 2017, section 2).
    """
    promised = np.array([calibration.probability(logprob) for logprob in np.log(examples[:, 0])])
    is_right = examples[:, 1]
    bins = np.minimum((promised * N_BINS).astype(int), N_BINS - 1)
    rows = [
        {
            "n": int((bins == i).sum()),
            "promised": float(promised[bins == i].mean()),
            "right": float(is_right[bins == i].mean()),
        }
        for i in range(N_BINS)
        if (bins == i).any()
    ]
    error = sum(row["n"] * abs(row["promised"] - row["right"]) for row in rows) / len(examples)
    kept = np.clip(promised, _LEAST, 1 - _LEAST)
    loss = -np.mean(is_right * np.log(kept) + (1 - is_right) * np.log1p(-kept))
    return {"calibration_error": float(error), "log_loss": float(loss), "bins": rows}


def threshold_rows(
    recorded: Sequence[Recorded],
    calibration: Calibration,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[dict[str, float]]:
    """What typing all passages again would give under each `minConfidence`; no server, no time.

    `whole_lines_*`: for a typist who takes nothing less than a line.
    """
    rows = []
    for threshold in thresholds:
        row = _typed_again(recorded, calibration, threshold, only_whole_lines=False)
        of_lines = _typed_again(recorded, calibration, threshold, only_whole_lines=True)
        row |= {f"whole_lines_{name}": of_lines[name] for name in ("saved", "precision")}
        rows.append({"threshold": threshold, **row})
    n_right_most = max(1.0, *(row["n_right"] for row in rows))
    for row in rows:
        row["recall"] = row.pop("n_right") / n_right_most
    return rows


def _typed_again(
    recorded: Sequence[Recorded],
    calibration: Calibration,
    threshold: float,
    *,
    only_whole_lines: bool,
) -> dict[str, float]:
    tallies = [
        replay(
            one.passage,
            RecordedEditor(one, calibration, min_probability=threshold),
            only_whole_lines=only_whole_lines,
        )
        for one in recorded
    ]
    n_keys = sum(tally.n_keys for tally in tallies)
    n_shown = sum(tally.n_shown for tally in tallies)
    n_right = sum(tally.n_accepted for tally in tallies)
    return {
        "saved": 1 - n_keys / sum(tally.n_keys_alone for tally in tallies),
        "shown_by_key": n_shown / n_keys,
        "precision": n_right / max(1, n_shown),
        "n_right": float(n_right),
    }
