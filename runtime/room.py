"""Whether a process may take the memory that a model needs, asked before anything heavy is loaded.

Only of the limit that was set for the process (`ulimit -v`): below it numba, OpenBLAS and llama.cpp
end the process or hang, each in its own way, where Python could still say a sentence.
"""

import contextlib
from pathlib import Path

from runtime.bundle import MODEL_FILE
from runtime.errors import BundleError

# Address space without the model's file: 866 MB at its highest with two threads, of which the
# libraries are 480 MB and most of the rest was reserved only; it works from 600 MB on (measured).
_PROCESS_BYTES = 800 << 20


def check_room(bundle: Path | None) -> None:
    """Raises BundleError when this process may not take as much as is needed.

    With the bundle or GGUF file, or with none, as to build an index.
    """
    limit_bytes = address_space_limit_bytes()
    needed_bytes = _PROCESS_BYTES + (_model_bytes(bundle) if bundle else 0)
    if limit_bytes is not None and limit_bytes < needed_bytes:
        what = f"with {bundle.name}: raise that limit, or choose a smaller model" if bundle else ""
        raise BundleError(
            f"this process may use only {limit_bytes >> 20} MB of memory (ulimit -v), and Starling "
            f"needs {needed_bytes >> 20} MB {what or 'for this: raise that limit'}"
        )


def address_space_limit_bytes() -> int | None:
    """The limit of this process; None where there is none."""
    try:
        import resource
    except ImportError:
        return None  # Windows has none.
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit_bytes == resource.RLIM_INFINITY else limit_bytes


def _model_bytes(bundle: Path) -> int:
    """What is no model is complained of by whoever opens it."""
    for path in (bundle / MODEL_FILE, bundle):
        with contextlib.suppress(OSError):
            return path.stat().st_size
    return 0
