"""Guards the call into llama.cpp's quantizer: each type, its silence, and its errors as ours.

A failure would show as a file of another type than asked for, or as llama.cpp's log on the screen.
"""

import ctypes
from pathlib import Path

import llama_cpp
import pytest
from gguf.gguf_reader import GGUFReader

from quantize.errors import ConversionError
from quantize.llama_quantize import QuantType, quantize_file
from quantize.verify import tensor_types

# llama.cpp picks Q8_0 for tied embeddings under q6_k, Q6_K under the smaller ones, and its fallback
# types for attn_output, whose rows are 128 long here.
EXPECTED_TYPES = {
    QuantType.F32: {"F32"},
    QuantType.F16: {"F16", "F32"},
    QuantType.Q8_0: {"Q8_0", "F32"},
    QuantType.Q6_K: {"Q6_K", "Q8_0", "F32"},
    QuantType.Q5_K_M: {"Q5_K", "Q6_K", "Q5_1", "F32"},
    QuantType.Q4_K_M: {"Q4_K", "Q6_K", "Q5_0", "F32"},
    QuantType.Q4_0: {"Q4_0", "Q6_K", "F32"},
}


@pytest.mark.parametrize("quant_type", list(QuantType))
def test_each_type(f16_file: Path, tmp_path: Path, quant_type: QuantType) -> None:
    target = tmp_path / "model.gguf"
    quantize_file(f16_file, target, quant_type)
    assert tensor_types(target).keys() == EXPECTED_TYPES[quant_type]
    before, after = GGUFReader(f16_file), GGUFReader(target)
    assert after.fields["general.file_type"].contents() == quant_type.llama_ftype
    for key, field in before.fields.items():
        if key.startswith(("starling.", "tokenizer.", "qwen3.")):
            assert after.fields[key].contents() == field.contents(), key


def test_fewer_bits_make_a_smaller_file(f16_file: Path, tmp_path: Path) -> None:
    sizes = []
    for quant_type in QuantType:
        quantize_file(f16_file, tmp_path / quant_type, quant_type, n_threads=1)
        sizes.append((tmp_path / quant_type).stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_llama_cpp_prints_nothing(f16_file: Path, tmp_path: Path, capfd) -> None:
    quantize_file(f16_file, tmp_path / "m.gguf", QuantType.Q4_0)
    with pytest.raises(ConversionError):
        quantize_file(tmp_path / "absent.gguf", tmp_path / "n.gguf", QuantType.Q4_0)
    assert capfd.readouterr() == ("", "")


def test_the_log_goes_back_to_whom_it_belonged(f16_file: Path, tmp_path: Path) -> None:
    heard: list[bytes] = []
    theirs = llama_cpp.llama_log_callback(lambda _level, text, _data: heard.append(text))
    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    llama_cpp.llama_log_set(theirs, ctypes.c_void_p())
    try:
        quantize_file(f16_file, tmp_path / "m.gguf", QuantType.Q8_0)
        assert heard == []
        llama_cpp.llama_model_load_from_file(b"absent", llama_cpp.llama_model_default_params())
        assert heard
    finally:
        llama_cpp.llama_log_set(before, data)


def test_a_file_that_is_none_is_refused_with_llama_cpp_s_reason(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(b"not a model")
    with pytest.raises(ConversionError, match="could not quantize to q8_0 \\(.+\\): see that"):
        quantize_file(source, tmp_path / "target.gguf", QuantType.Q8_0)
