"""What a prompt shows of other files: how many of them, and how much of each.

The one home of both numbers, for serving and for evaluation; imports nothing.
"""

from collections.abc import Sequence

# Two heads of files are about 400 tokens: read by the model once (about 0.2 s on two cores), then
# kept in its cache, because heads hardly change while one types elsewhere.
MAX_OTHER_FILES = 2
MAX_OTHER_FILE_CHARS = 600


def n_head_lines(lines: Sequence[str]) -> int:
    """How many whole lines from the top are shown; each line comes with its line end."""
    n_chars = 0
    for line_idx, line in enumerate(lines):
        n_chars += len(line)
        if n_chars > MAX_OTHER_FILE_CHARS:
            return line_idx
    return len(lines)
