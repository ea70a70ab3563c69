"""How a model reads what it is measured on: text as windows of tokens, and with how many threads.

Each window begins as a new document does.
"""

from pathlib import Path

from quantize.texts import HeldOut
from runtime.engine import Engine
from runtime.threads import physical_cores

WINDOW_TOKENS = 512

# More characters than any of our tokenizers needs for one token on average.
_MAX_CHARS_PER_TOKEN = 8

# Files below this size are read with one thread: llama.cpp's threads wait for each other in a spin
# at every operation, so that beside other work on the same cores a 12M model took 70 s with two
# threads and about 10 s with one (6 s on quiet cores). Larger operations amortise the waiting.
_ONE_THREAD_BELOW_BYTES = 256_000_000


def plain_windows(engine: Engine, held_out: HeldOut, *, n_tokens: int) -> list[list[int]]:
    """At most `n_tokens` in windows that fit the context; none for an empty text.

    A text that is long enough is read at evenly spaced places, so that each of its files counts.
    """
    text = held_out.text
    start = [] if engine.info.fim is None else [engine.info.fim.end_of_text_id]
    n_new = min(WINDOW_TOKENS, engine.info.context_tokens) - len(start)
    n_windows = -(-n_tokens // n_new)
    n_chars = n_new * _MAX_CHARS_PER_TOKEN
    if n_windows > 1 and len(text) > n_windows * n_chars:
        step = (len(text) - n_chars) // (n_windows - 1)
        parts = [
            engine.tokenize(text[first : first + n_chars])[:n_new]
            for first in range(0, n_windows * step, step)
        ]
        ids = [token_id for part in parts for token_id in part][:n_tokens]
    else:
        ids = engine.tokenize(text[: n_tokens * _MAX_CHARS_PER_TOKEN])[:n_tokens]
    windows = [[*start, *ids[first : first + n_new]] for first in range(0, len(ids), n_new)]
    return [window for window in windows if len(window) > 1]


def threads_for(model: Path) -> int:
    """One for a small file, else the physical cores."""
    return 1 if model.stat().st_size < _ONE_THREAD_BELOW_BYTES else physical_cores()
