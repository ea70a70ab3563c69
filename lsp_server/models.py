"""Which models there are on this machine: the shipped bundle, the user's folder, further folders.

Looks at names and sizes only; whether a model can be used is found out when it is loaded.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import MODEL_FILE, default_bundle_directory

# Folders below a model folder are looked into once, not a whole disk.
_MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model that may be loaded."""

    name: str
    path: Path
    kind: str
    """bundle (with its attribution index) or gguf."""
    size_bytes: int

    def to_json(self, *, is_current: bool) -> dict[str, Any]:
        """As `starling.models` answers."""
        return {
            "name": self.name,
            "path": str(self.path),
            "kind": self.kind,
            "sizeBytes": self.size_bytes,
            "current": is_current,
        }


def find_models(more_folders: Sequence[Path]) -> tuple[FoundModel, ...]:
    """The default bundle first; each place once."""
    found: dict[Path, FoundModel] = {}
    for path in (default_bundle_directory(), *_entries([user_folder(), *more_folders])):
        model = _model_at(path)
        if model is not None:
            found.setdefault(path.resolve(), model)
    return tuple(found.values())


def user_folder() -> Path:
    """Where users put models; it need not exist."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "starling" / "models"


def is_same(path: Path, other: Path | None) -> bool:
    """Whether two names lead to one model; None is the default bundle."""
    return path.resolve() == (other or default_bundle_directory()).resolve()


def _entries(folders: Sequence[Path]) -> Iterator[Path]:
    """A folder may be a model itself, or hold some."""
    for folder in folders:
        yield folder
        try:
            yield from sorted(folder.iterdir())[:_MAX_ENTRIES]
        except OSError:
            continue


def _model_at(path: Path) -> FoundModel | None:
    try:
        if path.suffix == ".gguf" and path.is_file():
            size_bytes = path.stat().st_size
            return FoundModel(name=path.stem, path=path, kind="gguf", size_bytes=size_bytes)
        if (path / MODEL_FILE).is_file():
            size_bytes = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            return FoundModel(name=path.name, path=path, kind="bundle", size_bytes=size_bytes)
    except OSError:
        pass
    return None
