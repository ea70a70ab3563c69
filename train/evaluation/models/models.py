"""Opens what can be compared: a bundle, a GGUF file, or a Hugging Face folder.

Imports PyTorch only when a folder asks for it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backend import Backend
from runtime.bundle import open_bundle
from runtime.completion import ModelInfo
from runtime.engine import Engine
from runtime.errors import BundleError
from runtime.fim import Order
from runtime.gguf_check import read_for_llama
from runtime.llama import Model
from runtime.threads import physical_cores
from train.evaluation.models import hugging_face_files as folders

if TYPE_CHECKING:
    from train.evaluation.models.hugging_face import HuggingFaceModel

MAX_CONTEXT_TOKENS = 2048
"""Of models whose context is longer; as the engine that serves has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """Something to compare, not loaded yet."""

    path: Path | None
    """None: the default bundle."""
    name: str
    """For people; different for each model of a comparison."""
    file_sha256: str

    def to_json(self) -> dict[str, str]:
        """What a report says of it."""
        return {"name": self.name, "file_sha256": self.file_sha256}


def name_models(paths: Iterable[Path | None]) -> list[NamedModel]:
    """Names and hashes; raises BundleError or CheckpointError for what is no model."""
    models: list[NamedModel] = []
    for path in paths:
        name, sha256 = _identity(path)
        taken = {other.name for other in models}
        if name in taken:
            name = f"{name} ({path or 'default'})"
        n_times = 2
        while name in taken:
            name, n_times = f"{path} ({n_times})", n_times + 1
        models.append(NamedModel(path=path, name=name, file_sha256=sha256))
    return models


def require_fim(models: Iterable[NamedModel]) -> None:
    """Raises BundleError for one without sentinels, before hours are spent on the others."""
    for model in models:
        if model.path is not None and folders.is_folder(model.path):
            has_fim = folders.open_folder(model.path).tokens().fim is not None
        else:
            with open_engine(model.path) as engine:
                has_fim = engine.info.fim is not None
        if not has_fim:
            raise BundleError(
                f"{model.path} has no fill-in-the-middle tokens: choose a code model that has, "
                "such as StarCoder or Qwen-Coder"
            )


@contextmanager
def open_engine(path: Path | None) -> Iterator[Engine]:
    """The engine of a bundle, GGUF file or folder (None: the default bundle)."""
    if path is not None and folders.is_folder(path):
        engine = _engine_of(folders.open_folder(path))
    else:
        engine = Engine.load(open_bundle(path).model_path)
    with engine:
        yield engine


def open_backend(path: Path | None, *, max_context_tokens: int) -> tuple[Backend, Order, int]:
    """The bare model, the order of its prompts, and how many tokens it was trained for at once."""
    if path is not None and folders.is_folder(path):
        folder = folders.open_folder(path)
        order = folder.spec.fim_order if folder.spec else Order.PSM
        return _torch_model(folder, max_context_tokens), order, folder.context_tokens
    bundle = open_bundle(path)
    read_for_llama(bundle.model_path)
    model = Model.open(
        bundle.model_path,
        n_context_tokens=max_context_tokens,
        n_prefill_threads=physical_cores(),
    )
    order = bundle.spec.fim_order if bundle.spec else Order.PSM
    return model, order, model.n_train_context_tokens


def _identity(path: Path | None) -> tuple[str, str]:
    if path is not None and folders.is_folder(path):
        folder = folders.open_folder(path)
        return folder.name, folder.sha256()
    bundle = open_bundle(path)
    name = bundle.spec.name if bundle.spec else bundle.model_path.name
    return name, hashlib.sha256(bundle.model_path.read_bytes()).hexdigest()


def _engine_of(folder: folders.Folder) -> Engine:
    model = _torch_model(folder, MAX_CONTEXT_TOKENS)
    info = ModelInfo(
        path=folder.path,
        size_bytes=sum(path.stat().st_size for path in folder.weight_paths),
        n_params=model.n_params,
        architecture=folder.architecture,
        vocab_size=model.vocabulary.n_tokens,
        context_tokens=model.n_context_tokens,
        fim=model.vocabulary.fim,
        order=folder.spec.fim_order if folder.spec else Order.PSM,
        spec=folder.spec,
    )
    return Engine(model, info)


def _torch_model(folder: folders.Folder, max_context_tokens: int) -> "HuggingFaceModel":
    from train.evaluation.models.hugging_face import HuggingFaceModel

    return HuggingFaceModel(folder, max_context_tokens=max_context_tokens)
