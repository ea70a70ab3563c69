"""What is served, as JSON, with kernels from numba, from a library, or from both at once.

    python -m tests.lsp_server.kernel_lives library|both|strange PATH

`both` runs every call of a kernel twice, on copies, and fails where a result differs; `strange`
calls kernels with arguments that no library is made for.

Floats may differ by 1e-5 of themselves: fast math leaves the order of a sum open, and numba's own
sums differ by some 1e-9 between the process that compiled a kernel and one that reads it from disk.
"""

import argparse
import json
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lsp_server import kernel_library
from lsp_server.context.cursor import CursorContext
from lsp_server.settings import Settings

_PLACES = (
    ("def area_of(width, height):\n    return ", "\n"),
    ("import argparse\n\n\ndef main():\n    parser = argparse.", "\n\nmain()\n"),
    ("class Stack:\n    def push(self, item):\n        self.items.append(item)\n\n    def p", "\n"),
)
_N_VOCAB = 8_192 + 5
_N_ROUNDS = 25


def main() -> None:
    """Prints {"answers": ..., "has_numba": ..., "called": names of kernels}."""
    life, path = sys.argv[1], Path(sys.argv[2])
    library = kernel_library.load(path)
    assert library is not None
    if life == "both":
        _take_kernels_from_both(library)
    else:
        kernel_library.use(library)
    found = _strange() if life == "strange" else answers()
    called = sorted(_Both.called)
    print(json.dumps({"answers": found, "has_numba": "numba" in sys.modules, "called": called}))


def answers() -> list[Any]:
    """Suggestions with their reports; picks by every setting; drafts; texts that are looked up."""
    return [*_suggestions(), *_picks(), *_looked_up()]


def _suggestions() -> list[Any]:
    from lsp_server.service import CompletionService
    from runtime.bundle import default_bundle_directory

    settings = Settings(bundle_path=default_bundle_directory(), deadline_ms=1e9)
    service = CompletionService.open(settings)
    found = []
    for i, (prefix, suffix) in enumerate(_PLACES):
        at = CursorContext(
            uri=f"file:///{i}.py", path=f"{i}.py", language_id="python", prefix=prefix,
            suffix=suffix, other_files=(),
        )  # fmt: skip
        for suggestion in service.complete(at, threading.Event(), n=i + 1, is_asked_for=True):
            matches = [(m.start_char, m.end_char) for m in suggestion.report.matches]
            found.append([suggestion.text, suggestion.report.verdict, matches])
    service.close()
    return found


def _picks() -> list[Any]:
    from runtime.memory import SHARES, Memory
    from runtime.sampling import Sampler, SamplingConfig

    rng = np.random.default_rng(7)
    sampler = Sampler(_N_VOCAB)
    is_special = np.zeros(_N_VOCAB, np.bool_)
    memory = Memory(n_context_tokens=512, is_special=is_special, shares=SHARES)
    configs = (
        SamplingConfig(),
        SamplingConfig(temperature=0.8),
        SamplingConfig(temperature=0.7, top_k=40),
        SamplingConfig(temperature=1.1, top_p=0.9, min_p=0.02),
        SamplingConfig(temperature=1.0, top_p=0.5),
    )
    found = []
    for _ in range(_N_ROUNDS):
        logits_V = rng.normal(0.0, 4.0, _N_VOCAB).astype(np.float32)
        logits_V[rng.choice(_N_VOCAB, 50)] = -math.inf
        memory.mix(logits_V, rng.integers(0, 20, 400).astype(np.int32))
        allowed = np.sort(rng.choice(_N_VOCAB, 600, replace=False)).astype(np.int64)
        for config in configs:
            for allowed_ids in (None, allowed):
                uniform = float(rng.random())
                pick = sampler.pick(logits_V, config, uniform=uniform, allowed_ids=allowed_ids)
                found.append([pick.token_id, round(pick.logprob, 4), round(pick.entropy, 4)])
    return found


def _looked_up() -> list[Any]:
    from attribution import match
    from attribution.indexes import open_indexes
    from runtime.bundle import default_bundle_directory, open_bundle

    match.warm_up()
    bundle = open_bundle(default_bundle_directory())
    assert bundle.directory is not None and bundle.spec is not None
    indexes = open_indexes(bundle.directory, expected_corpus_id=bundle.spec.corpus_id)
    rng = np.random.default_rng(7)
    texts = ["".join(map(chr, rng.integers(32, 500, n))) for n in (60, 400, 4_000)]
    texts += [Path(module.__file__).read_text("utf-8") for module in (json, argparse)]
    found = []
    for text in texts:
        report = match.find("ä" + text[:50], text, indexes)
        found.append([report.verdict, [(m.start_char, m.end_char) for m in report.matches]])
    return found


def _strange() -> list[Any]:
    """Other types of numbers, and named arguments: what numba makes of it, and of what it calls."""
    from runtime import kernels, memory

    logits_V = np.arange(8, dtype=np.float64)
    out_K = np.empty(2, np.float64)
    kernels.gather(logits_V, np.array([3, 5]), out_K=out_K)
    mixed_V = np.zeros(700, np.float32)
    length = memory._mix(
        mixed_V, np.array([1, 2, 3, 1, 2], np.int64), np.zeros(700, np.bool_),
        np.array([0.0, 0.5]), np.zeros(5, np.int32), np.zeros(700), np.zeros(5, np.int32),
        np.empty(2, np.float32), np.empty(2),
    )  # fmt: skip
    return [out_K.tolist(), int(length), int(mixed_V.argmax())]


class _Both:
    """One kernel in two lives."""

    called: set[str] = set()

    def __init__(self, name: str, ours: Any, numbas: Any) -> None:
        self._name, self._ours, self._numbas = name, ours, numbas

    def __call__(self, *arguments: object) -> object:
        self.called.add(self._name)
        copies = [_copy(argument) for argument in arguments]
        ours, numbas = self._ours(*copies), self._numbas(*arguments)
        for what, mine, theirs in (("result", ours, numbas), ("arguments", copies, arguments)):
            assert _is_same(mine, theirs), f"{self._name}: {what}"
        return numbas

    def __getattr__(self, name: str) -> Any:
        return getattr(self._numbas, name)


def _take_kernels_from_both(library: Any) -> None:
    import attribution.kernel
    import runtime.kernel

    def make(function: Callable[..., object], compile_it: Callable[[], Any]) -> Any:
        name, numbas = kernel_library.full_name(function), compile_it()
        ours = library.kernel(name, _refuse)
        return numbas if ours is None else _Both(name, ours, numbas)

    attribution.kernel.take_kernels_from(make)
    runtime.kernel.take_kernels_from(make)


def _refuse(*arguments: object) -> object:
    raise AssertionError(f"the library lacks {[_kind(argument) for argument in arguments]}")


def _kind(argument: object) -> str:
    if isinstance(argument, np.ndarray):
        return (
            f"{argument.dtype}[{argument.ndim}]{'' if argument.flags.writeable else ' read-only'}"
        )
    return type(argument).__name__


def _copy(argument: object) -> object:
    if not isinstance(argument, np.ndarray):
        return argument
    copy = argument.copy(order="K")
    copy.flags.writeable = argument.flags.writeable
    return copy


def _is_same(mine: object, theirs: object) -> bool:
    if isinstance(mine, tuple | list):
        return len(mine) == len(theirs) and all(map(_is_same, mine, theirs))
    one, other = np.asarray(mine), np.asarray(theirs)
    if type(mine) is not type(theirs) or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if np.issubdtype(one.dtype, np.floating):
        return np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)
    return one.tobytes() == other.tobytes()


if __name__ == "__main__":
    main()
