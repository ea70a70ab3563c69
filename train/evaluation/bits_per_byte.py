"""Bits per byte: how short a model could write held-out text down.

Comparable between models of different tokenizers: a token's cost is spread over its bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine import Engine
from runtime.errors import DecodeError
from train.corpus.source_file import SourceFile
from train.errors import CorpusError
from train.evaluation.reports import intervals

WINDOW_TOKENS = 1024
"""At most; a model that was trained for less gets less."""

MIN_PROJECTS = 5
"""With fewer, intervals are over files: a bootstrap over three projects says nothing."""

# Of logits in double precision: of a vocabulary of 150,000 tokens a whole window takes gigabytes.
_ROWS_AT_ONCE = 64


def choose_files(files: Sequence[SourceFile], *, max_bytes: int, seed: int) -> list[SourceFile]:
    """Drawn files, together at most `max_bytes` of text; the same for every model."""
    chosen = []
    n_left = max_bytes
    for file in Random(seed).sample(list(files), len(files)):
        text = file.text.encode()[:n_left].decode("utf-8", "ignore")
        chosen.append(replace(file, text=text))
        n_left -= len(text.encode())
        if len(text) < len(file.text) or n_left <= 0:
            break
    return chosen


def by_project(lengths_N2: NDArray[np.float64], files: Sequence[SourceFile]) -> NDArray[np.float64]:
    """Code lengths of the files as those of their projects, if there are enough of them.

    Files of one project are alike: over files an interval came out two thirds as wide.
    """
    origins = sorted({file.origin for file in files})
    if len(origins) < MIN_PROJECTS:
        return lengths_N2
    sums = np.zeros((len(origins), 2))
    np.add.at(sums, [origins.index(file.origin) for file in files], lengths_N2)
    return sums


def window_tokens(engine: Engine) -> int:
    """How many tokens of a text the model reads together."""
    return min(engine.info.context_tokens, WINDOW_TOKENS)


def code_lengths(engine: Engine, texts: Iterable[str]) -> NDArray[np.float64]:
    """(bits, bytes) of each text, shape (n_texts, 2).

    Texts are cut into windows. The first token of a window is not scored, and its bytes are not
    counted; a model whose prompts begin with a special token gets that in its place. Raises
    DecodeError for a model that computes no numbers.
    """
    begin = [] if engine.bos_id is None else [engine.bos_id]
    step = window_tokens(engine) - len(begin)
    rows = []
    for text in texts:
        ids = engine.tokenize(text)
        n_bits, n_bytes = 0.0, 0
        for start in range(0, len(ids), step):
            window = [*begin, *ids[start : start + step]]
            if len(window) >= 2:
                n_bits += _code_length_bits(engine.logits(window), window)
                n_bytes += len(engine.detokenize(window[1:]))
        if not math.isfinite(n_bits):
            raise DecodeError(
                f"{engine.info.path} computes logits that are not numbers: its file is probably "
                "damaged, export or download it again"
            )
        rows.append((n_bits, n_bytes))
    return np.array(rows, np.float64).reshape(-1, 2)


def summarize(lengths_N2: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """The mean over all bytes; raises CorpusError when there are none."""
    n_bytes = int(lengths_N2[:, 1].sum())
    if n_bytes == 0:
        raise CorpusError("the held-out text is too short to be scored: name a larger one")
    value = intervals.with_interval(lengths_N2, intervals.mean, seed)
    return {
        "bits_per_byte": value["mean"],
        "interval": [value["low"], value["high"]],
        "n_bytes": n_bytes,
        "n_resampled": len(lengths_N2),
    }


def _code_length_bits(logits_TV: NDArray[np.float32], ids: Sequence[int]) -> float:
    n_nats = 0.0
    for start in range(0, len(ids) - 1, _ROWS_AT_ONCE):
        next_ids = np.asarray(ids[start + 1 : start + 1 + _ROWS_AT_ONCE])
        logits = logits_TV[start : start + len(next_ids)].astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        log_total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        n_nats += float((log_total - logits[np.arange(len(next_ids)), next_ids]).sum())
    return n_nats / math.log(2)
