"""Guards the way from a cursor to a checked suggestion, with a real model and a real index: what is
shown must be true, and what was typed must cost nothing.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lsp_server.service import CompletionService
from lsp_server.settings import AttributionMode, Settings
from runtime.bundle import MODEL_FILE, SPEC_FILE
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
    hide = Settings(min_confidence=-100.0, deadline_ms=20_000, attribution=AttributionMode.HIDE)
    assert open_service(bundle, hide).complete(cursor(), threading.Event()) == ()
    off = Settings(min_confidence=-100.0, deadline_ms=20_000, attribution=AttributionMode.OFF)
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
        return Settings(min_confidence=-100.0, deadline_ms=20_000, attribution=mode)

    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(with_mode(AttributionMode.OFF)) == ["unknown"]
    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(with_mode(AttributionMode.HIDE)) == []
    assert verdicts(with_mode(AttributionMode.HIDE), typed=written[:1]) == []
    assert verdicts(ANYTHING) == ["copy"]
    assert verdicts(Settings(min_confidence=0.0), typed=written[:1]) == []
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


def test_the_prompt_is_shown_as_the_model_sees_it(plain) -> None:
    prompt = plain.prompt_text(cursor())
    assert prompt.startswith("<file_sep>a.py\n<fim_prefix><fim_suffix>" + SUFFIX)
    shown_prefix = prompt.partition("<fim_middle>")[2]
    assert PREFIX.startswith(shown_prefix) and len(PREFIX) - len(shown_prefix) <= 16
