"""Held-out files, typed again by a modelled typist: how many keys does a completer save?

The typist presses one key, looks at what is suggested, and accepts it when its whole first line is
right: it stands in the file just so, and nothing but blanks follows it on its line. If all lines
are right, one key takes the whole text; otherwise one key takes the first line only (the editors'
"accept line"). A text that begins with line ends has its first line after them. A text that ends
inside a line is accepted, too, when all of it is right, it ends where a word does, and it has
MIN_HEAD_CHARS characters; a typist with `only_whole_lines` leaves it. The typist reads everything
that is shown, never takes what is wrong, and never goes back.

Keys: each character is one, and so is a line end with the indentation after it, because editors
indent by themselves (any indentation: somewhat kinder than editors, which do not know where a block
ends). Brackets that editors close by themselves are not modelled. Saved is 1 - (keys pressed, those
of accepting among them) / (keys without any completer).

A suggestion is shown once: the rest of it after its head was typed or accepted is the same one.
It is wrong when its first line is. What is suggested may depend on the machine's speed, because the
server has deadlines; all else depends on the files and the seed.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from runtime import trim
from train.evaluation.fim.completers import copy_from_context
from train.evaluation.fim.scores import first_line
from train.evaluation.typing.passages import Document, Passage
from train.evaluation.typing.tally import Tally

MIN_HEAD_CHARS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What stands on the screen when the next key is pressed."""

    text: str
    """Model text after the cursor; empty: nothing is suggested."""
    latency_ms: float
    """From request to answer; for a late one the time until it was given up."""
    is_late: bool = False
    command: Mapping[str, Any] | None = None
    """To be executed after the whole text was accepted."""


class Editor(Protocol):
    """What the typist types into."""

    def open(self, document: Document) -> None:
        """Shows a document with nothing typed yet."""

    def insert(self, text: str) -> None:
        """One key's text at the cursor."""

    def ask(self) -> Answer:
        """What is suggested at the cursor when the next key is due."""

    def accept(self, answer: Answer, n_chars: int) -> None:
        """Inserts the first `n_chars` characters of a suggestion."""


def replay(passage: Passage, editor: Editor, *, only_whole_lines: bool = False) -> Tally:
    """Types one passage."""
    typed = passage.typed
    tally = Tally(
        project=passage.document.project,
        n_chars=len(typed),
        n_keys_alone=sum(1 for _ in _keys(typed)),
    )
    started_s = time.perf_counter()
    editor.open(passage.document)
    at, on_screen = 0, ""
    answer = Answer(text="", latency_ms=0.0)
    while at < len(typed):
        if at:
            answer = editor.ask()
            tally.latencies_ms.append(answer.latency_ms)
            tally.n_late += answer.is_late
        n_right = n_right_chars(answer.text, typed, at, only_whole_lines=only_whole_lines)
        if answer.text and answer.text != on_screen:
            tally.n_shown += 1
            tally.n_accepted += n_right > 0
        if n_right:
            editor.accept(answer, n_right)
            tally.n_accepted_chars += n_right
        else:
            editor.insert(next_key(typed, at))
        n_done = n_right or len(next_key(typed, at))
        head = typed[at : at + n_done]
        on_screen = answer.text[n_done:] if answer.text.startswith(head) else ""
        at += n_done
        tally.n_keys += 1
    tally.elapsed_s = time.perf_counter() - started_s
    return tally


def n_right_chars(text: str, typed: str, at: int, *, only_whole_lines: bool = False) -> int:
    """How much of a suggestion the typist accepts at `at`: all of it, its first line, or 0."""
    if not text.strip():
        return 0
    for head in (text, first_line(text)):
        if typed.startswith(head, at):
            rest_of_line = typed[at + len(head) :].split("\n", 1)[0]
            if not rest_of_line.strip():
                return len(head)
    is_taken = not only_whole_lines and is_right_head(text, typed, at)
    return len(text) if is_taken and len(text.strip()) >= MIN_HEAD_CHARS else 0


def is_right_head(text: str, typed: str, at: int) -> bool:
    """Whether `text` stands at `at`, and ends where a word does."""
    after = typed[at + len(text) : at + len(text) + 1]
    is_cut = _is_of_word(text[-1:]) and _is_of_word(after)
    return typed.startswith(text, at) and not is_cut


def next_key(typed: str, at: int) -> str:
    """What the next key brings: a character, or a line end with the indentation below."""
    enter = _ENTER.match(typed, at)
    return enter[0] if enter else typed[at]


class FunctionEditor:
    """An `Editor` without a server: a function of (text before, text after, path) suggests."""

    def __init__(self, complete: Callable[[str, str, str], str]) -> None:
        self._complete = complete

    def open(self, document: Document) -> None:
        self._prefix, self._suffix, self._path = document.before, document.after, document.path

    def insert(self, text: str) -> None:
        self._prefix += text

    def ask(self) -> Answer:
        started_s = time.perf_counter()
        text = self._complete(self._prefix, self._suffix, self._path)
        return Answer(text=text, latency_ms=(time.perf_counter() - started_s) * 1000)

    def accept(self, answer: Answer, n_chars: int) -> None:
        self.insert(answer.text[:n_chars])


class CopyEditor(FunctionEditor):
    """The floor: what followed the longest match in the file or in those that lie around it."""

    def __init__(self) -> None:
        super().__init__(copy_completer)

    def open(self, document: Document) -> None:
        super().open(document)
        self._complete = partial(copy_completer, others=document.others)


def copy_completer(prefix: str, suffix: str, path: str, *, others: Sequence[str] = ()) -> str:
    """What followed the longest match, under the rules of the server's text."""
    if not trim.may_complete(suffix):
        return ""
    copied = copy_from_context(prefix, suffix, others=others)
    fitted = trim.fit(copied, prefix, suffix, path=path)
    return fitted.text if fitted else ""


def _is_of_word(char: str) -> bool:
    return char.isalnum() or char == "_"


_ENTER = re.compile(r"\n[ \t]*")


def _keys(typed: str) -> Iterator[str]:
    at = 0
    while at < len(typed):
        key = next_key(typed, at)
        yield key
        at += len(key)
