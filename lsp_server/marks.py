"""Stretches of a document that follow the edits around them and end with the first edit inside.

Places are a line and a character index in that line, not a client's units; `documents` converts.
"""

from dataclasses import dataclass

Place = tuple[int, int]


@dataclass(slots=True, eq=False, kw_only=True)
class Mark:
    """Where a certain text stands now."""

    start: Place
    end: Place
    text: str
    r"""Model text, with ``\n`` line ends. Never empty."""
    is_intact: bool = True
    """False for good once the text was changed or deleted."""

    def follow(self, first: Place, last: Place, new_end: Place) -> None:
        """What stood between `first` and `last` was replaced by a text that ends at `new_end`."""
        if last <= self.start:
            self.start = _moved(self.start, last, new_end)
            self.end = _moved(self.end, last, new_end)
        elif first < self.end:
            self.is_intact = False

    def place_of(self, n_chars: int) -> Place:
        """The place `n_chars` characters after the start."""
        return end_of(self.text[:n_chars], self.start)


def end_of(text: str, start: Place) -> Place:
    r"""Where a text with ``\n`` line ends ends when it begins at `start`."""
    n_lines = text.count("\n")
    if not n_lines:
        return start[0], start[1] + len(text)
    return start[0] + n_lines, len(text) - text.rindex("\n") - 1


def _moved(place: Place, last: Place, new_end: Place) -> Place:
    line, char = place
    if line == last[0]:
        char += new_end[1] - last[1]
    return line + new_end[0] - last[0], char
