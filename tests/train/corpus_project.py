"""A small project with a file for each fate, its recipe, and what comes of it."""

import json
from pathlib import Path
from typing import Any

from train.corpus.executors import Cluster
from train.corpus.pipeline import build_corpus
from train.recipe_file import load_recipe

SETTINGS = """
[corpus]
languages = ["Python", "TOML", "Jupyter Notebook"]
max_source_bytes = 20_000
opt_out = "opt-out.txt"
decontaminate = ["benchmark.jsonl"]
[tokenizer]
vocab_size = 300
[model]
name = "m"
n_layers = 1
d_model = 64
d_ff = 64
n_heads = 1
head_dim = 64
context_tokens = 64
[fit]
seed = 1
row_tokens = 64
batch_rows = 1
n_steps = 1
warmup_steps = 1
decay_share = 0.5
muon_lr = 0.01
adamw_lr = 0.01
"""
SOURCES = [
    '[[held_out]]\nfolder = "kept"\nname = "kept"\nlicence = "MIT"\n',
    '[[source]]\nfolder = "one"\nname = "one"\nlicence = "MIT"\n',
    '[[source]]\nfolder = "two"\nname = "two"\nlicence = "BSD-3-Clause"\n',
    '[[source]]\nfolder = "bare"\nname = "bare"\n',
]
LOCAL = Cluster(kind="local", n_workers=1)


def code(name: str, n_functions: int = 12) -> str:
    """Python source that no other name gives."""
    return "".join(
        f"def {name}_{i}(value, other):\n    total = value + {i}\n"
        f"    for item in other.{name}{i * i}:\n        total -= item\n    return total\n\n\n"
        for i in range(n_functions)
    )


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Taking stock of the shelves"]},
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": [code("notebook", 3)]},
    ],
    "metadata": {"language_info": {"name": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
ITEM = "def solved_by_the_benchmark(numbers):\n    return sorted(numbers)[len(numbers) // 2 :]\n"
GPL = """\
# This program is free software: you can redistribute it and/or modify it under the terms of the
# GNU General Public License as published by the Free Software Foundation, either version 3 of the
# License, or (at your option) any later version.
"""


def write_project(folder: Path) -> Path:
    """Write the sources, the recipe `mine.toml` and what it names into `folder`; gives `folder`."""
    texts = {
        "kept/secret_sauce.py": code("sauce"),
        "one/a.py": code("alpha"),
        "one/near.py": code("alpha") + "# one more line at the end\n",
        "one/b.py": "owner = 'jane.miller@corp.io'\n" + code("beta"),
        "one/short.py": "x = 1\n",
        "one/notes.xyzzy": "not code",
        "one/page.html": "<html><body>" + "<p>Some text of a page</p>\n" * 20 + "</body></html>",
        "one/_vendor/copied.py": code("vendored"),
        "one/nul.py": "x = '\0'\n" + code("nul"),
        "one/gpl.py": GPL + code("free"),
        "one/asked.py": code("asked"),
        "one/leaked.py": code("leaked") + ITEM,
        "one/stock.ipynb": json.dumps(NOTEBOOK),
        "one/broken.ipynb": "{not json",
        "two/same.py": code("alpha"),
        "two/leak.py": code("sauce") + "# a copy of held-out code\n",
        "two/crlf.py": code("gamma").replace("\n", "\r\n"),
        "two/big.py": code("delta", 300),
        "bare/code.py": code("bare"),
        "opt-out.txt": "path:folder:one/asked.py\n",
        "benchmark.jsonl": json.dumps({"name": "generic/1", "text": ITEM}) + "\n",
        "mine.toml": SETTINGS + "".join(SOURCES),
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    latin = code("l").encode() + "# café\n".encode("latin-1")
    (folder / "one" / "latin.py").write_bytes(latin)
    declared = "# -*- coding: latin-1 -*-\n# café\n" + code("omega")
    (folder / "two" / "declared.py").write_bytes(declared.encode("latin-1"))
    (folder / "one" / "link.py").symlink_to("a.py")
    return folder


def build(project: Path, out: Path, cluster: Cluster = LOCAL) -> dict[str, Any]:
    """The corpus of `mine.toml` in `out`; its summary."""
    summary = build_corpus(
        load_recipe(str(project / "mine.toml")), out, cluster=cluster, say=lambda _: None
    )
    assert summary is not None
    return summary


def result_bytes(out: Path) -> dict[str, bytes]:
    """Every result file of a run."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "stages" not in path.relative_to(out).parts
    }
