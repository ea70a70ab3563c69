"""What a prompt shows of other files: how many of them, and how much of each and of all.

The one home of these numbers, for serving, training and evaluation; imports nothing.
"""

from collections.abc import Sequence

# They are read by the model once, then kept in its cache, because they stay while one types.
MAX_OTHER_FILES = 2
MAX_OTHER_FILE_CHARS = 600
# Of a prompt's tokens, where other files are shown; the rest is the file itself, which tells more.
# Measured with the default bundle, whose context is 1,024 tokens (docs/context.md).
OTHER_FILES_SHARE = 0.25


def n_head_lines(lines: Sequence[str]) -> int:
    """How many whole lines from the top are shown; each line comes with its line end."""
    n_chars = 0
    for line_idx, line in enumerate(lines):
        n_chars += len(line)
        if n_chars > MAX_OTHER_FILE_CHARS:
            return line_idx
    return len(lines)
