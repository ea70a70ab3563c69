"""The loss on held-out rows, always the same ones, while a run goes on."""

from functools import cached_property
from pathlib import Path

from train.fitting.learner import Learner, memory_advice
from train.recipe import FitConfig
from train.samples.loader import validation_batches
from train.samples.rows import Batch


class Validation:
    """Rows of held-out tokens, which are made when they are first asked for."""

    def __init__(
        self, held_out: Path, tokenizer: Path, config: FitConfig, n_processes: int
    ) -> None:
        self._held_out, self._tokenizer = held_out, tokenizer
        self._config, self._n_processes = config, n_processes

    def loss(self, learner: Learner) -> float:
        """Mean loss in nats per token; all processes of a run ask together."""
        with memory_advice(self._config, self._n_processes):
            return learner.validation_loss(self._batches, rows_per_process=self._rows_per_process)

    @property
    def _rows_per_process(self) -> int:
        # As many at a time as in training, for which the memory is known to be enough.
        n_rows = self._config.batch_rows // self._n_processes
        return min(self._config.micro_rows or n_rows, n_rows)

    @cached_property
    def _batches(self) -> list[Batch]:
        return validation_batches(
            self._held_out,
            self._tokenizer,
            self._config,
            n_rows=self._config.validation_rows,
            rows_per_batch=self._rows_per_process * self._n_processes,
        )
