"""Guards what the model is shown: token ids that training would give, windows that do not slide.

A failure would be quiet: worse suggestions, or a prompt that is computed anew at each key.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.fim import FimTokens, Order, own_tokens
from runtime.healing import TokenTable
from runtime.llama import Model
from runtime.prompt import FimRequest, PromptBuilder, Snippet, SplitRule, split
from runtime.stopping import Mode

SOURCE = Path(__file__).read_text() * 4


@pytest.fixture(scope="module")
def model(tiny_gguf: Path) -> Iterator[Model]:
    opened = Model.open(tiny_gguf, n_context_tokens=256, n_prefill_threads=1)
    yield opened
    opened.close()


def builder_of(
    model: Model, tokens: FimTokens | None = None, order: Order = Order.SPM
) -> PromptBuilder:
    table = TokenTable(model.vocabulary.pieces, model.vocabulary.is_special)
    return PromptBuilder(model.vocabulary, table, tokens=tokens or own_tokens(), order=order)


@pytest.fixture
def builder(model: Model) -> PromptBuilder:
    return builder_of(model)


def text_of(model: Model, ids: tuple[int, ...]) -> str:
    return b"".join(model.vocabulary.pieces[i] for i in ids).decode("utf-8", "replace")


BLANKS = st.sampled_from(
    [
        "\n",
        "\n\n",
        " ",
        "    ",
        "\t",
        "\r",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\xa0",
        "\u2028",
        "\u3000",
    ]
)
WORDS = st.sampled_from(
    ["x", "return", ":", "):", "()", "'s", "1", "12", "é", "日本", "😀", "_", "#"]
)


@given(st.lists(BLANKS | WORDS | st.text(max_size=3), max_size=30).map("".join))
@settings(max_examples=500)
def test_line_by_line_is_exact(model: Model, text: str) -> None:
    """The ids of the pieces are those of the whole, blank lines and odd blanks included."""
    builder = builder_of(model)
    assert builder.split_rule is SplitRule.FULL_LINES
    assert builder.tokenize(text) == model.vocabulary.tokenize(text)
    assert builder.tokenize(text) == model.vocabulary.tokenize(text)  # from the cache


@pytest.mark.parametrize("rule", list(SplitRule))
@given(text=st.lists(BLANKS | WORDS, max_size=30).map("".join))
def test_pieces_make_up_the_text(rule: SplitRule, text: str) -> None:
    assert "".join(split(text, rule)) == text


def test_split_points() -> None:
    text = "a:\n\n    b\nc  \n  \nd"
    assert split(text, SplitRule.FULL_LINES) == ["a:\n\n", "    b\n", "c  \n  \n", "d"]
    assert split(text, SplitRule.LEFT_MARGIN) == ["a:\n\n    b\n", "c  \n  \nd"]
    assert split(text, SplitRule.NOWHERE) == [text]
    assert split("", SplitRule.NOWHERE) == []


@pytest.mark.parametrize("budget", [64, 200, 1000])
def test_prompts_fit(builder: PromptBuilder, budget: int) -> None:
    rng = random.Random(0)
    for _ in range(60):
        cut = rng.randrange(len(SOURCE))
        unit = rng.choice(["", "日" * 3000, " " * 3000, "x" * 9000, "\n" * 3000])
        snippets = tuple(
            Snippet(path=f"{i}.py", text=SOURCE[: rng.randrange(900)])
            for i in range(rng.randrange(4))
        )
        request = FimRequest(
            prefix=SOURCE[:cut] + unit, suffix=unit + SOURCE[cut:], path="a.py", snippets=snippets
        )
        prompt = builder.build(request, budget_tokens=budget)
        assert len(prompt.token_ids) <= budget


def test_the_window_does_not_slide(builder: PromptBuilder, model: Model) -> None:
    """While 3,000 characters are typed, the first tokens of a long prefix change a few times."""
    suffix = "\nreturn x\n"
    heads = []
    for cut in range(6000, 9000, 5):
        request = FimRequest(prefix=SOURCE[:cut], suffix=suffix, path="a.py")
        ids = builder.build(request, budget_tokens=700).token_ids
        heads.append(text_of(model, ids)[:120])
    n_changes = sum(a != b for a, b in zip(heads, heads[1:], strict=False))
    assert 2 <= n_changes <= 3000 / 400


def test_windows_begin_and_end_at_line_ends(builder: PromptBuilder, model: Model) -> None:
    n_prefix_chars = n_suffix_chars = 0
    for cut in range(5000, 6000, 37):
        request = FimRequest(prefix=SOURCE[:cut], suffix=SOURCE[cut:], path="a.py")
        prompt = builder.build(request, budget_tokens=600)
        suffix_at = prompt.token_ids.index(own_tokens().suffix_id) + 1
        middle_at = prompt.token_ids.index(own_tokens().middle_id)
        shown_suffix = text_of(model, prompt.token_ids[suffix_at:middle_at])
        shown_prefix = text_of(model, prompt.token_ids[middle_at + 1 :]) + prompt.pending.decode()
        assert SOURCE[:cut].endswith(shown_prefix)
        assert SOURCE[cut:].lstrip(")]}\"'`").startswith(shown_suffix.lstrip(")]}\"'`"))
        assert SOURCE[: cut - len(shown_prefix)].endswith("\n")
        assert shown_suffix.endswith("\n")
        assert shown_prefix and shown_suffix
        n_prefix_chars += len(shown_prefix)
        n_suffix_chars += len(shown_suffix)
    assert n_prefix_chars > n_suffix_chars


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (")", ""),
        ('"})', ""),
        (")  ", ""),
        ("", ""),
        ("):", "):"),
        (") + 1", ") + 1"),
        ("x)", "x)"),
        ("  )", "  )"),
    ],
)
def test_what_an_editor_closes_by_itself_moves_nothing(
    builder: PromptBuilder, model: Model, rest: str, shown: str
) -> None:
    """The bracket or quote that comes and goes with its partner at the cursor."""
    for below in ("\ny = 2\n", ""):
        request = FimRequest(prefix="x = f(", suffix=rest + below, path="a.py")
        text = text_of(model, builder.build(request, budget_tokens=200).token_ids)
        assert text.partition("<fim_suffix>")[2].partition("<fim_middle>")[0] == shown + below
        whole = builder.build(replace(request, mode=Mode.SPAN), budget_tokens=200)
        assert f"<fim_suffix>{rest + below}<fim_middle>" in text_of(model, whole.token_ids)


def test_the_same_request_gives_the_same_prompt(model: Model) -> None:
    used, fresh = builder_of(model), builder_of(model)
    rng = random.Random(3)
    for _ in range(100):
        cut = rng.randrange(len(SOURCE))
        request = FimRequest(prefix=SOURCE[:cut], suffix=SOURCE[cut:], path="a.py")
        assert used.build(request, budget_tokens=500) == builder_of(model).build(
            request, budget_tokens=500
        )
    assert fresh.build(request, budget_tokens=500) == used.build(request, budget_tokens=500)


def test_orders(model: Model) -> None:
    request = FimRequest(prefix="a\n", suffix="\nb\n", path="p")
    spm = builder_of(model).build(request, budget_tokens=200).token_ids
    psm = builder_of(model, order=Order.PSM).build(request, budget_tokens=200).token_ids
    assert text_of(model, spm) == "<file_sep>p\n<fim_prefix><fim_suffix>\nb\n<fim_middle>a\n"
    assert text_of(model, psm) == "<file_sep>p\n<fim_prefix>a\n<fim_suffix>\nb\n<fim_middle>"


def test_a_model_without_file_separator_gets_no_head(model: Model) -> None:
    tokens = FimTokens(prefix_id=1, middle_id=2, suffix_id=3, end_of_text_id=0)
    request = FimRequest(
        prefix="a\n", suffix="", path="p", snippets=(Snippet(path="q", text="x\n"),)
    )
    ids = builder_of(model, tokens).build(request, budget_tokens=200).token_ids
    assert text_of(model, ids) == "<fim_prefix><fim_suffix><fim_middle>a\n"


def test_snippets_are_whole_lines_as_long_as_there_is_room(
    builder: PromptBuilder, model: Model
) -> None:
    code = "".join(f"value_{i} = compute({i})\n" for i in range(300))
    large = Snippet(path="large.py", text=code)
    snippets = (
        Snippet(path="small.py", text="x = 1\n"), large, Snippet(path="late.py", text="y\n")
    )  # fmt: skip
    request = FimRequest(prefix=code, suffix="", path="a.py", snippets=snippets)
    for budget_tokens in (350, 400, 477, 600):
        prompt = builder.build(request, budget_tokens=budget_tokens)
        shown = text_of(model, prompt.token_ids).split("<file_sep>")
        assert shown[:2] == ["", "small.py\nx = 1\n"] and len(shown) == 4
        head = shown[2].removeprefix("large.py\n")
        assert code.startswith(head) and head.endswith("\n") and head != code
        # The file itself keeps its share: as much as it gets where the others are endless.
        endless = replace(request, snippets=(large,) * 9)
        text = text_of(model, builder.build(endless, budget_tokens=budget_tokens).token_ids)
        assert text.endswith(f"<file_sep>{shown[3]}")
    # A handful of tokens tell nothing.
    few = builder.build(request, budget_tokens=60)
    assert text_of(model, few.token_ids).startswith("<file_sep>a.py\n")


def test_a_huge_file_costs_no_more(builder: PromptBuilder) -> None:
    """50 MB before and after: only the window may be tokenized."""
    line = "value = compute(value)\n"
    text = line * (50_000_000 // len(line))
    prompt = builder.build(FimRequest(prefix=text, suffix=text, path="a.py"), budget_tokens=700)
    assert len(prompt.token_ids) <= 700
    assert sum(len(piece) for piece in builder._pieces) < 100_000


def test_a_request_may_ask_for_the_other_order(model: Model, builder: PromptBuilder) -> None:
    request = FimRequest(prefix="a = 1\n", suffix="\nc = 3\n", path="x.py")
    own = builder.build(request, budget_tokens=200)
    assert own == builder.build(replace(request, order=Order.SPM), budget_tokens=200)
    other = builder.build(replace(request, order=Order.PSM), budget_tokens=200)
    assert other == builder_of(model, order=Order.PSM).build(request, budget_tokens=200) != own
