"""What a file of tests may leave behind in its process: nothing that another one would notice.

Files of tests share processes, in an order that nobody knows, so that a folder, a variable or the
level of a logger that one of them changed for good makes another fail, seldom and elsewhere.
"""

import locale
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping

from runtime.privacy import LIBRARY_SWITCHES

_LIMITS = {"largest file": resource.RLIMIT_FSIZE, "memory": resource.RLIMIT_AS}
# Not SIGINT: pytest itself takes it back where a shell in the background had it ignored.
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGVTALRM)
# Starling sets the first for good, wherever its command line runs; pytest the second.
_MAY_CHANGE = {*LIBRARY_SWITCHES, "PYTEST_CURRENT_TEST"}
# Other new variables and levels are those of libraries, which set them when they are imported.
_NEW_VARIABLES = ("STARLING_", "XDG_", "GIT_", "PIP_", "PYTHON", "SOURCE_DATE_EPOCH", "LC_", "LANG")
_LOGGERS = ("attribution", "lsp_server", "quantize", "runtime", "starling", "train", "pygls")


def state() -> dict[str, object]:
    """What this process has, by name."""
    umask = os.umask(0o077)
    os.umask(umask)
    found: dict[str, object] = {
        "folder": os.getcwd(),
        "umask": umask,
        "locale": locale.setlocale(locale.LC_ALL),
        "largest recursion": sys.getrecursionlimit(),
        **{f"limit of {name}": resource.getrlimit(limit) for name, limit in _LIMITS.items()},
        **{f"handler of {number.name}": signal.getsignal(number) for number in _SIGNALS},
        **{f"variable {name}": value for name, value in os.environ.items()},
        "level of root": logging.root.level,
        "what is logged at all": logging.root.manager.disable,
    }
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.startswith(_LOGGERS):
            found[f"level of {name}"] = logger.level
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_num_threads"):
        found["torch's threads"] = torch.get_num_threads()
    return found


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, str]:
    """What is not as it was. New loggers and torch come with an import, which is no change."""
    excused = {f"variable {name}" for name in _MAY_CHANGE}
    ours = tuple(f"variable {name}" for name in _NEW_VARIABLES)
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before and name.startswith(ours)]
    other = [name for name in before if name in after and before[name] != after[name]]
    return {
        name: f"{before.get(name, 'not set')!r} -> {after.get(name, 'not set')!r}"
        for name in (*gone, *new, *other)
        if name not in excused
    }
