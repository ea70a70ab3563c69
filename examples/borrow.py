"""Prints the beginning of an installed module, up to a line and column: code typed to its middle.

    python examples/borrow.py MODULE LINE COLUMN

`make try` uses it to show what Starling says when a suggestion continues somebody's code, without
keeping a copy of that code here.
"""

import importlib.util
import sys
from pathlib import Path

module, line, column = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
spec = importlib.util.find_spec(module)
assert spec is not None and spec.origin is not None, f"{module} is not installed"
lines = Path(spec.origin).read_text(encoding="utf-8").split("\n")[:line]
print("\n".join([*lines[:-1], lines[-1][:column]]), end="")
