"""Token shards: the tokenized corpus in one memory-mapped file.

Layout, little-endian: magic, version, vocab_size, n_documents, n_tokens (u64 each after the 8-byte
magic); tokens (u16, zeros up to a multiple of 8 bytes); token offsets of documents (u64,
n_documents + 1); origin index of each document (u32); then, to the end of the file, JSON with the
tokenizer's hash, corpus_id, n_bytes, the name of each origin and the path of each document. The
tokens come first so that they need not be held in memory. The reader refuses what does not add up.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from train.corpus.raw_file import Kind
from train.corpus.source_file import SourceFile, whole_file
from train.errors import CorpusError
from train.samples.tokenizer import encode, encode_layout

MAGIC = b"STARTOKS"
VERSION = 2
_HEADER = struct.Struct("<8sQQQQ")
MAX_VOCAB_SIZE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShard:
    """A tokenized corpus, read-only."""

    tokens_N: NDArray[np.uint16]
    offsets: NDArray[np.uint64]
    """First token of each document, and the end of the last."""
    origin_of_document: NDArray[np.uint32]
    origins: tuple[str, ...]
    """Projects, e.g. ``pypi:requests``."""
    paths: tuple[str, ...]
    vocab_size: int
    n_bytes: int
    """UTF-8 bytes that the tokens spell."""
    tokenizer_sha256: str
    corpus_id: str

    @property
    def n_documents(self) -> int:
        """Documents in the shard."""
        return len(self.paths)

    def document(self, idx: int) -> NDArray[np.uint16]:
        """Tokens of one document."""
        return self.tokens_N[int(self.offsets[idx]) : int(self.offsets[idx + 1])]


def write_tokens(
    path: Path,
    files: Iterable[SourceFile],
    tokenizer: Tokenizer,
    *,
    tokenizer_sha256: str,
    corpus_id: str,
) -> TokenShard:
    """Tokenize `files` into `path`, whole or not at all, and open the result."""
    vocab_size = tokenizer.get_vocab_size()
    assert vocab_size <= MAX_VOCAB_SIZE, f"{vocab_size=}"
    offsets, origins, paths, n_bytes = [0], [], [], 0
    origin_ids: dict[str, int] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        out.write(bytes(_HEADER.size))
        for file in files:
            # The text of a plain file never becomes a special token; a layout is made of them.
            encoder = encode if file.kind == Kind.FILE else encode_layout
            ids = np.array(encoder(tokenizer, file.text), "<u2")
            out.write(ids.tobytes())
            offsets.append(offsets[-1] + len(ids))
            origins.append(origin_ids.setdefault(file.origin, len(origin_ids)))
            paths.append(file.path)
            n_bytes += len(file.text.encode())
        if not paths:
            raise CorpusError("the corpus has no documents: add sources to the recipe")
        out.write(bytes(_gap(offsets[-1])))
        out.write(np.array(offsets, "<u8").tobytes())
        out.write(np.array(origins, "<u4").tobytes())
        footer = {
            "tokenizer_sha256": tokenizer_sha256,
            "corpus_id": corpus_id,
            "n_bytes": n_bytes,
            "origins": list(origin_ids),
            "paths": paths,
        }
        out.write(json.dumps(footer).encode())
        out.seek(0)
        out.write(_HEADER.pack(MAGIC, VERSION, vocab_size, len(paths), offsets[-1]))
        out.flush()
        # What cannot be read back never takes the name.
        return open_tokens(Path(out.name))


def open_tokens(path: Path) -> TokenShard:
    """Map a shard; raises CorpusError when it is missing, truncated or of another version."""
    try:
        with path.open("rb") as file:
            magic, version, vocab_size, n_documents, n_tokens = _HEADER.unpack(
                file.read(_HEADER.size)
            )
    except (OSError, struct.error) as error:
        raise CorpusError(
            f"the token shard {path} cannot be read ({error}): run `starling train tokenizer`"
        ) from error
    if magic != MAGIC or version != VERSION:
        raise CorpusError(
            f"{path} is not a token shard of version {VERSION}: run `starling train tokenizer`"
        )
    tokens_at = _HEADER.size
    tokens_end = tokens_at + 2 * n_tokens
    offsets_at = tokens_end + _gap(n_tokens)
    origins_at = offsets_at + 8 * (n_documents + 1)
    footer_at = origins_at + 4 * n_documents
    data = np.memmap(path, np.uint8, mode="r")
    try:
        footer = json.loads(bytes(data[footer_at:]))
        paths = tuple(footer["paths"])
        if len(paths) != n_documents:
            raise ValueError("document counts differ")
        offsets = np.asarray(data[offsets_at:origins_at]).view("<u8")
        origin_of_document = np.asarray(data[origins_at:footer_at]).view("<u4")
        if int(offsets[-1]) != n_tokens:
            raise ValueError("token counts differ")
        if int(origin_of_document.max()) >= len(footer["origins"]):
            raise ValueError("origin counts differ")
        return TokenShard(
            tokens_N=np.asarray(data[tokens_at:tokens_end]).view("<u2"),
            offsets=offsets,
            origin_of_document=origin_of_document,
            origins=tuple(footer["origins"]),
            paths=paths,
            vocab_size=vocab_size,
            n_bytes=footer["n_bytes"],
            tokenizer_sha256=footer["tokenizer_sha256"],
            corpus_id=footer["corpus_id"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"the token shard {path} is truncated or damaged ({error}): run `starling train "
            "tokenizer` again"
        ) from error


def _gap(n_tokens: int) -> int:
    """Bytes between the tokens and what follows them."""
    return -2 * n_tokens % 8
