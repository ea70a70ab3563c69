"""How long from a key to the suggestion? Starling beside llama-server with llama.vim's settings.

    python bench/runtime_rival.py [--keys 500] [--busy-seconds 75] [--variants] [--json]

Replays the recorded typing of bench/typing_trace, key by key, quiet and then beside two compiler
jobs. At each key three are asked, one after the other in changing order, and each is waited for:

- Starling as editors start it: the change and the request over stdio, from write to answer, with
  protocol, context of other files, filters and attribution. It does not wait for a pause in typing
  (debounceMs 0), because llama.vim does not.
- Starling's service in this process without its cache of suggestions, so that each key is computed.
- llama-server `/infill` (bench/rivals/llama_vim.py), same GGUF, same texts, one lasting connection.
  Each key is sent, whatever llama.vim's own cache has; what that cache would have saved is counted
  apart ("as shipped").

"Every key computed" compares the engines; "as shipped" what a user of each waits for. llama.vim
asks for up to 128 tokens over several lines, Starling mostly for the rest of a line; --variants
also measures the server told to stop at the line's end, on one thread, and in Starling's own prompt
order. Needs `make rivals`.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report, quantile
from bench.rivals.compiling import compiling
from bench.rivals.llama_vim import LlamaVim
from bench.rivals.programs import LlamaServer, RivalMissingError, program
from bench.typing_trace.editor import TracedEditor
from bench.typing_trace.trace import Moment, read_trace
from lsp_server.context.cursor import CursorContext
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
from lsp_server.suggestion import Suggestion
from runtime.trim import may_complete

SHIPPED, COMPUTED, RIVAL = "Starling as shipped", "Starling computed", "llama-server"
VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "llama-server, stop at the line's end": (("\n",), ()),
    "llama-server, line's end, one thread": (("\n",), ("--threads", "1", "--threads-batch", "1")),
    "llama-server, line's end, --spm-infill": (("\n",), ("--spm-infill",)),
}
STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "p95": lambda values: quantile(values, 0.95),
}
# Of the rival's, at most.
MAX_RATIOS = {"median": 1 / 3, "p95": 1 / 2}
Ask = Callable[[Moment], float]


@dataclass
class Phase:
    """The times of all who were asked, in milliseconds."""

    took_ms: dict[str, list[float]] = field(default_factory=dict)
    with_cache_ms: list[float] = field(default_factory=list)
    """The rival's, where llama.vim's cache answers what it can."""


class Uncached(CompletionService):
    """Computes at every key."""

    def recall(
        self, at: CursorContext, *, n: int = 1, is_asked_for: bool = False
    ) -> tuple[Suggestion, ...] | None:
        """Nothing is remembered; what is no place for a completion stays none."""
        return None if may_complete(at.suffix) else ()


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    report = Report(
        title="From a key to the suggestion, beside llama-server with llama.vim's settings"
    )
    try:
        program("llama-server")
        moments = list(read_trace().replay())[: arguments.keys]
        quiet = _measure(moments, arguments, limit_s=arguments.seconds)
        busy = _measure(moments, arguments, limit_s=arguments.busy_seconds, is_busy=True)
    except RivalMissingError as error:
        print(error, file=sys.stderr)
        return 2
    _compare(report, "quiet", quiet, limits_ms={"median": 50, "p95": 120})
    _compare(report, "beside two g++ jobs", busy, limits_ms={"p95": 150})
    report.notes.append(
        "The rival is not charged for what llama.vim adds: starting curl, chunks of other files, "
        "the request that it sends ahead after each answer, its wait of 100 ms between requests."
    )
    report.show(as_json=arguments.json)
    return 0


def _compare(report: Report, when: str, phase: Phase, *, limits_ms: dict[str, float]) -> None:
    """Rows of one phase; `limits_ms` are the promises that need no rival, by statistic."""
    sides = {
        "every key computed": (phase.took_ms[COMPUTED], phase.took_ms[RIVAL]),
        "as shipped, both with their caches": (phase.took_ms[SHIPPED], phase.with_cache_ms),
    }
    for side, (ours_ms, rival_ms) in sides.items():
        for name, statistic in STATISTICS.items():
            what, ours, rival = f"{when}, {side}: {name}", statistic(ours_ms), statistic(rival_ms)
            if side == "every key computed" and name in MAX_RATIOS:
                report.ratio_at_most(what, ours, rival, MAX_RATIOS[name], "ms")
            if name in limits_ms:
                report.at_most(what, ours, limits_ms[name], "ms", rival=rival)
            elif side != "every key computed":
                report.fact(what, ours, "ms", rival=rival)
    for variant in VARIANTS.keys() & phase.took_ms.keys():
        for name, statistic in STATISTICS.items():
            what = f"{when}, every key computed, rival is {variant}: {name}"
            ours, rival = statistic(phase.took_ms[COMPUTED]), statistic(phase.took_ms[variant])
            report.fact(what, ours, "ms", rival=rival)
    report.notes.append(f"{when}: {len(phase.took_ms[RIVAL])} keys.")


def _measure(
    moments: list[Moment], arguments: argparse.Namespace, *, limit_s: float, is_busy: bool = False
) -> Phase:
    """Asks all at each key, in changing order, until the keys or the time are used up."""
    phase = Phase()
    with ExitStack() as stack:
        asks = _all_sides(stack, arguments, phase)
        names = list(asks)
        phase.took_ms = {name: [] for name in names}
        stack.enter_context(compiling() if is_busy else nullcontext())
        deadline_s = time.monotonic() + limit_s
        for i, moment in enumerate(moments):
            if time.monotonic() > deadline_s:
                break
            for name in (*names[i % len(names) :], *names[: i % len(names)]):
                phase.took_ms[name].append(asks[name](moment))
    return phase


def _all_sides(stack: ExitStack, arguments: argparse.Namespace, phase: Phase) -> dict[str, Ask]:
    """How each side is asked at a key."""
    service = Uncached.open(Settings(bundle_path=arguments.bundle))
    stack.callback(service.close)
    info = service.engine.info

    def server(options: tuple[str, ...] = ()) -> LlamaServer:
        return stack.enter_context(
            LlamaServer(info.path, n_context_tokens=info.context_tokens, options=options)
        )

    editor = stack.enter_context(TracedEditor(read_trace(), bundle=arguments.bundle))
    editor.client.wait_ready()
    vim = LlamaVim(server())
    asks: dict[str, Ask] = {
        SHIPPED: editor.press,
        COMPUTED: lambda moment: _ask_service(service, moment),
        RIVAL: lambda moment: _ask_rival(vim, moment, phase),
    }
    for name, (stop, options) in VARIANTS.items() if arguments.variants else ():
        variant = LlamaVim(server(options), stop=stop)
        asks[name] = lambda moment, variant=variant: _ask_variant(variant, moment)
    return asks


def _ask_service(service: CompletionService, moment: Moment) -> float:
    at = CursorContext(
        uri=f"file:///trace/{moment.key.path}",
        path=moment.key.path,
        language_id="python",
        prefix=moment.prefix,
        suffix=moment.suffix,
    )
    started_s = time.perf_counter()
    service.complete(at, threading.Event())
    return (time.perf_counter() - started_s) * 1e3


def _ask_rival(vim: LlamaVim, moment: Moment, phase: Phase) -> float:
    started_s = time.perf_counter()
    remembered = vim.recall(moment.prefix, moment.suffix)
    recall_ms = (time.perf_counter() - started_s) * 1e3
    ask_ms = _ask_variant(vim, moment)
    phase.with_cache_ms.append(ask_ms if remembered is None else recall_ms)
    return ask_ms


def _ask_variant(vim: LlamaVim, moment: Moment) -> float:
    started_s = time.perf_counter()
    vim.ask(moment.prefix, moment.suffix)
    return (time.perf_counter() - started_s) * 1e3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument(
        "--keys", type=int, default=500, help="keys of the trace (default: all 500)"
    )
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="longest quiet part (default: %(default)s)"
    )
    parser.add_argument(
        "--busy-seconds", type=float, default=75.0, help="longest busy part (default: %(default)s)"
    )
    parser.add_argument(
        "--variants", action="store_true", help="other settings of llama-server too"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
