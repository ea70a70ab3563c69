"""With how many threads a model is computed while it is measured."""

from pathlib import Path

from runtime.threads import physical_cores

# Files below this size are read with one thread: llama.cpp's threads wait for each other in a spin
# at every operation, so that beside other work on the same cores a 12M model took 70 s with two
# threads and about 10 s with one (6 s on quiet cores). Larger operations amortise the waiting.
_ONE_THREAD_BELOW_BYTES = 256_000_000


def threads_for(model: Path) -> int:
    """One for a small file, else the physical cores."""
    return 1 if model.stat().st_size < _ONE_THREAD_BELOW_BYTES else physical_cores()
