"""`starling train adapt`: a bundle goes on with the user's code and becomes a new bundle.

    WORK/adapt.json            what is adapted to what: a work folder continues only the same
    WORK/source, corpus ...    the data (`train.adapt.data`)
    WORK/before.json           the base on held-out files (`train.adapt.report`)
    WORK/fit                   the run, as `train.fitting` keeps it
    WORK/checkpoint            what `starling quantize` reads
    OUT                        the new bundle, all of it or nothing

Each step leaves a file when it is whole, so whoever was killed continues. The work folder holds the
user's code; it is deleted when the bundle stands.

The index of the user's code lies beside the base's, each as it was built (`attribution.indexes`),
and the new model's `corpus_id` is that of both together.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runtime.bundle import MODEL_FILE, SPEC_FILE, default_bundle_directory
from runtime.spec import ModelSpec
from train.adapt import report
from train.adapt.data import MAX_HELD_OUT_BYTES, AdaptData, WorkPaths, make_data
from train.adapt.export import Base, open_base, quantize, write_base, write_checkpoint
from train.corpus.executors import Cluster
from train.corpus.run_lock import LOCK_FILE, locked
from train.corpus.source_file import SourceFile, read_shards, write_json
from train.errors import CheckpointError, RecipeError
from train.fitting.loop import TokenFiles, fit
from train.model.start import Start, read_start
from train.recipe import Recipe

MAX_EPOCHS = 4
"""Passes over the data at most; more of them learn by heart."""
NO_REPLAY_FACTOR = 0.5
"""Of learning rates and passes where there is no other code to keep the model from forgetting."""
MIN_STEPS_TO_COMPILE = 200
"""Shorter runs are over before torch.compile has paid for itself."""

Say = Callable[[str], None]

_HEAD_SHARE = 0.15
"""About so much of a row is sentinels, paths and other files, beside the text itself."""
_STATE_FILE, _BEFORE_FILE = "adapt.json", "before.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """What the user asks for."""

    paths: tuple[Path, ...]
    """Folders, git repositories and archives to learn from."""
    base: Path | None
    """What is continued, as `read_start` takes it; None is the default bundle."""
    out: Path
    work: Path
    name: str
    """Of the new model; empty: the base's with ``-adapted``."""
    replay: Path | None
    """Corpus folder that holds files which the base was trained on."""
    minutes: float | None
    """Training time over all sittings."""


def adapt(
    asked: Adaptation,
    recipe: Recipe,
    *,
    cluster: Cluster,
    say: Say,
    n_row_workers: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Make the bundle; gives the rows of `adapt_report.compare`. `n_row_workers` as in `fit`."""
    _check(asked)
    start = read_start(asked.base)
    asked = replace(asked, name=asked.name or _adapted_name(start.model.name))
    with locked(asked.work):
        _claim(asked, recipe, start)
        base = open_base(asked.base, start, say)
        data = _make_data(asked, recipe, base, cluster, say)
        recipe = fitted_recipe(recipe, base.start, data, name=asked.name)
        before = _measure_before(asked, recipe, base, data, say)
        path = fit(
            recipe,
            _token_files(asked.work),
            asked.work / "fit",
            languages=tuple(data.language_bytes),
            minutes=asked.minutes,
            say=say,
            start=base.start,
            n_workers=n_row_workers,
        )
        checkpoint = asked.work / "checkpoint"
        write_checkpoint(checkpoint, recipe, base, data, path, asked.work)
        say("measuring the new model")
        quantize(checkpoint, asked.work / "bundle", replace_it=True)
        after = _measure(asked.work / "bundle" / MODEL_FILE, asked.work)
        rows = report.compare(before, after)
        write_json(checkpoint / "evaluation.json", {"before and after": rows})
        quantize(checkpoint, asked.out, replace_it=False)
    shutil.rmtree(asked.work)
    return rows


def fitted_recipe(recipe: Recipe, start: Start, data: AdaptData, *, name: str) -> Recipe:
    """The recipe with the base's model, and a schedule for this much data."""
    config = recipe.fit
    factor = 1.0 if data.n_replay_files else NO_REPLAY_FACTOR
    row_tokens = min(config.row_tokens, start.model.context_tokens)
    n_tokens = factor * MAX_EPOCHS * data.n_tokens / (1 - _HEAD_SHARE)
    n_steps = max(1, math.ceil(n_tokens / (row_tokens * config.batch_rows)))
    return replace(
        recipe,
        model=replace(start.model, name=name),
        fit=replace(
            config,
            row_tokens=row_tokens,
            n_steps=n_steps,
            warmup_steps=min(config.warmup_steps, n_steps // 5),
            adamw_lr=factor * config.adamw_lr,
            muon_lr=factor * config.muon_lr,
            compile=config.compile and n_steps >= MIN_STEPS_TO_COMPILE,
        ),
    )


def default_work_folder(out: Path) -> Path:
    """Beside `out`, and hidden, so that it is not read where it lies inside the user's code."""
    return out.absolute().with_name(f".{out.name}.adapting")


def default_replay(base: Path | None) -> Path | None:
    """The corpus of the run that made `base`, if it is where `starling train corpus` puts it."""
    spec_path = (base if base is not None else default_bundle_directory()) / SPEC_FILE
    if not spec_path.is_file():
        return None
    spec = ModelSpec.from_json(spec_path.read_text(encoding="utf-8"))
    corpus = Path("runs") / spec.recipe / "corpus"
    return corpus if spec.recipe and corpus.is_dir() else None


def _check(asked: Adaptation) -> None:
    """Everything that would be in the way at the end, before an hour is spent."""
    if asked.out.exists() and (not asked.out.is_dir() or any(asked.out.iterdir())):
        raise CheckpointError(f"{asked.out} exists: choose another folder for --out, or delete it")
    work = asked.work.resolve()
    for path in asked.paths:
        below = work.relative_to(path.resolve()) if work.is_relative_to(path.resolve()) else None
        if below is not None and not any(part.startswith(".") for part in below.parts):
            raise RecipeError(
                f"the work folder {asked.work} lies inside {path}, so that it would be learned: "
                "choose another --work"
            )
    if asked.replay is not None and not any(asked.replay.glob("*.zst")):
        raise RecipeError(
            f"{asked.replay} is not a corpus: give --replay the folder `corpus` of a run of "
            "`starling train corpus`, or leave it out"
        )
    others = {entry.name for entry in asked.work.glob("*")} - {LOCK_FILE}
    if others and _STATE_FILE not in others:
        raise RecipeError(
            f"{asked.work} is not the work folder of an adaptation: choose another --work"
        )


def _claim(asked: Adaptation, recipe: Recipe, start: Start) -> None:
    """Raise RecipeError when the work folder is of another adaptation."""
    path = asked.work / _STATE_FILE
    identity = {
        "paths": sorted(str(one.resolve()) for one in asked.paths),
        "base": start.sha256,
        "name": asked.name,
        "replay": str(asked.replay.resolve()) if asked.replay else "",
        "corpus settings": asdict(recipe.corpus) | {"languages": list(recipe.corpus.languages)},
        "fit settings": asdict(recipe.fit),
    }
    identity = json.loads(json.dumps(identity))
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    differing = [key for key, value in identity.items() if known.get(key) != value]
    here = WorkPaths(root=asked.work)
    if differing and here.data.is_file():
        raise RecipeError(
            f"{asked.work} holds an adaptation that was begun with another {differing[0]}: choose "
            "another --work, or delete it to start anew"
        )
    if differing:
        # Nothing of it was finished.
        for entry in asked.work.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != LOCK_FILE:
                entry.unlink()
        write_json(path, identity)
    here.tokenizer.parent.mkdir(exist_ok=True)
    shutil.copyfile(start.tokenizer_path, here.tokenizer)


def _make_data(
    asked: Adaptation, recipe: Recipe, base: Base, cluster: Cluster, say: Say
) -> AdaptData:
    data = make_data(
        recipe,
        asked.paths,
        asked.work,
        base_rows=base.rows,
        replay=asked.replay,
        cluster=cluster,
        say=say,
    )
    say(
        f"learning from {data.n_files} files ({data.n_bytes / 1e6:.2f} MB); held out "
        f"{data.n_held_out_files} files ({data.n_held_out_bytes / 1e3:.0f} kB)"
    )
    if data.n_replay_files:
        say(
            f"replaying {data.n_replay_files} files ({data.n_replay_bytes / 1e6:.2f} MB) that the "
            "base was trained on"
        )
    else:
        why = "none of the files in --replay is in the base's manifest" if asked.replay else (
            "no corpus of the base at hand"
        )  # fmt: skip
        say(f"no replay ({why}): half the learning rate and half the passes, and it may forget")
    return data


def _token_files(work: Path) -> TokenFiles:
    here = WorkPaths(root=work)
    return TokenFiles(tokenizer=here.tokenizer, tokens=here.tokens, held_out=here.held_out_tokens)


def _measure_before(
    asked: Adaptation, recipe: Recipe, base: Base, data: AdaptData, say: Say
) -> dict[str, Any]:
    path = asked.work / _BEFORE_FILE
    if not path.is_file():
        say("measuring the base")
        model_path = base.model_path
        if model_path is None:
            # Also the proof that the result can be quantized, before any time is spent on it.
            checkpoint = asked.work / "base"
            write_base(checkpoint, recipe, base, data, asked.work)
            quantize(checkpoint, asked.work / "base-bundle", replace_it=True)
            model_path = asked.work / "base-bundle" / MODEL_FILE
        write_json(path, _measure(model_path, asked.work))
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return measured


def _measure(model_path: Path, work: Path) -> dict[str, Any]:
    here = WorkPaths(root=work)
    files: dict[str, list[SourceFile]] = {
        report.OWN: list(read_shards(here.held_out)),
        report.OTHER: list(read_shards(here.other)),
    }
    return report.measure(model_path, files, max_bytes=MAX_HELD_OUT_BYTES)


def _adapted_name(name: str) -> str:
    return name if name.endswith("-adapted") else f"{name}-adapted"
