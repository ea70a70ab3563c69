"""How long from request to answer while somebody types? Drives the real server over stdio.

    python bench/completion_latency.py [--bundle BUNDLE] [--file FILE.py] [--json]

Cuts a stretch of lines out of a file and types it back: first key by key, then in jumps of 20
characters of new text. After each edit it asks for an inline completion, as editors do, and waits.
Measured is the time from writing the request to reading the answer; the 50 ms that VS Code waits
before it asks come on top. The first request of a
document, which has to read the whole file, is shown apart as cold.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report, quantile
from runtime.bundle import open_bundle
from tests.lsp_client import LspClient

JUMP_CHARS = 20
KEY_LINES = 4
JUMP_LINES = 24


@dataclass
class Series:
    """Measured answers of one kind."""

    name: str
    took_ms: list[float] = field(default_factory=list)
    n_answered: int = 0


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    bundle = open_bundle(arguments.bundle)
    text = arguments.file.read_text("utf-8")
    start_ms, series = measure(arguments.bundle, text, first_line=arguments.line)
    model = bundle.spec.name if bundle.spec else bundle.model_path.name
    report = Report(title="From request to answer while somebody types, over stdio")
    for name, value_ms in start_ms.items():
        report.fact(name, value_ms, "ms")
    for one in series:
        report.fact(f"{one.name}: median", statistics.median(one.took_ms), "ms")
        report.fact(f"{one.name}: 95th percentile", quantile(one.took_ms, 0.95), "ms")
        report.fact(f"{one.name}: answered", 100 * one.n_answered / len(one.took_ms), "%")
    report.notes.append(
        f"{model}, {bundle.model_path.stat().st_size / 1e6:.1f} MB; typed in "
        f"{os.path.relpath(arguments.file)}. No rival: the wait of an editor comes on top of it."
    )
    report.show(as_json=arguments.json)
    return 0


def measure(
    bundle: Path | None, text: str, *, first_line: int
) -> tuple[dict[str, int], list[Series]]:
    """Types a stretch of `text` back and times each answer; and how long the start took."""
    lines = text.splitlines(keepends=True)
    stretches = {
        "key by key": ("".join(lines[first_line:][:KEY_LINES]).rstrip("\n"), 1),
        f"jumps of {JUMP_CHARS} new characters": (
            "".join(lines[first_line:][:JUMP_LINES]).rstrip("\n"),
            JUMP_CHARS,
        ),
    }
    cold, series = Series("cold: first request of a document"), []
    start = perf_counter()
    with LspClient(bundle=bundle) as client:
        # The server does not wait for a pause where the editor has waited already.
        client.initialize(position_encodings=["utf-32"], client_name="Visual Studio Code")
        start_ms = {"first answer": int((perf_counter() - start) * 1000)}
        client.wait_ready()
        start_ms["model ready"] = int((perf_counter() - start) * 1000)
        for number, (name, (typed, step_chars)) in enumerate(stretches.items()):
            uri = f"file:///bench/{number}.py"
            after = "".join(lines[first_line:])[len(typed) :]
            client.open(uri, "".join(lines[:first_line]) + after)
            place = (first_line, 0)
            _request(client, uri, place, cold)
            one = Series(name)
            for piece in _pieces(typed, step_chars):
                client.change(uri, place, place, piece)
                head, line_end, tail = piece.rpartition("\n")
                place = (
                    place[0] + head.count("\n") + bool(line_end),
                    len(tail) if line_end else place[1] + len(piece),
                )
                _request(client, uri, place, one)
            series.append(one)
            client.close(uri)
        client.shut_down()
    return start_ms, [*series, cold]


def _request(client: LspClient, uri: str, place: tuple[int, int], series: Series) -> None:
    start = perf_counter()
    request_id = client.request_inline(uri, place)
    answer = client.answer(request_id)
    series.took_ms.append((client.arrived_s[request_id] - start) * 1000)
    series.n_answered += bool(answer["result"]["items"])


def _pieces(text: str, step_chars: int) -> Iterator[str]:
    for start in range(0, len(text), step_chars):
        yield text[start : start + step_chars]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument(
        "--file",
        type=Path,
        default=REPOSITORY / "lsp_server" / "documents.py",
        help="UTF-8 source file to type in (default: %(default)s)",
    )
    parser.add_argument(
        "--line", type=int, default=100, help="first typed line, from 0 (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
