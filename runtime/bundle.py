"""A bundle: the folder that is built, shipped, chosen and cited; or a bare GGUF file in its place.

Opening reads names, spec and GGUF header, and checks that they agree; it loads no weights. What
stands in the attribution files is none of this module's business.
"""

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError
from runtime.gguf_header import read_header
from runtime.spec import ModelSpec

MODEL_FILE = "model.gguf"
SPEC_FILE = "spec.json"
CARD_FILE = "MODEL_CARD.md"

_GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Where a model lies and what it says of itself."""

    model_path: Path
    directory: Path | None
    """None: a bare GGUF file."""
    spec: ModelSpec | None
    """None: not a model of ours."""


def default_bundle_directory() -> Path:
    """The bundle that the wheel carries."""
    return Path(__file__).resolve().parent / "default_bundle"


def open_bundle(path: Path | None) -> Bundle:
    """Check the bundle folder or GGUF file at `path` (None: the default bundle)."""
    if path is None:
        path = default_bundle_directory()
        if not path.is_dir():
            raise BundleError(
                f"this installation has no default bundle at {path}: name a bundle or a .gguf "
                "file, or build one with `starling train` and `starling quantize`"
            )
    if path.is_dir():
        return _open_directory(path)
    spec = ModelSpec.from_gguf_kv(read_header(path).metadata)
    return Bundle(model_path=path, directory=None, spec=spec)


def _open_directory(directory: Path) -> Bundle:
    model_path, spec_path = directory / MODEL_FILE, directory / SPEC_FILE
    if not model_path.is_file():
        others = sorted(entry.name for entry in directory.glob(f"*{_GGUF_SUFFIX}"))
        cure = (
            f"name {directory / others[0]} itself"
            if others
            else "name a folder that `starling quantize` wrote"
        )
        raise BundleError(f"{directory} is not a bundle, it has no {MODEL_FILE}: {cure}")
    spec = ModelSpec.from_gguf_kv(read_header(model_path).metadata)
    try:
        written = ModelSpec.from_json(spec_path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{directory} has no {SPEC_FILE}: export the bundle again, or name {model_path} itself"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"cannot read {spec_path} ({error}): export the bundle again") from error
    if spec != written:
        raise BundleError(
            f"{spec_path} and {model_path} describe different models: export the bundle again"
        )
    return Bundle(model_path=model_path, directory=directory, spec=spec)
