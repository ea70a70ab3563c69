"""ModelSpec: what a model is. Written by training, carried in the GGUF file, read by serving.

The one home of architecture numbers, languages and corpus_id. It knows nothing of tensors.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from runtime.errors import BundleError
from runtime.fim import Order

SPEC_FORMAT_VERSION = 1
GGUF_PREFIX = "starling."

GgufValue = str | int | float | bool | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model: numbers, prompt layout and where it came from."""

    name: str
    """Short name for people, e.g. ``starling-9m``."""
    architecture: str
    """llama.cpp's name of the architecture, e.g. ``qwen3``."""
    n_params: int
    """Weights counted once (tied embeddings once)."""
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    context_tokens: int
    """Longest prompt plus completion that the model was trained for."""
    rope_theta: float
    norm_eps: float
    fim_order: Order
    """The layout that serving uses."""
    languages: tuple[str, ...]
    """Languages of the training corpus, most bytes first."""
    tokenizer_sha256: str
    """SHA-256 of tokenizer.json."""
    corpus_id: str
    """SHA-256 of the sorted manifest; ties weights and attribution index together."""
    recipe: str
    """Name of the training recipe."""
    code_commit: str
    """Commit of the code that trained it, or ``unknown``."""
    format_version: int = SPEC_FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != SPEC_FORMAT_VERSION:
            raise BundleError(
                f"this model's spec has format {self.format_version}, this Starling reads "
                f"{SPEC_FORMAT_VERSION}: update Starling, or export the model again"
            )

    def to_json(self) -> str:
        """Pretty JSON with sorted keys and a final newline."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`; raises BundleError on missing or unknown keys."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"spec.json is not JSON ({error}): export the model again") from error
        if not isinstance(values, dict):
            raise BundleError("spec.json is not a JSON object: export the model again")
        return cls._from_values(values)

    def to_gguf_kv(self) -> dict[str, GgufValue]:
        """The spec as ``starling.*`` metadata of a GGUF file."""
        return {
            GGUF_PREFIX + key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_gguf_kv(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Inverse of `to_gguf_kv`; None when the file carries no spec (a model not of ours)."""
        values = {
            key.removeprefix(GGUF_PREFIX): value
            for key, value in metadata.items()
            if key.startswith(GGUF_PREFIX)
        }
        return cls._from_values(values) if values else None

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        if missing := sorted(known - values.keys()):
            raise BundleError(
                f"the model's spec lacks {', '.join(missing)}: export the model again"
            )
        try:
            return cls(
                **{
                    **{key: values[key] for key in known},
                    "fim_order": Order(values["fim_order"]),
                    "languages": tuple(values["languages"]),
                    "rope_theta": float(values["rope_theta"]),
                    "norm_eps": float(values["norm_eps"]),
                }
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise BundleError(
                f"the model's spec is damaged ({error}): export the model again"
            ) from error
