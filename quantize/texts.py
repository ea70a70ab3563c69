"""Which code proves a quantization, and which other code it is calibrated on.

Both are code that the model was not trained on, and they share no project, or at least no file: a
matrix that was fitted to the text that judges it would look better than it is. Nothing here
tokenizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import quantize
import runtime
from quantize.checkpoint import HELD_OUT_FILE
from quantize.errors import CalibrationError, QuantizeError
from runtime.source_text import decode_source
from train.evaluation.fim.tasks import ONE_LINE_KINDS, FimTask, draw_tasks
from train.evaluation.held_out import SourceFile, file_of_text, held_out_files

HELD_OUT_FOLDER = "held_out"
"""Of a training run, beside its checkpoint: projects that were kept out whole."""

N_TASKS_PER_KIND = 24
"""Holes of each of the three kinds that end with their line: some seconds of a small model."""

# Some thousand tokens: enough to see what the inputs of a matrix are like.
_MIN_DEFAULT_CHARS = 16_000

_SHARDS = "*.jsonl.zst"
_SEED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Text that the model was not trained on, and what to call it in the report."""

    name: str
    text: str
    tasks: tuple[FimTask, ...] = ()
    """Holes in it, to be filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Two texts without a common file."""

    proof: HeldOut
    calibration: HeldOut


def read_texts(
    proof: Path | None,
    calibration: Path | None,
    *,
    checkpoint: Path,
    n_per_kind: int = N_TASKS_PER_KIND,
) -> Texts:
    """The texts at these paths, each a text file or a folder of held-out projects.

    None: halves of the held-out projects of the run that `checkpoint` belongs to, else of the text
    that training left beside the weights, else of Starling's own sources; these calibrate too
    where the other half is too little. Raises QuantizeError.
    """
    if proof is not None and proof == calibration:
        raise CalibrationError(
            f"{proof} would calibrate what it then judges: give another file or folder with "
            "--calibration"
        )
    if proof is not None and proof.is_dir() and calibration is None:
        first, second = _halves(_read(proof))
    else:
        first, second = _halves(_default_files(checkpoint))
        if proof is not None:
            first = _read(proof)
    if calibration is not None:
        second = _read(calibration)
    elif sum(len(file.text) for file in second) < _MIN_DEFAULT_CHARS:
        # What was kept out of a small run is little; Starling's own sources were learned by nobody.
        second = _own_sources(runtime)
    return Texts(proof=_held_out(first, n_per_kind), calibration=_held_out(second, n_per_kind))


def _default_files(checkpoint: Path) -> list[SourceFile]:
    projects = checkpoint.absolute().parent / HELD_OUT_FOLDER
    if any(projects.glob(_SHARDS)):
        return _read(projects)
    beside_weights = checkpoint / HELD_OUT_FILE
    if beside_weights.is_file():
        text = _read_text(beside_weights)
        middle = text.find("\n", len(text) // 2) + 1
        return [
            file_of_text(text[:middle], origin=f"{beside_weights.name}, first half", path="1.py"),
            file_of_text(text[middle:], origin=f"{beside_weights.name}, second half", path="2.py"),
        ]
    return _own_sources(quantize) + _own_sources(runtime)


def _own_sources(package: ModuleType) -> list[SourceFile]:
    return [
        file_of_text(_read_text(file), origin=f"Starling's own {package.__name__}", path=file.name)
        for folder in package.__path__
        for file in sorted(Path(folder).glob("*.py"))
    ]


def _read(path: Path) -> list[SourceFile]:
    if not path.is_dir():
        return [file_of_text(_read_text(path), origin=path.name, path=path.name)]
    if not any(path.glob(_SHARDS)):
        raise QuantizeError(
            f"{path} holds no held-out projects ({_SHARDS}): give the folder that `starling train "
            "corpus` made, or a text file"
        )
    return held_out_files(path)


def _read_text(path: Path) -> str:
    try:
        return decode_source(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise QuantizeError(
            f"the held-out text {path} cannot be read ({error}): give a UTF-8 text file"
        ) from error


def _halves(files: Sequence[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """Every second project goes to either side; where there is one project, every second file."""
    origins = sorted({file.origin for file in files})
    if len(origins) == 1:
        return list(files[::2]), list(files[1::2])
    proving = set(origins[::2])
    return (
        [file for file in files if file.origin in proving],
        [file for file in files if file.origin not in proving],
    )


def _held_out(files: Sequence[SourceFile], n_per_kind: int) -> HeldOut:
    origins = sorted({file.origin.rpartition(":")[2] for file in files})
    files = [file for file in files if file.text.strip()]
    # Longer texts than this have holes for certain; shorter ones may have none, which is no error.
    has_holes = any(len(line) > 40 for file in files for line in file.text.splitlines())
    tasks = (
        draw_tasks(files, n_per_kind=n_per_kind, seed=_SEED, kinds=ONE_LINE_KINDS)
        if has_holes and n_per_kind
        else []
    )
    text = "".join(file.text for file in files)
    return HeldOut(name=", ".join(origins), text=text, tasks=tuple(tasks))
