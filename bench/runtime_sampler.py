"""How long does it take to choose a token? Ours beside llama.cpp's sampler chain, numpy and torch.

    python bench/runtime_sampler.py [--vocab 16384 49152] [--repeats 2000] [--json]

Logits are drawn once per vocabulary: a broad bulk and a few likely tokens, as a language model
gives them. Each rival does the same work from the same float32 array to a token id; ours gives its
log-probability and the entropy as well, which none of the rivals' times include. The order is
shuffled each round, so that a busy moment of the machine hits everybody. Medians, in microseconds,
and ratios to ours. torch is left out where it is not installed.
"""

import argparse
import ctypes
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from runtime.healing import TokenTable
from runtime.sampling import Sampler, SamplingConfig

Logits = NDArray[np.float32]
Task = Callable[[], int]

SETTINGS = {
    "greedy": SamplingConfig(),
    "temperature 0.8": SamplingConfig(temperature=0.8),
    "min-p 0.05": SamplingConfig(temperature=0.8, min_p=0.05),
    "top-k 40": SamplingConfig(temperature=0.8, top_k=40),
    "top-p 0.9": SamplingConfig(temperature=0.8, top_p=0.9),
    "top-k 40, top-p 0.9, min-p 0.05": SamplingConfig(
        temperature=0.8, top_k=40, top_p=0.9, min_p=0.05
    ),
}
GREEDY_LIMITS_US = {16_384: 5.0, 49_152: 10.0}
TIMES_FASTER_THAN = {"llama.cpp": 3.0, "torch": 5.0}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocab", type=int, nargs="+", default=[16_384, 32_000, 49_152])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    arguments = parser.parse_args()
    report = Report(title="Choosing a token")
    for n_vocab in arguments.vocab:
        logits = realistic_logits(n_vocab)
        for name, config in SETTINGS.items():
            rivals: dict[str, Task] = {
                "ours": ours(logits, config),
                "llama.cpp": llama_chain(logits, config),
                "numpy": numpy_way(logits, config),
            }
            if torch_task := torch_way(logits, config):
                rivals["torch"] = torch_task
            medians = medians_us(rivals, arguments.repeats)
            if name == "greedy" and n_vocab in GREEDY_LIMITS_US:
                what, limit_us = f"{n_vocab:,} tokens, greedy", GREEDY_LIMITS_US[n_vocab]
                report.at_most(what, medians["ours"], limit_us, "us")
            for rival in sorted(rivals.keys() - {"ours"}):
                what = f"{n_vocab:,} tokens, {name}, beside {rival}"
                if rival in TIMES_FASTER_THAN:
                    limit = 1.0 / TIMES_FASTER_THAN[rival]
                    report.ratio_at_most(what, medians["ours"], medians[rival], limit, "us")
                else:
                    report.fact(what, medians["ours"], "us", rival=medians[rival])
        for text, median_us in healing(n_vocab, logits, arguments.repeats).items():
            report.fact(f"{n_vocab:,} tokens, healing {text} and greedy", median_us, "us")
    report.show(as_json=arguments.json)


def realistic_logits(n_vocab: int) -> Logits:
    """A normal bulk with a long upper tail: the best ten tokens hold most of the mass."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-2.0, 2.2, n_vocab)
    likely = rng.choice(n_vocab, 40, replace=False)
    logits[likely] += rng.exponential(4.0, 40)
    return logits.astype(np.float32)


def medians_us(tasks: dict[str, Task], n_repeats: int) -> dict[str, float]:
    """Median time of each task, interleaved in random order."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    order = list(tasks)
    for task in tasks.values():
        for _ in range(20):
            task()
    for _ in range(n_repeats):
        random.shuffle(order)
        for name in order:
            started_ns = time.perf_counter_ns()
            tasks[name]()
            times[name].append((time.perf_counter_ns() - started_ns) / 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def ours(logits: Logits, config: SamplingConfig) -> Task:
    """The sampler of this package."""
    sampler = Sampler(logits.size)
    return lambda: sampler.pick(logits, config, uniform=0.37).token_id


def llama_chain(logits: Logits, config: SamplingConfig) -> Task:
    """llama.cpp's samplers in C, with the candidate array that they need filled by numpy."""
    c = llama_cpp
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    if config.temperature == 0.0:
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
    else:
        if config.top_k:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(config.top_k))
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(config.temperature))
        if config.top_p < 1.0:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_p(config.top_p, 1))
        if config.min_p:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_min_p(config.min_p, 1))
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(1))
    candidate = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
    candidates = np.zeros(logits.size, candidate)
    ids = np.arange(logits.size, dtype=np.int32)
    data = candidates.ctypes.data_as(c.llama_token_data_p)
    array = c.llama_token_data_array(data=data, size=logits.size, selected=-1, sorted=False)
    pointer = ctypes.byref(array)

    def pick() -> int:
        candidates["id"] = ids
        candidates["logit"] = logits
        array.size, array.selected, array.sorted = logits.size, -1, False
        c.llama_sampler_apply(chain, pointer)
        return int(candidates["id"][array.selected])

    return pick


def numpy_way(logits: Logits, config: SamplingConfig) -> Task:
    """Plain numpy, with argpartition where a few tokens are wanted."""
    rng = np.random.default_rng(0)

    def pick() -> int:
        if config.temperature == 0.0:
            return int(logits.argmax())
        ids = np.arange(logits.size)
        values = logits
        if config.top_k:
            ids = np.argpartition(-values, config.top_k)[: config.top_k]
            values = values[ids]
        shares = np.exp((values - values.max()) / config.temperature)
        shares /= shares.sum()
        if config.min_p:
            keep = shares >= config.min_p * shares.max()
            ids, shares = ids[keep], shares[keep]
        if config.top_p < 1.0:
            order = np.argsort(-shares)
            n_keep = 1 + int(np.searchsorted(np.cumsum(shares[order]), config.top_p))
            ids, shares = ids[order[:n_keep]], shares[order[:n_keep]]
        cumulative = np.cumsum(shares)
        return int(ids[np.searchsorted(cumulative, rng.random() * cumulative[-1])])

    return pick


def torch_way(logits: Logits, config: SamplingConfig) -> Task | None:
    """The usual torch recipe, on one thread."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    values = torch.from_numpy(logits)

    def pick() -> int:
        if config.temperature == 0.0:
            return int(values.argmax())
        scaled, ids = values / config.temperature, None
        if config.top_k:
            scaled, ids = scaled.topk(config.top_k)
        shares = scaled.softmax(-1)
        if config.min_p:
            shares = shares * (shares >= config.min_p * shares.max())
        if config.top_p < 1.0:
            ordered, order = shares.sort(descending=True)
            ordered[ordered.cumsum(-1) - ordered > config.top_p] = 0.0
            shares = torch.zeros_like(shares).scatter(-1, order, ordered)
        index = int(shares.multinomial(1))
        return index if ids is None else int(ids[index])

    return pick


def healing(n_vocab: int, logits: Logits, n_repeats: int) -> dict[str, float]:
    """Time to find the tokens that may spell a taken-back word, and to pick among them."""
    rng = random.Random(0)
    letters = "etaoinshrdlu_"
    words = {bytes([value]) for value in range(256)}
    while len(words) < n_vocab:
        word = "".join(rng.choice(letters) for _ in range(rng.randrange(1, 9)))
        words.add((rng.choice(["", " "]) + word).encode())
    table = TokenTable(tuple(words), np.zeros(n_vocab, np.bool_))
    sampler = Sampler(n_vocab)

    def heal(pending: bytes) -> Task:
        return lambda: (
            sampler.pick(
                logits, SETTINGS["greedy"], uniform=0.0, allowed_ids=table.allowed_ids(pending)
            ).token_id
        )

    tasks = {repr(text): heal(text) for text in (b" ", b" t", b" tion", b"    ")}
    return medians_us(tasks, n_repeats)


if __name__ == "__main__":
    main()
