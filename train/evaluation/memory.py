"""How much of the engine's memory should be mixed into a model: the shares, fitted and judged.

Held-out files are cut at a line; what stands before the cut is foreseen token by token, from the
prompt that an editor would send, by the model alone and with the votes of `runtime.memory`: those
of the prompt, and those of the other files of the project. Shares
are fitted by expectation maximisation (Dempster, Laird and Rubin 1977; a mixture of two with fixed
parts) on every other project, and judged on the rest.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine import Engine, FimRequest
from runtime.memory import SHARES, WORKSPACE_SHARES, Memory
from runtime.text_index import TextIndex
from train.corpus.source_file import SourceFile
from train.errors import CorpusError
from train.evaluation.typing.projects import others_of, words_of

_MIN_CHARS = 1500
_MAX_TOKENS_OF_FILE = 400
_N_ROUNDS = 60
# Half and half: then the votes can be read off the mixed logits.
_EVEN = (0.0, 0.5)


def fitted_shares(
    engine: Engine, files: Sequence[SourceFile], *, max_files: int, seed: int
) -> dict[str, Any]:
    """JSON-able: bits per token of the model alone, with the engine's shares, and with the fitted
    ones, over projects that were not fitted on; and a row for each length of a match. The
    workspace's shares count, and are fitted, where more matches there than in the prompt.

    Raises CorpusError for files of fewer than two projects.
    """
    by_project: dict[str, list[SourceFile]] = {}
    for file in files:
        if len(file.text) >= _MIN_CHARS:
            by_project.setdefault(file.origin, []).append(file)
    if len(by_project) < 2:
        raise CorpusError(
            "shares are fitted on some projects and judged on others: name a folder of held-out "
            f"files of two projects or more, of {_MIN_CHARS} characters each"
        )
    rng = random.Random(seed)
    each = max(1, max_files // len(by_project))
    parts: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for number, project in enumerate(sorted(by_project)):
        group = by_project[project]
        for file in rng.sample(group, min(each, len(group))):
            others = others_of(file.path, file.text, group)
            index = words_of((other.text for other in others), engine.tokenize)
            parts[number % 2].append(_foreseen(engine, file, rng, index))
    to_fit, to_judge = (np.concatenate(part) for part in parts)
    n_lengths = len(SHARES)
    lengths = range(1, n_lengths)
    fitted = [0.0] + [_fit(to_fit[_is_of(to_fit, n)]) for n in lengths]
    further, judged = _of_workspace(to_fit), _of_workspace(to_judge)
    fitted_further = [0.0] + [_fit(further[_is_of(further, n)]) for n in lengths]
    return {
        "n_tokens": len(to_judge),
        "bits_per_token": {
            "model alone": _bits(to_judge, [0.0] * n_lengths),
            "with the engine's shares": _bits(to_judge, SHARES),
            "with the fitted shares": _bits(to_judge, fitted),
            "the engine's and the workspace's": _bits(judged, WORKSPACE_SHARES),
            "the same, fitted": _bits(judged, fitted_further),
        },
        "rows": [
            {
                "match_tokens": length,
                "n_tokens": int(_is_of(to_fit, length).sum()),
                "engine": SHARES[length],
                "fitted": round(fitted[length], 3),
                "workspace_n_tokens": int(_is_of(further, length).sum()),
                "workspace_engine": WORKSPACE_SHARES[length],
                "workspace_fitted": round(fitted_further[length], 3),
            }
            for length in range(n_lengths)
        ],
    }


def _foreseen(
    engine: Engine, file: SourceFile, rng: random.Random, index: TextIndex
) -> NDArray[np.float64]:
    """(n, 5): the longest match, what model and votes gave the token that came, and the longest
    match and the votes of the other files.
    """
    cut = file.text.rfind("\n", 0, rng.randrange(len(file.text) // 3, len(file.text))) + 1
    request = FimRequest(prefix=file.text[:cut], suffix=file.text[cut:], path=file.path)
    ids = engine.prompt_ids(request)
    ids_N = np.array(ids, np.int32)
    memory = Memory(
        n_context_tokens=len(ids),
        is_special=engine.is_special,
        shares=_EVEN,
        workspace_shares=_EVEN,
    )
    rows = []
    logits = engine.logits(ids)
    for n in range(max(1, len(ids) - _MAX_TOKENS_OF_FILE), len(ids)):
        target = ids[n]
        if engine.is_special[target]:
            continue
        logits_V = logits[n - 1].copy()
        log_sum = float(np.logaddexp.reduce(logits_V.astype(np.float64)))
        alone = np.exp(logits_V[target] - log_sum)
        # With even shares the mixed weight is that of the model and that of the votes added up.
        longest = memory.mix(logits_V, ids_N[:n])
        votes = max(0.0, np.exp(logits_V[target] - log_sum) - alone)
        logits_V = logits[n - 1].copy()
        further = memory.mix_workspace(logits_V, ids_N[:n], index, n_matched=0)
        others = max(0.0, np.exp(logits_V[target] - log_sum) - alone)
        rows.append((longest, alone, votes, further, others))
    return np.array(rows, np.float64).reshape(-1, 5)


def _of_workspace(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) as `_fit` takes them, with the engine's share of the prompt's votes in the model."""
    share = np.array(SHARES)[np.minimum(rows[:, 0], len(SHARES) - 1).astype(int)]
    nearby = (1 - share) * rows[:, 1] + share * rows[:, 2]
    longest = np.where(rows[:, 3] > rows[:, 0], rows[:, 3], 0)
    return np.column_stack([longest, nearby, rows[:, 4]])


def _is_of(rows: NDArray[np.float64], match_tokens: int) -> NDArray[np.bool_]:
    is_of: NDArray[np.bool_] = np.minimum(rows[:, 0], len(SHARES) - 1) == match_tokens
    return is_of


def _fit(rows: NDArray[np.float64]) -> float:
    if not len(rows):
        return 0.0
    share = 0.3
    for _ in range(_N_ROUNDS):
        voted = share * rows[:, 2]
        share = float(np.mean(voted / (voted + (1 - share) * rows[:, 1] + 1e-12)))
    return share


def _bits(rows: NDArray[np.float64], shares: Iterable[float]) -> float:
    share = np.array(list(shares))[np.minimum(rows[:, 0], len(SHARES) - 1).astype(int)]
    mixed = (1 - share) * rows[:, 1] + share * rows[:, 2]
    return float(-np.log2(mixed + 1e-12).mean())
