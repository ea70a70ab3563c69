"""What calibration text says of a model: how large the inputs of each matrix are, and how alike.

The text is read half as plain files and half as the prompts that an editor sends, holes filled:
fill-in-the-middle tokens and the order of prompts are inputs that a model meets all day. Only sums
are kept, never the inputs themselves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quantize.activations import visit_inputs
from quantize.errors import CalibrationError
from quantize.texts import HeldOut
from quantize.windows import plain_windows, threads_for
from runtime.engine import Engine
from train.evaluation.fim.completers import request_of
from train.evaluation.fim.tasks import FimTask

N_TOKENS = 32_768
"""Twice as many changed the default model's KL divergence by less than 3 %."""

MIN_TOKENS = 1024
"""Fewer say nothing of inputs that are hundreds of numbers wide."""

_FEW_TOKENS = 8

# Sums of products that are kept at once. Of a larger model the text is read several times.
_MAX_PRODUCTS_BYTES = 2_000_000_000

Products = Mapping[str, NDArray[np.float32]]
"""Weight name -> mean of x x^T over calibration inputs x, shape (n_in, n_in)."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""


class Calibration:
    """What one text says of one f16 file; read when it is first asked for, and kept.

    numpy's own threads are held off while it reads: they wait for each other in a spin, and took
    2.8 times the processor time for the same sums.
    """

    def __init__(
        self, model: Path, held_out: HeldOut, *, wants_products: bool, on_progress: OnProgress
    ) -> None:
        """`wants_products`: whether `products` will be asked for, which takes memory."""
        self.name = held_out.name
        self._model, self._held_out = model, held_out
        self._wants_products = wants_products
        self._on_progress = on_progress

    @property
    def importance(self) -> Mapping[str, NDArray[np.float32]]:
        """By weight: mean of x^2, shape (n_in,); what llama.cpp calls an importance matrix."""
        return self._moments.squares

    def products(self) -> Iterator[Products]:
        """All that multiplies, in groups that fit into memory."""
        if len(self._groups) == 1:
            yield self._moments.products
            return
        for group in self._groups:
            yield self._measured(group).products

    @cached_property
    def _windows(self) -> list[list[int]]:
        return _windows(self._model, self._held_out)

    @cached_property
    def _groups(self) -> list[list[str]]:
        return _groups(input_widths(self._model, self._windows[0]), _MAX_PRODUCTS_BYTES)

    @cached_property
    def _moments(self) -> "Moments":
        keeps_products = self._wants_products and len(self._groups) == 1
        return self._measured(self._groups[0] if keeps_products else ())

    def _measured(self, products_of: Collection[str]) -> "Moments":
        with threadpool_limits(1, user_api="blas"):
            return measure_inputs(
                self._model, self._windows, products_of=products_of,
                on_window=lambda n, total: self._on_progress("reading calibration text", n, total),
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Means over calibration inputs x; matrices with the same inputs share an entry."""

    squares: Mapping[str, NDArray[np.float32]]
    products: Products
    """Of those that were asked for."""


def input_widths(model: Path, window: Sequence[int]) -> dict[str, int]:
    """Every input that several matrices may share, by the first of them: how wide it is."""
    widths: dict[str, int] = {}

    def note(name: str, inputs_TN: NDArray[np.float32]) -> None:
        widths[name] = inputs_TN.shape[1]

    visit_inputs(model, [window[:_FEW_TOKENS]], note)
    return widths


def measure_inputs(
    model: Path,
    windows: Sequence[Sequence[int]],
    *,
    products_of: Collection[str] = (),
    on_window: Callable[[int, int], None] | None = None,
) -> Moments:
    """Reads the windows once with llama.cpp; `products_of` are keys of `input_widths`.

    Raises CalibrationError for a model that computes something else than numbers.
    """
    squares: dict[str, NDArray[np.float32]] = {}
    products: dict[str, NDArray[np.float32]] = {}
    n_rows: dict[str, int] = {}

    def add(name: str, inputs_TN: NDArray[np.float32]) -> None:
        n_in = inputs_TN.shape[1]
        if name not in n_rows:
            n_rows[name] = 0
            squares[name] = np.zeros(n_in, np.float32)
            if name in products_of:
                products[name] = np.zeros((n_in, n_in), np.float32)
        n_rows[name] += len(inputs_TN)
        squares[name] += np.einsum("tn,tn->n", inputs_TN, inputs_TN)
        if name in products:
            products[name] += inputs_TN.T @ inputs_TN

    shown_as = visit_inputs(model, windows, add, n_threads=threads_for(model), on_window=on_window)
    for name, count in n_rows.items():
        squares[name] /= count
        if name in products:
            products[name] /= count
        if not np.isfinite(squares[name]).all():
            raise CalibrationError(
                f"the inputs of {name} are not all finite numbers on the calibration text: the "
                "model's weights are damaged or overflow in f16, export the checkpoint again"
            )
    return Moments(
        squares={name: squares[first] for name, first in shown_as.items()},
        products={name: products[first] for name, first in shown_as.items() if first in products},
    )


def _windows(model: Path, held_out: HeldOut) -> list[list[int]]:
    """Tokens to read, window by window; raises CalibrationError when there are too few."""
    with Engine.load(model, n_prefill_threads=1) as engine:
        tasks = held_out.tasks if engine.info.fim is not None else ()
        prompts = [_filled_prompt(engine, task) for task in tasks]
        n_prompt_tokens = 0
        windows: list[list[int]] = []
        for prompt in prompts:
            if n_prompt_tokens >= N_TOKENS // 2:
                break
            windows.append(prompt)
            n_prompt_tokens += len(prompt)
        windows += plain_windows(engine, held_out, n_tokens=N_TOKENS - n_prompt_tokens)
    n_tokens = sum(map(len, windows))
    if n_tokens < MIN_TOKENS:
        raise CalibrationError(
            f"the calibration text {held_out.name} has {n_tokens:,} tokens where at least "
            f"{MIN_TOKENS:,} are needed: give more code with --calibration, or quantize with "
            "--method llama.cpp --no-imatrix"
        )
    return windows


def _filled_prompt(engine: Engine, task: FimTask) -> list[int]:
    """What an editor would send, and after it what stood there."""
    prompt = engine.prompt_ids(request_of(task, order=None, with_other_files=False))
    return [*prompt, *engine.tokenize(task.middle)][: engine.info.context_tokens]


def _groups(widths: Mapping[str, int], max_bytes: int) -> list[list[str]]:
    """Inputs whose sums of products fit into memory together, in the order of the model."""
    groups: list[list[str]] = []
    n_left = 0
    for name, width in widths.items():
        n_bytes = 4 * width * width
        if not groups or n_bytes > n_left:
            groups.append([])
            n_left = max_bytes
        groups[-1].append(name)
        n_left -= n_bytes
    return groups
