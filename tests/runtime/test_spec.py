"""Guards the model's identity card: it must survive both of its homes unchanged."""

import json
from pathlib import Path

import pytest

from runtime.errors import BundleError
from runtime.gguf_header import read_header
from runtime.spec import ModelSpec
from tests import tiny_model


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_model.write(tmp_path_factory.mktemp("spec") / "model.gguf")


def test_json_round_trip(spec: ModelSpec) -> None:
    text = spec.to_json()
    assert ModelSpec.from_json(text) == spec
    assert text.endswith("}\n")


def test_gguf_round_trip(spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    assert tiny_model.write(path) == spec
    assert ModelSpec.from_gguf_kv(read_header(path).metadata) == spec
    assert ModelSpec.from_gguf_kv(spec.to_gguf_kv()) == spec


def test_a_model_not_of_ours() -> None:
    assert ModelSpec.from_gguf_kv({"general.architecture": "starcoder2"}) is None


def test_same_seed_same_model(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny_model.write(tmp_path / name, seed=seed)
    first, second, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != other


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"fim_order": "mps"},
        {"rope_theta": "many"},
        {"languages": None},
    ],
)
def test_damaged(spec: ModelSpec, change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="again"):
        ModelSpec.from_json(json.dumps(json.loads(spec.to_json()) | change))


def test_missing_key(spec: ModelSpec) -> None:
    values = json.loads(spec.to_json())
    del values["corpus_id"], values["name"]
    with pytest.raises(BundleError, match="lacks corpus_id, name"):
        ModelSpec.from_json(json.dumps(values))
