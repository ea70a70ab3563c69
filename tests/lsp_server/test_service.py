"""Guards the way from a cursor to a checked suggestion, with a real model and a real index: what is
shown must be true, and what was typed must cost nothing.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from attribution.match import Report
from lsp_server.service import CompletionService
from lsp_server.settings import AttributionMode, Settings
from runtime import trim
from runtime.bundle import MODEL_FILE, SPEC_FILE
from runtime.confidence import Calibration, calibration_path
from runtime.engine import Engine
from runtime.errors import BundleError, ClosedError
from runtime.sampling import SamplingConfig
from tests import copying_bundle
from tests.copying_bundle import ANYTHING, PREFIX, SUFFIX, cursor, written_by


@pytest.fixture(scope="module")
def plain(tiny_gguf):
    """The tiny model alone."""
    service = CompletionService.open(Settings(bundle_path=tiny_gguf))
    service.configure(ANYTHING)
    yield service
    service.close()


@pytest.fixture(scope="module")
def written(plain) -> str:
    return written_by(plain)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, tiny_gguf) -> Path:
    return copying_bundle.make(tmp_path_factory.mktemp("bundles") / "copies", tiny_gguf)


@pytest.fixture
def open_service():
    opened = []

    def open_it(path: Path, settings: Settings = ANYTHING) -> CompletionService:
        service = CompletionService.open(Settings(bundle_path=path))
        service.configure(settings)
        opened.append(service)
        return service

    yield open_it
    for service in opened:
        service.close()


Opener = Callable[..., CompletionService]


def test_without_an_index_the_verdict_is_unknown_and_says_why(plain, written) -> None:
    (suggestion,) = plain.complete(cursor(), threading.Event())
    assert suggestion.text == written
    assert suggestion.report.verdict == "unknown"
    assert "without an attribution index" in suggestion.report.reason


def test_a_suggestion_that_stands_in_the_corpus_is_named(bundle, written, open_service) -> None:
    (suggestion,) = open_service(bundle).complete(cursor(), threading.Event())
    assert suggestion.text == written
    report = suggestion.report
    assert (report.verdict, report.reason) == ("copy", "")
    source = report.matches[0].sources[0]
    assert (source.origin, source.version, source.licence) == ("pypi:records", "1.2.3", "MIT")
    line = PREFIX.count("\n") + 1
    assert source.path == "records/reader.py" and source.first_line <= line <= source.last_line


def test_copies_can_be_hidden_and_checking_switched_off(bundle, written, open_service) -> None:
    hide = Settings(min_confidence=0.0, deadline_ms=20_000, attribution=AttributionMode.HIDE)
    assert open_service(bundle, hide).complete(cursor(), threading.Event()) == ()
    off = Settings(min_confidence=0.0, deadline_ms=20_000, attribution=AttributionMode.OFF)
    (suggestion,) = open_service(bundle, off).complete(cursor(), threading.Event())
    assert suggestion.text == written and suggestion.report.verdict == "unknown"
    assert "switched off" in suggestion.report.reason


def test_a_foreign_or_damaged_index_gives_unknown(bundle, tmp_path, open_service) -> None:
    foreign = copying_bundle.make_of(tmp_path / "foreign", "x = 1\n" * 100)
    for path in bundle.iterdir():
        if path.name not in (MODEL_FILE, SPEC_FILE):
            (foreign / path.name).write_bytes(path.read_bytes())
    (suggestion,) = open_service(foreign).complete(cursor(), threading.Event())
    assert suggestion.report.verdict == "unknown"
    assert "corpus" in suggestion.report.reason
    for path in foreign.iterdir():
        if path.name not in (MODEL_FILE, SPEC_FILE):
            path.write_bytes(path.read_bytes()[:10])
    (suggestion,) = open_service(foreign).complete(cursor(), threading.Event())
    assert suggestion.report.verdict == "unknown" and suggestion.report.reason


def test_typing_the_suggestion_costs_no_tokens_and_keeps_its_matches(
    bundle, written, open_service
) -> None:
    service = open_service(bundle)
    (first,) = service.complete(cursor(), threading.Event())
    assert first.timing is not None and first.timing.n_decoded_tokens > 0
    for n_typed in (1, 2, len(written) - 1):
        at = cursor(prefix=PREFIX + written[:n_typed])
        (rest,) = service.complete(at, threading.Event())
        assert (rest.text, rest.timing) == (written[n_typed:], None)
        assert rest.report.verdict == "copy"
        assert rest.report.matches[0].end_char <= len(rest.text)
    (other,) = service.complete(cursor(prefix=PREFIX + "zz"), threading.Event()) or (None,)
    assert other is None or other.timing is not None


def test_settings_after_the_fact_apply_to_cached_suggestions(bundle, written, open_service) -> None:
    service = open_service(bundle)

    def verdicts(settings: Settings, typed: str = "") -> list[str]:
        service.configure(settings)
        found = service.complete(cursor(prefix=PREFIX + typed), threading.Event())
        return [str(suggestion.report.verdict) for suggestion in found]

    def with_mode(mode: AttributionMode) -> Settings:
        return Settings(min_confidence=0.0, deadline_ms=20_000, attribution=mode)

    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(with_mode(AttributionMode.OFF)) == ["unknown"]
    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(with_mode(AttributionMode.HIDE)) == []
    assert verdicts(with_mode(AttributionMode.HIDE), typed=written[:1]) == []
    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(Settings(min_confidence=1.0), typed=written[:1]) == []
    assert verdicts(ANYTHING, typed=written[:1]) == ["copy"]


def test_a_cancelled_request_gives_nothing_and_is_not_remembered(plain) -> None:
    cancel = threading.Event()
    cancel.set()
    at = cursor(prefix=PREFIX + "print(")
    assert plain.complete(at, cancel) == ()
    (suggestion,) = plain.complete(at, threading.Event())
    assert suggestion.timing is not None


def test_mid_line_nothing_is_computed(plain) -> None:
    assert plain.complete(cursor(suffix="name + 1\n"), threading.Event()) == ()


def test_several_suggestions_differ(plain) -> None:
    found = plain.complete(cursor(), threading.Event(), n=3)
    texts = [suggestion.text for suggestion in found]
    assert len(texts) == len(set(texts)) >= 2


def test_several_suggestions_are_kept_while_the_user_types_one(plain) -> None:
    at = cursor(prefix=PREFIX + "print(")
    found = plain.complete(at, threading.Event(), n=3)
    texts = [suggestion.text for suggestion in found]
    again = plain.recall(at, n=3)
    assert [one.text for one in again] == texts and all(one.timing is None for one in again)
    assert plain.recall(at, n=4) is None
    last = texts[-1]
    typed = cursor(prefix=PREFIX + "print(" + last[:2])
    assert last[2:] in [one.text for one in plain.recall(typed, n=3)]


def test_what_is_cut_anywhere_ends_with_a_whole_word(plain) -> None:
    at = cursor(prefix=PREFIX.replace("records", "rows") + "return ")
    sampling = SamplingConfig(max_tokens=1, deadline_ms=20_000)
    for n_tokens in range(1, 12):
        sampling = replace(sampling, max_tokens=n_tokens)
        (cut,) = plain.engine.complete(plain._request(at), sampling)
        plain.configure(replace(ANYTHING, max_tokens=n_tokens))
        found = plain.complete(replace(at, uri=f"{at.uri}{n_tokens}"), threading.Event())
        if cut.stop_reason == "max_tokens":
            whole = trim.without_torn_end(cut.text)
            assert whole.startswith("".join(one.text for one in found))
            assert len(whole) < len(cut.text) or not cut.text[-1].isalnum()
    plain.configure(ANYTHING)


def test_what_the_deadline_cut_is_asked_again(plain) -> None:
    """A cold first request may be too slow; the second finds most of the prompt read."""
    at = cursor(prefix=PREFIX.replace("limit", "bound"))
    plain.configure(replace(ANYTHING, deadline_ms=0))
    assert plain.complete(at, threading.Event()) == ()
    plain.configure(ANYTHING)
    assert plain.recall(at) is None
    assert plain.complete(at, threading.Event())


def test_nothing_to_say_is_remembered_too(plain) -> None:
    at = cursor(prefix=PREFIX + "name = ")
    plain.configure(Settings(min_confidence=1.0, deadline_ms=20_000))
    assert plain.complete(at, threading.Event()) == () == plain.recall(at)
    # Doubtful, so not even written to its end; but here it is for who asks.
    assert plain.recall(at, is_asked_for=True) is None
    (asked,) = plain.complete(at, threading.Event(), is_asked_for=True)
    plain.configure(ANYTHING)
    (recalled,) = plain.recall(at)
    assert recalled.text == asked.text and recalled.timing is None
    assert asked.stop_reason != "doubt"


def test_what_was_computed_ahead_costs_nothing(plain) -> None:
    at = cursor(prefix=PREFIX + "if not ")
    assert plain.recall(at) is None
    plain.compute_ahead(at, threading.Event())
    n_hits = plain.figures.n_hits
    (suggestion,) = plain.complete(at, threading.Event())
    assert suggestion.timing is None and plain.figures.n_hits == n_hits + 1
    cancelled = threading.Event()
    cancelled.set()
    other = cursor(prefix=PREFIX + "if ")
    plain.compute_ahead(other, cancelled)
    assert plain.recall(other) is None


def test_reading_ahead_leaves_only_the_last_tokens_to_read(plain) -> None:
    at = cursor(prefix=PREFIX.replace("records", "lines") + "return ")
    plain.read_ahead(at, threading.Event())
    (completion,) = plain.engine.complete(plain._request(at), SamplingConfig(max_tokens=1))
    timing = completion.timing
    assert timing.n_reused_tokens == timing.n_prompt_tokens - 1


def test_a_large_model_reads_ahead_longer_than_a_suggestion_may_take(plain, monkeypatch) -> None:
    """Otherwise it would give up after a second, and nothing would be read when somebody types."""
    monkeypatch.setattr("runtime.sampling.DEFAULT_DEADLINE_MS", 0.0)
    plain.engine.logits([1])
    plain.read_ahead(cursor(prefix=f"# long\n{PREFIX}"), threading.Event())
    monkeypatch.undo()
    (suggestion,) = plain.complete(cursor(prefix=f"# long\n{PREFIX}"), threading.Event())
    timing = suggestion.timing
    assert timing.n_prompt_tokens - timing.n_reused_tokens < 3


def test_the_users_own_index_is_asked_as_well(bundle, plain, written, tiny_gguf) -> None:
    def first(**changes: object) -> Report:
        plain.configure(replace(ANYTHING, **changes))
        (suggestion,) = plain.complete(cursor(), threading.Event())
        return suggestion.report

    assert first().verdict == "unknown"
    report = first(extra_indexes=(bundle,))
    assert report.verdict == "copy"
    assert report.matches[0].sources[0].origin == "pypi:records"
    # Of what the model itself was trained on, somebody else's index says nothing.
    plain.configure(replace(ANYTHING, extra_indexes=(bundle,)))
    others = plain.complete(cursor(prefix="y = 1\n" * 30 + "z = "), threading.Event())
    assert [one.report.verdict for one in others] == ["unknown"]
    assert first(extra_indexes=(bundle / "missing",)).verdict == "unknown"
    plain.configure(ANYTHING)


def test_what_the_user_allows_is_neither_hidden_nor_a_copy(bundle, open_service) -> None:
    hide = replace(ANYTHING, attribution=AttributionMode.HIDE)
    service = open_service(bundle, hide)
    assert service.complete(cursor(), threading.Event()) == ()
    for allowing in ({"allowed_sources": ("records",)}, {"allowed_licences": ("mit",)}):
        service.configure(replace(hide, **allowing))
        (suggestion,) = service.complete(cursor(), threading.Event())
        assert suggestion.report.verdict == "common"
        assert "records" in suggestion.report.reason
    service.configure(replace(hide, allowed_licences=("Apache-2.0",)))
    assert service.complete(cursor(), threading.Event()) == ()


def test_the_prompt_is_shown_as_the_model_sees_it(plain) -> None:
    prompt = plain.prompt_text(cursor())
    assert prompt.startswith("<file_sep>a.py\n<fim_prefix><fim_suffix>" + SUFFIX)
    shown_prefix = prompt.partition("<fim_middle>")[2]
    assert PREFIX.startswith(shown_prefix) and len(PREFIX) - len(shown_prefix) <= 16


@pytest.fixture
def boastful(bundle, tmp_path, open_service) -> CompletionService:
    """The copying bundle, whose model is taken to be surer than it is, at first."""
    directory = tmp_path / "boastful"
    shutil.copytree(bundle, directory)
    calibration = Calibration(bias=14.0, by_sure=1.0, by_unsure=1.0)
    calibration_path(directory / MODEL_FILE).write_text(calibration.to_json())
    return open_service(directory, Settings(deadline_ms=20_000))


def test_the_sure_head_of_a_suggestion_is_shown_and_then_the_next(boastful, written) -> None:
    (head,) = boastful.complete(cursor(), threading.Event())
    assert written.startswith(head.text) and 3 <= len(head.text) < len(written)
    assert head.confidence >= 0.5 and head.n_replaced_chars == 0
    assert "".join(text for text, _ in head.tokens).rstrip() == head.text
    # It is the beginning of a copy, too short to tell; only what is shown of it is marked.
    assert head.report.verdict in ("copy", "unknown")
    assert all(match.end_char <= len(head.text) for match in head.report.matches)
    (asked,) = boastful.complete(cursor(), threading.Event(), is_asked_for=True)
    assert asked.text == written and asked.report.verdict == "copy"
    # Once accepted, it goes on from there, and all of it is for who asks.
    at = cursor(prefix=PREFIX + head.text)
    shown = boastful.complete(at, threading.Event())
    (whole,) = boastful.complete(at, threading.Event(), is_asked_for=True)
    assert all(whole.text.startswith(one.text) and one.text for one in shown)


def test_a_model_that_cannot_serve_does_not_stay_in_memory(
    tiny_gguf, tmp_path, monkeypatch
) -> None:
    """The server tries again while the user types: each try would keep a model."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    calibration_path(path).write_text("{")
    loaded: list[Engine] = []
    load = Engine.load
    monkeypatch.setattr(
        Engine, "load", lambda *args, **more: loaded.append(load(*args, **more)) or loaded[-1]
    )
    with pytest.raises(BundleError, match="is no calibration"):
        CompletionService.open(Settings(bundle_path=path))
    with pytest.raises(ClosedError):
        loaded[0].logits([1])


def test_before_the_rest_of_a_line_all_is_shown_or_nothing(boastful) -> None:
    """A head would stand before the bracket that only the whole suggestion replaces."""
    at = cursor(prefix=PREFIX + "print(", suffix=")" + SUFFIX)
    (asked,) = boastful.complete(at, threading.Event(), is_asked_for=True)
    shown = boastful.recall(at)
    if asked.n_replaced_chars:
        assert [one.text for one in shown] in ([], [asked.text])
    else:
        assert all(asked.text.startswith(one.text) for one in shown)
