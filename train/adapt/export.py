"""What an adaptation takes from its base, and what it gives to `starling quantize`.

A checkpoint folder with everything that the new bundle carries: weights, tokenizer, both indexes,
the licence texts of both corpora, and counts for the model card.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from attribution.errors import AttributionError
from attribution.index import INDEX_FILES, Index
from attribution.indexes import INDEXES_FOLDER, joint_corpus_id, open_indexes, read_manifests
from attribution.manifest import ManifestRow
from runtime.bundle import SPEC_FILE, open_bundle
from runtime.spec import ModelSpec
from train.adapt.data import AdaptData, WorkPaths, notices_of
from train.corpus.source_file import read_shards, write_json
from train.errors import CheckpointError
from train.fitting.checkpoint import export_model, load_state, load_weights, whole_folder
from train.fitting.loop import run_identity
from train.model.architectures import build_model, model_spec
from train.model.start import CONFIG_FILE, Start
from train.recipe import Recipe
from train.samples.shards import open_tokens

QUANT_TYPE = "q8_0"

_NOTICES_FILE, _CORPUS_FILE = "THIRD_PARTY_NOTICES.txt", "corpus.json"
_HELD_OUT_FILE = "held_out.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model that is continued, and what is known of its training."""

    start: Start
    directory: Path | None
    """Where spec, index and notices lie; None for a bare GGUF file."""
    model_path: Path | None
    """None: it is no GGUF file yet."""
    indexes: tuple[Index, ...]
    """Cover all that the base was trained on, or are empty."""
    rows: tuple[ManifestRow, ...]


def open_base(path: Path | None, start: Start, say: Callable[[str], None]) -> Base:
    """What lies in `path` beside the weights of `start`."""
    directory: Path | None
    model_path: Path | None
    if path is not None and (path / CONFIG_FILE).is_file():
        directory, model_path = path, None
    else:
        bundle = open_bundle(path)
        directory, model_path = bundle.directory, bundle.model_path
    indexes: tuple[Index, ...] = ()
    rows: tuple[ManifestRow, ...] = ()
    if start.spec is not None and directory is not None:
        try:
            corpus_id = start.spec.corpus_id
            indexes = open_indexes(directory, expected_corpus_id=corpus_id)
            rows = read_manifests(directory, expected_corpus_id=corpus_id)
        except AttributionError as error:
            say(f"the base has no sound index ({error})")
    if not indexes:
        say(
            "what the base was trained on is not known, so the new bundle will answer `unknown` "
            "when asked where its suggestions come from"
        )
    return Base(start=start, directory=directory, model_path=model_path, indexes=indexes, rows=rows)


def write_base(target: Path, recipe: Recipe, base: Base, data: AdaptData, work: Path) -> None:
    """The start weights as a checkpoint that can be quantized."""
    start = base.start
    shard = open_tokens(WorkPaths(root=work).tokens)
    model = build_model(start.model, shard.vocab_size, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Rows of the embedding behind the tokenizer's last token stand for nothing.
            parameter.copy_(start.weights[name][: len(parameter)])
    spec = start.spec or model_spec(recipe, model, shard, tuple(data.language_bytes))
    with whole_folder(target) as making:
        export_model(making, model, model.config)
        _write_common(making, replace(spec, vocab_size=shard.vocab_size), work)


def write_checkpoint(
    target: Path, recipe: Recipe, base: Base, data: AdaptData, trained: Path, work: Path
) -> None:
    """The trained weights with everything that goes into the bundle."""
    model, spec = _load_trained(recipe, work, trained)
    base_ids = [index.corpus_id for index in base.indexes]
    if not base_ids:
        base_ids = [base.start.spec.corpus_id if base.start.spec else "unknown"]
    spec = replace(
        spec,
        corpus_id=joint_corpus_id([*base_ids, data.own_corpus_id]),
        languages=_joint_languages(base.start.spec, data),
        recipe=recipe.name,
    )
    if base.start.spec is not None:
        spec = replace(spec, fim_order=base.start.spec.fim_order)
    with whole_folder(target) as making:
        export_model(making, model, model.config)
        _write_common(making, spec, work)
        _write_indexes(making, base, work, data)
        _write_notices(making / _NOTICES_FILE, base.directory, work)
        write_json(making / _CORPUS_FILE, _corpus_summary(base.directory, data, spec))


def _load_trained(recipe: Recipe, work: Path, trained: Path) -> tuple[Any, ModelSpec]:
    shard = open_tokens(WorkPaths(root=work).tokens)
    _, spec = load_state(trained, run_identity(recipe, shard))
    model = build_model(recipe.model, shard.vocab_size, seed=0)
    load_weights(trained, model)
    return model, spec


def _write_common(target: Path, spec: ModelSpec, work: Path) -> None:
    here = WorkPaths(root=work)
    (target / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    shutil.copyfile(here.tokenizer, target / here.tokenizer.name)
    held_out = "\n".join(file.text for file in read_shards(here.held_out))
    (target / _HELD_OUT_FILE).write_text(held_out, encoding="utf-8", errors="replace")


def _write_indexes(target: Path, base: Base, work: Path, data: AdaptData) -> None:
    """The base's index files where they were, and those of the user's code in a new folder.

    Without the base's, none: an index of a part must not look like one of the whole.
    """
    if not base.indexes:
        return
    further = 0
    for index in base.indexes:
        place = target
        if index.directory != base.directory:
            place = target / INDEXES_FOLDER / index.directory.name
            further += 1
        _copy_index(index.directory, place)
    if data.own_corpus_id not in (index.corpus_id for index in base.indexes):
        _copy_index(WorkPaths(root=work).index, target / INDEXES_FOLDER / f"own-{further + 1}")


def _copy_index(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in INDEX_FILES:
        shutil.copyfile(source / name, target / name)


def _write_notices(target: Path, base_directory: Path | None, work: Path) -> None:
    parts = [notices_of(work)]
    if base_directory is not None:
        parts.insert(0, base_directory / _NOTICES_FILE)
    texts = [part.read_text(encoding="utf-8") for part in parts if part.is_file()]
    target.write_text(f"\n{'=' * 80}\n\n".join(texts), encoding="utf-8")


def _corpus_summary(
    base_directory: Path | None, data: AdaptData, spec: ModelSpec
) -> dict[str, Any]:
    """Counts of both corpora together, for the model card."""
    base: Mapping[str, Any] = {}
    if base_directory is not None and (base_directory / _CORPUS_FILE).is_file():
        base = json.loads((base_directory / _CORPUS_FILE).read_text(encoding="utf-8"))
    origins = {**base.get("origins", {}), **data.origins}
    return {
        "corpus_id": spec.corpus_id,
        "n_files": base.get("n_files", 0) + data.n_files,
        "n_bytes": base.get("n_bytes", 0) + data.n_bytes,
        "n_origins": len(origins),
        "origins": origins,
        "held_out": base.get("held_out", []),
        "licences": _summed(base.get("licences", {}), data.licence_files),
        "languages": _summed(base.get("languages", {}), data.language_bytes),
        "adapted_to": {
            "n_files": data.n_files,
            "n_bytes": data.n_bytes,
            "n_replayed_files": data.n_replay_files,
            "held_out_files": data.n_held_out_files,
        },
    }


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *other)}


def _joint_languages(spec: ModelSpec | None, data: AdaptData) -> tuple[str, ...]:
    """The base's, then those that the user's code adds."""
    known = spec.languages if spec is not None else ()
    return (*known, *(name for name in data.language_bytes if name not in known))


def quantize(checkpoint: Path, out: Path, *, replace_it: bool) -> None:
    """By the command, because `train` may not import `quantize`."""
    command: Sequence[str] = [
        sys.executable, "-m", "starling", "quantize", str(checkpoint), "--type", QUANT_TYPE,
        "--out", str(out), *(["--force"] if replace_it else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise CheckpointError(
            f"the weights in {checkpoint} could not be turned into a bundle: "
            f"{lines[-1].removeprefix('starling: ')}"
        )
