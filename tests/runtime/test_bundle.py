"""Guards the choice of a model: a wrong folder must be named as such, with the cure."""

import json
import shutil
from pathlib import Path

import pytest

from runtime.bundle import MODEL_FILE, SPEC_FILE, default_bundle_directory, open_bundle
from runtime.errors import BundleError
from runtime.gguf_header import read_header
from runtime.spec import ModelSpec


@pytest.fixture
def directory(tmp_path: Path, tiny_gguf: Path) -> Path:
    shutil.copy(tiny_gguf, tmp_path / MODEL_FILE)
    spec = ModelSpec.from_gguf_kv(read_header(tiny_gguf).metadata)
    assert spec is not None
    (tmp_path / SPEC_FILE).write_text(spec.to_json())
    return tmp_path


def test_a_folder(directory: Path) -> None:
    bundle = open_bundle(directory)
    assert bundle.directory == directory
    assert bundle.model_path == directory / MODEL_FILE
    assert bundle.spec is not None and bundle.spec.name == "tiny-random"


def test_a_bare_file(tiny_gguf: Path) -> None:
    bundle = open_bundle(tiny_gguf)
    assert (bundle.directory, bundle.model_path) == (None, tiny_gguf)


def test_none_is_the_default() -> None:
    directory = default_bundle_directory()
    if directory.is_dir():
        assert open_bundle(None).directory == directory
    else:
        with pytest.raises(BundleError, match="name a bundle"):
            open_bundle(None)


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="check the path"):
        open_bundle(tmp_path / "nothing")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(tmp_path)


def test_a_folder_with_another_model(tmp_path: Path, tiny_gguf: Path) -> None:
    shutil.copy(tiny_gguf, tmp_path / "starcoder.gguf")
    with pytest.raises(BundleError, match="name .*starcoder.gguf itself"):
        open_bundle(tmp_path)


def test_no_spec(directory: Path) -> None:
    (directory / SPEC_FILE).unlink()
    with pytest.raises(BundleError, match="export the bundle again"):
        open_bundle(directory)


@pytest.mark.parametrize(
    ("key", "value"), [("corpus_id", "f" * 64), ("context_tokens", 4096), ("languages", ["c"])]
)
def test_a_spec_of_another_model(directory: Path, key: str, value: object) -> None:
    path = directory / SPEC_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(BundleError, match="different models"):
        open_bundle(directory)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b"\xff\xfe"])
def test_a_damaged_spec(directory: Path, data: bytes) -> None:
    (directory / SPEC_FILE).write_bytes(data)
    with pytest.raises(BundleError, match="export the (bundle|model) again"):
        open_bundle(directory)
