"""From a cursor's context to checked suggestions: cache, model, text rules, attribution.

Knows models and indexes, but no LSP and no documents. Used by one thread at a time (the server's
worker, or the command line's only thread), except for `configure`.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace

from attribution import match
from attribution.indexes import Opened, open_all
from attribution.match import Report, Verdict
from attribution.report import verdict_of
from lsp_server.cache import SuggestionCache, TypedThrough
from lsp_server.context.cursor import CursorContext, Request
from lsp_server.context.workspace import Workspace
from lsp_server.figures import Figures
from lsp_server.settings import AttributionMode, Settings
from lsp_server.suggestion import Suggestion, moved
from runtime import trim
from runtime.bundle import Bundle, open_bundle
from runtime.completion import Completion
from runtime.confidence import (
    Written,
    best_head,
    calibration_of,
    least_logprob,
    tokens_between,
)
from runtime.engine import Engine
from runtime.prompt import FimRequest, Snippet
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode, StopReason
from runtime.text_index import TextIndex

# A large model takes longer to read a file than a suggestion may take.
_READ_AHEAD_MS = 30_000.0


class CompletionService:
    """A loaded model with its attribution indexes."""

    def __init__(
        self,
        *,
        engine: Engine,
        bundle: Bundle,
    ) -> None:
        self.engine = engine
        self.bundle = bundle
        self.figures = Figures()
        self._calibration = calibration_of(engine.info)
        self._settings = Settings()
        self._cache = SuggestionCache()
        self._checked_under = _what_is_checked(self._settings)
        self._opened = _open_indexes(bundle, self._settings)
        self._workspace = Workspace(engine.tokenize)

    @classmethod
    def open(cls, settings: Settings) -> CompletionService:
        """Loads the model and its index and warms both up; raises runtime's errors."""
        bundle = open_bundle(settings.bundle_path)
        engine = Engine.load(
            bundle.model_path, n_prefill_threads=settings.n_threads, uses_gpu=settings.use_gpu
        )
        try:
            service = cls(engine=engine, bundle=bundle)
            service.configure(settings)
            service._warm_up()
        except BaseException:
            engine.close()  # It is tried again at times, and each try would keep a model.
            raise
        return service

    @property
    def model_name(self) -> str:
        """For people."""
        spec = self.bundle.spec
        return spec.name if spec is not None else self.bundle.model_path.name

    def configure(self, settings: Settings) -> None:
        """Settings from now on; safe to call from another thread."""
        self._settings = settings
        if not settings.other_files:
            self._workspace.clear()

    @property
    def n_workspace_tokens(self) -> int | None:
        """Of the files around the document; None while they are being read."""
        return self._workspace.n_tokens

    def look_around(self, request: Request) -> None:
        """Reads the files around a document while nobody types; safe to call from any thread."""
        if self._settings.other_files and self.engine.uses_workspace:
            self._workspace.look_around(request)

    def recall(
        self, at: CursorContext, *, n: int = 1, is_asked_for: bool = False
    ) -> tuple[Suggestion, ...] | None:
        """What is known without computing, as `complete` would give it; None: nothing is."""
        self._workspace.touch()
        if not trim.may_complete(at.suffix):
            return ()
        settings = self._settings_now()
        typed = self._cache.typed_through(
            at.uri,
            at.prefix,
            at.suffix,
            n_asked=n,
            min_logprob=self._min_logprob(settings, is_asked_for=is_asked_for),
        )
        if typed is None:
            return None
        self.figures.count(is_hit=True)
        return self._shown(_rests_of(typed)[:n], settings, is_asked_for=is_asked_for)

    def complete(
        self,
        at: CursorContext,
        cancel: threading.Event,
        *,
        n: int = 1,
        is_asked_for: bool = False,
    ) -> tuple[Suggestion, ...]:
        """At most `n` different suggestions, best first; none when cancelled or nothing is good.

        Doubtful ones are only for who asks by hand (`is_asked_for`).
        """
        if cancel.is_set():
            return ()
        known = self.recall(at, n=n, is_asked_for=is_asked_for)
        if known is not None:
            return known
        settings = self._settings_now()
        found = self._compute(at, cancel, n, settings, is_asked_for=is_asked_for)
        if cancel.is_set():
            return ()
        self.figures.count(is_hit=False)
        return self._shown(found, settings, is_asked_for=is_asked_for)

    def compute_ahead(self, at: CursorContext, cancel: threading.Event) -> None:
        """Remembers what `complete` would give, unless it is known or no place for a completion."""
        if cancel.is_set() or not trim.may_complete(at.suffix):
            return
        settings = self._settings_now()
        min_logprob = self._min_logprob(settings, is_asked_for=False)
        known = self._cache.typed_through(at.uri, at.prefix, at.suffix, min_logprob=min_logprob)
        if known is None:
            self._compute(at, cancel, 1, settings, after_accept=True)

    def read_ahead(self, at: CursorContext, cancel: threading.Event) -> None:
        """Makes the model read what stands around the cursor, so that the next request need not."""
        sampling = SamplingConfig(max_tokens=1, deadline_ms=_READ_AHEAD_MS)
        if not cancel.is_set():
            self.engine.complete(self._request(at), sampling, cancel=cancel)

    def prompt_text(self, at: CursorContext) -> str:
        """Exactly what the model sees."""
        return self.engine.prompt_text(self._request(at))

    def check(self, text: str) -> Report:
        """Where a text that the model wrote for people was seen before."""
        return self._check("", text, self._settings_now())

    def close(self) -> None:
        """Frees the model."""
        self._workspace.close()
        self.engine.close()

    def _settings_now(self) -> Settings:
        """The settings, taken once for a request; forgets what was checked under others."""
        settings = self._settings
        if _what_is_checked(settings) != self._checked_under:
            self._cache.clear()
            self._opened = _open_indexes(self.bundle, settings)
            self._checked_under = _what_is_checked(settings)
        return settings

    def _compute(
        self,
        at: CursorContext,
        cancel: threading.Event,
        n: int,
        settings: Settings,
        *,
        after_accept: bool = False,
        is_asked_for: bool = False,
    ) -> tuple[Suggestion, ...]:
        """Different suggestions, best first; remembered, unless it was cancelled."""
        request = self._request(at, after_accept=after_accept)
        min_logprob = self._min_logprob(settings, is_asked_for=is_asked_for)
        sampling = SamplingConfig(
            max_tokens=settings.max_tokens,
            deadline_ms=settings.deadline_ms,
            min_logprob=min_logprob,
        )
        by_text: dict[str, Suggestion] = {}
        is_late = False
        for completion in self.engine.complete(request, sampling, n=n, cancel=cancel):
            if completion.stop_reason is StopReason.CANCELLED:
                continue
            self.figures.add_computation(
                total_ms=completion.timing.total_ms,
                decode_ms=completion.timing.decode_ms,
                n_tokens=completion.timing.n_decoded_tokens,
            )
            is_late = is_late or completion.stop_reason is StopReason.DEADLINE
            suggestion = self._suggestion(completion, at, settings)
            if suggestion is not None:
                by_text.setdefault(suggestion.text, suggestion)
        self._workspace.touch()
        found = tuple(by_text.values())
        if not cancel.is_set():
            self._cache.remember(
                at.uri,
                at.prefix,
                at.suffix,
                found,
                n_asked=n,
                is_unfinished=is_late,
                min_logprob=min_logprob,
            )
        return found

    def _min_logprob(self, settings: Settings, *, is_asked_for: bool) -> float:
        """What is less likely is not shown, and need not be written."""
        if is_asked_for:
            return -math.inf
        return least_logprob(self._calibration, settings.min_confidence)

    def _suggestion(
        self, completion: Completion, at: CursorContext, settings: Settings
    ) -> Suggestion | None:
        """What is shown of a completion; None: nothing."""
        written = Written.at_cursor(completion, at.prefix, at.suffix, path=at.path)
        if written is None:
            return None
        return Suggestion(
            text=written.text,
            n_replaced_chars=written.n_replaced_chars,
            confidence=0.0,
            end_logprob=written.end_logprob,
            mean_logprob=completion.mean_logprob,
            stop_reason=str(completion.stop_reason),
            report=self._check(at.prefix, written.text, settings),
            tokens=written.tokens,
            timing=completion.timing,
        )

    def _request(self, at: CursorContext, *, after_accept: bool = False) -> FimRequest:
        return FimRequest(
            prefix=at.prefix,
            suffix=at.suffix,
            path=at.path,
            snippets=tuple(Snippet(path=f.path, text=f.text) for f in at.other_files),
            mode=trim.choose_mode(at.prefix, at.suffix, path=at.path, after_accept=after_accept),
            workspace=self._workspace.index_beside(at.uri),
        )

    def _check(self, prefix: str, text: str, settings: Settings) -> Report:
        """Where `text` was seen before."""
        if settings.attribution is AttributionMode.OFF:
            return _unknown("attribution is switched off in the settings")
        tail = prefix[-match.PREFIX_TAIL_CHARS :]
        return match.find(tail, text, self._opened.indexes, problems=self._opened.problems)

    def _shown(
        self, suggestions: tuple[Suggestion, ...], settings: Settings, *, is_asked_for: bool
    ) -> tuple[Suggestion, ...]:
        """As much of them as the user wants to see, without matches that are allowed."""
        shown = []
        for suggestion in suggestions:
            sure = self._sure_part(suggestion, 0.0 if is_asked_for else settings.min_confidence)
            if sure is None:
                continue
            report = match.allowed(sure.report, settings.allowed_sources, settings.allowed_licences)
            is_copy = report.verdict is Verdict.COPY
            if not (is_copy and settings.attribution is AttributionMode.HIDE):
                shown.append(replace(sure, report=report))
        return tuple(shown)

    def _sure_part(self, suggestion: Suggestion, min_probability: float) -> Suggestion | None:
        """As much of a suggestion as is worth reading; all of it where every one is wanted."""
        written = Written(
            text=suggestion.text,
            tokens=suggestion.tokens,
            end_logprob=suggestion.end_logprob,
            n_replaced_chars=suggestion.n_replaced_chars,
        )
        heads = written.heads(self._calibration)
        best = best_head(heads, written.text, min_probability=min_probability)
        if best is None:
            return None
        is_whole = best.n_chars == len(suggestion.text)
        part = suggestion if is_whole else _head_of(suggestion, best.n_chars)
        return replace(part, confidence=best.probability)

    def _warm_up(self) -> None:
        """Compiles or loads the numba kernels, so that no keystroke waits for them."""
        request = FimRequest(
            prefix="def f(",
            suffix="",
            path="warm_up.py",
            mode=Mode.LINE,
            workspace=TextIndex.of([]),
        )
        self.engine.complete(request, SamplingConfig(max_tokens=2))
        self._settings_now()
        if self._opened.indexes:
            match.warm_up()


def _open_indexes(bundle: Bundle, settings: Settings) -> Opened:
    """The model's own and the user's. Indexes of another model are never used."""
    if bundle.directory is None or bundle.spec is None:
        return open_all(None, None, settings.extra_indexes)
    return open_all(bundle.directory, bundle.spec.corpus_id, settings.extra_indexes)


def _what_is_checked(settings: Settings) -> tuple[object, ...]:
    """The settings under which a remembered report holds."""
    return settings.attribution, settings.extra_indexes


def _head_of(suggestion: Suggestion, n_chars: int) -> Suggestion:
    """The beginning of a suggestion, whose end goes on to be what comes after it is accepted."""
    return replace(
        suggestion,
        text=suggestion.text[:n_chars],
        report=_report_of_head(suggestion.report, n_chars),
        tokens=tokens_between(suggestion.tokens, 0, n_chars),
    )


def _report_of_head(report: Report, n_chars: int) -> Report:
    """A copy that begins in the head is one, even where the head alone is too short to be found."""
    if not report.matches:
        return report
    begun = tuple(
        replace(found, end_char=min(found.end_char, n_chars))
        for found in report.matches
        if found.start_char < n_chars
    )
    verdict = verdict_of(begun) if begun else Verdict.NONE
    return replace(report, matches=begun, verdict=verdict)


def _rests_of(typed: TypedThrough) -> tuple[Suggestion, ...]:
    """The suggestions without what was typed. Verdict and matches stay those of the whole: the rest
    of a copy is a copy, even where it is too short to be found alone.
    """
    return tuple(_rest_of(suggestion, typed.n_typed_chars) for suggestion in typed.suggestions)


def _rest_of(suggestion: Suggestion, n_typed: int) -> Suggestion:
    return replace(
        suggestion,
        text=suggestion.text[n_typed:],
        report=moved(suggestion.report, -n_typed),
        tokens=tokens_between(suggestion.tokens, n_typed, len(suggestion.text)),
        timing=None,
    )


def _unknown(reason: str) -> Report:
    return Report(verdict=Verdict.UNKNOWN, matches=(), elapsed_us=0.0, reason=reason)
