"""Guards rows: they mix nothing, lose nothing, and show of other files what prompts show.

A failure would be quiet: a model that learned from padding or across files, that never saw the
prompts it is given when serving, or a resumed run that sees other text than it would have seen.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from runtime import fim
from runtime.healing import TokenTable
from runtime.other_files import MAX_OTHER_FILES, n_head_lines
from runtime.prompt import FimRequest, PromptBuilder, Snippet
from tests.train import tiny_corpus
from train.corpus.raw_file import Kind
from train.errors import CorpusError
from train.samples import other_files, plan
from train.samples.fim_transform import FIM_TOKENS
from train.samples.other_files import Excerpt, OtherFiles
from train.samples.plan import RowConfig, RowPlan, RowPlanner, SamplePlan
from train.samples.rows import IGNORED, RowStream
from train.samples.shards import TokenShard, write_tokens
from train.samples.tokenizer import decode, encode, train_tokenizer

Tokens = tuple[Tokenizer, TokenShard]
CONFIG = RowConfig(
    seed=5, row_tokens=257, fim_rate=0.8, other_files_share=0.5, file_layout="file_sep"
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return tiny_corpus.tokenizer_and_shard(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return tiny_corpus.tokenizer_and_shard(
        tmp_path_factory.mktemp("projects"), 320, tiny_corpus.projects()
    )


def stream(tokens: Tokens, state: object = None, **changes: object) -> RowStream:
    tokenizer, shard = tokens
    return RowStream(shard, tokenizer, replace(CONFIG, **changes), state)


def rows(tokens: Tokens, **changes: object) -> Iterator[RowPlan]:
    tokenizer, shard = tokens
    planner = RowPlanner(shard, tokenizer, replace(CONFIG, **changes))
    while True:
        yield planner.next_row()


def samples(tokens: Tokens, n_rows: int, **changes: object) -> list[SamplePlan]:
    return [sample for row in islice(rows(tokens, **changes), n_rows) for sample in row.samples]


def test_no_target_crosses_a_sample(tokens: Tokens) -> None:
    for batch in islice(stream(tokens).batches(3), 10):
        for inputs, targets, numbers in zip(
            batch.inputs_BT, batch.targets_BT, batch.sample_BT, strict=True
        ):
            has_target = targets != IGNORED
            assert (targets[:-1][has_target[:-1]] == inputs[1:][has_target[:-1]]).all()
            assert (numbers[:-1][has_target[:-1]] == numbers[1:][has_target[:-1]]).all()
            is_pad = inputs == FIM_TOKENS.pad_id
            assert not has_target[-1] and not has_target[is_pad].any()
            # Only the last token of a sample has no target.
            assert (~has_target & ~is_pad).sum() == len(set(numbers[~is_pad].tolist()))
            assert (np.diff(numbers) >= 0).all()
            assert not set(numbers[is_pad].tolist()) & set(numbers[~is_pad].tolist())


@pytest.mark.parametrize("row_tokens", [64, 100, 257, 1024])
def test_rows_are_nearly_full(projects: Tokens, row_tokens: int) -> None:
    batch = next(stream(projects, row_tokens=row_tokens).batches(60))
    # What is left at the end of a row is shorter than a sample, or what cutting did not need.
    assert (batch.inputs_BT == FIM_TOKENS.pad_id).mean() < 0.4 * plan.MIN_SAMPLE_TOKENS / row_tokens


def test_share_of_fim_samples_is_the_rate(tokens: Tokens) -> None:
    batches = list(islice(stream(tokens).batches(8), 60))
    inputs = np.concatenate([batch.inputs_BT for batch in batches])
    numbers = np.concatenate([batch.sample_BT for batch in batches])
    n_samples = sum(
        len(set(row[ids != FIM_TOKENS.pad_id].tolist()))
        for row, ids in zip(numbers, inputs, strict=True)
    )
    n_fim = (inputs == FIM_TOKENS.middle_id).sum()
    assert n_fim / n_samples == pytest.approx(CONFIG.fim_rate, abs=0.05)
    spm = ((inputs[:, :-1] == FIM_TOKENS.prefix_id) & (inputs[:, 1:] == FIM_TOKENS.suffix_id)).sum()
    # A prefix may be empty in the other order too.
    assert spm / n_fim == pytest.approx(0.5, abs=0.08)


def test_an_epoch_is_the_corpus_once(projects: Tokens) -> None:
    tokenizer, shard = projects
    planner = RowPlanner(shard, tokenizer, replace(CONFIG, row_tokens=700))
    bodies: list[Excerpt] = []
    while planner.epoch < 2:
        for sample in planner.next_row().samples:
            bodies.append(sample.body)
            assert sample.ends == (sample.body.end == len(shard.document(sample.body.document_idx)))
    for _ in range(2):
        covered = np.zeros(len(shard.tokens_N), np.int64)
        while covered.sum() < len(covered):
            body = bodies.pop(0)
            start = int(shard.offsets[body.document_idx])
            covered[start + body.start : start + body.end] += 1
        assert (covered == 1).all()
    assert len(bodies) < 10


def test_rows_without_fim_spell_their_bodies(projects: Tokens) -> None:
    """Nothing is lost on the way from plan to row, and only ends of files are marked as ends."""
    _, shard = projects
    made = stream(projects, fim_rate=0.0, row_tokens=600)
    for _ in range(30):
        (row,) = plans = made.plan(1)
        batch = made.make(plans)
        for number, sample in enumerate(row.samples):
            ids = batch.inputs_BT[0][batch.sample_BT[0] == number].tolist()
            body = shard.document(sample.body.document_idx)[sample.body.start : sample.body.end]
            wanted = [*body.tolist(), *[FIM_TOKENS.end_of_text_id] * sample.ends]
            assert ids[len(ids) - len(wanted) :] == wanted
            assert ids[: len(ids) - len(wanted)] == made.planner.heads.of(sample)


def test_a_batch_mixes_projects(tmp_path: Path) -> None:
    """One long file must not fill batch after batch (it did, and the model hardly learned)."""
    text = "\n".join(f"value_{i} = {i} + other[{i * 7}]" for i in range(3000))
    long_files = [
        replace(file, text=text.replace("value", f"v{i}"), origin=f"pypi:p{i}")
        for i, file in enumerate(tiny_corpus.files(6))
    ]
    mixed = tiny_corpus.tokenizer_and_shard(tmp_path, 300, long_files)
    documents = [
        row.samples[0].body.document_idx for row in islice(rows(mixed, row_tokens=512), 40)
    ]
    changes = sum(a != b for a, b in zip(documents, documents[1:], strict=False))
    assert changes > 10 and len(set(documents)) == 6


@settings(max_examples=25)
@given(
    n_before=st.integers(1, 60),
    n_rows=st.integers(1, 5),
    seed=st.integers(0, 3),
    row_tokens=st.sampled_from([64, 257, 1000]),
)
def test_stream_continues_from_any_state(
    tokens: Tokens, n_before: int, n_rows: int, seed: int, row_tokens: int
) -> None:
    whole = stream(tokens, seed=seed, row_tokens=row_tokens)
    whole.plan(n_before)
    resumed = stream(tokens, whole.planner.state(), seed=seed, row_tokens=row_tokens)
    ahead, behind = whole.batches(n_rows), resumed.batches(n_rows)
    for expected, batch in islice(zip(ahead, behind, strict=True), 3):
        assert (batch.inputs_BT == expected.inputs_BT).all()
        assert (batch.targets_BT == expected.targets_BT).all()
        assert (batch.sample_BT == expected.sample_BT).all()
        assert batch.state_after == expected.state_after
        assert batch.document_ids == expected.document_ids


def test_rows_do_not_depend_on_the_size_of_batches(projects: Tokens) -> None:
    one, three = stream(projects), stream(projects)
    singles = [next(one.batches(1)) for _ in range(12)]
    threes = [next(three.batches(3)) for _ in range(4)]
    assert (
        np.concatenate([batch.inputs_BT for batch in singles])
        == np.concatenate([batch.inputs_BT for batch in threes])
    ).all()
    assert singles[-1].state_after == threes[-1].state_after


def test_documents_of_a_batch_are_named(projects: Tokens) -> None:
    made = stream(projects, row_tokens=600)
    plans = made.plan(4)
    held = {
        excerpt.document_idx
        for row in plans
        for sample in row.samples
        for excerpt in (sample.body, *sample.others)
    }
    document_ids = made.make(plans).document_ids
    assert set(document_ids) == held and len(document_ids) == len(held)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_of_samples_with_other_files(projects: Tokens, share: float) -> None:
    _, shard = projects
    # Python files only: of the other language each project has one.
    found = [
        sample
        for sample in samples(projects, 900, row_tokens=1024, other_files_share=share)
        if shard.paths[sample.body.document_idx].endswith(".py")
        and sample.max_tokens >= plan.SAMPLE_TOKENS[0]
    ]
    measured = np.mean([bool(sample.others) for sample in found])
    assert len(found) > 1000 and measured == pytest.approx(share, abs=0.08)
    has_path = np.mean([sample.has_path for sample in found])
    assert has_path == pytest.approx(max(plan.PATH_SHARE, share), abs=0.06)


def test_other_files_are_of_the_same_project_and_language(projects: Tokens) -> None:
    _, shard = projects
    with_others = [s for s in samples(projects, 600, row_tokens=1024) if s.others]
    n_same_folder = n_others = 0
    for sample in with_others:
        own = sample.body.document_idx
        others = [other.document_idx for other in sample.others]
        assert own not in others and len(set(others)) == len(others) <= MAX_OTHER_FILES
        n_body = sample.body.end - sample.body.start
        assert sum(other.end - other.start for other in sample.others) < n_body
        for other in others:
            assert shard.origin_of_document[other] == shard.origin_of_document[own]
            assert shard.paths[other].endswith(".py") and shard.paths[own].endswith(".py")
            n_same_folder += shard.paths[other].split("/")[0] == shard.paths[own].split("/")[0]
            n_others += 1
    # Of seven Python files four lie in one folder and three in the other: of the six beside one
    # 2.6 share its folder on average, which chance alone would show in 43 % of the cases.
    assert n_others > 300 and n_same_folder / n_others > 0.6


def test_half_of_the_excerpts_are_heads_and_all_are_whole_lines(projects: Tokens) -> None:
    tokenizer, shard = projects
    others = OtherFiles(shard, tokenizer)
    draws = [others.draw(5, Random(seed), 400) for seed in range(600)]
    n_heads = 0
    for draw in draws:
        for excerpt in draw:
            assert excerpt.end - excerpt.start >= other_files.MIN_EXCERPT_TOKENS
            document = shard.document(excerpt.document_idx)
            text = decode(tokenizer, document[excerpt.start : excerpt.end])
            assert excerpt.end == len(document) or text.endswith("\n")
            before = decode(tokenizer, document[: excerpt.start])
            assert not before or before.endswith("\n")
        n_heads += all(excerpt.start == 0 for excerpt in draw)
    assert n_heads / len(draws) == pytest.approx(other_files.HEADS_SHARE, abs=0.08)
    assert np.mean([len(draw) == 2 for draw in draws]) > 0.15


class _Tokens:
    """The tokenizer as a prompt builder asks for it."""

    bos_id = None
    fim = FIM_TOKENS

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.n_tokens = tokenizer.get_vocab_size()
        self.pieces = [decode(tokenizer, [idx]).encode() for idx in range(self.n_tokens)]
        self.is_special = np.arange(self.n_tokens) < len(fim.SPECIAL_TOKENS)

    def tokenize(self, text: str) -> list[int]:
        return encode(self.tokenizer, text)


def test_heads_are_those_of_prompts(projects: Tokens) -> None:
    """A sample that shows heads of files begins with the very tokens that serving computes."""
    tokenizer, shard = projects
    view = _Tokens(tokenizer)
    builder = PromptBuilder(
        view, TokenTable(view.pieces, view.is_special), tokens=FIM_TOKENS, order=fim.Order.SPM
    )
    others = OtherFiles(shard, tokenizer)
    heads = stream(projects).planner.heads
    n_compared = 0
    for seed in range(60):
        excerpts = others.draw(5, Random(seed), 4000)
        if not excerpts or any(excerpt.start for excerpt in excerpts):
            continue
        snippets = []
        for excerpt in excerpts:
            lines = decode(tokenizer, shard.document(excerpt.document_idx)).splitlines(True)
            text = "".join(lines[: n_head_lines(lines)])
            snippets.append(Snippet(path=shard.paths[excerpt.document_idx], text=text))
        request = FimRequest(
            prefix="x = 1\n", suffix="\n", path=shard.paths[5], snippets=tuple(snippets)
        )
        prompt = builder.build(request, budget_tokens=4000).token_ids
        sample = sample_of(5, others=excerpts, has_path=True)
        assert heads.of(sample) == list(prompt[: prompt.index(FIM_TOKENS.prefix_id)])
        n_compared += 1
    assert n_compared > 15


def sample_of(
    document_idx: int,
    *,
    others: tuple[Excerpt, ...] = (),
    has_path: bool = False,
    has_repo_name: bool = False,
) -> SamplePlan:
    return SamplePlan(
        body=Excerpt(document_idx=document_idx, start=0, end=30),
        others=others,
        has_path=has_path,
        has_repo_name=has_repo_name,
        is_fim=False,
        ends=False,
        max_tokens=500,
    )


OTHER = Excerpt(document_idx=3, start=0, end=40)


@pytest.mark.parametrize(
    ("layout", "sample", "expected"),
    [
        ("file_sep", sample_of(1), ""),
        ("file_sep", sample_of(1, has_path=True), "<file_sep>src/part1.py\n"),
        (
            "file_sep",
            sample_of(1, others=(OTHER,), has_path=True),
            "<file_sep>src/part3.py\n{other}<file_sep>src/part1.py\n",
        ),
        ("filename", sample_of(1), ""),
        ("filename", sample_of(1, has_path=True), "<filename>src/part1.py\n"),
        ("filename", sample_of(1, has_repo_name=True), "<reponame>acme/shop0\n"),
        (
            "filename",
            sample_of(1, has_path=True, has_repo_name=True),
            "<reponame>acme/shop0<filename>src/part1.py\n",
        ),
        (
            "filename",
            sample_of(1, others=(OTHER,), has_path=True, has_repo_name=True),
            "<reponame>acme/shop0<filename>src/part3.py\n{other}<filename>src/part1.py\n",
        ),
    ],
)
def test_layouts_are_as_published(
    projects: Tokens, layout: str, sample: SamplePlan, expected: str
) -> None:
    tokenizer, shard = projects
    heads = stream(projects, file_layout=layout).planner.heads
    ids = heads.of(sample)
    other = decode(tokenizer, shard.document(3)[:40])
    assert decode(tokenizer, ids) == expected.format(other=other)
    n_special = sum(token_id < len(fim.SPECIAL_TOKENS) for token_id in ids)
    assert n_special == expected.count("<")
    assert len(ids) == heads.n_tokens(
        1, sample.others, path=sample.has_path, repo_name=sample.has_repo_name
    )


@pytest.mark.parametrize(("layout", "share"), [("file_sep", 0.0), ("filename", 0.2)])
def test_name_of_the_project_is_shown_where_the_layout_has_it(
    projects: Tokens, layout: str, share: float
) -> None:
    found = samples(projects, 600, row_tokens=1024, file_layout=layout)
    with_room = [s for s in found if s.max_tokens >= plan.SAMPLE_TOKENS[0]]
    measured = np.mean([sample.has_repo_name for sample in with_room])
    assert measured == pytest.approx(share, abs=0.05)


def test_documents_with_a_layout_stay_as_they_are(tmp_path: Path) -> None:
    """An issue in a FIM sample, or behind a path, would teach a layout that nobody asks for."""
    files = tiny_corpus.projects(1)
    issue = replace(
        files[1], kind=Kind.ISSUE, text="<issue_start>Title: x\n" + "It does not work.\n" * 200
    )
    tokenizer = train_tokenizer([file.text for file in files], 320)
    shard = write_tokens(
        tmp_path / "t.bin",
        [issue, *files[2:]],
        tokenizer,
        tokenizer_sha256="",
        corpus_id="",
    )
    seen = 0
    for sample in samples((tokenizer, shard), 300, row_tokens=1024):
        assert all(other.document_idx != 0 for other in sample.others)
        if sample.body.document_idx == 0:
            assert not (sample.is_fim or sample.has_path or sample.others)
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("text", ["x", "☺", "def f():\n    return 1\n", "a = 1\n" * 3000])
def test_a_corpus_of_one_document_works(tmp_path: Path, text: str) -> None:
    tokenizer = train_tokenizer([file.text for file in tiny_corpus.files()], 400)
    file = replace(tiny_corpus.files(1)[0], text=text)
    shard = write_tokens(tmp_path / "t.bin", [file], tokenizer, tokenizer_sha256="", corpus_id="")
    batch = next(stream((tokenizer, shard)).batches(4))
    assert (batch.targets_BT != IGNORED).mean() > 0.5
    assert batch.document_ids == (0,)


def test_a_corpus_of_empty_documents_is_refused(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([file.text for file in tiny_corpus.files()], 400)
    files = [replace(file, text="") for file in tiny_corpus.files()]
    shard = write_tokens(tmp_path / "t.bin", files, tokenizer, tokenizer_sha256="", corpus_id="")
    with pytest.raises(CorpusError, match="no text: add sources"):
        stream((tokenizer, shard))
