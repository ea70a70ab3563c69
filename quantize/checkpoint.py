"""A checkpoint folder: config.json, tokenizer.json, safetensors (and spec.json) -> `Checkpoint`.

Everything that can be known without reading weights is checked here, so that a wrong folder is
refused in a moment and not after an hour. Nothing here imports torch, and nothing is unpickled.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.architectures import Architecture, Hyperparameters, architecture_of
from quantize.errors import CheckpointError
from quantize.model_specs import WEIGHTS_LICENCE, foreign_spec, licence_of, own_spec
from quantize.safetensors_file import TensorRef
from quantize.tensor_layouts import WHOLE
from quantize.tensor_names import NamedTensor, StoredTensor
from quantize.token_ids import compare_with_llama_cpp
from quantize.tokenizer import GgufTokenizer, read_tokenizer
from quantize.weight_files import check_weights, find_weights, read_json
from runtime.bundle import SPEC_FILE
from runtime.fim import Order
from runtime.spec import ModelSpec

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"

# What lies beside the weights when an attribution index was built from the same corpus. The names
# belong to attribution, which this package does not import; a contract test compares them.
INDEX_FILES = ("bloom.bin", "provenance.bin", "manifest.jsonl.zst")
INDEXES_FOLDER = "indexes"
"""Of a model that was trained in several goes: a folder with an index for each further corpus."""

CORPUS_FILE = "corpus.json"
"""Optional statistics of the corpus, for the model card."""
EVALUATION_FILE = "evaluation.json"
"""Optional metrics, for the model card."""

NOTICES_FILE = "THIRD_PARTY_NOTICES.txt"
"""Optional licence texts of the training data, which travel with the weights."""

HELD_OUT_FILE = "held_out.txt"
"""Optional text that the model was not trained on, for the comparison with f16."""

# Enough for numpy to work in long strides, and little beside the interpreter.
_PIECE_VALUES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder whose parts fit together; the weights are still on disk."""

    directory: Path
    architecture: Architecture
    numbers: Hyperparameters
    spec: ModelSpec
    is_ours: bool
    """Starling trained it; else the spec is what config.json tells."""
    licence: str | None
    """Of the weights, as Hugging Face spells it, e.g. ``bigcode-openrail-m``; None: unknown."""
    tokenizer: GgufTokenizer
    tensors: tuple[NamedTensor, ...]
    weights: Mapping[str, TensorRef]
    """By the folder's own names; has every source of `tensors`."""
    notes: tuple[str, ...]
    """Whole sentences that whoever converts it should read."""

    @property
    def index_files(self) -> tuple[Path, ...]:
        """Files of the attribution indexes that came with the weights; empty when there is none."""
        return tuple(
            folder / name
            for folder in _index_folders(self.directory)
            for name in INDEX_FILES
            if (folder / name).is_file()
        )

    def values(self, tensor: NamedTensor) -> NDArray[np.float32]:
        """One tensor whole, as llama.cpp wants it."""
        return np.concatenate(list(self.pieces(tensor))).reshape(tensor.shape)

    def pieces(self, tensor: NamedTensor) -> Iterator[NDArray[np.float32]]:
        """The rows of one tensor in the order of the file, some at a time.

        Raises CheckpointError where a value is not finite.
        """
        if tensor.computed:
            yield np.array(tensor.computed, dtype=np.float32)
        for source in tensor.sources:
            yield from self._pieces_of(source)

    def _pieces_of(self, source: StoredTensor) -> Iterator[NDArray[np.float32]]:
        stored, layout = self.weights[source.name], source.layout
        n_rows = stored.n_rows
        step = n_rows
        if layout.unit_rows != WHOLE:
            row_values = int(np.prod(stored.shape[1:]))
            n_units = max(1, _PIECE_VALUES // (row_values * layout.unit_rows))
            step = n_units * layout.unit_rows
        for first in range(0, n_rows, step):
            yield layout.arrange(stored.read_rows(first, min(step, n_rows - first)))


def open_checkpoint(directory: Path) -> Checkpoint:
    """Reads and cross-checks the folder; raises CheckpointError with the cure."""
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is not a folder: give one with config.json, tokenizer.json and "
            "safetensors, such as `starling train fit` writes"
        )
    config = read_json(directory / CONFIG_FILE)
    architecture = architecture_of(config)
    numbers = architecture.read(config)
    tensors = architecture.named_tensors(numbers)
    weights = find_weights(directory, other_files=INDEX_FILES)
    check_weights(directory, tensors, weights, tied=numbers.tied_embeddings)
    tokenizer_file = directory / TOKENIZER_FILE
    is_ours = (directory / SPEC_FILE).is_file()
    for folder in _index_folders(directory):
        _check_index(folder, has_spec=is_ours)
    tokenizer = read_tokenizer(
        tokenizer_file,
        config=config,
        architecture=architecture.gguf_name,
        n_tokens=numbers.vocab_size,
    )
    if is_ours:
        spec = own_spec(directory, architecture, numbers, tokenizer_file)
    else:
        order = tokenizer.fim_tokens.order if tokenizer.fim_tokens else Order.PSM
        spec = foreign_spec(directory, architecture, numbers, tensors, tokenizer_file, order)
    return Checkpoint(
        directory=directory,
        architecture=architecture,
        numbers=numbers,
        spec=spec,
        is_ours=is_ours,
        licence=WEIGHTS_LICENCE.lower() if is_ours else licence_of(directory),
        tokenizer=tokenizer,
        tensors=tensors,
        weights=weights,
        notes=(
            *_notes(numbers, tokenizer),
            *compare_with_llama_cpp(tokenizer, tokenizer_file),
        ),
    )


def read_optional_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None when there is no such file."""
    return read_json(path) if path.exists() else None


def _notes(numbers: Hyperparameters, tokenizer: GgufTokenizer) -> Iterator[str]:
    if numbers.sliding_window_tokens is not None:
        yield (
            f"the context is cut to {numbers.sliding_window_tokens:,} tokens, the model's sliding "
            "window: llama.cpp has none for this architecture, and beyond it would compute "
            "something else"
        )
    if tokenizer.fim_tokens is None:
        yield (
            "the tokenizer has no fill-in-the-middle tokens: this model can only continue a text "
            "from left to right, it does not see what follows the cursor"
        )


def _index_folders(directory: Path) -> tuple[Path, ...]:
    further = directory.glob(f"{INDEXES_FOLDER}/*")
    return (directory, *sorted(path for path in further if path.is_dir()))


def _check_index(directory: Path, *, has_spec: bool) -> None:
    present = [name for name in INDEX_FILES if (directory / name).exists()]
    if present and len(present) < len(INDEX_FILES):
        missing = ", ".join(name for name in INDEX_FILES if name not in present)
        raise CheckpointError(
            f"{directory} has a part of an attribution index but not {missing}: "
            "copy the rest of it, or remove it"
        )
    if present and not has_spec:
        raise CheckpointError(
            f"{directory} has an attribution index but there is no {SPEC_FILE} that says of which "
            "model: copy it too, or remove the index"
        )
