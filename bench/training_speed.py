"""How fast training is beside a plain loop of transformers' Trainer, and beside the machine's peak.

    python bench/training_speed.py [--recipe laptop] [--steps 6] [--rounds 3] [--json]

The same model (same numbers, same start weights), the same rows (the standard library of the
running Python, cut and packed as in training), the same batch, one after the other in each round:
- `starling`: a step of `starling train fit` with rows from its worker process;
- `Trainer`: transformers' Trainer as it comes, in float32, with its AdamW;
- `Trainer bf16`: the same with `bf16=True`, its fastest setting on such a machine.
The Trainer gets the rows as they are and lets attention cross documents, which is less work to
prepare and more to compute.

Then attention alone, forward and backward in bf16, over rows of 1,024 positions that hold two
samples each: ours; torch's `scaled_dot_product_attention` called for each sample (on a CPU its
flash kernel); the same called once with a dense mask. And a step of Muon alone over the model's
matrices: ours and torch's.

Printed are medians over rounds of the rates of whole rounds, the ratios, MFU against the measured
bf16 matrix peak, and the share of time that a step waited for its rows. MFU comes twice: by PaLM's
convention, which counts attention over the whole row, and with only the keys that a position really
sees. The first steps, which compile, do not count.
"""

import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from train.corpus.source_file import SourceFile
from train.fitting.learner import Learner
from train.fitting.optim import build_optimizers
from train.fitting.parallel import Parallel, together
from train.fitting.throughput import flops_per_token, measure_peak_flops
from train.model.architectures import build_model
from train.model.attention import packed_attention, packed_mask
from train.recipe import FitConfig, ModelConfig, Recipe
from train.recipe_file import load_recipe
from train.samples.loader import BatchLoader
from train.samples.rows import Batch
from train.samples.shards import write_tokens
from train.samples.tokenizer import save_tokenizer, sha256_of, train_tokenizer

N_WARM_UP = 3
CORPUS_BYTES = 12_000_000


@click.command()
@click.option("--recipe", "recipe_name", default="laptop", show_default=True)
@click.option("--steps", "n_steps", default=6, show_default=True, help="Measured in each round.")
@click.option("--rounds", "n_rounds", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(recipe_name: str, n_steps: int, n_rounds: int, as_json: bool) -> None:
    """Tokens per second of training, beside transformers' Trainer."""
    recipe = load_recipe(recipe_name)
    recipe = replace(recipe, fit=replace(recipe.fit, validation_every_steps=0))
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        tokens, tokenizer = _make_tokens(recipe, Path(folder))
        with together(recipe.fit) as parallel:
            device = parallel.device
            learner = Learner(recipe, recipe.tokenizer.vocab_size, parallel)
            with BatchLoader(tokens, tokenizer, recipe.fit, state=None) as loader:
                warm_up = [next(loader) for _ in range(N_WARM_UP + n_steps)]
                n_keys = statistics.mean(_mean_keys(batch) for batch in warm_up)
                _steps(learner, iter(warm_up), N_WARM_UP)
                rows: dict[str, list[float]] = {"starling": [], "Trainer": [], "Trainer bf16": []}
                peaks, waits = [], []
                for round_idx in range(n_rounds):
                    # While the Trainer ran, rows were made ahead.
                    _steps(learner, loader, N_WARM_UP)
                    peaks.append(measure_peak_flops(device))
                    seconds, wait_share = _steps(learner, loader, n_steps)
                    rows["starling"].append(_rate(recipe.fit, n_steps, seconds))
                    waits.append(wait_share)
                    for name, bf16 in (("Trainer", False), ("Trainer bf16", True)):
                        seconds = _trainer_seconds(recipe, warm_up, Path(folder), bf16=bf16)
                        rows[name].append(_rate(recipe.fit, n_steps, seconds))
                    click.echo(f"round {round_idx + 1} of {n_rounds}", err=True)
    attention = _attention_ms(device, n_rounds) if device.type == "cpu" else {}
    flops = [
        flops_per_token(recipe.model, recipe.tokenizer.vocab_size, keys)
        for keys in (recipe.fit.row_tokens, round(n_keys))
    ]
    report = _report(rows, peaks, waits, flops, n_keys)
    report |= {"attention_ms": attention, "muon_ms": _muon_ms(recipe, parallel, n_rounds)}
    if as_json:
        _shared(report).show(as_json=True)
    else:
        click.echo(_to_text(recipe, report))


def _steps(learner: Learner, batches: Iterator[Batch], n_steps: int) -> tuple[float, float]:
    """Seconds of so many steps, and the share of them spent in waiting for rows."""
    started, wait_seconds = time.perf_counter(), 0.0
    for step in range(1, n_steps + 1):
        tick = time.perf_counter()
        batch = next(batches)
        wait_seconds += time.perf_counter() - tick
        learner.gradients(batch, step=step)
        learner.update(lr_factor=1.0, step=step)
    seconds = time.perf_counter() - started
    return seconds, wait_seconds / seconds


def _trainer_seconds(
    recipe: Recipe, batches: Sequence[Batch], folder: Path, *, bf16: bool
) -> float:
    """Seconds of the Trainer's steps behind its warm-up, one for each of `batches`."""
    model = _plain_model(recipe.model, recipe.tokenizer.vocab_size, recipe.fit.seed)
    rows = [
        {"input_ids": inputs_T, "labels": inputs_T}
        for batch in batches
        for inputs_T in torch.from_numpy(batch.inputs_BT)
    ]
    micro_rows = recipe.fit.micro_rows or recipe.fit.batch_rows
    clock = _Clock()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=micro_rows,
            gradient_accumulation_steps=recipe.fit.batch_rows // micro_rows,
            max_steps=len(batches),
            learning_rate=recipe.fit.adamw_lr,
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=rows,
        callbacks=[clock],
    )
    # Its summary goes to stdout whatever its settings say.
    with redirect_stdout(sys.stderr):
        trainer.train()
    return clock.ticks[-1] - clock.ticks[N_WARM_UP - 1]


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.ticks: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ticks.append(time.perf_counter())


def _plain_model(config: ModelConfig, vocab_size: int, seed: int) -> Any:
    model = build_model(config, vocab_size, seed=seed)
    model.set_attn_implementation("sdpa")
    return model


def _mean_keys(batch: Batch) -> float:
    """Keys that a position sees, on average: itself and those before it in its sample."""
    total = 0
    for sample_T in torch.from_numpy(batch.sample_BT):
        lengths = torch.unique_consecutive(sample_T, return_counts=True)[1]
        total += int((lengths * (lengths + 1) // 2).sum())
    return total / batch.sample_BT.size


def _attention_ms(device: torch.device, n_rounds: int) -> dict[str, float]:
    n_rows, n_heads, n_positions, width, sample = 4, 4, 1024, 64, 512
    query, key, value = (
        torch.randn(n_rows, n_positions, n, width, device=device)
        .to(torch.bfloat16)
        .transpose(1, 2)
        .requires_grad_()
        for n in (n_heads, 1, 1)
    )
    sample_BT = (torch.arange(n_positions) // sample).to(torch.int32).expand(n_rows, -1)
    behind = torch.arange(n_positions)[:, None] >= torch.arange(n_positions)
    mask = behind & (sample_BT[0][:, None] == sample_BT[0])

    def ours() -> Tensor:
        return packed_attention(None, query, key, value, packed_mask(sample_BT), scaling=0.125)[0]

    def theirs(part: slice, mask: Tensor | None) -> Tensor:
        all_heads = (x[:, :, part].expand(-1, n_heads, -1, -1) for x in (key, value))
        return scaled_dot_product_attention(
            query[:, :, part], *all_heads, attn_mask=mask, is_causal=mask is None
        )

    def each_sample() -> Tensor:
        starts = range(0, n_positions, sample)
        return torch.cat([theirs(slice(at, at + sample), None) for at in starts], 2)

    variants = {
        "ours": ours,
        "torch, each sample": each_sample,
        "torch, dense mask": lambda: theirs(slice(None), mask),
    }
    return _medians_ms(
        {name: lambda run=run: run().sum().backward() for name, run in variants.items()}, n_rounds
    )


def _muon_ms(recipe: Recipe, parallel: Parallel, n_rounds: int) -> dict[str, float]:
    model = build_model(recipe.model, recipe.tokenizer.vocab_size, seed=recipe.fit.seed)
    ours, _ = build_optimizers(model, recipe.fit, parallel)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    theirs = torch.optim.Muon([p for group in ours.param_groups for p in group["params"]])
    return _medians_ms({"ours": ours.step, "torch's": theirs.step}, n_rounds)


def _medians_ms(variants: dict[str, Callable[[], Any]], n_rounds: int) -> dict[str, float]:
    """Of so many rounds, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_idx in range(n_rounds + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if round_idx:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def _make_tokens(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    texts: dict[str, str] = {}
    n_bytes = 0
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if n_bytes > CORPUS_BYTES or "site-packages" in path.parts:
            continue
        try:
            texts[str(path.relative_to(root))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        n_bytes += path.stat().st_size
    tokenizer = train_tokenizer(texts.values(), recipe.tokenizer.vocab_size)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    files = (
        SourceFile(origin="stdlib", version="", path=path, licence="PSF-2.0", language="Python",
                   swhid="", text=text)
        for path, text in texts.items()
        if text
    )  # fmt: skip
    write_tokens(
        folder / "tokens.bin", files, tokenizer,
        tokenizer_sha256=sha256_of(folder / "tokenizer.json"), corpus_id="",
    )  # fmt: skip
    return folder / "tokens.bin", folder / "tokenizer.json"


def _rate(config: FitConfig, n_steps: int, seconds: float) -> float:
    return config.batch_rows * config.row_tokens * n_steps / seconds


def _report(
    rows: dict[str, list[float]],
    peaks: Sequence[float],
    waits: Sequence[float],
    flops: Sequence[float],
    n_keys: float,
) -> dict[str, Any]:
    def ratio(of: Callable[[int], float]) -> float:
        return statistics.median(of(i) for i in range(len(peaks)))

    return {
        "threads": torch.get_num_threads(),
        "tokens_per_second": {name: statistics.median(rates) for name, rates in rows.items()},
        "times_trainer": ratio(lambda i: rows["starling"][i] / rows["Trainer"][i]),
        "times_trainer_bf16": ratio(lambda i: rows["starling"][i] / rows["Trainer bf16"][i]),
        "peak_bf16_gflops": statistics.median(peaks) / 1e9,
        "mean_keys": n_keys,
        "mfu": ratio(lambda i: rows["starling"][i] * flops[0] / peaks[i]),
        "mfu_of_needed": ratio(lambda i: rows["starling"][i] * flops[1] / peaks[i]),
        "data_wait_share": statistics.median(waits),
    }


def _shared(figures: dict[str, Any]) -> Report:
    """The shape that all scripts share."""
    report = Report(title="Training, beside transformers' Trainer")
    rates = figures["tokens_per_second"]
    for name in ("Trainer", "Trainer bf16"):
        report.fact(f"rate, beside {name}", rates["starling"], "tokens/s", rival=rates[name])
    report.fact("MFU by PaLM's convention", 100 * figures["mfu"], "%")
    report.fact("MFU, needed work only", 100 * figures["mfu_of_needed"], "%")
    report.fact("waiting for rows", 100 * figures["data_wait_share"], "% of the time")
    for what in ("attention", "muon"):
        times_ms = figures[f"{what}_ms"]
        for name in sorted(times_ms.keys() - {"ours"}):
            report.fact(f"{what}, beside {name}", times_ms["ours"], "ms", rival=times_ms[name])
    report.notes.append(f"{figures['threads']} threads.")
    return report


def _to_text(recipe: Recipe, report: dict[str, Any]) -> str:
    lines = [
        f"recipe {recipe.name}, {recipe.fit.batch_rows} rows of {recipe.fit.row_tokens} tokens, "
        f"{report['threads']} threads; a position sees {report['mean_keys']:.0f} keys on average"
    ]
    lines += [
        f"{name:14}{rate:10.0f} tokens/s" for name, rate in report["tokens_per_second"].items()
    ]
    lines += [
        f"starling is {report['times_trainer']:.1f} times as fast as the Trainer, "
        f"{report['times_trainer_bf16']:.1f} times with its bf16",
        f"MFU {report['mfu']:.0%} ({report['mfu_of_needed']:.0%} without attention to what is "
        f"masked) of the measured bf16 peak of {report['peak_bf16_gflops']:.0f} GFLOP/s",
        f"{report['data_wait_share']:.2%} of the time waiting for rows",
    ]
    for what in ("attention", "muon"):
        times = report[f"{what}_ms"].items()
        lines += [f"{what}, {name:20}{ms:8.1f} ms" for name, ms in times]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
