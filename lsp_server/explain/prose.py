"""What something is for, in a sentence or two written by a model: by one that fills in docstrings,
or by one that answers questions.

A writer is a generator: each step is a few tokens long, so that a caller can show what there is, do
other work in between, and stop. What is bad by its form or its confidence is not shown at all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from lsp_server.explain.facts import FragmentFacts, FunctionFacts, OutlineFacts
from lsp_server.explain.languages import DocStyle, Language
from lsp_server.explain.markdown import Purpose, documented_purpose, to_markdown
from lsp_server.explain.reading import Subject
from lsp_server.explain.wording import is_grounded, repeats, sentence_of
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from attribution.match import Report
    from runtime.chat import Chat
    from runtime.engine import Engine
    from runtime.prompt import FimRequest

MAX_DOCSTRING_TOKENS = 40
MAX_ANSWER_TOKENS = 220
DOCSTRING_DEADLINE_MS = 10_000.0
# Of several tries the surest that passes is shown. They share one reading of the code.
N_TRIES = 4
MIN_MEAN_LOGPROB = -1.5
# Larger models are taken at their word; what smaller ones write must be about the names in the
# code. The limit is a guess: there was no model between the default one and this to measure.
MIN_TRUSTED_PARAMS = 1_000_000_000

_CUT_OFF = (StopReason.REPETITION, StopReason.NOT_TEXT, StopReason.CANCELLED, StopReason.DEADLINE)
_SYSTEM = (
    "You explain source code to a programmer who reads it for the first time. You are given the "
    "code and facts that a parser found in it; the facts are right. Say in two to four plain "
    "sentences what the code is for and how it goes about it. Do not repeat the list of facts, "
    "do not praise, do not guess at what you cannot see, and write no code and no headings."
)


class Writer(Protocol):
    """Something that writes about code."""

    def write(
        self, subject: Subject, text: str, path: str, cancel: threading.Event
    ) -> Iterator[Purpose]:
        """The purpose as it grows; the last one is what stays. Nothing where there is no need."""


class DocstringWriter:
    """Asks a fill-in-the-middle model for the docstring that is missing."""

    def __init__(
        self, engine: Engine, *, model_name: str, check: Callable[[str], Report] | None
    ) -> None:
        self._engine = engine
        self._model_name = model_name
        self._check = check

    def write(
        self, subject: Subject, text: str, path: str, cancel: threading.Event
    ) -> Iterator[Purpose]:
        """At most one step: a docstring is short."""
        if documented_purpose(subject.facts) or subject.body_char is None or cancel.is_set():
            return
        spec, language = self._engine.info.spec, subject.language.name
        known = [] if spec is None else [name.lower() for name in spec.languages]
        if known and language.lower() not in known:
            yield Purpose(
                text="",
                note=f"It has no documentation, and the model {self._model_name} has not learned "
                f"{language}.",
            )
            return
        sentence = best_sentence(self._engine, subject, text, path, cancel)
        if cancel.is_set():
            return
        if not sentence:
            note = f"It has no documentation, and the model {self._model_name} found no good words."
            yield Purpose(text="", note=note)
            return
        yield Purpose(text=sentence, note=_note(self._model_name, sentence, self._check))


class ChatWriter:
    """Asks an instruct model, with the facts beside the code."""

    def __init__(
        self, chat: Chat, *, model_name: str, check: Callable[[str], Report] | None
    ) -> None:
        self._chat = chat
        self._model_name = model_name
        self._check = check

    def write(
        self, subject: Subject, text: str, path: str, cancel: threading.Event
    ) -> Iterator[Purpose]:
        """A step for each piece of the answer."""
        if cancel.is_set():
            return
        question = self._question(subject, path)
        purpose = None
        for answer in self._chat.answer(
            system=_SYSTEM, question=question, max_tokens=MAX_ANSWER_TOKENS, cancel=cancel
        ):
            if cancel.is_set():
                return
            said = answer.text if answer.is_complete else _whole_sentences(answer.text)
            if said and not repeats(said):
                purpose = Purpose(text=said, note=_note(self._model_name, said, None))
                yield purpose
        if purpose is not None:
            yield Purpose(
                text=purpose.text, note=_note(self._model_name, purpose.text, self._check)
            )
        else:
            yield Purpose(text="", note=f"The model {self._model_name} had nothing to say.")

    def _question(self, subject: Subject, path: str) -> str:
        """Code and facts, cut so that the answer still fits into the context."""
        budget = self._chat.context_tokens - MAX_ANSWER_TOKENS - self._chat.n_tokens(_SYSTEM) - 64
        facts = to_markdown(subject.facts, subject.language, None)
        facts = _cut(facts, self._chat, budget // 3)
        code = _cut(subject.source, self._chat, budget - self._chat.n_tokens(facts) - 32)
        fence = "````" if "```" in code else "```"
        return f"From {path}:\n\n{fence}\n{code}\n{fence}\n\nFacts:\n\n{facts}"


def best_sentence(
    engine: Engine, subject: Subject, text: str, path: str, cancel: threading.Event
) -> str:
    """The surest of a few tries at a docstring that is prose about this code; empty for none."""
    request = docstring_request(subject, text, path)
    # A memory of what followed the same words would repeat the docstrings of other functions.
    sampling = SamplingConfig(
        max_tokens=MAX_DOCSTRING_TOKENS, deadline_ms=DOCSTRING_DEADLINE_MS, uses_memory=False
    )
    name = "" if isinstance(subject.facts, FragmentFacts) else subject.facts.name
    for written in engine.complete(request, sampling, n=N_TRIES, cancel=cancel):
        is_complete = written.stop_reason is StopReason.END_OF_TEXT
        sentence = sentence_of(written.text, is_complete=is_complete)
        is_doubtful = written.stop_reason in _CUT_OFF or written.mean_logprob < MIN_MEAN_LOGPROB
        if not sentence or is_doubtful:
            continue
        is_trusted = engine.info.n_params >= MIN_TRUSTED_PARAMS
        if is_trusted or is_grounded(sentence, name=name, source=subject.source):
            return sentence
    return ""


def docstring_request(subject: Subject, text: str, path: str) -> FimRequest:
    """The text with a hole where a docstring or doc comment would stand."""
    from runtime.prompt import FimRequest

    assert subject.body_char is not None
    at = subject.body_char
    before, after = text[:at], text[at:]
    if subject.language.doc_style is DocStyle.DOCSTRING:
        head = before.rstrip()
        indent = _indent_of_body(head, before)
        opening = f"\n{indent}" if head else ""
        prefix, suffix = f'{head}{opening}"""', f'"""\n{indent}{after}'
    else:
        indent = before[before.rfind("\n") + 1 :]
        indent = indent if not indent.strip() else ""
        opening, closing = _signs(subject.language, subject.facts)
        prefix, suffix = f"{before}{opening}", f"{closing}\n{indent}{after}"
    return FimRequest(prefix=prefix, suffix=suffix, path=path, mode=Mode.SPAN)


def _whole_sentences(text: str) -> str:
    """Without the begin of a sentence at its end, once there is a whole one."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", text)]
    return text[: ends[-1]] if ends else ""


def _note(model_name: str, text: str, check: Callable[[str], Report] | None) -> str:
    note = f"written by the model {model_name}, may be wrong"
    if check is None:
        return note
    report = check(text)
    if report.matches and str(report.verdict) == "copy":
        source = report.matches[0].sources[0]
        name = source.origin.partition(":")[2] or source.origin
        return f"{note}; these words stand in {name} {source.version}, {source.licence}"
    return note


def _indent_of_body(head: str, before: str) -> str:
    """Of the statements behind a Python header, also when they stand on its line."""
    if not head:
        return ""
    gap = before[len(head) :]
    if "\n" in gap:
        return gap[gap.rfind("\n") + 1 :]
    line = head[head.rfind("\n") + 1 :]
    return line[: len(line) - len(line.lstrip())] + "    "


def _signs(language: Language, facts: object) -> tuple[str, str]:
    """What opens a doc comment, and what closes it."""
    if language.doc_style is DocStyle.GO:
        name = facts.name if isinstance(facts, FunctionFacts | OutlineFacts) else ""
        return f"// {name} ", ""
    if language.doc_style is DocStyle.RUST:
        return "/// ", ""
    return "/** ", " */"


def _cut(text: str, chat: Chat, budget_tokens: int) -> str:
    """The first lines that fit, and a mark where something is left out."""
    lines = text.splitlines()
    while lines and chat.n_tokens("\n".join(lines)) > budget_tokens:
        del lines[max(1, len(lines) * 3 // 4) :]
        if len(lines) == 1:
            return lines[0][: max(0, budget_tokens)]
    kept = "\n".join(lines)
    return kept if len(lines) == len(text.splitlines()) else f"{kept}\n…"
