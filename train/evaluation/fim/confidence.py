"""What a threshold on a suggestion's confidence shows and hides."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from runtime.engine import Engine
from runtime.sampling import SamplingConfig
from train.evaluation.fim.completers import request_of
from train.evaluation.fim.scores import MEASURES, score
from train.evaluation.fim.tasks import FimTask

THRESHOLDS_NATS = (-100.0, -2.0, -1.5, -1.0, -0.8, -0.6, -0.4, -0.2)


def confidence_table(
    engine: Engine,
    tasks: Iterable[FimTask],
    thresholds_nats: Sequence[float] = THRESHOLDS_NATS,
) -> list[dict[str, float]]:
    """What a threshold on the mean log-probability of a suggestion shows, and what it costs.

    A row for each threshold: share of suggestions shown, share of these that are exact, and share
    of all exact suggestions that are still shown.
    """
    sampling = SamplingConfig(deadline_ms=math.inf)
    exact_at = MEASURES.index("exact")
    rows = []
    for task in tasks:
        request = request_of(task, order=None, with_other_files=False)
        (completion,) = engine.complete(request, sampling)
        if completion.text.strip():
            rows.append((completion.mean_logprob, score(task, completion.text)[exact_at]))
    confidence, exact = np.array(rows, np.float64).reshape(-1, 2).T
    table = []
    for threshold in thresholds_nats:
        shown = confidence >= threshold
        n_shown, n_exact = max(1, int(shown.sum())), max(1.0, float(exact.sum()))
        table.append(
            {
                "threshold_nats": threshold,
                "shown": float(shown.sum() / max(1, len(shown))),
                "exact_of_shown": float(exact[shown].sum() / n_shown),
                "shown_of_exact": float(exact[shown].sum() / n_exact),
            }
        )
    return table
