"""Whether llama.cpp cuts text into the tokens that the model was trained with.

Tried out on a page of awkward strings before any weight is read: llama.cpp gets a file that holds
the vocabulary alone. Where code would be cut otherwise the checkpoint is refused; where it takes
signs that hardly occur in code, it is told.
"""

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
from gguf import GGUFWriter

from quantize.errors import TokenizerError
from quantize.gguf_vocabulary import add_vocabulary
from quantize.llama_log import collected_log
from quantize.tokenizer import GgufTokenizer
from runtime.llama import Vocabulary
from train.evaluation.models.hugging_face_tokens import CheckpointError as HuggingFaceError
from train.evaluation.models.hugging_face_tokens import HuggingFaceTokens

# Any architecture will do: no tensor is read.
_ARCHITECTURE = "starcoder"

CODE: dict[str, str] = {
    "code": "def f(self, x=10):\n    return self._value[x] ** 2  # squared\n",
    "tabs": "\tif x:\n\t\treturn\t\t1\t\n \t \tmixed",
    "line ends": "a\r\nb\r\n\r\n\r\nc\rd\n\r\n  \r\n",
    "digits": "0123456789 1_000_000 0xFF 3.14e-10 v1.2.3 2024-01-31",
    "blanks": "x" + " " * 300 + "y" + " " * 101,
    "many line ends": "\n" * 50 + "x" + "\n \n  \n" * 9,
    "contractions": "don't DON'T I'll WE'RE it's 's'S he'Ll x'y 'tis o'clock",
    "scripts": "日本語のコード Привет мир 한국어 Ελληνικά ñandú ŸŽ größe naïve",
    "punctuation": "!!!???...,,,;;; -->=> (([[{{}}]])) `~@#$%^&*_+|\\/\"'<>",
    "underscores": "__init__ _x x_ _1 1_ __ ___a___ camelCase HTTPServer2 a.b->c::d",
    "a long word": "a" * 600,
    "operators": "x<<=1;y>>=2;z**=3;a:=b->c!=d//=e&=~f@g",
    "comment": "/* Ünïcödé – “quoted” … */ // €5 ≤ 10 → done ✓\n",
}
"""Must be cut alike."""

RARE: dict[str, str] = {
    "other digits": "١٢٣ ²³ Ⅷ ½ ४५",
    "emoji": "🙂🙂 👩‍👩‍👧‍👦 🇪🇺 ☺️ x🙂y",
    "combining marks": "e\u0301 a\u0308o\u0308 \u0301\u0301 नमस्ते ก็ ﷺ مرحبا שלום",
    "NUL": "a\x00b\x00\x00\x00 \x00",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x80\x85\x9f",
    "odd blanks": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u200bg\ufeffh\x0b\x0ci\u1680j\u180ek",
    "signs beyond 16 bits": "𝒳𝓎𝔷 𠀀𠀁 \U0001f9ff \U0010ffff",
    "a long s": "'ſ it'ſ",
}
"""Better cut alike: each that is not becomes a note."""

_SENTINELS = "sentinels as text"


def compare_with_llama_cpp(tokenizer: GgufTokenizer, tokenizer_file: Path) -> tuple[str, ...]:
    """What a user must know of the differences; raises TokenizerError where code is cut otherwise.

    Sentinels that are spelled in a text are text on both sides.
    """
    try:
        original = HuggingFaceTokens(tokenizer_file.parent, frozenset())
    except HuggingFaceError as error:
        raise TokenizerError(str(error)) from error
    with vocabulary_of(tokenizer) as vocabulary:

        def differs(text: str) -> bool:
            if tokenizer.normalizes:
                text = unicodedata.normalize("NFC", text)
            return vocabulary.tokenize(text) != original.tokenize(text)

        if differing := [name for name, text in CODE.items() if differs(text)]:
            raise TokenizerError(
                f"llama.cpp cuts text otherwise than {tokenizer_file} ({', '.join(differing)}), so "
                f"that the model would read what it never learned: its split {tokenizer.pre!r} or "
                "its merges do not reproduce this tokenizer, use another checkpoint"
            )
        rare = [name for name, text in RARE.items() if differs(text)]
        spelled = " ".join(tokenizer.tokens[token_id] for token_id in tokenizer.special.ids)
        rare += [_SENTINELS] if differs(spelled) else []
    notes = []
    if rare:
        notes.append(f"llama.cpp cuts some rare text otherwise than in training: {', '.join(rare)}")
    if tokenizer.normalizes:
        notes.append(
            "the tokenizer normalises text (NFC) and llama.cpp does not: accents that are written "
            "as signs of their own are cut otherwise than in training"
        )
    return tuple(notes)


@contextmanager
def vocabulary_of(tokenizer: GgufTokenizer) -> Iterator[Vocabulary]:
    """llama.cpp's reading of the vocabulary, from a file without weights."""
    with tempfile.TemporaryDirectory(prefix="starling-vocabulary-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        writer = GGUFWriter(path, _ARCHITECTURE)
        try:
            add_vocabulary(writer, tokenizer)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
        finally:
            writer.close()
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        llama_cpp.llama_backend_init()
        with collected_log() as messages:
            model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
            if not model:
                raise TokenizerError(
                    f"llama.cpp cannot read the vocabulary ({'; '.join(messages)}): use another "
                    "checkpoint"
                )
            try:
                vocab = llama_cpp.llama_model_get_vocab(model)
                assert vocab, "a loaded model has a vocabulary"
                yield Vocabulary(vocab)
            finally:
                llama_cpp.llama_model_free(model)
