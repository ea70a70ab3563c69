"""Records `trace.json` anew: a modelled typist works on five of our own files.

    python bench/typing_trace/record.py

Of each file some lines are taken out and typed again, a visit at a time, with what people do:
typing errors and Backspace, a word deleted and typed again, the rest of a line accepted, a look at
another place of the file, and steps from file to file in the middle of a line. The files change
with the project, the recorded trace does not; a new recording is a new measure, so old numbers do
not compare with it.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.report import REPOSITORY
from bench.typing_trace.trace import TRACE_PATH

SEED = 7
N_KEYS = 500
FILES = (
    "lsp_server/cache.py",
    "lsp_server/prefetch.py",
    "attribution/report.py",
    "attribution/swhid.py",
    "quantize/tensor_names.py",
)
STRETCHES_PER_FILE = 3
LINES_PER_STRETCH = 4
KEYS_PER_VISIT = 24
# How often at each key.
TYPO = 0.05
DELETED_WORD = 0.01
ACCEPT = 0.04
LOOK = 0.015

Edit = tuple[int, int, str]  # at_chars, n_deleted, typed


@dataclass
class Typist:
    """One file: its text now, and what is still to be typed where."""

    text: str
    rng: random.Random
    todo: list[tuple[int, str]] = field(default_factory=list)
    """Offset and text, in the order of the file; offsets are of the text with all before it typed.
    """

    @classmethod
    def of(cls, whole: str, rng: random.Random) -> "Typist":
        """Takes stretches of lines out of a whole file."""
        lines = whole.splitlines(keepends=True)
        block = (len(lines) - 20) // STRETCHES_PER_FILE
        text, offset, todo = "", 0, []
        taken: dict[int, int] = {}
        for i in range(STRETCHES_PER_FILE):
            first = 20 + i * block + rng.randrange(max(1, block - LINES_PER_STRETCH))
            taken[first] = first + LINES_PER_STRETCH
        at = 0
        while at < len(lines):
            end = taken.get(at)
            if end is None:
                text += lines[at]
                offset += len(lines[at])
                at += 1
                continue
            missing = "".join(lines[at:end]).removesuffix("\n")  # An empty line stays.
            text += "\n"
            todo.append((offset, missing))
            offset += len(missing) + 1
            at = end
        return cls(text=text, rng=rng, todo=todo)

    def edits(self) -> Iterator[Edit]:
        """Everything that happens in this file, until nothing is missing."""
        for at, missing in self.todo:
            yield self._did(at, 0, "")
            while missing:
                chunk = self._next_chunk(missing)
                if chunk.isalpha() and self.rng.random() < TYPO:
                    yield self._did(at, 0, self.rng.choice("aeiorstn"))
                    yield self._did(at, 1, "")
                if self.rng.random() < LOOK:
                    yield self._did(self.text.find("\n", self.rng.randrange(at + 1)), 0, "")
                    yield self._did(at, 0, "")
                yield self._did(at, 0, chunk)
                at, missing = at + len(chunk), missing[len(chunk) :]
                word = re.search(r"\w{3,}$", self.text[:at])
                if word and self.rng.random() < DELETED_WORD:
                    yield self._did(word.start(), len(word[0]), "")
                    at, missing = word.start(), word[0] + missing

    def _next_chunk(self, missing: str) -> str:
        """A character; a line end with its indentation; or the rest of the line."""
        if missing[0] == "\n":
            found = re.match(r"\n[ ]*(?=\S)|\n", missing)
            assert found, f"{missing=}"
            return found[0]
        rest = missing.partition("\n")[0]
        if len(rest) > 3 and self.rng.random() < ACCEPT:
            return rest
        return missing[0]

    def _did(self, at: int, n_deleted: int, typed: str) -> Edit:
        self.text = self.text[:at] + typed + self.text[at + n_deleted :]
        return at, n_deleted, typed


def main() -> int:
    """Records and writes."""
    # No argument is known: --help must not record, nor a misspelt one.
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    rng = random.Random(SEED)
    typists = [Typist.of((REPOSITORY / path).read_text("utf-8"), rng) for path in FILES]
    files = {path: typist.text for path, typist in zip(FILES, typists, strict=True)}
    edits = [typist.edits() for typist in typists]
    keys: list[list[int | str]] = []
    file_idx = 0
    while len(keys) < N_KEYS:
        for _ in range(
            min(rng.randint(KEYS_PER_VISIT // 2, 2 * KEYS_PER_VISIT), N_KEYS - len(keys))
        ):
            edit = next(edits[file_idx], None)
            if edit is None:
                break
            keys.append([file_idx, *edit])
        file_idx = rng.choice([i for i in range(len(FILES)) if i != file_idx])
    rows = ",\n  ".join(json.dumps(key) for key in keys)
    head = json.dumps(files, indent=2, ensure_ascii=False).replace("\n", "\n ")
    TRACE_PATH.write_text(
        f'{{\n "files": {head},\n "keys": [\n  {rows}\n ]\n}}\n', encoding="utf-8"
    )
    print(f"{len(keys)} keys in {TRACE_PATH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
