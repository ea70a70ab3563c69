"""Speed, start, memory and idleness of the runtime, beside llama-bench where there is a rival.

    python bench/runtime_decode.py [--bundle BUNDLE] [--rounds 9] [--json]

- decode: one token at a time after 512 tokens of context, on one thread, through our `Model`; the
  rival is `llama-bench` tg at the same depth. Neither samples. What whole completions reach, with
  sampling, memory, stopping rules, with and without drafts, is shown beside it.
- prefill: 512 tokens into an empty context on all physical cores. Both sides do it once before, as
  llama-bench always does; ours of that time, after a pause in which other programs ran, is shown
  too. The rival is pp512, with the flash attention that llama-bench takes by itself, and without,
  as we compute (`Model` says why).
- cold start: from starting the process to the first suggestion, documents included, as from a
  user's second session on, with the library of compiled kernels; without it; and the very first.
  The rival is llama-server from its start to its first answer.
- memory of the server after the 500 keys of bench/typing_trace, and where it is; what it costs when
  nobody types; and how long a model that was unloaded takes to answer again.

Ours and the rival's rounds take turns; numbers are medians of the rounds. Needs `make rivals`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report, Row
from bench.rivals.llama_vim import LlamaVim
from bench.rivals.programs import LlamaServer, RivalMissingError, program
from bench.typing_trace.editor import TracedEditor
from bench.typing_trace.trace import read_trace
from lsp_server.kernel_library import SWITCH_VARIABLE
from runtime.bundle import open_bundle
from runtime.engine import Engine, FimRequest, Mode, SamplingConfig
from runtime.llama import Model
from runtime.threads import physical_cores

N_PROMPT_TOKENS = 512
N_DECODED_TOKENS = 128
IDLE_S = 10.0
# One clock tick in ten seconds is what a sleeping process's timers may cost.
MAX_IDLE_PERCENT = 0.1
# Beyond the model's file.
MAX_RSS_BEYOND_MODEL_MB = 150.0
# Kernels are compiled in it.
FIRST_START_S = 300.0


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    report = Report(title="Decode, prefill, start and memory")
    model_path = open_bundle(arguments.bundle).model_path
    try:
        program("llama-bench")
        _measure_steps(report, model_path, arguments.rounds)
        _measure_completions(report, model_path)
        _make_library(arguments.bundle)
        _measure_cold_start(report, arguments.bundle, model_path, rounds=3)
    except RivalMissingError as error:
        print(error, file=sys.stderr)
        return 2
    _measure_server(report, arguments.bundle, model_path)
    _measure_return(report, arguments.bundle)
    report.show(as_json=arguments.json)
    return 0


def _measure_steps(report: Report, model_path: Path, n_rounds: int) -> None:
    """Decode and prefill through `Model`, in turns with llama-bench."""
    cores = physical_cores()
    ours: dict[str, list[float]] = defaultdict(list)
    rival: dict[str, list[float]] = defaultdict(list)
    model = Model.open(
        model_path, n_context_tokens=N_PROMPT_TOKENS + N_DECODED_TOKENS, n_prefill_threads=cores
    )
    rng = np.random.default_rng(0)
    ordinary = np.flatnonzero(~model.vocabulary.is_special)
    prompt = [int(token_id) for token_id in rng.choice(ordinary, N_PROMPT_TOKENS)]
    written = [int(token_id) for token_id in rng.choice(ordinary, N_DECODED_TOKENS)]
    for _ in range(n_rounds):
        for what in ("prefill after a pause", "prefill"):
            model.rewind(0)
            started_s = time.perf_counter()
            model.extend(prompt)
            ours[what].append(N_PROMPT_TOKENS / (time.perf_counter() - started_s))
        started_s = time.perf_counter()
        for token_id in written:
            model.step([token_id], n_rows=1)
        ours["decode"].append(N_DECODED_TOKENS / (time.perf_counter() - started_s))
        shape = ("--n-prompt", str(N_PROMPT_TOKENS), "--n-gen", "0", "--threads", str(cores))
        rival["prefill"].append(_llama_bench(model_path, *shape))
        rival["prefill without"].append(_llama_bench(model_path, *shape, "--flash-attn", "0"))
        depth = ("--n-depth", str(N_PROMPT_TOKENS), "--n-gen", str(N_DECODED_TOKENS))
        rival["decode"].append(
            _llama_bench(model_path, "--n-prompt", "0", *depth, "--threads", "1")
        )
    model.close()
    median = statistics.median
    report.ratio_at_least(
        f"decode after {N_PROMPT_TOKENS} tokens, one thread",
        median(ours["decode"]), median(rival["decode"]), 0.97, "tokens/s",
    )  # fmt: skip
    report.ratio_at_least(
        f"prefill of {N_PROMPT_TOKENS} tokens, {cores} threads",
        median(ours["prefill"]), median(rival["prefill"]), 0.95, "tokens/s",
    )  # fmt: skip
    report.fact(
        "prefill, the rival without flash attention too",
        median(ours["prefill"]), "tokens/s", rival=median(rival["prefill without"]),
    )  # fmt: skip
    after_pause = ours["prefill after a pause"]
    report.fact("prefill, after a pause in which others ran", median(after_pause[1:]), "tokens/s")
    report.fact("prefill, the process's first", after_pause[0], "tokens/s")


def _llama_bench(model_path: Path, *shape: str) -> float:
    """Tokens per second of one run, as llama-bench has it by default otherwise."""
    command = [str(program("llama-bench")), "--model", str(model_path), *shape]
    done = subprocess.run(
        [*command, "--repetitions", "1", "--output", "json"],
        capture_output=True,
        check=True,
    )
    rate: float = json.loads(done.stdout)[0]["avg_ts"]
    return rate


def _measure_completions(report: Report, model_path: Path) -> None:
    """Tokens per second of the engine's own loop, over places of the trace, blocks wanted."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    with Engine.load(model_path) as engine:
        for moment in list(read_trace().replay())[::10]:
            request = FimRequest(
                prefix=moment.prefix, suffix=moment.suffix, path=moment.key.path, mode=Mode.BLOCK
            )
            for uses_drafts in rates:
                sampling = SamplingConfig(uses_drafts=uses_drafts, max_tokens=64)
                timing = engine.complete(request, sampling)[0].timing
                if timing.n_decoded_tokens >= 8:
                    rates[uses_drafts].append(timing.n_decoded_tokens * 1e3 / timing.decode_ms)
    plain, drafted = (statistics.median(rates[uses_drafts]) for uses_drafts in (False, True))
    report.fact("whole completions, without drafts", plain, "tokens/s")
    report.rows.append(
        Row(
            what="whole completions, with drafts; the other column is without",
            ours=drafted, rival=plain, unit="tokens/s", bar=">= 1.5x", met=drafted >= 1.5 * plain,
        )
    )  # fmt: skip


def _measure_cold_start(
    report: Report, bundle: Path | None, model_path: Path, *, rounds: int
) -> None:
    """From starting a process to its first suggestion."""
    moment = next(read_trace().replay())
    ours_s, rival_s, numba_s = [], [], []
    n_context_tokens = 1024
    for _ in range(rounds):
        ours_s.append(_first_suggestion_s(bundle))
        numba_s.append(_first_suggestion_s(bundle, {SWITCH_VARIABLE: "off"}))
        with LlamaServer(model_path, n_context_tokens=n_context_tokens) as server:
            LlamaVim(server).ask(moment.prefix, moment.suffix)
            rival_s.append(time.perf_counter() - server.started_s)
    report.at_most(
        "cold process to the first suggestion",
        statistics.median(ours_s), 1.5, "s", rival=statistics.median(rival_s),
    )  # fmt: skip
    report.fact("the same with kernels from numba's cache", statistics.median(numba_s), "s")
    with tempfile.TemporaryDirectory() as empty:
        nothing_kept = {"NUMBA_CACHE_DIR": f"{empty}/numba", "XDG_CACHE_HOME": empty}
        first_s = _first_suggestion_s(bundle, nothing_kept)
    report.fact("the very first on a machine, which compiles the kernels", first_s, "s")


def _first_suggestion_s(bundle: Path | None, environment: dict[str, str] | None = None) -> float:
    trace = read_trace()
    started_s = time.perf_counter()
    with TracedEditor(trace, bundle=bundle, environment=environment) as editor:
        client = editor.client
        client.wait_until(
            lambda: any(
                message.get("method") == "starling/status" and message["params"]["state"] == "ready"
                for message in client.messages
            ),
            timeout_s=FIRST_START_S,
        )
        editor.press(next(trace.replay()))
        took_s = time.perf_counter() - started_s
        client.shut_down()
    return took_s


def _make_library(bundle: Path | None) -> None:
    """Of what a server has compiled, as it would by itself when it is idle."""
    _first_suggestion_s(bundle)
    done = subprocess.run(
        [sys.executable, "-m", "lsp_server.kernel_build"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        print(f"no library of kernels: {done.stderr.strip()}", file=sys.stderr)


def _measure_server(report: Report, bundle: Path | None, model_path: Path) -> None:
    """Memory after the keys of the trace, and processor time while nobody types."""
    trace = read_trace()
    size_mb = model_path.stat().st_size / 1e6
    with TracedEditor(trace, bundle=bundle) as editor:
        editor.client.wait_ready()
        editor.press_all(trace.replay())
        process = psutil.Process(editor.client.process.pid)
        rss_mb = process.memory_info().rss / 1e6
        report.at_most(
            f"resident memory after {len(trace.keys)} keys beyond the model's {size_mb:.1f} MB",
            rss_mb - size_mb, MAX_RSS_BEYOND_MODEL_MB, "MB",
        )  # fmt: skip
        private_mb = process.memory_full_info().uss / 1e6
        report.fact("of it: not shared with any other process", private_mb, "MB")
        for what, used_mb in _memory_by_owner(process, model_path).items():
            report.fact(f"of it: {what}", used_mb, "MB")
        time.sleep(1.0)  # What is computed ahead is over.
        before_s = _cpu_s(process)
        time.sleep(IDLE_S)
        percent = 100.0 * (_cpu_s(process) - before_s) / IDLE_S
        report.at_most("processor while nobody types", percent, MAX_IDLE_PERCENT, "%")
        editor.client.shut_down()


def _memory_by_owner(process: psutil.Process, model_path: Path) -> dict[str, float]:
    """Resident megabytes by what is mapped, the largest first; not on every system."""
    owners: dict[str, float] = defaultdict(float)
    if not hasattr(process, "memory_maps"):
        return {}
    for mapping in process.memory_maps():
        owners[_owner(mapping.path, model_path)] += mapping.rss / 1e6
    return dict(sorted(owners.items(), key=lambda item: -item[1]))


def _owner(path: str, model_path: Path) -> str:
    if path == str(model_path):
        return "the model's file"
    if path.startswith("["):
        return "private memory (Python's objects, llama.cpp's buffers, the KV cache)"
    for part, name in {
        "llvmlite": "LLVM, which compiles numba's kernels",
        "llama_cpp": "llama.cpp's libraries",
        "numpy": "numpy",
        "tree_sitter": "grammars",
        "default_bundle": "attribution indexes",
    }.items():
        if part in path:
            return name
    return "other libraries and Python itself"


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    used_s: float = times.user + times.system
    return used_s


def _measure_return(report: Report, bundle: Path | None) -> None:
    """How long a request takes that brings an unloaded model back."""
    trace = read_trace()
    moment = next(trace.replay())
    took_ms = []
    with TracedEditor(trace, bundle=bundle, settings={"unloadAfterMinutes": 0.005}) as editor:
        client = editor.client
        client.wait_ready()
        for _ in range(5):
            client.wait_status(lambda status: "left memory" in status.get("reason", ""))
            client.messages.clear()
            started_s = time.perf_counter()
            client.answer(client.request_inline(editor.uri(moment.key.path), moment.cursor))
            client.wait_ready()
            took_ms.append((time.perf_counter() - started_s) * 1e3)
        client.shut_down()
    report.at_most("an unloaded model answers again", statistics.median(took_ms), 300, "ms")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
