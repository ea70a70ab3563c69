"""Guards the typed-through cache: a wrong hit shows ghost text for code that is not there any more;
a missed one makes every key of a good suggestion cost tokens.
"""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from attribution.match import Report, Verdict
from lsp_server import cache
from lsp_server.cache import SuggestionCache
from lsp_server.suggestion import Suggestion


def suggestion(text: str) -> Suggestion:
    report = Report(verdict=Verdict.NONE, matches=(), elapsed_us=0.0, reason="")
    return Suggestion(
        text=text,
        n_replaced_chars=0,
        tokens=(),
        confidence=0.5,
        end_logprob=-0.1,
        mean_logprob=-0.5,
        stop_reason="line",
        report=report,
        timing=None,
    )


def remembered(prefix: str, suffix: str, text: str) -> SuggestionCache:
    shown = SuggestionCache()
    shown.remember("file:///a.py", prefix, suffix, (suggestion(text),))
    return shown


def rest(shown: SuggestionCache, prefix: str, suffix: str, uri: str = "file:///a.py") -> str | None:
    found = rests(shown, prefix, suffix, uri)
    return found[0] if found else None


def rests(
    shown: SuggestionCache,
    prefix: str,
    suffix: str,
    uri: str = "file:///a.py",
    *,
    n_asked: int = 1,
    min_logprob: float = -math.inf,
) -> list[str] | None:
    found = shown.typed_through(uri, prefix, suffix, n_asked=n_asked, min_logprob=min_logprob)
    if found is None:
        return None
    return [one.text[found.n_typed_chars :] for one in found.suggestions]


def test_the_head_of_a_suggestion_may_be_typed_and_taken_back() -> None:
    shown = remembered("x = ", "\ny", "compute(a)")
    assert rest(shown, "x = ", "\ny") == "compute(a)"
    assert rest(shown, "x = comp", "\ny") == "ute(a)"
    assert rest(shown, "x = c", "\ny") == "ompute(a)"


def test_what_the_deadline_cut_is_for_who_types_its_head() -> None:
    """Who asks again where it was cut deserves more; who types along needs no new computation."""
    shown = SuggestionCache()
    found = (suggestion("compute(a"),)
    shown.remember("file:///a.py", "x = ", "\ny", found, is_unfinished=True)
    shown.remember("file:///a.py", "z = ", "\ny", (), is_unfinished=True)
    assert rests(shown, "x = ", "\ny") is None and rests(shown, "z = ", "\ny") is None
    assert rest(shown, "x = comp", "\ny") == "ute(a"
    assert rests(shown, "x = compute(a", "\ny") is None


def test_what_doubt_cut_goes_on_once_the_doubtful_was_typed() -> None:
    """Otherwise a suggestion would end for good where the model was unsure once."""
    tokens = (("comp", -0.1), ("ute", -0.9), ("(a", -0.2))
    cut = replace(suggestion("compute(a"), stop_reason="doubt", tokens=tokens)
    shown = SuggestionCache()
    shown.remember("file:///a.py", "x = ", "\ny", (cut,), min_logprob=-1.0)
    for typed, left in {"": "compute(a", "comp": "ute(a", "compu": "te(a", "compute": None}.items():
        found = rests(shown, f"x = {typed}", "\ny", min_logprob=-1.0)
        assert found == (None if left is None else [left]), typed
    # Who wants more than was looked for then, or all of it, is not served with a part.
    assert rests(shown, "x = ", "\ny", min_logprob=-1.5) is None
    assert rests(shown, "x = ", "\ny") is None
    changed = replace(cut, tokens=(), end_logprob=-1.2)
    shown.remember("file:///a.py", "x = ", "\ny", (changed,), min_logprob=-1.0)
    assert rests(shown, "x = ", "\ny", min_logprob=-1.0) == ["compute(a"]


def test_anything_else_misses() -> None:
    shown = remembered("x = ", "\ny", "compute(a)")
    assert rest(shown, "x = con", "\ny") is None  # other text
    assert rest(shown, "x = compute(a)", "\ny") is None  # nothing left
    assert rest(shown, "x = compute(a)b", "\ny") is None
    assert rest(shown, "x =", "\ny") is None  # before the cursor of then
    assert rest(shown, "z = comp", "\ny") is None  # text above changed
    assert rest(shown, "x = comp", "\nz") is None  # text below changed
    assert rest(shown, "x = comp", "\ny", uri="file:///b.py") is None


@given(st.text("ab", max_size=4), st.text("ab", max_size=4), st.text("ab", max_size=8))
def test_a_hit_always_continues_to_the_remembered_text(prefix, text, typed) -> None:
    found = rest(remembered(prefix, "", text), typed, "")
    if found is None:
        starts = typed.startswith(prefix) and (prefix + text).startswith(typed)
        assert not (starts and len(typed) < len(prefix + text))
    else:
        assert found and typed + found == prefix + text


def test_alternatives_are_kept_as_long_as_they_fit() -> None:
    shown = SuggestionCache()
    texts = ("compute(a)", "count(b)", "0")
    shown.remember("file:///a.py", "x = ", "", tuple(map(suggestion, texts)), n_asked=3)
    assert rests(shown, "x = ", "", n_asked=3) == ["compute(a)", "count(b)", "0"]
    assert rests(shown, "x = co", "") == ["mpute(a)", "unt(b)"]
    assert rests(shown, "x = cou", "", n_asked=2) == ["nt(b)"]
    assert rests(shown, "x = cx", "") is None


def test_who_asks_for_more_than_came_then_is_a_miss() -> None:
    shown = remembered("x = ", "", "compute(a)")
    assert rests(shown, "x = ", "", n_asked=3) is None
    three = tuple(map(suggestion, ("compute(a)", "count(b)")))
    shown.remember("file:///a.py", "x = ", "", three, n_asked=3)
    assert rests(shown, "x = ", "", n_asked=3) == ["compute(a)", "count(b)"]


def test_nothing_is_remembered_for_the_very_same_place_only() -> None:
    shown = SuggestionCache()
    shown.remember("file:///a.py", "x = ", "\ny", ())
    assert rests(shown, "x = ", "\ny") == []
    assert rests(shown, "x = c", "\ny") is None
    assert rests(shown, "x = ", "\nz") is None


def test_the_least_recently_used_goes_first() -> None:
    shown = SuggestionCache(max_entries=2)
    for name in ("a", "b"):
        shown.remember("file:///a.py", name, "", (suggestion("xyz"),))
    assert rest(shown, "ax", "") == "yz"
    shown.remember("file:///a.py", "c", "", (suggestion("xyz"),))
    assert [rest(shown, name, "") for name in "abc"] == ["xyz", None, "xyz"]


def test_huge_documents_do_not_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(cache, "MAX_TOTAL_CHARS", 100)
    shown = SuggestionCache()
    for n in range(10):
        shown.remember("file:///a.py", f"{n}" * 40, "", (suggestion("xyz"),))
    assert len(shown) == 2
    shown.remember("file:///a.py", "p" * 500, "", (suggestion("xyz"),))
    assert len(shown) == 1 and rest(shown, "p" * 500, "") == "xyz"
    shown.clear()
    assert len(shown) == 0
