"""A corpus of a few files made in a test, its tokenizer and shard."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from train.corpus.source_file import SourceFile
from train.samples.shards import TokenShard, write_tokens
from train.samples.tokenizer import save_tokenizer, sha256_of, train_tokenizer

_BODY = '''\
import os


class Shelf{n}:
    """Keeps {name}s in order."""

    def __init__(self, limit={n}):
        self.items = []
        self.limit = limit

    def add(self, {name}):
        if len(self.items) >= self.limit:
            raise ValueError(f"no room for {{{name}}}")
        self.items.append({name})
        return len(self.items)


def main():
    shelf = Shelf{n}()
    for i in range(10):
        print(shelf.add(i * {n}), os.getcwd(), "naïve ☺")
'''


def files(n_files: int = 12) -> list[SourceFile]:
    names = ["book", "crate", "jar", "lamp"]
    return [
        SourceFile(
            origin=f"pypi:shelf{n % 3}",
            version="1",
            path=f"shelf{n}/core.py",
            licence="MIT",
            language="Python",
            swhid=f"swh:1:cnt:{n:040x}",
            text=_BODY.format(n=n, name=names[n % 4]),
        )
        for n in range(n_files)
    ]


def projects(n_projects: int = 3, n_files: int = 8) -> list[SourceFile]:
    """Longer files, in two folders of each project, and a single one in another language."""
    found = []
    for n in range(n_projects * n_files):
        project, number = divmod(n, n_files)
        is_python = number != 0
        lines = [f'"""Module {number} of project {project}."""\n'] if is_python else []
        lines += [
            f"def total_{n}_{i}(items, start={i}):\n    return start + sum(items[{n}:])\n"
            if is_python
            else f"total_{n}_{i}: [{i}, {n}]"
            for i in range(30 + 5 * number)
        ]
        found.append(
            SourceFile(
                origin=f"git:acme/shop{project}",
                version="1",
                path=("src/part" if number % 2 else "tests/part")
                + (f"{number}.py" if is_python else "s.yml"),
                licence="MIT",
                language="Python" if is_python else "YAML",
                swhid=f"swh:1:cnt:{n:040x}",
                text="\n".join(lines),
            )
        )
    return found


def tokenizer_and_shard(
    directory: Path, vocab_size: int = 400, corpus: Sequence[SourceFile] | None = None
) -> tuple[Tokenizer, TokenShard]:
    corpus = files() if corpus is None else corpus
    tokenizer = train_tokenizer([file.text for file in corpus], vocab_size)
    path = directory / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    shard = write_tokens(
        directory / "tokens.bin",
        corpus,
        tokenizer,
        tokenizer_sha256=sha256_of(path),
        corpus_id="c" * 64,
    )
    return tokenizer, shard
