"""One model file under llama.cpp: vocabulary, context, decode. The only importer of llama_cpp.

Uses the low-level calls: the package's own `Llama` class gives all three FIM sentinels id 0 and
copies every logit. Knows nothing of prompts or sampling. Not thread-safe, but for `abort_flag`,
which any thread may raise. `Model.open` expects a file that `gguf_header` has checked: llama.cpp
trusts what it reads.
"""

import ctypes
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from runtime import kernels
from runtime.errors import BundleError, ContextOverflowError, DecodeError
from runtime.fim import FimTokens
from runtime.fim_spellings import find_fim_tokens
from runtime.threads import ThreadGovernor

# One prefill step. llama.cpp drops the whole step when it is aborted, so a larger one loses more
# work to a cancel. Both 128 and 512 are slower: the latter's attention scores leave the cache.
PREFILL_CHUNK_TOKENS = 256
# llama.cpp attends over whole blocks of cells. A step that ends with one attends over fewer; a step
# up to that end must have so many tokens, or it costs more than it saves.
_BLOCK_CELLS = 256
_MIN_ALIGNING_TOKENS = 32
# `all_logits` asks for a row per token; llama.cpp keeps the buffer for the largest batch seen.
_ROWS_CHUNK_TOKENS = 32

# So many completions can be written side by side; as many as a user is shown at most.
N_BRANCHES = 5
# A step of PREFILL_CHUNK_TOKENS must divide by it: otherwise llama.cpp lays out its buffers for an
# odd number of tokens, and prefill takes 4 to 14 % longer (measured with 3, 5 and 6).
_N_SEQUENCES = 8
# Cells of the KV cache beyond the context, for what the branches write: full prompts leave none.
_BRANCH_CELLS = 512

# More than any model has.
_ALL_LAYERS = 1_000_000
# ggml's number of the type (`ggml_type` in ggml.h); the package names others only.
_GGML_TYPE_BF16 = 30
# `llama_ftype` of f32, f16 and bf16, as metadata spell it; a file that does not say counts as such.
_FLOAT_FILE_TYPES = ("", "0", "1", "32")

_T = TypeVar("_T")

_TRUNK = 0
_ABORTED = 2


def _discard_log(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    """llama.cpp's own log is for developers; what a user must know is raised."""


# Module-level references: a callback that is garbage-collected is a crash at the next log line.
_log_callback = c.llama_log_callback(_discard_log)
_abort_callback = ctypes.cast(kernels.ABORT_CALLBACK_ADDRESS, c.ggml_abort_callback)


def is_built_for_gpu() -> bool:
    """Whether this llama.cpp was built for graphics cards (CUDA, Metal, Vulkan) and finds one."""
    return bool(c.llama_supports_gpu_offload())


class Vocabulary:
    """The tokens of one model: spellings as bytes, roles, and text -> ids."""

    def __init__(
        self, vocab: c.llama_vocab_p, *, architecture: str = "", tokenizer_kind: str = ""
    ) -> None:
        """What the file calls architecture and tokenizer tells some families apart."""
        self._vocab: c.llama_vocab_p | None = vocab
        self.n_tokens: int = c.llama_vocab_n_tokens(vocab)
        texts = [c.llama_vocab_get_text(vocab, i) for i in range(self.n_tokens)]
        self.is_end: NDArray[np.bool_] = np.array(
            [c.llama_vocab_is_eog(vocab, i) for i in range(self.n_tokens)]
        )
        self.is_special: NDArray[np.bool_] = self.is_end | np.array(
            [c.llama_vocab_is_control(vocab, i) for i in range(self.n_tokens)]
        )
        self.pieces: tuple[bytes, ...] = self._all_pieces()
        # Gaps in the vocabulary, filled up to a round number: a model may still pick them.
        self.is_special |= np.array([not piece for piece in self.pieces])
        known = {
            "prefix": c.llama_vocab_fim_pre(vocab),
            "suffix": c.llama_vocab_fim_suf(vocab),
            "middle": c.llama_vocab_fim_mid(vocab),
            "pad": c.llama_vocab_fim_pad(vocab),
            "repo": c.llama_vocab_fim_rep(vocab),
            "file_sep": c.llama_vocab_fim_sep(vocab),
            "end_of_text": c.llama_vocab_eos(vocab),
        }
        self.fim: FimTokens | None = find_fim_tokens(
            known, texts, architecture=architecture, tokenizer_kind=tokenizer_kind
        )
        self.bos_id: int | None = (
            c.llama_vocab_bos(vocab) if c.llama_vocab_get_add_bos(vocab) else None
        )
        for token_id in self._sentinel_ids():
            self.is_special[token_id] = True
        # CodeLlama's tokenizer puts a blank before every text: in a prompt it would stand at the
        # cursor.
        self._adds_blank = self._spelled(self._tokenize("x")) == b" x"

    def tokenize(self, text: str) -> list[int]:
        """Ids of the text; a sentinel's spelling inside it is ordinary text."""
        if not self._adds_blank or not text:
            return self._tokenize(text)
        # What is added stands before a line end then, and is taken off with it.
        ids = self._tokenize(f"\n{text}")
        n_taken = next((n for n in range(len(ids)) if self._spelled(ids[:n]) == b" \n"), None)
        return self._tokenize(text) if n_taken is None else ids[n_taken:]

    def _spelled(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.pieces[token_id] for token_id in ids)

    def _tokenize(self, text: str) -> list[int]:
        assert self._vocab, "the model is closed"
        data = text.encode("utf-8", "surrogatepass")
        buffer = np.empty(len(data) + 8, np.int32)
        n = c.llama_tokenize(
            self._vocab,
            data,
            len(data),
            buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            buffer.size,
            False,
            False,
        )
        assert n >= 0, f"{n=} for {len(data)} bytes"
        ids: list[int] = buffer[:n].tolist()
        return ids

    def close(self) -> None:
        """Forget the model's memory, which is about to be freed; spellings and roles stay."""
        self._vocab = None

    def _all_pieces(self) -> tuple[bytes, ...]:
        """The bytes of each token, sentinels spelled out."""
        buffer = ctypes.create_string_buffer(256)
        pieces = []
        for token_id in range(self.n_tokens):
            n = c.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
            if n < 0:
                buffer = ctypes.create_string_buffer(-n)
                n = c.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
            pieces.append(ctypes.string_at(buffer, n))
        return tuple(pieces)

    def _sentinel_ids(self) -> list[int]:
        if self.fim is None:
            return []
        fim = self.fim
        ids = (
            fim.prefix_id, fim.suffix_id, fim.middle_id, fim.end_of_text_id,
            fim.pad_id, fim.repo_id, fim.file_sep_id,
        )  # fmt: skip
        return [token_id for token_id in ids if token_id is not None]


class Model:
    """A mapped model with one context: a sequence of tokens in its KV cache, the trunk, and
    branches that share its cells and go on from its end. Branch 0 is the trunk itself.
    """

    def __init__(
        self, path: Path, *, n_context_tokens: int, n_prefill_threads: int, uses_gpu: bool
    ) -> None:
        """Use `open`: it names the cure when a file cannot be used."""
        self._model: c.llama_model_p | None = None
        self._context: c.llama_context_p | None = None
        c.llama_log_set(_log_callback, ctypes.c_void_p(0))
        c.llama_backend_init()
        model_params = c.llama_model_default_params()
        model_params.n_gpu_layers = _ALL_LAYERS if uses_gpu and is_built_for_gpu() else 0
        model_params.load_mode = c.LLAMA_LOAD_MODE_MMAP
        self._model = c.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self._model:
            raise BundleError(
                f"llama.cpp cannot load {path}: use a model of an architecture that it knows, or "
                "export this one again"
            )
        self.vocabulary = Vocabulary(
            _not_null(c.llama_model_get_vocab(self._model)),
            architecture=_metadata(self._model, "general.architecture"),
            tokenizer_kind=_metadata(self._model, "tokenizer.ggml.pre"),
        )
        self.n_params: int = c.llama_model_n_params(self._model)
        self.n_train_context_tokens: int = c.llama_model_n_ctx_train(self._model)
        params = c.llama_context_default_params()
        params.n_ctx = n_context_tokens + _BRANCH_CELLS
        params.n_batch = params.n_ubatch = min(PREFILL_CHUNK_TOKENS, n_context_tokens)
        params.n_seq_max = _N_SEQUENCES
        params.kv_unified = True
        # With it steps of 64 tokens and more round otherwise than shorter ones, by a tenth of a
        # logit, so that a suggestion would depend on how its prompt came into the cache; and drafts
        # take 1.2 to 1.9 times as long.
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        is_quantized = _metadata(self._model, "general.file_type") not in _FLOAT_FILE_TYPES
        if is_quantized and not model_params.n_gpu_layers and _multiplies_bf16():
            params.type_k = params.type_v = _GGML_TYPE_BF16
        params.n_threads = 1
        params.n_threads_batch = n_prefill_threads
        params.no_perf = True
        self._context = c.llama_init_from_model(self._model, params)
        if not self._context:
            raise BundleError(
                f"llama.cpp cannot make a context of {n_context_tokens} tokens for {path}: ask for "
                "a smaller context, or free some memory"
            )
        self._governor = ThreadGovernor(
            n_threads=n_prefill_threads, max_tokens=PREFILL_CHUNK_TOKENS
        )
        self._n_threads_now = 0
        self._set_prefill_threads(1)
        # llama.cpp rounds its cells up; what was asked for is the limit.
        self.n_context_tokens = min(n_context_tokens, c.llama_n_ctx(self._context))
        self.abort_flag: NDArray[np.uint8] = np.zeros(1, np.uint8)
        c.llama_set_abort_callback(
            self._context,
            _abort_callback,
            ctypes.c_void_p(self.abort_flag.ctypes.data),
        )
        self._memory = _not_null(c.llama_get_memory(self._context))
        self._batch = _Batch(PREFILL_CHUNK_TOKENS)
        self._n_live_branches = 1
        self._logits_at: tuple[int, int] = (0, 0)
        self._logits_RV: NDArray[np.float32] = np.empty((0, 0), np.float32)

    @classmethod
    def open(
        cls, path: Path, *, n_context_tokens: int, n_prefill_threads: int, uses_gpu: bool = True
    ) -> Self:
        """Map the file and make the context; raises BundleError, and leaves nothing open then.

        `uses_gpu`: a graphics card, where this build of llama.cpp knows one.
        """
        model = cls.__new__(cls)
        try:
            model.__init__(  # type: ignore[misc]
                path,
                n_context_tokens=n_context_tokens,
                n_prefill_threads=n_prefill_threads,
                uses_gpu=uses_gpu,
            )
        except BaseException:
            model.close()
            raise
        return model

    @property
    def n_cached_tokens(self) -> int:
        """Tokens of the trunk in the KV cache."""
        assert self._context, "the model is closed"
        return int(c.llama_memory_seq_pos_max(self._memory, _TRUNK)) + 1

    def rewind(self, n_tokens: int) -> None:
        """Forget all but the first `n_tokens` of the trunk."""
        if not c.llama_memory_seq_rm(self._memory, _TRUNK, n_tokens, -1):
            # Recurrent models cannot forget a part.
            c.llama_memory_clear(self._memory, False)

    def extend(self, token_ids: Sequence[int] | NDArray[np.int32]) -> bool:
        """Compute tokens after those in the cache; logits of the last are then in `logits_V`.

        False: `abort_flag` was up; the cache then holds a head of what was asked for.
        """
        n_past = self._position_of(len(token_ids))
        start, n_left = 0, len(token_ids)
        while n_left:
            started_s, started_cpu_s = time.perf_counter(), time.thread_time()
            step = self._governor.next_step(_n_before_block_end(n_past, n_left), now_s=started_s)
            self._set_prefill_threads(step.n_threads)
            chunk = token_ids[start : start + step.n_tokens]
            start += step.n_tokens
            n_left -= step.n_tokens
            self._batch.fill(chunk, n_past, n_outputs=0 if n_left else 1)
            n_past += step.n_tokens
            if not self._decode():
                return False
            now_s, cpu_ms = time.perf_counter(), (time.thread_time() - started_cpu_s) * 1e3
            elapsed_ms = (now_s - started_s) * 1e3
            self._governor.report(step, elapsed_ms=elapsed_ms, cpu_ms=cpu_ms, now_s=now_s)
        return True

    def step(self, token_ids: Sequence[int], *, n_rows: int) -> NDArray[np.float32] | None:
        """Compute a few tokens after the trunk's end, on one thread; the last (n_rows, V) logits.

        The rows may be written to, and lie where the next call puts its own. None: aborted, the
        trunk is as it was.
        """
        position = self._position_of(len(token_ids))
        if len(token_ids) > 1:
            self._batch.fill(token_ids, position, n_outputs=n_rows)
            return self._rows(n_rows)
        started_s = time.perf_counter()
        self._batch.fill_one(token_ids[0], position)
        rows = self._rows(1)
        if rows is not None:  # One that was stopped took no time that says anything.
            now_s = time.perf_counter()
            self._governor.report_decode((now_s - started_s) * 1e3, now_s)
        return rows

    def fork(self, n: int, *, n_tokens_each: int) -> int:
        """Make up to `n` branches that may write so many tokens each; how many there are now."""
        n_cached = self.n_cached_tokens
        n_free_cells = c.llama_n_ctx(self._context) - n_cached
        n = max(1, min(n, N_BRANCHES, n_free_cells // max(1, n_tokens_each)))
        for branch in range(1, n):
            c.llama_memory_seq_cp(self._memory, _TRUNK, branch, -1, -1)
        self._n_live_branches = n
        return n

    def step_branches(
        self, branches: Sequence[int], token_ids: Sequence[int]
    ) -> NDArray[np.float32] | None:
        """Compute the next token of each of these branches in one batch; logits (n, V), or None."""
        positions = [
            c.llama_memory_seq_pos_max(self._memory, branch) + 1 for branch in branches
        ]  # fmt: skip
        self._batch.fill_branches(branches, token_ids, positions)
        return self._rows(len(branches))

    def join(self) -> None:
        """Forget all branches but the trunk."""
        for branch in range(1, self._n_live_branches):
            c.llama_memory_seq_rm(self._memory, branch, -1, -1)
        self._n_live_branches = 1

    def save(self) -> NDArray[np.uint8]:
        """The trunk's part of the KV cache, in memory."""
        # Pages of its own, which go back when it is dropped: in the heap such pieces leave holes.
        n_most_bytes = c.llama_state_seq_get_size(self._context, _TRUNK)
        state = np.frombuffer(mmap.mmap(-1, n_most_bytes, access=mmap.ACCESS_COPY), np.uint8)
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        n_bytes = c.llama_state_seq_get_data(self._context, pointer, state.size, _TRUNK)
        return state[:n_bytes]

    def restore(self, state: NDArray[np.uint8]) -> None:
        """Put back what `save` gave; whether it worked shows in `n_cached_tokens`."""
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        if not c.llama_state_seq_set_data(self._context, pointer, state.size, _TRUNK):
            c.llama_memory_clear(self._memory, False)

    @property
    def logits_V(self) -> NDArray[np.float32]:
        """The last token's logits where llama.cpp keeps them; the next call overwrites them."""
        logits_V: NDArray[np.float32] = self._view(c.llama_get_logits_ith(self._context, -1), 1)[0]
        return logits_V

    def all_logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after each token, from an empty cache, which holds the tokens afterwards."""
        if len(token_ids) > self.n_context_tokens:
            raise ContextOverflowError(
                f"{len(token_ids)} tokens do not fit into the context of {self.n_context_tokens}: "
                "send fewer, or load the model with a larger context"
            )
        self.rewind(0)
        self.abort_flag[0] = 0
        n_vocab = self.vocabulary.n_tokens
        rows = np.empty((len(token_ids), n_vocab), np.float32)
        for start in range(0, len(token_ids), _ROWS_CHUNK_TOKENS):
            chunk = token_ids[start : start + _ROWS_CHUNK_TOKENS]
            self._batch.fill(chunk, start, n_outputs=len(chunk))
            self._decode()
            rows[start : start + len(chunk)] = self._view(
                c.llama_get_logits(self._context), len(chunk)
            )
        return rows

    def close(self) -> None:
        """Free the context and unmap the file; may be called twice."""
        if hasattr(self, "vocabulary"):
            self.vocabulary.close()
        context, self._context = self._context, None
        model, self._model = self._model, None
        if context:
            c.llama_free(context)
        if model:
            c.llama_model_free(model)

    def _position_of(self, n_new: int) -> int:
        """Where the next tokens of the trunk go; raises ContextOverflowError for too many."""
        n_past = self.n_cached_tokens
        if n_past + n_new > self.n_context_tokens:
            raise ContextOverflowError(
                f"{n_past + n_new} tokens do not fit into the context of "
                f"{self.n_context_tokens}: send less text, or load the model with a larger context"
            )
        return n_past

    def _set_prefill_threads(self, n_threads: int) -> None:
        # Decode stays on one thread: with a second, one busy core makes each token wait for it.
        if n_threads != self._n_threads_now:
            c.llama_set_n_threads(self._context, 1, n_threads)
            self._n_threads_now = n_threads

    def _rows(self, n: int) -> NDArray[np.float32] | None:
        """Compute the batch, which asks for `n` rows of logits; None: aborted."""
        self._set_prefill_threads(1)
        if not self._decode():
            return None
        return self._view(c.llama_get_logits(self._context), n)

    def _view(self, pointer: Any, n_rows: int) -> NDArray[np.float32]:
        """(n_rows, V) at a pointer. Making one costs as much as a pick, so the last is kept."""
        at = (ctypes.addressof(pointer.contents), n_rows)
        if at != self._logits_at:
            shape = (n_rows, self.vocabulary.n_tokens)
            self._logits_at, self._logits_RV = at, np.ctypeslib.as_array(pointer, shape)
        return self._logits_RV

    def _decode(self) -> bool:
        assert self._context, "the model is closed"
        status = c.llama_decode(self._context, self._batch.struct)
        if status == _ABORTED:
            return False
        if status != 0:
            raise DecodeError(
                f"llama.cpp could not compute a step (status {status}): free some memory, or load "
                "the model with a smaller context"
            )
        return True


class _Batch:
    """llama.cpp's batch struct over numpy arrays; filled without a Python loop."""

    def __init__(self, n_max: int) -> None:
        self._ids = np.zeros(n_max, np.int32)
        self._positions = np.zeros(n_max, np.int32)
        self._n_sequences = np.ones(n_max, np.int32)
        self._branch_ids = np.arange(N_BRANCHES, dtype=np.int32)
        base, stride = self._branch_ids.ctypes.data, self._branch_ids.itemsize
        self._branch_addresses = [base + stride * branch for branch in range(N_BRANCHES)]
        self._sequence_pointers = np.full(n_max, self._branch_addresses[_TRUNK], np.uintp)
        self._wants_logits = np.zeros(n_max, np.int8)
        self._offsets = np.arange(n_max, dtype=np.int32)
        int32_p = ctypes.POINTER(ctypes.c_int32)
        self.struct = c.llama_batch(
            n_tokens=0,
            token=self._ids.ctypes.data_as(int32_p),
            embd=None,
            pos=self._positions.ctypes.data_as(int32_p),
            n_seq_id=self._n_sequences.ctypes.data_as(int32_p),
            seq_id=self._sequence_pointers.ctypes.data_as(ctypes.POINTER(int32_p)),
            logits=self._wants_logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(
        self, token_ids: Sequence[int] | NDArray[np.int32], position: int, *, n_outputs: int
    ) -> None:
        """Tokens of the trunk from `position` on; logits for the last `n_outputs` of them."""
        n = len(token_ids)
        self._ids[:n] = token_ids
        np.add(self._offsets[:n], position, out=self._positions[:n])
        self._wants_logits[: n - n_outputs] = 0
        self._wants_logits[n - n_outputs : n] = 1
        self._sequence_pointers[:n] = self._branch_addresses[_TRUNK]
        self.struct.n_tokens = n

    def fill_one(self, token_id: int, position: int) -> None:
        """One token of the trunk, and its logits: `fill` for most steps, in a fifth of its time."""
        self._ids[0] = token_id
        self._positions[0] = position
        self._wants_logits[0] = 1
        self._sequence_pointers[0] = self._branch_addresses[_TRUNK]
        self.struct.n_tokens = 1

    def fill_branches(
        self, branches: Sequence[int], token_ids: Sequence[int], positions: Sequence[int]
    ) -> None:
        """One token for each of these branches, and its logits."""
        n = len(branches)
        self._ids[:n] = token_ids
        self._positions[:n] = positions
        self._wants_logits[:n] = 1
        self._sequence_pointers[:n] = [self._branch_addresses[branch] for branch in branches]
        self.struct.n_tokens = n


def _n_before_block_end(n_past: int, n_left: int) -> int:
    """How many of the next tokens should be computed before the next block of cells begins."""
    n_in_block = _BLOCK_CELLS - n_past % _BLOCK_CELLS
    return min(n_left, n_in_block) if n_in_block >= _MIN_ALIGNING_TOKENS else n_left


def _multiplies_bf16() -> bool:
    """Whether this llama.cpp has AVX512_BF16, which multiplies bf16 without widening it first.

    Attention over a KV cache of bf16 is then faster than over one of f16, llama.cpp's default: by
    8 % of a prefill of 512 tokens, 10 % of 1,000. Where weights are quantized, and so 8 bits of an
    activation are kept, both are as far from one of f32: with the default bundle 3.3e-4 and 2.9e-4
    nats per token, another best token in 0.9 and 1.0 % of places.
    """
    return b"AVX512_BF16 = 1" in c.llama_print_system_info()


def _metadata(model: c.llama_model_p | None, key: str) -> str:
    """A text of the file's metadata; empty where it has none."""
    buffer = ctypes.create_string_buffer(128)
    n = c.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if n > 0 else ""


def _not_null(pointer: _T | None) -> _T:
    assert pointer, "llama.cpp gave a null pointer"
    return pointer
