"""Guards what a run leaves on disk: whole checkpoints, the right ones, and nothing else.

If it breaks, a night of training is lost to a full disk, or weights with a flipped bit are shipped.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.train import tiny_corpus, tiny_run
from tests.train.tiny_run import changed_recipe, largest_file
from train.errors import CheckpointError
from train.fitting.checkpoint import (
    AVERAGE_FILE,
    HASHES_FILE,
    MODEL_FILE,
    OPTIMIZER_FILE,
    STATE_FILE,
    damage,
    export_model,
    finished_checkpoints,
    load_state,
    load_weights,
    read_state,
    whole_folder,
)
from train.fitting.loop import TokenFiles, run_identity
from train.fitting.retention import BEST_FILE, chosen_checkpoint
from train.model.architectures import build_model
from train.samples.shards import open_tokens, write_tokens
from train.samples.tokenizer import load_tokenizer

SPEC_FILE = "spec.json"


pytestmark = pytest.mark.usefixtures("one_thread")


def steps(out: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in finished_checkpoints(out)]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_last_best_and_every_so_many_stay(tokens: TokenFiles, tmp_path: Path) -> None:
    """Learning rates that ruin the model after it was good, so that the best is not the last."""
    recipe = changed_recipe(
        n_steps=24, muon_lr=0.05, keep_every_steps=10, validation_every_steps=2, seed=2
    )
    tiny_run.train(recipe, tokens, tmp_path, stop_after_steps=8)
    best = json.loads((tmp_path / BEST_FILE).read_text())
    # From here on the validation is of other text, on which no checkpoint is better.
    harder = tmp_path / "harder.bin"
    shard = open_tokens(tokens.tokens)
    write_reversed(harder, tokens, shard.tokenizer_sha256)
    tiny_run.train(recipe, replace(tokens, held_out=harder), tmp_path)
    assert steps(tmp_path) == [8, 10, 20, 24]
    assert best["checkpoint"] == "step-00000008"
    assert json.loads((tmp_path / BEST_FILE).read_text()) == best
    reasons = {step: read_state(tmp_path / f"step-{step:08d}").why_kept for step in steps(tmp_path)}
    assert reasons == {
        8: ("last", "best validation loss"),
        10: ("last", "every keep_every_steps"),
        20: ("last", "every keep_every_steps"),
        24: ("last",),
    }
    assert chosen_checkpoint(tmp_path, "best").name == "step-00000008"
    assert chosen_checkpoint(tmp_path, "last").name == "step-00000024"
    assert chosen_checkpoint(tmp_path, "10").name == "step-00000010"
    with pytest.raises(CheckpointError, match="step 9: choose best, last or one of 8, 10, 20, 24"):
        chosen_checkpoint(tmp_path, "9")


def write_reversed(path: Path, tokens: TokenFiles, tokenizer_sha256: str) -> None:
    files = [replace(file, text=file.text[::-1]) for file in tiny_corpus.files(4)]
    write_tokens(
        path, files, load_tokenizer(tokens.tokenizer), tokenizer_sha256=tokenizer_sha256,
        corpus_id="c" * 64,
    )  # fmt: skip


def test_no_best_without_validation(tokens: TokenFiles, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint yet: run `starling train fit`"):
        chosen_checkpoint(tmp_path, "last")
    tiny_run.train(changed_recipe(n_steps=5, checkpoint_seconds=1e-9), tokens, tmp_path)
    assert steps(tmp_path) == [4, 5] and not (tmp_path / BEST_FILE).exists()
    with pytest.raises(CheckpointError, match="set fit.validation_every_steps"):
        chosen_checkpoint(tmp_path, "best")


@pytest.mark.parametrize(
    "name", [MODEL_FILE, OPTIMIZER_FILE, AVERAGE_FILE, STATE_FILE, SPEC_FILE, HASHES_FILE]
)
def test_a_flipped_bit_is_found_and_the_one_before_taken(
    tokens: TokenFiles, tmp_path: Path, name: str
) -> None:
    recipe = changed_recipe(n_steps=6, checkpoint_seconds=1e-9, ema_decay=0.9)
    tiny_run.train(recipe, tokens, tmp_path)
    expected = {file: tiny_run.tensors(tmp_path, file) for file in (MODEL_FILE, AVERAGE_FILE)}
    rows = tiny_run.rows(tmp_path)
    flip_a_byte(tmp_path / "step-00000006" / name)
    with pytest.raises(CheckpointError, match="delete it, step-00000005 before it is whole"):
        chosen_checkpoint(tmp_path, "last")
    said = tiny_run.train(recipe, tokens, tmp_path)
    assert said[0].startswith("step-00000006 is damaged (")
    assert said[0].endswith("and is set aside as step-00000006.damaged")
    assert said[1] == "continuing from step-00000005"
    # The lost step was made again, with the same result.
    assert tiny_run.rows(tmp_path) == rows and steps(tmp_path) == [5, 6]
    for file, tensors in expected.items():
        again = tiny_run.tensors(tmp_path, file)
        assert all(torch.equal(again[key], value) for key, value in tensors.items())


def test_a_missing_file_is_damage(tokens: TokenFiles, tmp_path: Path) -> None:
    tiny_run.train(changed_recipe(n_steps=2), tokens, tmp_path)
    last = finished_checkpoints(tmp_path)[-1]
    (last / OPTIMIZER_FILE).unlink()
    assert OPTIMIZER_FILE in damage(last)
    (last / HASHES_FILE).write_text("{}")
    assert damage(last) == "model.safetensors is missing"


def test_when_all_are_damaged_nothing_is_started_anew(tokens: TokenFiles, tmp_path: Path) -> None:
    recipe = changed_recipe(n_steps=4, checkpoint_seconds=1e-9)
    tiny_run.train(recipe, tokens, tmp_path)
    for path in finished_checkpoints(tmp_path):
        flip_a_byte(path / MODEL_FILE)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="every checkpoint in .* is damaged: delete"):
            tiny_run.train(recipe, tokens, tmp_path)
        assert steps(tmp_path) == [3, 4]


def test_another_model_corpus_or_tokenizer_is_refused(tokens: TokenFiles, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tiny_run.train(changed_recipe(), tokens, out, stop_after_steps=2)
    with pytest.raises(CheckpointError, match=r"another model \(d_ff: 128 then, 256 now\): use an"):
        tiny_run.train(changed_recipe(d_ff=256), tokens, out)
    with pytest.raises(CheckpointError, match=r"another fit settings \(seed: 1 then, 2 now\)"):
        tiny_run.train(changed_recipe(seed=2), tokens, out)
    for what, ids in {
        "corpus": {"corpus_id": "d" * 64},
        "tokenizer": {"tokenizer_sha256": "e" * 64},
    }.items():
        shard = open_tokens(tokens.tokens)
        same = {"corpus_id": shard.corpus_id, "tokenizer_sha256": shard.tokenizer_sha256}
        path = tmp_path / f"{what}.bin"
        write_tokens(path, tiny_corpus.files(), load_tokenizer(tokens.tokenizer), **same | ids)
        with pytest.raises(CheckpointError, match=f"another {what}: use another --out"):
            tiny_run.train(changed_recipe(), replace(tokens, tokens=path), out)


def test_what_only_decides_speed_and_length_may_change(tokens: TokenFiles, tmp_path: Path) -> None:
    tiny_run.train(changed_recipe(), tokens, tmp_path, stop_after_steps=2)
    other = changed_recipe(
        n_steps=5, micro_rows=1, activation_checkpointing=True, parallel="fsdp",
        checkpoint_seconds=1.0, keep_every_steps=4, validation_every_steps=2, validation_rows=2,
    )  # fmt: skip
    tiny_run.train(other, tokens, tmp_path)
    assert steps(tmp_path)[-1] == 5


@pytest.mark.parametrize("size_bytes", [700, 100_000, 450_000])
def test_a_full_disk_leaves_the_checkpoint_before(
    tokens: TokenFiles, tmp_path: Path, size_bytes: int
) -> None:
    """The write fails in state.json, in the model, or in the optimizer."""
    tiny_run.train(changed_recipe(), tokens, tmp_path, stop_after_steps=2)
    with (
        largest_file(size_bytes),
        pytest.raises(CheckpointError, match="cannot be written .* free"),
    ):
        tiny_run.train(changed_recipe(checkpoint_seconds=1e-9), tokens, tmp_path)
    assert steps(tmp_path) == [2] and damage(finished_checkpoints(tmp_path)[0]) == ""
    assert not list(tmp_path.glob("*.tmp"))
    tiny_run.train(changed_recipe(), tokens, tmp_path)
    assert steps(tmp_path) == [2, 12]


def test_leftovers_of_a_kill_are_removed(tokens: TokenFiles, tmp_path: Path) -> None:
    for name in ("step-00000004.tmp", "step-00000002.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MODEL_FILE).write_bytes(b"half")
    tiny_run.train(changed_recipe(n_steps=2), tokens, tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000002"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with whole_folder(target) as making:
        (making / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), whole_folder(target) as making:
        (making / "a").write_text("2")
        raise ZeroDivisionError
    assert (target / "a").read_text() == "1"
    with whole_folder(target) as making:
        (making / "inner").mkdir()
        (making / "inner" / "b").write_text("3")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not (target / "a").exists() and (target / "inner" / "b").read_text() == "3"


@pytest.mark.parametrize(
    ("settings", "class_name"),
    [
        ({}, "Qwen3ForCausalLM"),
        ({"architecture": "gpt_bigcode", "d_ff": 256}, "GPTBigCodeForCausalLM"),
        ({"architecture": "starcoder2"}, "Starcoder2ForCausalLM"),
    ],
)
def test_every_architecture_is_exported_with_its_average(
    tokens: TokenFiles, tmp_path: Path, settings: dict[str, Any], class_name: str
) -> None:
    """And opens in transformers as the model that it is."""
    recipe = changed_recipe(n_steps=3, ema_decay=0.9, **settings)
    out = tmp_path / "run"
    tiny_run.train(recipe, tokens, out)
    checkpoint = finished_checkpoints(out)[-1]
    state, spec = load_state(checkpoint, run_identity(recipe, open_tokens(tokens.tokens)))
    assert state.step == 3 and spec.vocab_size == 400
    model = build_model(recipe.model, spec.vocab_size, seed=9)
    load_weights(checkpoint, model)
    with whole_folder(tmp_path / "exported") as making:
        export_model(making, model, model.config)
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["architectures"] == [class_name]
    opened = AutoModelForCausalLM.from_pretrained(
        tmp_path / "exported", attn_implementation="eager"
    )
    assert type(opened).__name__ == class_name
    averages = load_file(checkpoint / AVERAGE_FILE)
    for name, parameter in opened.named_parameters():
        assert torch.equal(parameter, averages[name]), name


def test_weights_of_another_architecture_are_refused(tokens: TokenFiles, tmp_path: Path) -> None:
    tiny_run.train(changed_recipe(n_steps=1), tokens, tmp_path)
    other = build_model(changed_recipe(d_ff=256).model, 400, seed=1)
    with pytest.raises(CheckpointError, match="holds another architecture than the recipe"):
        load_weights(finished_checkpoints(tmp_path)[-1], other)


def test_a_setting_that_came_later_had_its_default(tokens: TokenFiles, tmp_path: Path) -> None:
    recipe = changed_recipe(n_steps=1)
    tiny_run.train(recipe, tokens, tmp_path)
    checkpoint = finished_checkpoints(tmp_path)[-1]
    state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    for section, name in (("model", "tied_embeddings"), ("fit settings", "z_loss")):
        del state["identity"][section][name]
    (checkpoint / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    shard = open_tokens(tokens.tokens)
    assert load_state(checkpoint, run_identity(recipe, shard))[0].step == 1
    with pytest.raises(CheckpointError, match=r"\(z_loss: 0\.0 then, 0\.1 now\)"):
        load_state(checkpoint, run_identity(changed_recipe(n_steps=1, z_loss=0.1), shard))
