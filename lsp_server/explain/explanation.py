"""An explanation as it grows: the facts at once, then what a model writes about them."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsp_server.explain.markdown import Purpose, to_markdown
from lsp_server.explain.reading import Subject

if TYPE_CHECKING:
    from lsp_server.explain.prose import Writer
    from lsp_server.service import CompletionService

# Longer than for completions: code, facts and answer. Read once, so the time matters less.
CHAT_CONTEXT_TOKENS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What there is to show so far."""

    markdown: str
    is_generated: bool
    """Whether a model wrote a part of it."""


def facts_only(subject: Subject, *, note: str = "") -> Explanation:
    """What needs no model; `note` says why none is asked."""
    purpose = Purpose(text="", note=note) if note else None
    markdown = to_markdown(subject.facts, subject.language, purpose)
    return Explanation(markdown=markdown, is_generated=False)


def with_prose(
    subject: Subject,
    text: str,
    path: str,
    *,
    service: CompletionService | None,
    instruct_model_path: Path | None,
    cancel: threading.Event,
) -> Generator[Explanation, None, None]:
    """The facts again, with what a model writes; nothing where it has nothing to add.

    Each step takes some tokens; models are used in steps only, so that steps may be put into the
    one thread that computes. Raises runtime's errors.
    """
    with _writer(service, instruct_model_path) as writer:
        if writer is None:
            return
        for purpose in writer.write(subject, text, path, cancel):
            markdown = to_markdown(subject.facts, subject.language, purpose)
            yield Explanation(markdown=markdown, is_generated=bool(purpose.text))


@contextmanager
def _writer(
    service: CompletionService | None, instruct_model_path: Path | None
) -> Iterator[Writer | None]:
    """A chat model that the user named, else the model that completes: by its chat template if it
    has one, else by the docstrings that it fills in.
    """
    from lsp_server.explain.prose import ChatWriter, DocstringWriter
    from runtime.chat import Chat
    from runtime.engine import Engine

    if instruct_model_path is not None:
        # Not kept: explanations are rare, and a second model takes memory.
        with Engine.load(instruct_model_path, n_context_tokens=CHAT_CONTEXT_TOKENS) as engine:
            name = instruct_model_path.stem
            chat = Chat.of(engine)
            if chat is not None:
                yield ChatWriter(chat, model_name=name, check=None)
            else:
                yield DocstringWriter(engine, model_name=name, check=None)
    elif service is None:
        yield None
    elif (chat := Chat.of(service.engine)) is not None:
        yield ChatWriter(chat, model_name=service.model_name, check=service.check)
    elif service.engine.info.fim is None:
        yield None
    else:
        yield DocstringWriter(service.engine, model_name=service.model_name, check=service.check)
