"""Checkpoint folder -> bundle folder, all of it or nothing.

The bundle is built in a hidden folder beside its destination, proven against f16 and against the
budget, read back, flushed to disk, and only then renamed. It knows the order of the steps; each
step is another module's.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from quantize import leftovers
from quantize.budget import Budget, best_of
from quantize.calibration import OnProgress
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
from quantize.llama_quantize import QuantType, fallback_note, resolve
from quantize.report import QUANTIZATION_FILE, QuantizationReport
from quantize.rounding import Rounding, calibration_for, make_model
from quantize.texts import Texts
from quantize.verify import measure
from runtime.bundle import CARD_FILE, MODEL_FILE, SPEC_FILE, open_bundle

_REFERENCE_FILE = "reference-f16.gguf"
_CANDIDATE_FILE = "candidate.gguf"


def write_bundle(
    source: Path,
    destination: Path,
    *,
    roundings: Sequence[Rounding],
    texts: Texts,
    budget: Budget,
    overwrite: bool,
    on_progress: OnProgress,
    on_note: Callable[[str], None] = lambda _: None,
) -> QuantizationReport:
    """Converts, quantizes, proves and publishes; on any failure `destination` is as it was.

    Of several roundings the best within the budget becomes the bundle (`best_of`). `on_note` gets
    sentences about the checkpoint that its user should read.
    """
    destination = destination.absolute()
    leftovers.sweep(destination)
    _check_destination(source, destination, overwrite=overwrite)
    checkpoint = open_checkpoint(source)
    matrices = {t.gguf: t.shape[-1] for t in checkpoint.tensors if len(t.shape) > 1}
    for rounding in roundings:
        resolve(rounding.overrides, matrices)  # Before hours of work: do they name anything?
    for note in checkpoint.notes:
        on_note(note)
    with _published(destination, overwrite=overwrite) as building:
        report = _build_model(
            checkpoint, building / MODEL_FILE, roundings, texts, budget, on_progress, on_note
        )
        (building / SPEC_FILE).write_text(checkpoint.spec.to_json(), encoding="utf-8")
        _copy_companions(checkpoint, building)
        (building / QUANTIZATION_FILE).write_text(report.to_json(), encoding="utf-8")
        card = render_card(
            checkpoint.spec,
            report,
            corpus=read_optional_json(source / CORPUS_FILE),
            evaluation=read_optional_json(source / EVALUATION_FILE),
            has_index=bool(checkpoint.index_files),
            licence=checkpoint.licence,
            notes=checkpoint.notes,
        )
        (building / CARD_FILE).write_text(card, encoding="utf-8")
        open_bundle(building)
    return report


def _copy_companions(checkpoint: Checkpoint, building: Path) -> None:
    """What travels with the weights as it is."""
    source = checkpoint.directory
    optional = [source / name for name in (EVALUATION_FILE, CORPUS_FILE, NOTICES_FILE)]
    for file in (*filter(Path.exists, optional), *checkpoint.index_files):
        target = building / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _build_model(
    checkpoint: Checkpoint,
    model: Path,
    roundings: Sequence[Rounding],
    texts: Texts,
    budget: Budget,
    on_progress: OnProgress,
    on_note: Callable[[str], None],
) -> QuantizationReport:
    """Writes `model`, and beside it for a while the f16 file that it is measured against.

    Of several candidates no more than two are on the disk at once.
    """
    reference = model.with_name(_REFERENCE_FILE)
    write_gguf(
        checkpoint,
        reference,
        float_type=FloatType.F16,
        on_tensor=lambda done, total: on_progress("converting", done, total),
    )
    calibration = calibration_for(roundings, reference, texts, on_progress)
    candidate = model.with_name(_CANDIDATE_FILE)
    reports: list[QuantizationReport] = []
    sentence: str | None = None
    for rounding in roundings:
        if note := fallback_note(reference, rounding.quant_type):
            on_note(note)
        if rounding.quant_type is QuantType.F32:
            write_gguf(checkpoint, candidate, float_type=FloatType.F32)
        else:
            make_model(
                reference, candidate, rounding, calibration=calibration, on_progress=on_progress
            )
        if sentence := budget.too_large(rounding.quant_type, candidate.stat().st_size):
            candidate.unlink()
            continue
        report = measure(
            reference, candidate, made=rounding.made(calibration), held_out=texts.proof,
            on_step=on_progress,
        )  # fmt: skip
        reports.append(report)
        if best_of(reports, budget) is report:
            candidate.replace(model)
        else:
            candidate.unlink()
    reference.unlink()
    if not reports:
        assert sentence is not None, "there is a rounding, and its file was too large"
        raise BudgetError(sentence)
    best = best_of(reports, budget)
    if sentence := budget.too_far(best):
        raise BudgetError(sentence)
    return best


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
    if not all((destination / name).is_file() for name in (MODEL_FILE, SPEC_FILE)):
        raise OutputError(
            f"{destination} is not a bundle, so --force does not replace it: choose another folder"
        )
    if destination.is_symlink():
        raise OutputError(
            f"{destination} is a link: name the folder {resolved} itself for --out, or remove the "
            "link"
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
        tempfile.mkdtemp(prefix=leftovers.prefix_of(destination), dir=destination.parent)
    )
    try:
        with leftovers.held(building):
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
        replaced = building.with_name(building.name + leftovers.OLD_SUFFIX)
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
