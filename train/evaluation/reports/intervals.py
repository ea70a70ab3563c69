"""Bootstrap: how far a number would move if other files or tasks had been drawn.

Everything here is a function of column sums over rows (a row is a task, a file or a passage), so a
resample is a vector of counts and a thousand of them are one matrix product. The same seed and
number of rows give the same resamples; that is what pairs two models that did the same rows.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BOOTSTRAP = 1000
_QUANTILES = (0.025, 0.975)

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From column sums, shape (..., n_columns), to a number for each, shape (...)."""


def resampled_sums(rows_NC: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Column sums of as many rows, drawn with replacement, shape (N_BOOTSTRAP, n_columns)."""
    n = len(rows_NC)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP)
    return counts.astype(np.float64) @ rows_NC


def with_interval(
    rows_NC: NDArray[np.float64], statistic: Statistic, seed: int
) -> dict[str, float | None]:
    """The statistic and its 95 % percentile interval.

    None stands for what is not a number; a single row has no interval.
    """
    value = float(statistic(rows_NC.sum(axis=0)))
    low, high = _interval(statistic(resampled_sums(rows_NC, seed)), len(rows_NC))
    return {"mean": value if np.isfinite(value) else None, "low": low, "high": high}


def mean_with_interval(
    values: Sequence[float] | NDArray[np.float64], seed: int = 0
) -> dict[str, float]:
    """The mean of shares (0 to 1) with its 95 % interval.

    Where all are 0, or all 1, no resample differs; then it is the exact interval of a binomial
    share (Clopper and Pearson 1934), whose other end is 1 - 0.025 ** (1 / n).
    """
    rows = np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)
    low, high = np.quantile(mean(resampled_sums(rows, seed)), _QUANTILES)
    if low == high and low in (0.0, 1.0):
        reach = 1.0 - _QUANTILES[0] ** (1 / len(values))
        low, high = (0.0, reach) if low == 0.0 else (1.0 - reach, 1.0)
    return {"mean": float(rows[:, 0].mean()), "low": float(low), "high": float(high)}


def share_with_interval(n_true: int, n: int) -> dict[str, float | None]:
    """A share of independent yes-or-no answers with its 95 % interval, which says something at 0
    and 1 too (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927). None where there are no answers."""
    if not n:
        return {"mean": None, "low": None, "high": None}
    z, share = 1.959964, n_true / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)
    return {"mean": share, "low": max(0.0, low), "high": min(1.0, high)}


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistic of rows (value, 1); of (bits, bytes) it is bits for each byte."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients: NDArray[np.float64] = sums[..., 0] / sums[..., 1]
    return quotients


def difference(
    rows_NC: NDArray[np.float64],
    baseline_NC: NDArray[np.float64],
    statistic: Statistic,
    seed: int,
    *,
    is_more_better: bool,
) -> dict[str, Any]:
    """How much the statistic differs from the baseline's, over the same rows (paired bootstrap).

    `verdict`: ``better`` or ``worse`` where the 95 % interval leaves out 0, else ``no difference``.
    """
    assert len(rows_NC) == len(baseline_NC), f"{len(rows_NC)=} {len(baseline_NC)=}"
    value = float(statistic(rows_NC.sum(axis=0)) - statistic(baseline_NC.sum(axis=0)))
    moved = statistic(resampled_sums(rows_NC, seed)) - statistic(resampled_sums(baseline_NC, seed))
    low, high = _interval(moved, len(rows_NC))
    verdict = "no difference"
    if low is not None and high is not None and (low > 0 or high < 0):
        verdict = "better" if (low > 0) == is_more_better else "worse"
    return {
        "mean": value if np.isfinite(value) else None,
        "low": low,
        "high": high,
        "verdict": verdict,
    }


def _interval(
    resampled: NDArray[np.float64], n_rows: int
) -> tuple[float, float] | tuple[None, None]:
    known = resampled[np.isfinite(resampled)]
    if n_rows < 2 or not known.size:
        return None, None
    low, high = np.quantile(known, _QUANTILES)
    return float(low), float(high)
