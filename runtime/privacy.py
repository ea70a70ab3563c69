"""What keeps a process of ours to itself: switches of libraries, no image of its memory on a disk.

Switches are set before the libraries are imported, which read them once. Standard library only.
"""

import contextlib
import os
from types import MappingProxyType
from typing import Final

LIBRARY_SWITCHES: Final = MappingProxyType(
    {
        # Models and data sets are files that the user names; nothing is asked of a hub.
        "HF_HUB_OFFLINE": "1",
        # Hugging Face's libraries and Ray count their uses.
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Where llama.cpp gives up, it runs a debugger over the process, which prints the arguments
        # of functions: the user's text, in the editor's log.
        "GGML_NO_BACKTRACE": "1",
    }
)


def stay_private() -> None:
    """For this process and its children, whatever the caller's environment says."""
    os.environ.update(LIBRARY_SWITCHES)
    _write_no_core()


def _write_no_core() -> None:
    """A core dump holds every open buffer; systems that collect them heed this limit too."""
    try:
        import resource
    except ImportError:
        return  # Windows has none.
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
