"""Checkpoint folder -> bundle folder, all of it or nothing.

The bundle is built in a hidden folder beside its destination, proven against f16 and against the
budget, read back, flushed to disk, and only then renamed. It knows the order of the steps; each
step is another module's.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantize.card import render_card
from quantize.checkpoint import (
    CORPUS_FILE,
    EVALUATION_FILE,
    NOTICES_FILE,
    Checkpoint,
    open_checkpoint,
    read_optional_json,
)
from quantize.errors import BudgetError, OutputError, OutputExistsError
from quantize.gguf_writer import FloatType, write_gguf
from quantize.llama_quantize import QuantType, quantize_file
from quantize.verify import (
    QUANTIZATION_FILE,
    HeldOut,
    QuantizationReport,
    measure,
)
from runtime.bundle import CARD_FILE, MODEL_FILE, SPEC_FILE, open_bundle

_REFERENCE_FILE = "reference-f16.gguf"
_BYTES_PER_MB = 1_000_000

OnProgress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits that the result must keep; None sets no limit."""

    max_mb: float | None = None
    """Of model.gguf, in megabytes of 1,000,000 bytes."""
    max_kl_nats: float | None = None
    """Of the mean KL divergence from f16, per token."""

    def check(self, report: QuantizationReport) -> None:
        """Raises BudgetError when `report` is beyond a limit."""
        size_mb = report.size_bytes / _BYTES_PER_MB
        if self.max_mb is not None and size_mb > self.max_mb:
            raise BudgetError(
                f"{report.quant_type} gives {size_mb:.2f} MB where at most {self.max_mb:g} MB are "
                "allowed: take a smaller type or raise --max-mb"
            )
        if self.max_kl_nats is not None and report.mean_kl_nats > self.max_kl_nats:
            raise BudgetError(
                f"{report.quant_type} has a mean KL divergence of {report.mean_kl_nats:.3g} nats "
                f"from f16 where at most {self.max_kl_nats:g} are allowed: take a larger type or "
                "raise --max-kl"
            )


def write_bundle(
    source: Path,
    destination: Path,
    *,
    quant_type: QuantType,
    held_out: HeldOut,
    budget: Budget,
    overwrite: bool,
    on_progress: OnProgress,
) -> QuantizationReport:
    """Converts, quantizes, proves and publishes; on any failure `destination` is as it was."""
    destination = destination.absolute()
    _check_destination(source, destination, overwrite=overwrite)
    checkpoint = open_checkpoint(source)
    with _published(destination, overwrite=overwrite) as building:
        model = building / MODEL_FILE
        report = _build_model(
            checkpoint, model, quant_type=quant_type, held_out=held_out, on_progress=on_progress
        )
        budget.check(report)
        for name in (SPEC_FILE, EVALUATION_FILE, CORPUS_FILE, NOTICES_FILE):
            if (source / name).exists():
                shutil.copyfile(source / name, building / name)
        for file in checkpoint.index_files:
            target = building / file.relative_to(checkpoint.directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (building / QUANTIZATION_FILE).write_text(report.to_json(), encoding="utf-8")
        card = render_card(
            checkpoint.spec,
            report,
            corpus=read_optional_json(source / CORPUS_FILE),
            evaluation=read_optional_json(source / EVALUATION_FILE),
            has_index=bool(checkpoint.index_files),
        )
        (building / CARD_FILE).write_text(card, encoding="utf-8")
        open_bundle(building)
    return report


def _build_model(
    checkpoint: Checkpoint,
    model: Path,
    *,
    quant_type: QuantType,
    held_out: HeldOut,
    on_progress: OnProgress,
) -> QuantizationReport:
    """Writes `model`, and beside it for a while the f16 file that it is measured against."""
    reference = model.with_name(_REFERENCE_FILE)
    write_gguf(
        checkpoint,
        reference,
        float_type=FloatType.F16,
        on_tensor=lambda done, total: on_progress("converting", done, total),
    )
    if quant_type is QuantType.F16:
        reference = reference.rename(model)
    elif quant_type is QuantType.F32:
        write_gguf(checkpoint, model, float_type=FloatType.F32)
    else:
        on_progress(f"quantizing to {quant_type}", 0, 1)
        quantize_file(reference, model, quant_type)
        on_progress(f"quantizing to {quant_type}", 1, 1)
    report = measure(
        reference,
        model,
        quant_type=quant_type,
        held_out=held_out,
        on_tokens=lambda done, total: on_progress("comparing with f16", done, total),
    )
    if reference != model:
        reference.unlink()
    return report


def _check_destination(source: Path, destination: Path, *, overwrite: bool) -> None:
    resolved, resolved_source = destination.resolve(), source.resolve()
    if resolved == resolved_source or resolved in resolved_source.parents:
        raise OutputError(
            f"{destination} is or holds the checkpoint itself: choose another folder for --out"
        )
    if _is_free(destination):
        return
    if not overwrite:
        raise OutputExistsError(
            f"{destination} exists: choose another folder for --out, or add --force to replace it"
        )
    if not (destination / MODEL_FILE).is_file():
        raise OutputError(
            f"{destination} is not a bundle, so --force does not replace it: choose another folder"
        )


def _is_free(destination: Path) -> bool:
    """Nothing there, or an empty folder."""
    if destination.is_symlink() or not destination.is_dir():
        return not os.path.lexists(destination)
    return not any(destination.iterdir())


@contextmanager
def _published(destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to build in that becomes `destination` when the block ends without an error."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    building = Path(
        tempfile.mkdtemp(prefix=f".{destination.name}.partial-", dir=destination.parent)
    )
    try:
        yield building
        building.chmod(0o755)
        _sync(building)
        _move_into_place(building, destination, overwrite=overwrite)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _move_into_place(building: Path, destination: Path, *, overwrite: bool) -> None:
    if _is_free(destination):
        # An empty folder is replaced in the same step; anything else that has come to stand there
        # meanwhile makes this fail, and stays.
        building.rename(destination)
    elif overwrite:
        replaced = building.with_name(building.name + "-old")
        destination.rename(replaced)
        try:
            building.rename(destination)
        except OSError:
            replaced.rename(destination)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        raise OutputExistsError(
            f"{destination} came to exist while it was being built: choose another folder"
        )
    _sync_folder(destination.parent)


def _sync(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _sync(entry)
            continue
        with entry.open("rb") as opened:
            os.fsync(opened.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders and keeps its directory entries itself.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
