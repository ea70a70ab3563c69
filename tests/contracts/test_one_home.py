"""Guards facts that two packages share: each has one home, and the others agree with it."""

import importlib.metadata
import json
import tomllib
from itertools import chain
from pathlib import Path

import gguf
import pytest

from attribution.index import Index
from attribution.manifest import corpus_id_of, read_manifest
from runtime.bundle import SPEC_FILE, default_bundle_directory, open_bundle
from runtime.engine import Engine
from runtime.fim import SPECIAL_TOKENS, own_tokens
from runtime.spec import ModelSpec
from tests.train import tiny_corpus
from train.corpus.licensing.expressions import is_permissive
from train.recipe_file import load_recipe
from train.samples.tokenizer import train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = default_bundle_directory()
MIB = 1 << 20


def test_version_has_one_home() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert importlib.metadata.version("starling") == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    }
    extras = project["optional-dependencies"]
    named = (extras[extra] for extra in ("quantize", "train", "dev"))
    for wanted in (*project["dependencies"], *chain(*named)):
        name = wanted.split(">")[0].split("=")[0].split("[")[0].lower()
        assert name in pinned | {"starling"}, name


def test_tokenizer_ids_are_the_fim_ids() -> None:
    tokenizer = train_tokenizer([file.text for file in tiny_corpus.files()], 400)
    assert [tokenizer.token_to_id(text) for text in SPECIAL_TOKENS] == list(
        range(len(SPECIAL_TOKENS))
    )


def test_gguf_carries_the_fim_ids_and_the_spec(tiny_gguf: Path) -> None:
    with Engine.load(tiny_gguf) as engine:
        assert engine.info.fim == own_tokens()
        spec = engine.info.spec
    assert spec is not None
    assert ModelSpec.from_gguf_kv(spec.to_gguf_kv()) == spec
    assert ModelSpec.from_json(spec.to_json()) == spec


class TestDefaultBundle:
    """What ships must hold together: one corpus, one spec, the promised sizes."""

    def test_model_index_and_manifest_are_of_one_corpus(self) -> None:
        spec = open_bundle(None).spec
        assert spec is not None
        rows = read_manifest(BUNDLE / "manifest.jsonl.zst")
        assert corpus_id_of(rows) == spec.corpus_id
        index = Index.open(BUNDLE, expected_corpus_id=spec.corpus_id)
        assert index.n_files == len(rows)
        assert json.loads((BUNDLE / SPEC_FILE).read_text())["corpus_id"] == spec.corpus_id

    def test_it_is_made_of_its_recipe(self) -> None:
        spec = open_bundle(None).spec
        assert spec is not None
        recipe = load_recipe(spec.recipe)
        trained = {source.origin: source for source in recipe.sources}
        held_out = {source.origin for source in recipe.held_out}
        rows = read_manifest(BUNDLE / "manifest.jsonl.zst")
        assert {row.origin for row in rows} == set(trained)
        for row in rows:
            assert row.origin not in held_out
            assert row.version == trained[row.origin].pin.partition("==")[2]
            assert is_permissive(row.licence)
        assert (spec.n_layers, spec.d_model) == (recipe.model.n_layers, recipe.model.d_model)
        assert spec.n_kv_heads == 1 and spec.n_params <= 15_000_000

    def test_it_keeps_its_budget(self) -> None:
        assert (BUNDLE / "model.gguf").stat().st_size <= 64 * MIB
        assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 128 * MIB

    def test_weights_are_q8_0_with_all_six_fim_ids(self) -> None:
        reader = gguf.GGUFReader(BUNDLE / "model.gguf")
        kinds = {tensor.tensor_type.name for tensor in reader.tensors}
        assert kinds == {"Q8_0", "F32"}
        for name in ("pre", "suf", "mid", "pad", "rep", "sep"):
            assert f"tokenizer.ggml.fim_{name}_token_id" in reader.fields

    @pytest.mark.parametrize("file", ["MODEL_CARD.md", "quantization.json", "evaluation.json"])
    def test_proof_travels_with_it(self, file: str) -> None:
        assert (BUNDLE / file).stat().st_size > 200
