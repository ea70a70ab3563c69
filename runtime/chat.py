"""Talking to an instruct model: its chat template, rendered in a sandbox, to token ids and text.

A GGUF file of an instruct model carries a Jinja template in its metadata. StarCoder's base models
carry none, but follow a dialogue that is written out as text (Li et al. 2023, arXiv:2305.06161,
section "technical assistant"); large ones are asked that way.

What the messages say never becomes a special token: the template is rendered with stand-ins for
them, and only the template's own text is searched for special tokens.
"""

from __future__ import annotations

import math
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from runtime.chat_template import Message, TemplateError, TemplateLimitError, render
from runtime.engine import Engine
from runtime.errors import BundleError
from runtime.gguf_header import read_header
from runtime.sampling import SamplingConfig
from runtime.stopping import StopReason

# A piece of an answer is shown, and others may use the model, after so many tokens.
CHUNK_TOKENS = 12
# StarCoder's small models do not keep to a dialogue.
MIN_ASSISTANT_PARAMS = 1_000_000_000

_STARCODER_ARCHITECTURES = ("starcoder", "starcoder2")
_ASSISTANT_HEAD = (
    "Below are dialogues between people and a technical assistant that knows programming well. "
    "The assistant answers briefly, says only what it is sure of, and does not make things up.\n"
    "-----\n"
)
_ASSISTANT_STOPS = ("\nHuman:", "\n-----", "\nAssistant:")
_THOUGHTS = re.compile(r"\s*<think>.*?(</think>|\Z)", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model has said so far."""

    text: str
    is_complete: bool
    """Whether the model itself came to an end."""


class Chat:
    """An engine whose model answers questions."""

    def __init__(self, engine: Engine, *, template: str, bos: str, eos: str) -> None:
        """Use `of`. An empty template is StarCoder's written-out dialogue."""
        self._engine = engine
        self._template = template
        self._bos, self._eos = bos, eos
        # Nobody can spell what stands for the messages in the rendered template.
        self._stand_ins = tuple(f"message{secrets.token_hex(8)}" for _ in range(2))
        self._rendered = ""

    @classmethod
    def of(cls, engine: Engine) -> Self | None:
        """The chat of a model, or None when it is none to talk to."""
        metadata = read_header(engine.info.path).metadata
        template = metadata.get("tokenizer.chat_template")
        if isinstance(template, str) and template.strip():
            names = []
            for role in ("bos", "eos"):
                token_id = metadata.get(f"tokenizer.ggml.{role}_token_id")
                is_known = isinstance(token_id, int) and 0 <= token_id < engine.info.vocab_size
                spelled = engine.detokenize([int(str(token_id))]) if is_known else b""
                names.append(spelled.decode("utf-8", "replace"))
            return cls(engine, template=template, bos=names[0], eos=names[1])
        is_starcoder = engine.info.architecture in _STARCODER_ARCHITECTURES
        if is_starcoder and not engine.info.spec and engine.info.n_params >= MIN_ASSISTANT_PARAMS:
            return cls(engine, template="", bos="", eos="")
        return None

    def prompt_ids(self, *, system: str, question: str) -> list[int]:
        """What the model sees; raises BundleError when its template cannot be rendered."""
        if not self._template:
            text = f"{_ASSISTANT_HEAD}Human: {system}\n\n{question}\n\nAssistant:"
            ids = self._engine.tokenize(text)
        else:
            ids = self._template_ids(system, question)
        bos_id = self._engine.bos_id
        return ids if bos_id is None or ids[:1] == [bos_id] else [bos_id, *ids]

    def n_tokens(self, text: str) -> int:
        """How much of the context a text takes."""
        return len(self._engine.tokenize(text))

    @property
    def context_tokens(self) -> int:
        """Question and answer together."""
        return self._engine.info.context_tokens

    def answer(
        self,
        *,
        system: str,
        question: str,
        max_tokens: int,
        cancel: threading.Event | None = None,
    ) -> Iterator[Answer]:
        """The answer as it grows, greedy; ends when it is complete, too long or cancelled.

        The engine is free for others between two pieces.
        """
        prompt = self.prompt_ids(system=system, question=question)
        token_ids: list[int] = []
        while not (cancel is not None and cancel.is_set()):
            n_left = max_tokens - len(token_ids)
            sampling = SamplingConfig(max_tokens=min(CHUNK_TOKENS, n_left), deadline_ms=math.inf)
            piece = self._engine.write([*prompt, *token_ids], sampling, cancel=cancel)
            token_ids += piece.token_ids
            text, is_cut = _said(self._engine.detokenize(token_ids), is_dialogue=not self._template)
            is_over = is_cut or piece.stop_reason is not StopReason.MAX_TOKENS
            yield Answer(
                text=text,
                is_complete=is_cut or piece.stop_reason is StopReason.END_OF_TEXT,
            )
            if is_over or len(token_ids) >= max_tokens:
                return

    def _template_ids(self, system: str, question: str) -> list[int]:
        """Ids of the rendered template, the messages put in as plain text."""
        texts = dict(zip(self._stand_ins, (system.strip(), question.strip()), strict=True))
        if not self._rendered:
            self._rendered = self._render()
        rendered = self._rendered
        special_ids = self._engine.special_ids
        spellings = sorted(special_ids, key=len, reverse=True)
        split_at = re.compile("|".join(map(re.escape, [*texts, *spellings])))
        ids: list[int] = []
        plain, end = "", 0
        for match in split_at.finditer(rendered):
            plain += rendered[end : match.start()]
            end = match.end()
            if match[0] in texts:
                plain += texts[match[0]]
            else:
                ids += [*self._engine.tokenize(plain), special_ids[match[0]]]
                plain = ""
        return [*ids, *self._engine.tokenize(plain + rendered[end:])]

    def _render(self) -> str:
        """A dialogue of the stand-ins; the template sees no more, so once is enough."""
        system, question = self._stand_ins
        try:
            try:
                return self._text_of(
                    {"role": "system", "content": system}, {"role": "user", "content": question}
                )
            except TemplateLimitError:
                raise
            except TemplateError:
                # Some templates know no system message.
                return self._text_of({"role": "user", "content": f"{system}\n\n{question}"})
        except TemplateError as error:
            raise BundleError(
                f"the chat template of {self._engine.info.path} cannot be used ({error}): take "
                "another export of this model, or another model"
            ) from error

    def _text_of(self, *messages: Message) -> str:
        text = render(self._template, messages, bos=self._bos, eos=self._eos)
        if self._stand_ins[1] not in text:
            raise TemplateError("it leaves out what is asked")
        return text


def _said(spelled: bytes, *, is_dialogue: bool) -> tuple[str, bool]:
    """The text without thoughts, cut where a written-out dialogue goes on; whether it was cut."""
    text = spelled.decode("utf-8", "ignore")
    text = _THOUGHTS.sub("", text)
    stops = [text.find(stop) for stop in _ASSISTANT_STOPS if stop in text] if is_dialogue else []
    return (text[: min(stops)] if stops else text).strip(), bool(stops)
