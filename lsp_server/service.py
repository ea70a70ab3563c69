"""From a cursor's context to checked suggestions: cache, model, text rules, attribution.

Knows models and indexes, but no LSP and no documents. Used by one thread at a time (the server's
worker, or the command line's only thread), except for `configure`.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from attribution import indexes as all_indexes
from attribution import match
from attribution.errors import AttributionError
from attribution.index import Index
from attribution.match import Report, Verdict
from lsp_server.cache import SuggestionCache, TypedThrough
from lsp_server.context import CursorContext
from lsp_server.settings import AttributionMode, Settings
from lsp_server.suggestion import Suggestion
from runtime import trim
from runtime.bundle import Bundle, open_bundle
from runtime.engine import Engine
from runtime.prompt import FimRequest, Snippet
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode, StopReason


class CompletionService:
    """A loaded model with its attribution index."""

    def __init__(
        self,
        *,
        engine: Engine,
        bundle: Bundle,
        indexes: tuple[Index, ...],
        no_index_reason: str,
    ) -> None:
        self.engine = engine
        self.bundle = bundle
        self._indexes = indexes
        self._no_index_reason = no_index_reason
        self._settings = Settings()
        self._cache = SuggestionCache()
        self._cached_attribution = self._settings.attribution

    @classmethod
    def open(cls, settings: Settings) -> CompletionService:
        """Loads the model and its index and warms both up; raises runtime's errors."""
        bundle = open_bundle(settings.bundle_path)
        indexes, no_index_reason = open_indexes(bundle)
        engine = Engine.load(bundle.model_path)
        service = cls(
            engine=engine,
            bundle=bundle,
            indexes=indexes,
            no_index_reason=no_index_reason,
        )
        service.configure(settings)
        service._warm_up()
        return service

    @property
    def model_name(self) -> str:
        """For people."""
        spec = self.bundle.spec
        return spec.name if spec is not None else self.bundle.model_path.name

    def configure(self, settings: Settings) -> None:
        """Settings from now on; safe to call from another thread."""
        self._settings = settings

    def complete(
        self, at: CursorContext, cancel: threading.Event, *, n: int = 1
    ) -> tuple[Suggestion, ...]:
        """At most `n` different suggestions, best first; none when cancelled or nothing is good."""
        if cancel.is_set() or not trim.may_complete(at.prefix, at.suffix):
            return ()
        settings = self._settings
        if settings.attribution is not self._cached_attribution:
            self._cache.clear()
            self._cached_attribution = settings.attribution
        typed = self._cache.typed_through(at.uri, at.prefix, at.suffix) if n == 1 else None
        if typed is not None:
            return _shown((_rest_of(typed),), settings)
        found = self._computed(at, cancel, n, settings)
        if cancel.is_set():
            return ()
        if found:
            self._cache.remember(at.uri, at.prefix, at.suffix, found[0])
        return _shown(found, settings)

    def prompt_text(self, at: CursorContext) -> str:
        """Exactly what the model sees."""
        return self.engine.prompt_text(self._request(at))

    def close(self) -> None:
        """Frees the model."""
        self.engine.close()

    def _computed(
        self, at: CursorContext, cancel: threading.Event, n: int, settings: Settings
    ) -> tuple[Suggestion, ...]:
        request = self._request(at)
        sampling = SamplingConfig(max_tokens=settings.max_tokens, deadline_ms=settings.deadline_ms)
        completions = self.engine.complete(request, sampling, n=n, cancel=cancel)
        by_text: dict[str, Suggestion] = {}
        for completion in completions:
            if completion.stop_reason is StopReason.CANCELLED:
                continue
            fitted = trim.fit(completion.text, at.prefix, at.suffix)
            if fitted is None or fitted.text in by_text:
                continue
            by_text[fitted.text] = Suggestion(
                text=fitted.text,
                n_replaced_chars=fitted.n_replaced_chars,
                mean_logprob=completion.mean_logprob,
                stop_reason=str(completion.stop_reason),
                report=self._check(at, fitted.text),
                timing=completion.timing,
            )
        return tuple(by_text.values())

    def _request(self, at: CursorContext) -> FimRequest:
        return FimRequest(
            prefix=at.prefix,
            suffix=at.suffix,
            path=at.path,
            snippets=tuple(Snippet(path=f.path, text=f.text) for f in at.other_files),
            mode=trim.choose_mode(at.prefix, at.suffix),
        )

    def _check(self, at: CursorContext, text: str) -> Report:
        """Where `text` was seen before."""
        if self._settings.attribution is AttributionMode.OFF:
            return _unknown("attribution is switched off in the settings")
        if not self._indexes:
            return _unknown(self._no_index_reason)
        return match.find(at.prefix[-match.PREFIX_TAIL_CHARS :], text, self._indexes)

    def _warm_up(self) -> None:
        """Compiles or loads the numba kernels, so that no keystroke waits for them."""
        request = FimRequest(prefix="def f(", suffix="", path="warm_up.py", mode=Mode.LINE)
        self.engine.complete(request, SamplingConfig(max_tokens=2))
        if self._indexes:
            match.warm_up()


def open_indexes(bundle: Bundle) -> tuple[tuple[Index, ...], str]:
    """The bundle's indexes, or none and the reason. Indexes of another model are never used."""
    if bundle.directory is None or bundle.spec is None:
        return (), "this model comes without an attribution index"
    try:
        found = all_indexes.open_indexes(bundle.directory, expected_corpus_id=bundle.spec.corpus_id)
    except AttributionError as error:
        return (), str(error)
    return found, ""


def _shown(suggestions: tuple[Suggestion, ...], settings: Settings) -> tuple[Suggestion, ...]:
    """Without those that the user does not want to see."""
    hide_copies = settings.attribution is AttributionMode.HIDE
    return tuple(
        suggestion
        for suggestion in suggestions
        if suggestion.mean_logprob >= settings.min_confidence
        and not (hide_copies and suggestion.report.verdict is Verdict.COPY)
    )


def _rest_of(typed: TypedThrough) -> Suggestion:
    """The suggestion without what was typed. Verdict and matches stay those of the whole: the rest
    of a copy is a copy, even where it is too short to be found alone.
    """
    n_typed, report = typed.n_typed_chars, typed.suggestion.report
    matches = tuple(
        replace(
            one,
            start_char=max(0, one.start_char - n_typed),
            end_char=max(0, one.end_char - n_typed),
        )
        for one in report.matches
    )
    return replace(
        typed.suggestion,
        text=typed.suggestion.text[n_typed:],
        report=replace(report, matches=matches),
        timing=None,
    )


def _unknown(reason: str) -> Report:
    return Report(verdict=Verdict.UNKNOWN, matches=(), elapsed_us=0.0, reason=reason)
