"""Guards deduplication through files: prints of tasks, edges of bands, clusters of all documents.

A failure would show as a corpus that depends on workers or on file order, as duplicates that no
band found, or as a run that takes a damaged file for an empty one.
"""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train.corpus.dedup import bands, prints
from train.corpus.dedup.bands import EXACT_BAND, N_ALL_BANDS, BandReport, band_edges, edges_path
from train.corpus.dedup.clusters import FACTS, choose_kept, cluster_roots
from train.corpus.dedup.minhash import N_BANDS, band_keys, shingle_hashes, signature
from train.corpus.dedup.prints import PrintsReader, PrintsWriter, prints_path, text_hash
from train.errors import CorpusError

WORDS = [f"name{i}" for i in range(300)]


def text_of(rng: Random, n_words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n_words))


def edited(text: str, rng: Random, n_edits: int) -> str:
    words = text.split()
    for idx in rng.sample(range(len(words)), n_edits):
        words[idx] = rng.choice(WORDS)
    return " ".join(words)


def corpus_of(rng: Random, n_families: int, n_each: int, n_words: int = 60) -> list[str]:
    """Families whose members drift from one to the next, with repeats and short files."""
    texts = ["import a", "import b", "x = 1", "import a", ""]
    for _ in range(n_families):
        text = text_of(rng, n_words)
        for _ in range(n_each):
            texts.append(text)
            text = edited(text, rng, rng.randrange(3))
    rng.shuffle(texts)
    return texts


def write(directory: Path, tasks: list[list[str]], order: list[int] | None = None) -> None:
    for task_idx in order or range(len(tasks)):
        with PrintsWriter(directory, task_idx) as task_prints:
            for text in tasks[task_idx]:
                task_prints.add(text)


def split(texts: list[str], sizes: list[int]) -> list[list[str]]:
    tasks = []
    for size in sizes:
        tasks.append(texts[:size])
        texts = texts[size:]
    return [*tasks, texts]


def all_edges(
    directory: Path, n_tasks: int, n_partitions: int | None = None, order: list[int] | None = None
) -> list[BandReport]:
    return [
        band_edges(directory, n_tasks, band_idx, n_partitions)
        for band_idx in order or range(N_ALL_BANDS)
    ]


def roots_of(directory: Path, tasks: list[list[str]]) -> list[int]:
    write(directory, tasks)
    all_edges(directory, len(tasks))
    return cluster_roots(directory, sum(map(len, tasks))).tolist()


def slow_roots(texts: list[str]) -> list[int]:
    """Every pair: joined if equal, or if a band key is shared and the Jaccard is 0.7 or more."""
    sets = [set(shingle_hashes(text).tolist()) for text in texts]
    keys = [set(band_keys(signature(shingle_hashes(text))).tolist()) for text in texts]
    roots = list(range(len(texts)))
    for j in range(len(texts)):
        for i in range(j):
            shared, union = len(sets[i] & sets[j]), len(sets[i] | sets[j])
            if texts[i] == texts[j] or (keys[i] & keys[j] and 10 * shared >= 7 * union):
                low, high = sorted((roots[i], roots[j]))
                roots = [low if root == high else root for root in roots]
    return roots


def test_prints_round_trip_with_empty_tasks_and_texts(tmp_path: Path) -> None:
    tasks = [[], ["a b c d e f", "", "x"], [], ["a b c d e f"], []]
    write(tmp_path, tasks)
    with PrintsReader(tmp_path, 5) as task_prints:
        assert task_prints.first_ids.tolist() == [0, 0, 3, 3, 4, 4]
        for task_idx, texts in enumerate(tasks):
            offsets = task_prints.offsets(task_idx)
            expected = [shingle_hashes(text) for text in texts]
            for i, hashes in enumerate(expected):
                found = task_prints.shingles(task_idx, offsets[i], offsets[i + 1])
                assert found.tolist() == hashes.tolist()
            for band_idx in range(N_BANDS):
                keys = [int(band_keys(signature(hashes))[band_idx]) for hashes in expected]
                assert task_prints.column(task_idx, band_idx).tolist() == keys
        hashes = [text_hash(text).tolist() for texts in tasks for text in texts]
        assert task_prints.text_hashes().tolist() == hashes
    assert roots_of(tmp_path, tasks) == [0, 1, 2, 0]


def test_no_task_and_no_document(tmp_path: Path) -> None:
    all_edges(tmp_path, 0)
    assert cluster_roots(tmp_path, 0).size == 0
    assert roots_of(tmp_path, [[], []]) == []


@given(data=st.data(), seed=st.integers(0, 1 << 30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clusters_equal_those_of_all_pairs(tmp_path: Path, data: st.DataObject, seed: int) -> None:
    rng = Random(seed)
    texts = corpus_of(rng, data.draw(st.integers(0, 3)), data.draw(st.integers(1, 9)))
    sizes = data.draw(st.lists(st.integers(0, 6), max_size=3))
    tasks = split(texts, sizes)
    roots = roots_of(tmp_path, tasks)
    assert roots == slow_roots(texts)
    assert all(sum(map(len, tasks)) == len(texts) and root <= i for i, root in enumerate(roots))


def test_a_chain_of_edits_is_one_cluster(tmp_path: Path) -> None:
    """First and last are unlike; each is like the next."""
    rng = Random(4)
    chain = [text_of(rng, 200)]
    for _ in range(25):
        chain.append(edited(chain[-1], rng, 2))
    first, last = set(shingle_hashes(chain[0])), set(shingle_hashes(chain[-1]))
    assert len(first & last) < 0.5 * len(first | last)
    strangers = [text_of(rng, 200) for _ in range(5)]
    assert roots_of(tmp_path, [strangers, chain]) == [*range(5), *[5] * 26]


def test_no_byte_depends_on_workers_partitions_or_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prints, "_MAX_OPEN_FILES", 2)
    texts = corpus_of(Random(5), 12, 6)
    rng = Random(6)
    expected: list[bytes] = []
    for attempt, n_partitions in enumerate([None, 1, 2, 3, 7, 64]):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        tasks = split(texts, [rng.randrange(20) for _ in range(attempt)])
        task_order = rng.sample(range(len(tasks)), len(tasks))
        write(directory, tasks, task_order)
        all_edges(directory, len(tasks), n_partitions, rng.sample(range(N_ALL_BANDS), N_ALL_BANDS))
        found = [edges_path(directory, band_idx).read_bytes() for band_idx in range(N_ALL_BANDS)]
        expected = expected or found
        assert found == expected
    assert len(np.load(edges_path(tmp_path / "0", EXACT_BAND))) > 5
    assert len(np.load(edges_path(tmp_path / "0", 0))) > 5


def test_shuffled_documents_leave_the_same_texts(tmp_path: Path) -> None:
    """Weights are told by the text, as a project's are, so ids break only ties of equals."""
    texts = corpus_of(Random(7), 10, 7)
    weights = {text: float(i) for i, text in enumerate(sorted(set(texts)))}
    kept_texts = []
    for attempt in range(5):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        Random(attempt).shuffle(texts)
        roots = roots_of(directory, split(texts, [9] * attempt))
        facts = np.zeros(len(texts), dtype=FACTS)
        facts["weight"] = [weights[text] for text in texts]
        facts["text_hash"] = [text_hash(text) for text in texts]
        kept = choose_kept(np.array(roots), facts).kept
        kept_texts.append(sorted(text for text, keep in zip(texts, kept, strict=True) if keep))
        assert len(kept_texts[-1]) == len(set(roots))
    assert all(other == kept_texts[0] for other in kept_texts)


def test_thousands_of_equal_files_cost_no_comparison(tmp_path: Path) -> None:
    text = text_of(Random(8), 50)
    write(tmp_path, [[text] * 3000, ["\t" + text] * 3000])
    reports = all_edges(tmp_path, 2)
    assert [report.n_edges for report in reports] == [1] * N_BANDS + [5998]
    assert [report.n_comparisons for report in reports] == [1] * N_BANDS + [0]
    assert set(cluster_roots(tmp_path, 6000).tolist()) == {0}


def test_versions_of_one_file_cost_about_a_comparison_each(tmp_path: Path) -> None:
    rng = Random(9)
    text = text_of(rng, 400)
    write(tmp_path, [[edited(text, rng, 1) for _ in range(400)]])
    reports = all_edges(tmp_path, 1)
    assert set(cluster_roots(tmp_path, 400).tolist()) == {0}
    assert all(r.n_comparisons <= 1.1 * r.n_candidates for r in reports), reports


def give_all_one_key(directory: Path) -> None:
    """Makes all documents of the first task candidates of each other in band 0."""
    with PrintsReader(directory, 1) as task_prints:
        start_bytes = task_prints._headers[0].columns_start_bytes
        n_documents = task_prints.n_documents
    with prints_path(directory, 0).open("r+b") as file:
        file.seek(start_bytes)
        file.write(bytes(8 * n_documents))


def test_a_bucket_of_strangers_is_bounded_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key proves nothing: none is joined, and the comparisons are bounded."""
    rng = Random(10)
    monkeypatch.setattr(bands, "MAX_HELD", 8)
    write(tmp_path, [[text_of(rng, 40) for _ in range(100)]])
    give_all_one_key(tmp_path)
    report = band_edges(tmp_path, 1, 0)
    assert (report.n_candidates, report.n_edges, report.n_past_bound) == (100, 0, 92)
    assert report.n_comparisons == 8 * 7 // 2 + 92 * 8


def test_a_bucket_is_joined_as_all_its_pairs_would_be(tmp_path: Path) -> None:
    """A stranger at its head hides no pair; a chain is followed though its ends are unlike."""
    rng = Random(11)
    chain = [text_of(rng, 60).split()]
    for place in (10, 30, 50):
        chain.append(chain[-1].copy())
        chain[-1][place] = f"new{place}"
    texts = [text_of(rng, 60), *map(" ".join, chain)]
    write(tmp_path, [texts])
    give_all_one_key(tmp_path)
    band_edges(tmp_path, 1, 0)
    assert np.load(edges_path(tmp_path, 0)).tolist() == [[1, 2], [2, 3], [3, 4]]


@pytest.mark.parametrize("shared", [6, 7, 8])
def test_alike_begins_at_seven_tenths(shared: int) -> None:
    for n_union in range(10, 3000, 10):
        values = np.arange(n_union, dtype=np.uint32)
        n_shared = shared * n_union // 10
        left, right = values[:n_shared], values
        found = bands._count_shared(left, right)
        assert bands.is_alike(found, n_union) == (shared >= 7)
    assert not bands.is_alike(699, 1000)


def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PrintsWriter(tmp_path, 0) as task_prints:
        task_prints.add("a b c d e")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / ".prints-00000.bin.1.tmp"
    left.write_bytes(b"by a killed run" * 1000)
    write(tmp_path, [["a"]])
    assert set(tmp_path.iterdir()) == {left, prints_path(tmp_path, 0)}
    with PrintsReader(tmp_path, 1) as task_prints:
        assert task_prints.n_documents == 1


def test_damage_is_told_from_absence_of_documents(tmp_path: Path) -> None:
    write(tmp_path, [["a b c d e f g"], ["b"]])
    whole = prints_path(tmp_path, 1).read_bytes()
    for damaged in (b"", whole[:40], whole[:-8], whole + b"x", b"X" + whole[1:]):
        prints_path(tmp_path, 1).write_bytes(damaged)
        with pytest.raises(CorpusError, match="prints-00001.bin cannot be read"):
            band_edges(tmp_path, 2, 0)
    prints_path(tmp_path, 1).unlink()
    with pytest.raises(CorpusError, match="prints-00001.bin cannot be read"):
        band_edges(tmp_path, 2, 0)
    prints_path(tmp_path, 1).write_bytes(whole)
    all_edges(tmp_path, 2)
    edges_path(tmp_path, 3).write_bytes(b"not an array")
    with pytest.raises(CorpusError, match="edges-03.npy cannot be read"):
        cluster_roots(tmp_path, 2)
    edges_path(tmp_path, 3).unlink()
    with pytest.raises(CorpusError, match="edges-03.npy cannot be read"):
        cluster_roots(tmp_path, 2)
