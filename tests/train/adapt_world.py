"""What an adaptation starts from: a tiny bundle, its training files, and the code of a user."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from attribution.build import build_index
from attribution.manifest import ManifestRow, corpus_id_of
from quantize.budget import Budget
from quantize.bundle_writer import write_bundle
from quantize.llama_quantize import QuantType
from quantize.rounding import Rounding
from quantize.texts import HeldOut, Texts
from tests.quantize import tiny_checkpoint
from tests.train.corpus_project import code
from train.adapt.adaptation import Adaptation, default_work_folder
from train.corpus.executors import Cluster
from train.corpus.source_file import SourceFile, write_shard
from train.recipe import Recipe
from train.recipe_file import load_recipe

LOCAL = Cluster(kind="local", n_workers=1)
N_BASE_FILES, N_OWN_FILES, N_FUNCTIONS = 30, 28, 8
N_HELD_OUT = 2


def tiny_recipe() -> Recipe:
    """The shipped one with rows that fit a tiny model, and steps large enough to see."""
    recipe = load_recipe("adapt")
    return replace(
        recipe,
        fit=replace(
            recipe.fit,
            row_tokens=64,
            batch_rows=16,
            muon_lr=0.02,
            adamw_lr=0.004,
            compile=False,
        ),
    )


def write(world: Path) -> None:
    """A bundle `base`, its training files and more in `run`, the user's code in `shop`."""
    files = [base_file(number) for number in range(N_BASE_FILES)]
    checkpoint = world / "checkpoint"
    spec = tiny_checkpoint.write(checkpoint)
    spec = replace(spec, corpus_id=corpus_id_of(map(_row_of, files)))
    (checkpoint / "spec.json").write_text(spec.to_json())
    build_index(checkpoint, [(_row_of(file), file.text) for file in files])
    (checkpoint / "THIRD_PARTY_NOTICES.txt").write_text("the base's licences\n")
    (checkpoint / "corpus.json").write_text(
        json.dumps({"n_files": 30, "n_bytes": 1000, "languages": {"Python": 1000},
                    "licences": {"MIT": 30}, "origins": {"pypi:base0": "1"}})
    )  # fmt: skip
    sample = HeldOut(name="sample", text=code("sample", 3))
    write_bundle(
        checkpoint,
        world / "base",
        roundings=[Rounding.of(QuantType.Q8_0)],
        texts=Texts(proof=sample, calibration=sample),
        budget=Budget(),
        overwrite=False,
        on_progress=lambda *_: None,
    )
    for folder, some in (
        # One file that the base never saw, and one that changed since.
        ("corpus", [*files, base_file(99), replace(files[0], path="0b.py", text="x = 1\n")]),
        ("held_out", [replace(base_file(n), origin="pypi:other") for n in range(100, 110)]),
    ):
        (world / "run" / folder).mkdir(parents=True)
        write_shard(world / "run" / folder / "files.jsonl.zst", some)
    _write_shop(world / "shop")


def asked_of(world: Path, out: Path, **changes: Any) -> Adaptation:
    asked = Adaptation(
        paths=(world / "shop",),
        base=world / "base",
        out=out,
        work=default_work_folder(out),
        name="",
        replay=world / "run" / "corpus",
        minutes=None,
    )
    return replace(asked, **changes)


def base_file(number: int) -> SourceFile:
    text = code(f"base{number}", 8)
    return SourceFile(
        origin=f"pypi:base{number % 3}",
        version="1",
        path=f"{number}.py",
        licence="MIT",
        language="Python",
        swhid=f"swh:1:cnt:{number:040x}",
        text=text,
    )


def _row_of(file: SourceFile) -> ManifestRow:
    return ManifestRow(
        swhid=file.swhid,
        origin=file.origin,
        version=file.version,
        path=file.path,
        licence=file.licence,
        language=file.language,
        n_bytes=len(file.text.encode()),
        cluster=0,
    )


def _write_shop(folder: Path) -> None:
    folder.mkdir()
    for number in range(N_OWN_FILES):
        (folder / f"own{number}.py").write_text(code(f"own{number}", N_FUNCTIONS))
    (folder / "LICENSE").write_text("All rights reserved. Copyright 2024 the shop.\n")
