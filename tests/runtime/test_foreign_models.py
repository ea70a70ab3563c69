"""Guards models that others made: a sentinel that is not found, or a layout that the model does not
know, shows as nonsense in the editor, and nobody would know why.

Each family's layout is written out as its paper or card shows it, for a prefix `P` and suffix `S`.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from gguf import TokenType

from runtime.engine import Engine, FimRequest, SamplingConfig
from tests import foreign_model
from tests.foreign_model import CONTEXT_TOKENS, Family

ALL_ROLES = ("pre", "suf", "mid", "pad", "rep", "sep")
STARCODER = (
    "<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<reponame>",
    "<filename>", "<gh_stars>",
)  # fmt: skip
QWEN = (
    "<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>",
)  # fmt: skip
FAMILIES = [
    Family(
        name="StarCoder", architecture="starcoder", kind="starcoder", special=STARCODER,
        layout="<filename>a.py\n<fim_prefix><fim_suffix>S<fim_middle>P",
    ),
    Family(
        name="SantaCoder", kind="gpt-2", special_type=TokenType.NORMAL,
        special=("<|endoftext|>", "<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<fim-pad>"),
        layout="<fim-prefix>P<fim-suffix>S<fim-middle>",
    ),
    Family(
        name="StarCoder2", kind="starcoder", special=(*STARCODER[:5], "<repo_name>", "<file_sep>"),
        layout="<file_sep>a.py\n<fim_prefix>P<fim_suffix>S<fim_middle>",
    ),
    Family(
        name="Qwen2.5-Coder", special=QWEN, named=ALL_ROLES, n_unused=64,
        layout="<|file_sep|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    ),
    Family(
        name="Qwen3-Coder", special=QWEN, special_type=TokenType.USER_DEFINED,
        layout="<|file_sep|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    ),
    Family(
        name="CodeLlama", tokenizer="llama", adds_bos=True, adds_blank=True,
        special=("</s>", "<s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"),
        layout="<s>▁<PRE>P▁<SUF>S▁<MID>",
    ),
    Family(
        name="DeepSeek-Coder", kind="deepseek-coder", adds_bos=True,
        special=(
            "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>",
            "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
        ),
        layout="<｜begin▁of▁sentence｜><｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>",
    ),
    Family(
        name="CodeGemma", tokenizer="llama", adds_bos=True, n_unused=99,
        special=(
            "<eos>", "<bos>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
            "<|file_separator|>",
        ),
        layout="<bos><|file_separator|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    ),
    Family(
        name="Codestral", tokenizer="llama", adds_bos=True,
        special=("</s>", "<s>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]", "[INST]"),
        layout="<s>[SUFFIX]S[PREFIX]P",
    ),
    Family(
        name="Mellum", kind="mellum", special=STARCODER,
        layout="<filename>a.py\n<fim_suffix>S<fim_prefix>P<fim_middle>",
    ),
    Family(
        name="Granite", kind="refact", special=STARCODER, named=("pre", "suf", "mid"),
        layout="<filename>a.py\n<fim_prefix>P<fim_suffix>S<fim_middle>",
    ),
    Family(
        name="Stable Code", special=STARCODER[:5], n_unused=7,
        layout="<fim_prefix>P<fim_suffix>S<fim_middle>",
    ),
    Family(
        name="CodeGeeX", special=("<|endoftext|>", "<|code_prefix|>", "<|code_suffix|>",
                                  "<|code_middle|>", "<|user|>"),
        layout="<|code_prefix|>P<|code_suffix|>S<|code_middle|>",
    ),
    Family(
        name="Seed-Coder", kind="seed-coder", adds_bos=True,
        special=("<[end▁of▁sentence]>", "<[begin▁of▁sentence]>", "<[fim-prefix]>", "<[fim-suffix]>",
                 "<[fim-middle]>"),
        layout="<[begin▁of▁sentence]><[fim-suffix]>S<[fim-prefix]>P<[fim-middle]>",
    ),
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_shown_its_own_layout(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    foreign_model.write(path, family)
    with Engine.load(path, n_prefill_threads=1) as engine:
        # A prefix that ends a line is not healed, so the prompt holds all of it.
        request = FimRequest(prefix="P\n", suffix="S", path="a.py")
        shown = engine.prompt_text(request).replace("P\n", "P")
        assert shown == family.layout
        assert engine.info.fim is not None and engine.info.spec is None
        # What the sentinels spell is never text, neither read nor written.
        spelled = set(family.special) - {"<gh_stars>", "[INST]"}
        for text in spelled:
            assert not set(engine.tokenize(text.replace("▁<", " <"))) & {
                engine.info.fim.prefix_id, engine.info.fim.suffix_id, engine.info.fim.middle_id
            }  # fmt: skip
        sampling = SamplingConfig(temperature=1.0, max_tokens=24, deadline_ms=20_000)
        for seed in range(3):
            (done,) = engine.complete(request, replace(sampling, seed=seed))
            assert not engine.is_special[list(done.token_ids)].any()
            assert not any(f"<unused_row_{i}>" in done.text for i in range(family.n_unused))


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if f.name in ("CodeLlama", "Codestral", "Qwen2.5-Coder")],
    ids=lambda family: family.name,
)  # fmt: skip
def test_words_are_healed_and_the_context_is_kept(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    foreign_model.write(path, family)
    with Engine.load(path, n_prefill_threads=1) as engine:
        assert engine.info.context_tokens == CONTEXT_TOKENS
        sampling = SamplingConfig(max_tokens=12, deadline_ms=20_000)
        for prefix in ("import o", "x = 'caf\u00e9", "def f(", "y = 12", "    " * 400 + "retu"):
            request = FimRequest(prefix=prefix, suffix="\n" + "z = 1\n" * 300, path="a.py")
            (done,) = engine.complete(request, sampling)
            spelled = engine.detokenize(done.token_ids).decode("utf-8", "ignore")
            assert (
                done.text and spelled.endswith(done.text.rstrip("\ufffd")) or done.text in spelled
            )
            n_prompt = done.timing.n_prompt_tokens
            assert n_prompt + len(done.token_ids) <= CONTEXT_TOKENS


def test_a_chat_model_without_sentinels_sees_only_what_is_before_the_cursor(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.gguf"
    foreign_model.write(
        path, Family(name="Chat", special=("<|endoftext|>", "<|im_start|>"), layout="")
    )
    with Engine.load(path, n_prefill_threads=1) as engine:
        request = FimRequest(prefix="a = b", suffix="secret", path="a.py")
        assert "secret" not in engine.prompt_text(request)
        assert engine.complete(request, SamplingConfig())
