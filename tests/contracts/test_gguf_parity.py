"""Contract between training and serving: the GGUF file is the same model as the checkpoint.

transformers writes a checkpoint, quantize converts it, and llama.cpp must give the same logits and
cut text into the same tokens. A failure would show as a model that is worse in the editor than in
its evaluation, for no reason that anybody sees. Each comparison is also shown to be able to fail.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from quantize.architectures import Architecture, GgufNumber, Hyperparameters
from quantize.checkpoint import Checkpoint, open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf
from quantize.tensor_names import TensorRule
from runtime.bundle import open_bundle
from runtime.engine import Engine
from runtime.fim import SPECIAL_TOKENS, Order, own_tokens
from runtime.spec import ModelSpec
from train.samples.tokenizer import encode, load_tokenizer, save_tokenizer, train_tokenizer

MAX_LOGIT_DIFFERENCE = 0.02
# A broken conversion is not close: it differs by this much at least.
MIN_BROKEN_DIFFERENCE = 0.1

VOCAB_SIZE, N_EMBEDDINGS, CONTEXT_TOKENS, ROPE_THETA = 640, 672, 512, 100_000.0
_REPOSITORY = Path(__file__).parents[2]


def _config() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=N_EMBEDDINGS,  # more rows than tokens, as some checkpoints have
        hidden_size=192,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=3,  # 3 * 64 = 192: q_proj and o_proj have one shape, and can be swapped
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )


def _random_model() -> Qwen3ForCausalLM:
    """Weights large enough that the logits depend on each: a fresh model's norms are all ones."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    return model


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return _random_model()


@pytest.fixture(scope="module")
def folder(model: Qwen3ForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, as training writes it."""
    folder = tmp_path_factory.mktemp("parity") / "checkpoint"
    model.save_pretrained(folder)
    sources = [path.read_text("utf-8") for path in sorted((_REPOSITORY / "runtime").glob("*.py"))]
    save_tokenizer(train_tokenizer(sources, VOCAB_SIZE), folder / "tokenizer.json")
    config = model.config
    spec = ModelSpec(
        name="parity",
        architecture="qwen3",
        n_params=sum(parameter.numel() for parameter in model.parameters()),
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        d_ff=config.intermediate_size,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        vocab_size=config.vocab_size,
        context_tokens=config.max_position_embeddings,
        rope_theta=ROPE_THETA,
        norm_eps=config.rms_norm_eps,
        fim_order=Order.SPM,
        languages=("Python",),
        tokenizer_sha256=hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        corpus_id="cd" * 32,
        recipe="",  # an empty string must survive too
        code_commit="unknown",
    )
    (folder / "spec.json").write_text(spec.to_json())
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("parity") / "model.gguf"
    write_gguf(checkpoint, path, float_type=FloatType.F16)
    with Engine.load(path) as engine:
        yield engine


def _token_ids(n_tokens: int) -> list[int]:
    return np.random.default_rng(1).integers(0, VOCAB_SIZE, n_tokens).tolist()


def _difference(model: Qwen3ForCausalLM, path: Path, token_ids: list[int]) -> float:
    """Largest difference between torch's and llama.cpp's logits."""
    with torch.no_grad():
        theirs = model(torch.tensor([token_ids])).logits[0].numpy()
    with Engine.load(path) as engine:
        ours = engine.logits(token_ids)
    assert ours.shape == theirs.shape == (len(token_ids), N_EMBEDDINGS)
    assert theirs.std() > 0.5, "logits too small for the comparison to mean anything"
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("float_type", list(FloatType))
@pytest.mark.parametrize("n_tokens", [1, 2, 31, 33, 300])
def test_logits_agree(model, checkpoint, tmp_path, float_type, n_tokens) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf", float_type=float_type)
    difference = _difference(model, tmp_path / "model.gguf", _token_ids(n_tokens))
    assert difference <= MAX_LOGIT_DIFFERENCE


def test_logits_of_an_untied_model_agree(folder: Path, tmp_path: Path) -> None:
    config = _config()
    config.tie_word_embeddings = False
    torch.manual_seed(2)
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, config.hidden_size**-0.5)
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "spec.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_gguf(open_checkpoint(tmp_path), tmp_path / "m.gguf", float_type=FloatType.F32)
    assert _difference(model, tmp_path / "m.gguf", _token_ids(64)) <= MAX_LOGIT_DIFFERENCE


def _swap(first: str, second: str) -> Callable[[Architecture], Architecture]:
    """The map with the GGUF names of two weights exchanged."""

    def renamed(rule: TensorRule) -> TensorRule:
        names = {f"blk.{{layer}}.{a}.weight": b for a, b in ((first, second), (second, first))}
        if rule.gguf not in names:
            return rule
        return replace(rule, gguf=f"blk.{{layer}}.{names[rule.gguf]}.weight")

    def swapped(architecture: Architecture) -> Architecture:
        rules = tuple(renamed(rule) for rule in architecture.tensors)
        assert rules != architecture.tensors
        return replace(architecture, tensors=rules)

    return swapped


def _without(*keys: str) -> Callable[[Architecture], Architecture]:
    """Metadata with some keys left out, which llama.cpp then fills with its defaults."""

    def dropped(architecture: Architecture) -> Architecture:
        def metadata(numbers: Hyperparameters) -> dict[str, GgufNumber]:
            values = architecture.metadata(numbers)
            return {key: value for key, value in values.items() if key not in keys}

        return replace(architecture, metadata=metadata)

    return dropped


def _with_epsilon(epsilon: float) -> Callable[[Architecture], Architecture]:
    def changed(architecture: Architecture) -> Architecture:
        key = "attention.layer_norm_rms_epsilon"
        return replace(architecture, metadata=lambda n: architecture.metadata(n) | {key: epsilon})

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        _swap("attn_q", "attn_output"),
        _swap("attn_k", "attn_v"),
        _swap("attn_q_norm", "attn_k_norm"),
        _swap("attn_norm", "ffn_norm"),
        _swap("ffn_gate", "ffn_up"),
        _without("rope.freq_base"),
        _with_epsilon(0.1),
    ],
    ids=["q/o", "k/v", "q_norm/k_norm", "attn_norm/ffn_norm", "gate/up", "rope", "epsilon"],
)
def test_the_comparison_can_fail(model, folder, checkpoint, tmp_path, damage) -> None:
    broken = damage(checkpoint.architecture)
    damaged = replace(
        checkpoint, architecture=broken, tensors=broken.named_tensors(checkpoint.numbers)
    )
    write_gguf(damaged, tmp_path / "model.gguf", float_type=FloatType.F32)
    difference = _difference(model, tmp_path / "model.gguf", _token_ids(200))
    assert difference > MIN_BROKEN_DIFFERENCE


@pytest.mark.parametrize("float_type", list(FloatType))
def test_the_spec_travels_unchanged(folder, checkpoint, tmp_path, float_type) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf", float_type=float_type)
    spec = open_bundle(tmp_path / "model.gguf").spec
    assert spec == ModelSpec.from_json((folder / "spec.json").read_text())
    assert spec is not None and spec.to_json() == (folder / "spec.json").read_text()


def test_sentinels_are_the_same(engine: Engine) -> None:
    assert engine.info.fim == own_tokens()


AWKWARD = {
    "empty": "",
    "code": "def f(self, x=10):\n    return self._value[x] ** 2  # squared\n",
    "tabs": "\tif x:\n\t\treturn\t\t1\t\n \t \tmixed",
    "CRLF": "a\r\nb\r\n\r\n\r\nc\rd\n\r\n  \r\n",
    "digits": "0123456789 1_000_000 0xFF 3.14e-10 ١٢٣ ²³ Ⅷ ½",
    "emoji": "🙂🙂 👩‍👩‍👧‍👦 🇪🇺 ☺️ x🙂y",
    "combining marks": "e\u0301 a\u0308o\u0308 \u0301\u0301 नमस्ते ก็ ﷺ",
    "NUL": "a\x00b\x00\x00\x00 \x00",
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x80\x85\x9f",
    "spaces": "x" + " " * 3000 + "y" + " " * 1001,
    "newlines": "\n" * 500 + "x" + "\n \n  \n" * 50,
    "odd blanks": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u200bg\ufeffh\x0b\x0ci\u1680j\u180ek",
    "contractions": "don't DON'T I'll WE'RE it's 's'S 'ſ he'Ll x'y 'tis o'clock",
    "scripts": "日本語のコード Привет مرحبا שלום 한국어 Ελληνικά ñandú ŸŽ",
    "beyond the plane": "𝒳𝓎𝔷 𠀀𠀁 \U0001f9ff \U0010ffff",
    "punctuation": "!!!???...,,,;;; -->=> (([[{{}}]])) `~@#$%^&*_+|\\/\"'<>",
    "underscores": "__init__ _x x_ _1 1_ __ ___a___",
    "sentinels as text": "".join(SPECIAL_TOKENS) + " <fim_prefix > <|endoftext|>x<file_sep>\n",
    "words without end": "a" * 5000,
    "operators": "x<<=1;y>>=2;z**=3;a:=b->c!=d//=e&=~f@g",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_token_ids_agree(folder: Path, engine: Engine, name: str) -> None:
    text = AWKWARD[name]
    ids = engine.tokenize(text)
    assert ids == encode(load_tokenizer(folder / "tokenizer.json"), text)
    assert engine.detokenize(ids) == text.encode("utf-8")
    assert all(token_id >= len(SPECIAL_TOKENS) for token_id in ids)


def test_token_ids_agree_on_random_mixtures(folder: Path, engine: Engine) -> None:
    """Pieces of the page above, cut anywhere and put together in any order."""
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    page = "".join(text[:200] for text in AWKWARD.values())
    rng = random.Random(0)
    for _ in range(300):
        cuts = [rng.randrange(len(page)) for _ in range(rng.randrange(1, 30))]
        text = "".join(page[cut : cut + rng.randrange(1, 6)] for cut in cuts)
        assert engine.tokenize(text) == encode(tokenizer, text), repr(text)
