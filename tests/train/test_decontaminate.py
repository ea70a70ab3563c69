"""Guards that no benchmark is in the corpus, and that what only resembles one stays.

A failure would mean evaluation on what was learned by heart, or everybody's one-liners dropped.
"""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus.benchmark_files import Item, read_items
from train.corpus.decontaminate import (
    MIN_FOLDED_CHARS,
    MIN_NGRAMS,
    MIN_SHARED_SHARE,
    NGRAM_WORDS,
    Benchmarks,
)
from train.errors import CorpusError

DOCSTRING = """ Walk from the western gate to the eastern harbour, counting lanterns that flicker.
    Return the count, or -1 if the fog is too thick to see any lantern along the whole way home.
    >>> lanterns([1, 0, 1])
    2
    """
SOLUTION = """
    if not seen:
        return -1
    return sum(1 for lantern in seen if lantern and flickers(lantern))
"""
HUMAN_EVAL = {
    "task_id": "HumanEval/900",
    "prompt": f'import math\n\n\ndef lanterns(seen):\n    """{DOCSTRING}"""\n',
    "canonical_solution": SOLUTION,
    "entry_point": "lanterns",
    "test": "def check(candidate): pass",
}
INFILLING = {
    "task_id": "SingleLineInfilling/HumanEval/901/L0",
    "prompt": f"def other(seen):\n    '''{DOCSTRING.replace('fog', 'rain')}'''\n    if not seen:\n",
    "canonical_solution": "        raise ValueError('nothing was seen')\n",
    "suffix": "    return max(seen, key=lambda lantern: lantern.brightness)\n",
    "entry_point": "other",
}
MBPP = {
    "task_id": 12,
    "text": "Write a function to sort the merchants of a market by the weight of their apples.",
    "code": "def sort_merchants(m):\n  return sorted(m, key=lambda one: one.apple_weight_kg)",
    "test_list": [],
}
DS1000 = {
    "prompt": "Problem:\nI have a frame of tides and want the lowest per harbour.\nA:\n<code>\n"
    "import pandas as pd\n</code>\nBEGIN SOLUTION\n<code>\n[insert]\n",
    "metadata": {},
    "reference_code": "df.groupby('harbour').min()",
}
APPS = {
    "id": 7,
    "question": "Petya counts the bricks of a wall that has holes. Print how many there are.",
    "solutions": json.dumps(
        ["bricks = int(input())\nholes = int(input())\nprint(bricks - holes)", "print(1)"]
    ),
}
GSM8K = {
    "question": "Nora bakes 12 loaves in the morning and sells a third. How many are left?",
    "answer": "8",
}
GENERIC = {"name": "mine/1", "text": "The quick brown fox jumps over forty-one lazy dogs."}


def write(path: Path, *rows: Any) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    ("row", "text", "name"),
    [
        (HUMAN_EVAL, DOCSTRING, "HumanEval/900"),
        (HUMAN_EVAL, "x = 1\n" + SOLUTION.upper().replace(" ", "\t") + "y", "HumanEval/900"),
        (HUMAN_EVAL, 'import math\n\n\ndef lanterns(seen):\n    """ Something else """\n', ""),
        (INFILLING, "return max(seen, key=lambda lantern: lantern.brightness)", ""),
        (
            INFILLING,
            "if not seen: raise ValueError('nothing was seen')"
            " return max(seen, key=lambda lantern: lantern.brightness)",
            INFILLING["task_id"],
        ),
        (MBPP, MBPP["text"], "MBPP/12"),
        (MBPP, MBPP["code"], "MBPP/12"),
        (MBPP | {"task_id": 10}, MBPP["code"], ""),
        (MBPP | {"task_id": 511}, MBPP["code"], ""),
        (MBPP | {"task_id": 510}, MBPP["code"], "MBPP/510"),
        (DS1000, DS1000["prompt"].partition("BEGIN")[0] + "df.max()", "DS-1000/0"),
        (DS1000, "df.groupby('harbour').min()", ""),
        (APPS, "# " + APPS["question"], "APPS/7"),
        (APPS, "bricks=int(input())\nholes=int(input())\nprint(bricks-holes)\n", "APPS/7"),
        (APPS, "print(1)", ""),
        (APPS | {"solutions": ""}, APPS["question"], "APPS/7"),
        (GSM8K, GSM8K["question"], "GSM8K/0"),
        (GENERIC, "é\u2003" + GENERIC["text"], "mine/1"),
        (GENERIC, GENERIC["text"][1:], ""),
    ],
)
def test_each_benchmark_is_known_by_its_fields(
    tmp_path: Path, row: dict[str, Any], text: str, name: str
) -> None:
    benchmarks = Benchmarks.load([write(tmp_path / "rows.jsonl.gz", row)])
    assert benchmarks.find(text) == name


@pytest.mark.parametrize(
    "solution",
    ["return x + y", "return len(string)", "return n**2", "return ''.join(strings)"],
)
def test_solutions_that_everybody_writes_are_no_contamination(
    tmp_path: Path, solution: str
) -> None:
    # StarCoder's list spells the last one as adjacent literals, which Python joins without the
    # quotes, so files with it were dropped after all.
    row = HUMAN_EVAL | {"canonical_solution": f"    {solution}\n"}
    benchmarks = Benchmarks.load([write(tmp_path / "rows.jsonl", row)])
    assert benchmarks.find(f"def mine(n, x, y, string, strings):\n    {solution}\n") == ""
    assert benchmarks.find(DOCSTRING) == "HumanEval/900"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "rows.jsonl, line 1, "),
        (b'\n{"name": "a", "text": 3}\n', "line 2, .*text is no text"),
        (b'{"a": 1}', "its fields are a"),
        (b"[]", "not an object"),
        (b'{"question": "a", "solutions": "{}"}', "solutions is no list"),
        (b'{"code": "a", "text": "b", "task_id": "c"}', "line 1"),
        (b"\xff", "cannot be read"),
        (b"\x1f\x8b\x08 cut off", "cannot be read"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=complaint):
        Benchmarks.load([path])


def test_missing_files_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere"):
        Benchmarks.load([tmp_path / "nowhere.jsonl"])
    with pytest.raises(CorpusError, match="no .jsonl"):
        Benchmarks.load([tmp_path])


def test_a_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", GENERIC | {"name": "second"})
    write(tmp_path / "a.jsonl.gz", GENERIC | {"name": "first"})
    assert [item.name for item in read_items([tmp_path])] == ["first", "second"]
    assert Benchmarks.load([tmp_path]).find(GENERIC["text"]) == "first"


def test_nothing_to_look_for_finds_nothing() -> None:
    assert Benchmarks.load([]).find(DOCSTRING) == ""


def test_it_travels_and_its_digest_follows_the_strings(tmp_path: Path) -> None:
    one = Benchmarks.load([write(tmp_path / "one.jsonl", HUMAN_EVAL)])
    two = Benchmarks.load([write(tmp_path / "two.jsonl", HUMAN_EVAL, GSM8K)])
    again = pickle.loads(pickle.dumps(one))
    assert again.find(DOCSTRING) == "HumanEval/900"
    assert again.digest == one.digest != two.digest


def test_a_task_retold_in_a_comment_is_found_by_its_words() -> None:
    benchmarks = Benchmarks.from_items([Item(name="t", text=DOCSTRING, is_prose=True)])
    retold = DOCSTRING.replace("lanterns([", "count_lanterns([").replace("\n    ", "\n# ")
    assert benchmarks.find("x = 1\n" + retold) == "t"
    half = " ".join(DOCSTRING.split()[:22])
    assert benchmarks.find(half) == ""
    solution = Benchmarks.from_items([Item(name="t", text=DOCSTRING, is_prose=False)])
    assert solution.find(retold) == ""


def slow_find(items: list[Item], text: str) -> str:
    """The rules as they are said."""

    def fold(string: str) -> str:
        return "".join(string.lower().split())

    def ngrams(string: str) -> set[tuple[str, ...]]:
        word, words = "", []
        for character in string.lower() + " ":
            if character == "_" or not character.isascii() or character.isalnum():
                word += character
            elif word:
                words.append(word)
                word = ""
        return {tuple(words[i : i + NGRAM_WORDS]) for i in range(len(words) - NGRAM_WORDS + 1)}

    for item in items:
        if len(fold(item.text)) >= MIN_FOLDED_CHARS and fold(item.text) in fold(text):
            return item.name
    for item in items:
        of_item = ngrams(item.text)
        shared = of_item & ngrams(text)
        if item.is_prose and len(of_item) >= MIN_NGRAMS:
            if len(shared) >= MIN_SHARED_SHARE * len(of_item):
                return item.name
    return ""


# Few letters, so that strings share windows, overlap and contain each other.
_TEXTS = st.one_of(
    st.text(alphabet="ab \nÄé\u2003", min_size=30, max_size=150),
    st.lists(st.sampled_from(["a", "B", "_c", "é", "a.b"]), max_size=60).map(" ".join),
)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(_TEXTS, st.booleans()), max_size=6),
    _TEXTS,
    st.integers(0, 5),
    st.integers(0, 20),
)
def test_it_finds_what_the_slow_rules_find(
    strings: list[tuple[str, bool]], around: str, chosen_idx: int, cut: int
) -> None:
    items = [Item(name=str(i), text=s, is_prose=p) for i, (s, p) in enumerate(strings)]
    benchmarks = Benchmarks.from_items(items)
    piece = strings[chosen_idx % len(strings)][0] if strings else ""
    for text in (
        around,
        around + piece.upper() + around,
        around + piece[cut:],
        piece[: -cut or None],
    ):
        assert benchmarks.find(text) == slow_find(items, text)


def test_a_hundred_thousand_solutions_are_all_found() -> None:
    items = [
        Item(
            name=f"APPS/{i}",
            text=f"n = int(input())\nrow = list(map(int, input().split()))\nprint(row[{i}] + n)\n",
            is_prose=False,
        )
        for i in range(100_000)
    ]
    benchmarks = Benchmarks.from_items(items)
    for i in range(0, 100_000, 3_333):
        assert benchmarks.find(f"import sys\n{items[i].text}exit()\n") == f"APPS/{i}"
    assert benchmarks.find(items[0].text.replace("row[0]", "row[-1]")) == ""
