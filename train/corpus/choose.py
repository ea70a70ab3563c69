"""The third step: which of all files together become the corpus.

Here everything is decided that a file alone cannot tell: duplicates, the cap of a project, the
share of the other languages. It sees no texts, only arrays of some hundred bytes a file, so that
millions of files fit in memory; and nothing depends on the order in which they were found.
"""

import json
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from train.corpus.dedup import clusters
from train.corpus.dedup.clusters import Fate
from train.corpus.dedup.prints import PrintsReader
from train.corpus.ledger import Ledger, Size
from train.corpus.prepare import FACTS, KINDS
from train.corpus.raw_file import Kind
from train.corpus.source_file import digest_u64, save_array, write_json
from train.corpus.tasks import Work
from train.errors import CorpusError

HELD_OUT = "held out"
NOT_SAMPLED = "another of the same was drawn"
PROJECT_FULL = "share of this project full"
LANGUAGES_FULL = "share of other languages full"

CHOICE = np.dtype([("stage", np.uint8), ("reason", np.uint8), ("cluster", np.int64)])
"""Of each file: where and why it was dropped, as places in `STAGES` and `REASONS`; 0 if not."""

STAGES = ("", "sample", "exact dedup", "near dedup", "cap", "mix")
_STAGE_OF_FATE = {
    Fate.KEPT: 0,
    Fate.EXACT: 2,
    Fate.EXACT_HELD_OUT: 2,
    Fate.NEAR: 3,
    Fate.NEAR_HELD_OUT: 3,
}
REASONS = (*(fate.reason for fate in sorted(Fate)), NOT_SAMPLED, PROJECT_FULL, LANGUAGES_FULL)
_STAGE_OF_REASON = np.array([*(_STAGE_OF_FATE[fate] for fate in sorted(Fate)), 1, 4, 5], np.uint8)


def choose(work: Work) -> None:
    """Write the fate of every file, and the ledger of the deciding stages."""
    per_task = [np.load(work.facts(idx)) for idx in range(len(work.tasks))]
    counts = [len(facts) for facts in per_task]
    facts = np.concatenate([np.empty(0, FACTS), *per_task])
    held_out = np.repeat([task.opened.held_out for task in work.tasks], counts).astype(np.bool_)
    weights = np.repeat([task.opened.source.weight for task in work.tasks], counts)
    sampled = not_sampled(facts, ~held_out)
    with PrintsReader(work.prints, len(work.tasks)) as prints:
        text_hashes = prints.text_hashes()
    roots = clusters.cluster_roots(work.prints, facts.size)
    placing = np.empty(facts.size, clusters.FACTS)
    placing["held_out"], placing["weight"] = held_out, weights
    # A plain file stands for its cluster before a commit or issue that quotes it, and nothing that
    # the draw leaves out does.
    is_quote = facts["kind"] != KINDS.index(Kind.FILE)
    placing["licence_rank"] = np.where(sampled, 255, 2 * facts["licence_rank"] + is_quote)
    placing["text_hash"] = text_hashes
    reasons = clusters.choose_kept(roots, placing).fates.copy()
    del placing, text_hashes
    reasons[sampled] = REASONS.index(NOT_SAMPLED)
    candidates = (reasons == 0) & ~held_out
    full = over_project_cap(facts, candidates, work.config.max_source_bytes)
    reasons[full] = REASONS.index(PROJECT_FULL)
    if work.config.main_language:
        crowded = over_language_share(
            facts, candidates & ~full, work.config.main_language, work.config.max_other_share
        )
        reasons[crowded] = REASONS.index(LANGUAGES_FULL)
    if not ((reasons == 0) & ~held_out).any():
        raise CorpusError(f"no file was kept: {_seen(work)}")
    choice = np.zeros(facts.size, CHOICE)
    choice["reason"] = reasons
    choice["stage"] = _STAGE_OF_REASON[reasons]
    choice["cluster"] = roots
    save_array(work.task_bounds, np.cumsum([0, *counts]))
    save_array(work.choice, choice)
    write_json(work.choice_ledger, _ledger(facts, choice, held_out).to_json())


def not_sampled(facts: NDArray[np.void], candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Candidates that a draw leaves out, as published; files, issues and notebooks all stay.

    Of the commits that change one file one is kept (StarCoder). Of a repository's n pull requests
    a share of 0.8 falling linearly to 0.1 at 1,000, and 100 beyond (StarCoder2, section 2.3).
    Shape (n_files,).
    """
    out = np.zeros(facts.size, np.bool_)
    for kind, n_kept_of in (
        (Kind.COMMIT, lambda n: np.ones_like(n)),
        (Kind.PULL_REQUEST, _n_pull_requests_kept),
    ):
        rows = np.flatnonzero(candidates & (facts["kind"] == KINDS.index(kind)))
        rows = rows[np.lexsort((facts["order"][rows], facts["group"][rows]))]
        _, starts, counts = np.unique(facts["group"][rows], return_index=True, return_counts=True)
        place = np.arange(rows.size) - np.repeat(starts, counts)
        out[rows[place >= np.repeat(n_kept_of(counts), counts)]] = True
    return out


def _n_pull_requests_kept(n: NDArray[np.int64]) -> NDArray[np.int64]:
    # 0.8 - 0.7 (n - 1) / 999 of n, rounded up, in whole numbers.
    return np.where(n > 1_000, 100, -(-n * (7_992 - 7 * (n - 1)) // 9_990))


def over_project_cap(
    facts: NDArray[np.void], candidates: NDArray[np.bool_], max_bytes: int
) -> NDArray[np.bool_]:
    """Candidates beyond the cap of their project: code goes before tests, else by digest.

    Shape (n_files,).
    """
    rows = np.flatnonzero(candidates)
    rows = rows[np.lexsort((facts["order"][rows], facts["is_test"][rows], facts["origin"][rows]))]
    over = np.zeros(facts.size, np.bool_)
    over[rows[_past_limit(facts["n_bytes"][rows], facts["origin"][rows], max_bytes)]] = True
    return over


def over_language_share(
    facts: NDArray[np.void], candidates: NDArray[np.bool_], main_language: str, max_share: float
) -> NDArray[np.bool_]:
    """Candidates of other languages beyond their share of the bytes, in an order drawn by digest.

    Each language keeps its proportion, because the draw does not look at it. Shape (n_files,).
    """
    is_main = facts["language"] == np.uint64(digest_u64(main_language))
    n_main_bytes = int(facts["n_bytes"][candidates & is_main].sum(dtype=np.int64))
    max_other_bytes = n_main_bytes * max_share / (1 - max_share)
    rows = np.flatnonzero(candidates & ~is_main)
    rows = rows[np.argsort(facts["order"][rows], kind="stable")]
    over = np.zeros(facts.size, np.bool_)
    one_group = np.zeros(rows.size, np.uint64)
    over[rows[_past_limit(facts["n_bytes"][rows], one_group, int(max_other_bytes))]] = True
    return over


@kernel
def _past_limit(sizes_n, groups_n, max_bytes):
    # sizes_n uint32, groups_n uint64 with equal ones together. A file that does not fit is passed
    # over, and smaller ones after it may still fit.
    past = np.zeros(sizes_n.size, np.bool_)
    n_left = max_bytes
    for i in range(sizes_n.size):
        if i == 0 or groups_n[i] != groups_n[i - 1]:
            n_left = max_bytes
        if sizes_n[i] <= n_left:
            n_left -= sizes_n[i]
        else:
            past[i] = True
    return past


def _ledger(
    facts: NDArray[np.void], choice: NDArray[np.void], held_out: NDArray[np.bool_]
) -> Ledger:
    ledger = Ledger()
    if held_out.any():
        ledger.enter(HELD_OUT, _size(facts))
        ledger.drop(HELD_OUT, "kept for evaluation", int(held_out.sum()))
        ledger.leave(HELD_OUT, _size(facts[~held_out]))
    left = ~held_out
    for stage_idx, stage in enumerate(STAGES[1:], start=1):
        ledger.enter(stage, _size(facts[left]))
        dropped = left & (choice["stage"] == stage_idx)
        for reason_idx, n_files in enumerate(np.bincount(choice["reason"][dropped])):
            if n_files:
                ledger.drop(stage, REASONS[reason_idx], int(n_files))
        left &= ~dropped
        ledger.leave(stage, _size(facts[left]))
    return ledger


def _seen(work: Work) -> str:
    """Why nothing got through, for an error."""
    ledger = Ledger()
    for task_idx in range(len(work.tasks)):
        ledger.add(json.loads(work.ledger(task_idx).read_text(encoding="utf-8")))
    reasons: Counter[str] = Counter()
    for row in ledger.rows.values():
        reasons.update(row["reasons"])
    if not reasons:
        return "the sources hold none; name others"
    dropped = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(5))
    return (
        f"the stages dropped {sum(reasons.values())} of them ({dropped}); change the recipe, or "
        "ask `starling train corpus --explain FILE` about one of them"
    )


def _size(facts: NDArray[np.void]) -> Size:
    return Size(
        facts.size,
        int(facts["n_bytes"].sum(dtype=np.int64)),
        int(facts["n_tokens"].sum(dtype=np.int64)),
    )
