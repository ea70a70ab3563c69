"""Guards what of a suggestion is shown: a failure would show guesses as if they were sure, hide
what is right, or cut a suggestion inside a word.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.completion import Completion, Timing
from runtime.confidence import (
    AS_THE_MODEL_SAYS,
    Calibration,
    Head,
    Written,
    best_head,
    calibration_path,
    least_logprob,
)
from runtime.errors import BundleError
from runtime.stopping import StopReason

TIMING = Timing(
    tokenize_ms=0.0, prefill_ms=0.0, decode_ms=0.0, total_ms=0.0,
    n_prompt_tokens=0, n_reused_tokens=0, n_decoded_tokens=0,
)  # fmt: skip


def completion(
    *tokens: tuple[str, float],
    text: str | None = None,
    stop_reason: StopReason = StopReason.LINE,
    end_logprob: float = 0.0,
) -> Completion:
    spelled = "".join(piece for piece, _ in tokens)
    return Completion(
        text=spelled if text is None else text,
        token_ids=tuple(range(len(tokens))),
        spelled=tokens,
        end_logprob=end_logprob,
        mean_logprob=sum(logprob for _, logprob in tokens) / len(tokens),
        stop_reason=stop_reason,
        timing=TIMING,
    )


def heads_of(written: Written) -> dict[str, float]:
    """Log-probability of each head, by its text."""
    return {
        written.text[: head.n_chars]: round(math.log(head.probability), 6)
        for head in written.heads(AS_THE_MODEL_SAYS)
    }


def test_heads_end_at_words_and_the_whole_counts_its_end() -> None:
    done = completion(("foo", -0.1), ("_b", -0.2), ("ar", -0.3), ("(x", -0.4), (")\n", -0.5),
                      text="foo_bar(x)")  # fmt: skip
    assert heads_of(Written.of(done, "foo_bar(x)")) == {
        "foo_bar": -0.6, "foo_bar(x": -1.0, "foo_bar(x)": -1.5,
    }  # fmt: skip


def test_of_later_lines_only_whole_ones() -> None:
    done = completion((" a", -0.1), (":", -0.2), ("\n", -0.3), ("  b", -0.4), (" =", -0.5),
                      ("\n", -0.6), text=" a:\n  b =")  # fmt: skip
    assert heads_of(Written.of(done, " a:\n  b =")) == {
        " a": -0.1, " a:": -0.6, " a:\n  b =": -2.1,
    }  # fmt: skip


def test_a_line_end_in_one_token_with_the_next_indentation_ends_a_line() -> None:
    """GPT-2's tokenizers write it so: StarCoder's blocks would have no first line to show."""
    done = completion((" a", -0.1), (":", -0.2), ("\n ", -0.3), (" b", -0.4), ("\n", -0.5),
                      text=" a:\n  b")  # fmt: skip
    assert heads_of(Written.of(done, " a:\n  b")) == {
        " a": -0.1, " a:": -0.6, " a:\n  b": -1.5,
    }  # fmt: skip


def test_a_text_that_begins_with_line_ends_has_heads_in_its_first_line_of_text() -> None:
    done = completion(("\n", -0.1), ("  x", -0.2), (" =", -0.3), (" 1", -0.4), ("\n", -0.5),
                      text="\n  x = 1")  # fmt: skip
    assert heads_of(Written.of(done, "\n  x = 1")) == {
        "\n  x": -0.3, "\n  x =": -0.6, "\n  x = 1": -1.5,
    }  # fmt: skip


def test_what_replaces_the_rest_of_the_line_is_shown_whole_or_not_at_all() -> None:
    """A head would leave the bracket, and close it twice when the rest is accepted."""
    done = completion(("bar", -0.1), (", b", -0.2), (")\n", -0.3), text="bar, b)")
    written = Written.at_cursor(done, "print(", ")\n", path="a.py")
    assert written is not None and written.n_replaced_chars == 1
    assert heads_of(written) == {"bar, b)": -0.6}


def test_a_text_that_a_limit_cut_ends_with_a_whole_word() -> None:
    done = completion(("total", -0.1), (" + pri", -0.2), stop_reason=StopReason.MAX_TOKENS)
    written = Written.at_cursor(done, "x = ", "\n", path="a.py")
    assert written is not None and written.text == "total"


@pytest.mark.parametrize(
    ("stop_reason", "expected"),
    [
        (StopReason.END_OF_TEXT, -1.7),
        (StopReason.MAX_TOKENS, -1.0 + math.log(0.5)),
        (StopReason.DEADLINE, -1.0 + math.log(0.5)),
    ],
)
def test_an_end_is_the_models_or_unknown(stop_reason: StopReason, expected: float) -> None:
    done = completion(("x", -1.0), stop_reason=stop_reason, end_logprob=-0.7)
    assert heads_of(Written.of(done, "x")) == {"x": pytest.approx(expected, abs=1e-6)}


def test_what_was_cut_at_its_end_or_beginning_keeps_its_tokens() -> None:
    done = completion((" ", -0.1), ("x", -0.2), (" = 1", -0.4), ("\n", -0.8), ("y", -1.6))
    assert heads_of(Written.of(done, "x = 1")) == {"x": -0.2, "x = 1": -1.4}
    changed = Written.of(done, "x\t= 1")
    assert changed.tokens == () and heads_of(changed) == {"x\t= 1": pytest.approx(-3.1)}
    assert not list(Written.of(done, "").heads(AS_THE_MODEL_SAYS))


@given(st.integers(0, 9))
def test_typing_the_head_makes_the_rest_surer(n_typed: int) -> None:
    done = completion(("foo", -0.1), ("(bar", -2.0), (", b", -0.3), (")\n", -0.5),
                      text="foo(bar, b)")  # fmt: skip
    whole = Written.of(done, "foo(bar, b)")
    rest = whole.after(n_typed)
    assert rest.text == whole.text[n_typed:]
    assert "".join(text for text, _ in rest.tokens) == rest.text
    before = list(whole.heads(AS_THE_MODEL_SAYS))[-1].probability
    after = list(rest.heads(AS_THE_MODEL_SAYS))[-1].probability
    assert after >= before and (after > 5 * before or n_typed < 7)


@pytest.mark.parametrize(
    ("heads", "min_probability", "best"),
    [
        ([(7, 0.9), (12, 0.8)], 0.5, 12),  # a little less sure, and much longer
        ([(7, 0.9), (12, 0.4)], 0.5, 7),  # the end is a guess
        ([(7, 0.55), (12, 0.4)], 0.5, 12),  # both are, and a line saves more
        ([(7, 0.4), (12, 0.24)], 0.5, None),  # less sure than two heads one after the other
        ([(12, 0.4)], 0.5, 12),
        ([(11, 0.4)], 0.5, None),  # no line
        ([(7, 0.9), (12, 0.4)], 0.95, None),
        ([(2, 0.99), (12, 0.1)], 0.5, None),  # two characters save no key
        ([(12, 0.1)], 0.0001, None),  # more reading than typing
        ([], 0.5, None),
        ([(7, 0.9), (12, 0.001)], 0.0, 12),  # all is wanted
    ],
)
def test_the_head_that_saves_most_is_shown(
    heads: list[tuple[int, float]], min_probability: float, best: int | None
) -> None:
    found = best_head(
        [Head(*one) for one in heads], "abcdefg(hij)", min_probability=min_probability
    )
    assert (found.n_chars if found else None) == best


def test_a_closing_bracket_is_short_and_worth_it() -> None:
    assert best_head([Head(1, 0.9)], ")", min_probability=0.5) == Head(1, 0.9)


def test_the_first_of_several_lines_is_a_line() -> None:
    found = best_head([Head(9, 0.4), Head(15, 0.1)], "= total()\nx = 1", min_probability=0.5)
    assert found == Head(9, 0.4)


def test_a_calibration_keeps_the_order_and_the_default_changes_nothing() -> None:
    logprobs = np.linspace(-40, 0, 200).tolist()
    for one in (AS_THE_MODEL_SAYS, Calibration(bias=-1.0, by_sure=0.4, by_unsure=2.0)):
        found = [one.probability(logprob) for logprob in logprobs]
        assert found == sorted(found) and all(0.0 < p <= 1.0 for p in found)
    for logprob in (-20.0, -3.0, -0.5, -0.01):
        assert AS_THE_MODEL_SAYS.probability(logprob) == pytest.approx(math.exp(logprob))


@given(
    st.floats(-4.0, 4.0), st.floats(0.0, 2.0), st.floats(0.0, 2.0), st.floats(0.01, 1.0),
    st.lists(st.floats(-3.0, 0.0), min_size=1, max_size=12),
)  # fmt: skip
def test_nothing_after_too_doubtful_a_head_would_be_shown(
    bias: float, by_sure: float, by_unsure: float, wanted: float, logprobs: list[float]
) -> None:
    """A completion stops there (`SamplingConfig.min_logprob`): what is shown must be the same."""
    calibration = Calibration(bias=bias, by_sure=by_sure, by_unsure=by_unsure)
    least = least_logprob(calibration, wanted)
    n_written = next(
        (n for n in range(1, len(logprobs)) if math.fsum(logprobs[:n]) < least), len(logprobs)
    )
    tokens = tuple((f"word{i} ", logprob) for i, logprob in enumerate(logprobs))
    shown = []
    for n in (n_written, len(logprobs)):
        text = "".join(word for word, _ in tokens[:n])
        written = Written(text=text, tokens=tokens[:n], end_logprob=0.0)
        best = best_head(written.heads(calibration), text, min_probability=wanted)
        shown.append(text[: best.n_chars].rstrip() if best else None)
    assert shown[0] == shown[1]


def test_a_calibration_comes_back_from_its_file_and_a_bad_one_is_named(tmp_path: Path) -> None:
    path = calibration_path(tmp_path / "model.gguf")
    assert path.name == "model.confidence.json"
    folders = {calibration_path(tmp_path / f"Coder-1.{size}B") for size in (3, 5)}
    assert len(folders) == 2
    one = Calibration(bias=-0.25, by_sure=0.8, by_unsure=1.5)
    path.write_text(one.to_json())
    assert Calibration.read(path) == one
    for bad in ('{"bias": true}', '{"slope": 1}', "[]", "{", '{"by_sure": -1}', '{"bias": NaN}'):
        path.write_text(bad)
        with pytest.raises(BundleError, match="delete it"):
            Calibration.read(path)
