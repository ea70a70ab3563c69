"""Guards the cuts of fill-in-the-middle samples: they lose nothing and come in the promised shares.

A failure would be quiet: a model that fills gaps with text that never was there, or that cannot go
on where cursors stand.
"""

import json
from random import Random

import pytest
from tokenizers import Tokenizer

from runtime import fim
from tests.train import tiny_corpus
from train.samples import fim_transform
from train.samples.fim_transform import FIM_TOKENS
from train.samples.shards import TokenShard
from train.samples.syntax_nodes import NodeKind, spans
from train.samples.tokenizer import encode


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, TokenShard]:
    return tiny_corpus.tokenizer_and_shard(tmp_path_factory.mktemp("tokens"))


def parts_of(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, str, str]:
    """Prefix, middle and suffix as they are spelled; SPM leaves no mark before the middle, so that
    its prefix comes with the middle."""
    spelled = tokenizer.decode(ids, skip_special_tokens=False)
    assert spelled.endswith(fim.END_OF_TEXT)
    spelled = spelled.removesuffix(fim.END_OF_TEXT)
    if ids[1] == FIM_TOKENS.suffix_id:
        suffix, prefix_and_middle = spelled.removeprefix(fim.FIM_PREFIX + fim.FIM_SUFFIX).split(
            fim.FIM_MIDDLE
        )
        return "", prefix_and_middle, suffix
    prefix, rest = spelled.removeprefix(fim.FIM_PREFIX).split(fim.FIM_SUFFIX)
    suffix, middle = rest.split(fim.FIM_MIDDLE)
    return prefix, middle, suffix


@pytest.mark.parametrize("language", ["Python", "Rust", None])
@pytest.mark.parametrize("seed", range(100))
def test_parts_of_a_sample_are_the_text(
    tokens: tuple[Tokenizer, TokenShard], seed: int, language: str | None
) -> None:
    tokenizer, _ = tokens
    text = tiny_corpus.files()[seed % 12].text
    ids = fim_transform.fim_sample(
        text, [], tokenizer, Random(seed), max_tokens=10_000, language=language
    )
    assert "".join(parts_of(tokenizer, ids)) == text


@pytest.mark.parametrize("order", fim.TRAINED_ORDERS)
def test_samples_of_syntax_nodes_are_the_text_in_both_orders(
    tokens: tuple[Tokenizer, TokenShard], order: fim.Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fim_transform, "SYNTAX_SHARE", 1.0)
    monkeypatch.setattr(fim_transform, "SPM_SHARE", float(order == fim.Order.SPM))
    tokenizer, _ = tokens
    text = tiny_corpus.files()[1].text
    middles = set()
    for seed in range(300):
        ids = fim_transform.fim_sample(
            text, [], tokenizer, Random(seed), max_tokens=10_000, language="Python"
        )
        parts = parts_of(tokenizer, ids)
        assert "".join(parts) == text
        middles.add(parts[1])
    if order == fim.Order.PSM:
        assert {"Keeps crates in order.", "self, limit=1", "self.items.append(crate)"} <= middles
        assert "\n        self.items = []\n        self.limit = limit" in middles
        assert "self.items = []\n        self.limit = limit" in middles


def test_shares_of_cuts_are_as_promised() -> None:
    text = "".join(file.text for file in tiny_corpus.files(2))
    seeds = range(1500)
    # Without a language the same random numbers cut elsewhere.
    n_nodes = sum(
        fim_transform.draw_cut(text, Random(seed), "Python")
        != fim_transform.draw_cut(text, Random(seed), None)
        for seed in seeds
    )
    assert n_nodes / len(seeds) == pytest.approx(fim_transform.SYNTAX_SHARE, abs=0.04)
    docstring_ends = {s.end for s in spans(text, "Python") if s.kind == NodeKind.DOCSTRING}
    cuts = [fim_transform.cut_syntax_node(text, Random(seed), "Python") for seed in seeds]
    n_docstrings = sum(cut is not None and cut.end in docstring_ends for cut in cuts)
    # This text has all kinds but comments and conditions of loops, so weights are nearly shares.
    weight = fim_transform.NODE_WEIGHTS[NodeKind.DOCSTRING]
    assert n_docstrings / len(seeds) == pytest.approx(weight, abs=0.05)


def test_a_node_that_may_go_on_behind_the_text_is_not_cut() -> None:
    text = "def f(a):\n    b = 1\n    return g(a)\n"
    for seed in range(200):
        cut = fim_transform.cut_syntax_node(text, Random(seed), "Python")
        assert cut is not None and cut.end < len(text.rstrip())
        assert cut.end - cut.start <= 0.5 * len(text)


def test_a_text_without_nodes_is_cut_as_before(tokens: tuple[Tokenizer, TokenShard]) -> None:
    tokenizer, _ = tokens
    for text in ("", "x", ") ) (", "naïve ☺"):
        for seed in range(50):
            assert fim_transform.cut_syntax_node(text, Random(seed), "Python") is None
            ids = fim_transform.fim_sample(
                text, [], tokenizer, Random(seed), max_tokens=99, language="Python"
            )
            assert ids == fim_transform.fim_sample(
                text, [], tokenizer, Random(seed), max_tokens=99, language=None
            )


def test_what_decides_samples_is_named() -> None:
    """A run must not continue with other cuts or parsers: its order of samples would change."""
    identity = fim_transform.samples_identity()
    assert identity["cuts"] == fim_transform.CUT_VERSION
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("text", ["", "x", "\n", "\n\n\n", "    \n  y", "é☺"])
@pytest.mark.parametrize("cut", [kind for _, kind in fim_transform._CUTS])
def test_cuts_of_awkward_texts_stay_inside(text: str, cut) -> None:
    for seed in range(50):
        found = cut(text, Random(seed))
        assert 0 <= found.start <= found.end <= len(text)


def test_long_samples_keep_their_end(tokens: tuple[Tokenizer, TokenShard]) -> None:
    tokenizer, _ = tokens
    text = tiny_corpus.files()[0].text
    n_tokens = len(encode(tokenizer, text))
    for seed in range(50):
        ids = fim_transform.fim_sample(text, [], tokenizer, Random(seed), max_tokens=n_tokens + 4)
        assert len(ids) <= n_tokens + 4
        # A middle that is the whole text leaves no room to give back.
        if FIM_TOKENS.middle_id not in ids[:3]:
            assert ids[-1] == FIM_TOKENS.end_of_text_id
