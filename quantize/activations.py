"""What goes into each matrix of a model, read from llama.cpp while it computes.

llama.cpp asks a callback about every operation of its graph and calls it again when the result is
there; the inputs of a matrix product can then be read in place. So this works for every
architecture that llama.cpp knows, without torch, and says nothing of what is done with the values.

Footgun: `_Tensor` repeats ``struct ggml_tensor`` of ggml.h, which has no accessor for `src`. Each
tensor's name is read through the struct and through ggml's own function before anything else is
believed, so that another version of llama.cpp is an error and not nonsense.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from quantize.errors import CalibrationError, ConversionError
from quantize.llama_log import collected_log

OnInput = Callable[[str, NDArray[np.float32]], None]
"""Called with (name of the weight, its inputs of shape (n_tokens, n_in)); valid during the call."""

_MATRIX_PRODUCT = b"MUL_MAT"
_WEIGHT_SUFFIX = b".weight"
_F32 = 0
_SEQUENCE = 0


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


def visit_inputs(
    model: Path,
    windows: Sequence[Sequence[int]],
    on_input: OnInput,
    *,
    n_threads: int = 1,
    on_window: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Reads each window from an empty cache and shows what each matrix multiplied.

    Matrices with the same input (query, key and value of a layer) are shown once, under the name of
    the first; returned is weight name -> name that its inputs were shown under. `on_window` is told
    windows done and windows in all.
    """
    listener = _Listener(on_input)
    callback = llama_cpp.ggml_backend_sched_eval_callback(listener)
    n_tokens = max(map(len, windows))
    with _opened(model, n_tokens, n_threads, callback) as context:
        memory = llama_cpp.llama_get_memory(context)
        batch = llama_cpp.llama_batch_init(n_tokens, 0, 1)
        try:
            for n_done, window in enumerate(windows, start=1):
                llama_cpp.llama_memory_clear(memory, False)
                _fill(batch, window)
                status = llama_cpp.llama_decode(context, batch)
                if listener.error is not None:
                    raise listener.error
                if status != 0:
                    raise ConversionError(
                        f"llama.cpp could not compute {model.name} for calibration (status "
                        f"{status}): free some memory, or quantize with --method llama.cpp "
                        "--no-imatrix"
                    )
                if on_window is not None:
                    on_window(n_done, len(windows))
        finally:
            llama_cpp.llama_batch_free(batch)
    return listener.shown_as


class _Listener:
    """llama.cpp's callback. What it raises is kept: an exception cannot pass through C."""

    def __init__(self, on_input: OnInput) -> None:
        self.error: BaseException | None = None
        self.shown_as: dict[str, str] = {}
        self._on_input = on_input
        self._ggml = _ggml_library()
        # Of the graph that is being computed: address of an input -> weight it was shown with.
        self._first_user: dict[int, str] = {}

    def __call__(self, address: int, is_question: bool, _user_data: int | None) -> bool:
        try:
            return self._wants(address) if is_question else self._show(address)
        except BaseException as error:
            self.error = error
            return False

    def _wants(self, address: int) -> bool:
        if self._ggml.ggml_op_desc(address) != _MATRIX_PRODUCT:
            return False
        product = _Tensor.from_address(address)
        weight = _Tensor.from_address(product.src[0])
        if weight.name != self._ggml.ggml_get_name(product.src[0]):
            raise ConversionError(
                "this version of llama-cpp-python lays out its tensors in another way: install "
                "the version that Starling pins, or quantize with --method llama.cpp --no-imatrix"
            )
        if not weight.name.endswith(_WEIGHT_SUFFIX):
            return False
        name = weight.name.decode()
        first = self.shown_as.get(name)
        if first is None:
            first = self._first_user.setdefault(int(product.src[1]), name)
            self.shown_as[name] = first
        is_first: bool = first == name
        return is_first

    def _show(self, address: int) -> bool:
        product = _Tensor.from_address(address)
        name = _Tensor.from_address(product.src[0]).name.decode()
        inputs = _Tensor.from_address(product.src[1])
        assert inputs.type == _F32 and inputs.nb[0] == 4, f"{name=} {inputs.type=}"
        assert inputs.ne[2] == inputs.ne[3] == 1, f"{name=} {list(inputs.ne)=}"
        pointer = ctypes.cast(inputs.data, ctypes.POINTER(ctypes.c_float))
        rows = np.ctypeslib.as_array(pointer, (inputs.ne[1], inputs.nb[1] // 4))
        self._on_input(name, rows[:, : inputs.ne[0]])
        return True


@contextmanager
def _opened(
    model: Path, n_tokens: int, n_threads: int, callback: Any
) -> Iterator[llama_cpp.llama_context_p]:
    with collected_log() as messages:
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        loaded = llama_cpp.llama_model_load_from_file(os.fsencode(model), model_params)
        if not loaded:
            raise ConversionError(
                f"llama.cpp cannot load {model} ({'; '.join(messages)}): take a file that "
                "`starling complete` works with"
            )
        try:
            params = llama_cpp.llama_context_default_params()
            params.n_ctx = params.n_batch = params.n_ubatch = n_tokens
            params.n_seq_max = 1
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.n_threads = params.n_threads_batch = n_threads
            params.cb_eval = callback
            context = llama_cpp.llama_init_from_model(loaded, params)
            if not context:
                raise CalibrationError(
                    f"there is not enough memory to compute {n_tokens} tokens of {model.name}: "
                    "free some, or quantize with --method llama.cpp --no-imatrix"
                )
            try:
                yield context
            finally:
                llama_cpp.llama_free(context)
        finally:
            llama_cpp.llama_model_free(loaded)


def _fill(batch: llama_cpp.llama_batch, window: Sequence[int]) -> None:
    """Logits of every token: without them llama.cpp leaves most rows of the last layer out."""
    batch.n_tokens = len(window)
    for i, token_id in enumerate(window):
        batch.token[i] = token_id
        batch.pos[i] = i  # type: ignore[call-overload]
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = _SEQUENCE
        batch.logits[i] = 1


def _ggml_library() -> ctypes.CDLL:
    """The library that llama_cpp has loaded already."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(iter(sorted(folder.glob("*ggml-base.*"))))))
    for name in ("ggml_op_desc", "ggml_get_name"):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    return library
