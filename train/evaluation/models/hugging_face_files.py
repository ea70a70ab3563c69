"""What lies in a Hugging Face folder, checked without torch and before any weight is read."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import SPEC_FILE
from runtime.spec import ModelSpec
from train.errors import CheckpointError
from train.evaluation.models.hugging_face_tokens import TOKENIZER_FILE, HuggingFaceTokens

CONFIG_FILE = "config.json"
_WEIGHTS = "*.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth")
# How the families call the longest text they were trained for.
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that has all it needs."""

    path: Path
    config: dict[str, Any]
    weight_paths: tuple[Path, ...]
    spec: ModelSpec | None
    """Of a checkpoint that Starling exported; None: not a model of ours."""

    @property
    def name(self) -> str:
        """For people."""
        return self.spec.name if self.spec else self.path.resolve().name

    @property
    def architecture(self) -> str:
        """transformers' name of it."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def context_tokens(self) -> int:
        """The longest text that the model was trained for."""
        for key in _CONTEXT_KEYS:
            if isinstance(value := self.config.get(key), int) and value > 0:
                return value
        raise CheckpointError(
            f"{self.path / CONFIG_FILE} does not say how long a text may be: add "
            "max_position_embeddings"
        )

    def tokens(self) -> HuggingFaceTokens:
        """The vocabulary; raises CheckpointError when it is damaged or of an unknown kind."""
        end = self.config.get("eos_token_id")
        ends = end if isinstance(end, list) else [end]
        return HuggingFaceTokens(self.path, frozenset(i for i in ends if isinstance(i, int)))

    def sha256(self) -> str:
        """Of all weights, in the order of their names."""
        digest = hashlib.sha256()
        for path in self.weight_paths:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
        return digest.hexdigest()


def is_folder(path: Path) -> bool:
    """Whether `path` is meant as such a folder: it has one of its files, and no GGUF."""
    if not path.is_dir() or any(path.glob("*.gguf")):
        return False
    return any((path / name).exists() for name in (CONFIG_FILE, TOKENIZER_FILE)) or any(
        path.glob(_WEIGHTS)
    )


def open_folder(path: Path) -> Folder:
    """The folder with its config read; raises CheckpointError that names what is missing."""
    weight_paths = tuple(sorted(path.glob(_WEIGHTS)))
    missing = [name for name in (CONFIG_FILE, TOKENIZER_FILE) if not (path / name).is_file()]
    if not weight_paths:
        missing.append(_WEIGHTS)
    if missing:
        hint = "download the folder again"
        if not weight_paths and any(any(path.glob(pattern)) for pattern in _PICKLES):
            hint = "its weights are pickles, which may hold programs: convert them to safetensors"
        raise CheckpointError(f"{path} lacks {' and '.join(missing)}: {hint}")
    try:
        config = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path / CONFIG_FILE} is damaged ({error}): download it again"
        ) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise CheckpointError(
            f"{path / CONFIG_FILE} names no model_type: it is not the config of a model, "
            "download it again"
        )
    spec_path = path / SPEC_FILE
    spec = (
        ModelSpec.from_json(spec_path.read_text(encoding="utf-8")) if spec_path.exists() else None
    )
    return Folder(path=path, config=config, weight_paths=weight_paths, spec=spec)
