"""Guards corpus shards: a damaged one is an error, never a smaller corpus."""

from pathlib import Path

import pytest

from tests.train import tiny_corpus
from train.corpus.source_file import read_shard, read_shards, write_shard
from train.errors import CorpusError


def test_round_trip(tmp_path: Path) -> None:
    files = tiny_corpus.files()
    assert write_shard(tmp_path / "a.jsonl.zst", files) == len(files)
    assert list(read_shards(tmp_path)) == files
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl.zst"]


def test_a_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    write_shard(path, tiny_corpus.files())
    whole = path.read_bytes()
    for n_bytes in [*range(40), *range(40, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(CorpusError, match="make the corpus again"):
            list(read_shard(path))


def test_no_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="starling train corpus"):
        list(read_shards(tmp_path))
