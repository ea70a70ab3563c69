"""llama.cpp's log: taken over for one call, errors kept for the message of an exception."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp

_LEVEL_ERROR = 4


@contextmanager
def collected_log() -> Iterator[list[str]]:
    """The errors that llama.cpp logs inside the block; nothing is printed.

    The log goes back to whoever had it.
    """
    messages: list[str] = []

    def collect(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        line = text.decode("utf-8", errors="replace").strip()
        if level == _LEVEL_ERROR and line:
            messages.append(line)

    # Footgun: the callback must outlive every call of it, as C holds no reference to a Python
    # object; `callback` does until the previous one is back in place.
    callback = llama_cpp.llama_log_callback(collect)
    previous = llama_cpp.llama_log_callback()
    previous_data = ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(previous), ctypes.byref(previous_data))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    try:
        yield messages
    finally:
        llama_cpp.llama_log_set(previous, previous_data)
