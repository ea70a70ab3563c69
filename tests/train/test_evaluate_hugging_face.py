"""Guards comparisons with Hugging Face folders: another model must meet the very same harness.

A failure would show as a rival that looks worse than it is, because it was prompted wrongly, or as
a run that ends in a traceback over a folder that was half downloaded.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import (
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

import starling
from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf
from runtime.engine import Engine, FimRequest
from runtime.errors import BundleError, ContextOverflowError, DecodeError
from runtime.fim import Order, own_tokens
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode
from tests.quantize import tiny_checkpoint
from tests.train import tiny_corpus
from train.corpus.source_file import write_shard
from train.errors import CheckpointError
from train.evaluation import bits_per_byte
from train.evaluation.fim.completers import model_completer
from train.evaluation.fim.tasks import draw_tasks
from train.evaluation.models.hugging_face_tokens import HuggingFaceTokens
from train.evaluation.models.models import name_models, open_backend, open_engine
from train.evaluation.programs.problems import Problem
from train.evaluation.programs.writer import PromptStyle, Writer

NO_DEADLINE = SamplingConfig(deadline_ms=math.inf)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as training exports it: a Hugging Face folder with our spec."""
    folder = tmp_path_factory.mktemp("hf") / "qwen"
    tiny_checkpoint.write(folder)
    return folder


@pytest.fixture(scope="module")
def qwen_gguf(qwen: Path) -> Path:
    path = qwen.parent / "qwen.gguf"
    write_gguf(open_checkpoint(qwen), path, float_type=FloatType.F32)
    return path


@pytest.fixture(scope="module")
def bigcode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """StarCoder in small: learned positions, one key/value head, more rows than tokens."""
    folder = tmp_path_factory.mktemp("hf") / "bigcode-tiny"
    torch.manual_seed(0)
    config = GPTBigCodeConfig(
        vocab_size=tiny_checkpoint.VOCAB_SIZE + 9, n_positions=200, n_embd=48, n_layer=2, n_head=3,
        eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    model = GPTBigCodeForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tiny_checkpoint.tokenizer_bytes())
    return folder


@pytest.fixture(scope="module")
def starcoder2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a window so short that every prompt is longer: its cache cannot be cut."""
    folder = tmp_path_factory.mktemp("hf") / "starcoder2-tiny"
    torch.manual_seed(1)
    config = Starcoder2Config(
        vocab_size=tiny_checkpoint.VOCAB_SIZE, max_position_embeddings=256, hidden_size=32,
        intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        sliding_window=8, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    model = Starcoder2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tiny_checkpoint.tokenizer_bytes())
    return folder


def asked(prefix: str, suffix: str = "\n", mode: Mode = Mode.LINE) -> FimRequest:
    return FimRequest(prefix=prefix, suffix=suffix, path="x.py", mode=mode)


def test_a_folder_is_the_same_model_as_its_gguf(qwen: Path, qwen_gguf: Path) -> None:
    """PyTorch under the engine against llama.cpp under the engine."""
    tasks = draw_tasks(tiny_corpus.files(6), n_per_kind=2, seed=3)
    with open_engine(qwen) as ours, Engine.load(qwen_gguf) as theirs:
        assert ours.info.order is theirs.info.order is Order.SPM
        assert ours.info.fim == theirs.info.fim == own_tokens()
        assert (ours.info.vocab_size, ours.info.context_tokens, ours.info.n_params) == (
            theirs.info.vocab_size, theirs.info.context_tokens, theirs.info.n_params,
        )  # fmt: skip
        text = tasks[0].prefix + "naïve ☺ 日本 <fim_prefix> <|endoftext|>\r\n\t"
        ids = ours.tokenize(text)
        assert ids == theirs.tokenize(text) and ours.detokenize(ids) == text.encode()
        assert np.abs(ours.logits(ids[:200]) - theirs.logits(ids[:200])).max() < 0.02
        texts = [file.text for file in tiny_corpus.files(2)]
        lengths = [bits_per_byte.code_lengths(engine, texts) for engine in (ours, theirs)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
        for order in Order:
            mine, other = (model_completer(e, order=order) for e in (ours, theirs))
            n_equal = sum(mine(t) == other(t) for t in tasks)
            # A tie between two tokens of a random model may fall to either side.
            assert n_equal >= len(tasks) - 1
            assert any(mine(t) for t in tasks)


@pytest.mark.parametrize(("name", "is_reused"), [("bigcode", True), ("starcoder2", False)])
def test_the_cache_changes_nothing(
    request: pytest.FixtureRequest, name: str, is_reused: bool
) -> None:
    folder = request.getfixturevalue(name)
    prefixes = ["import os\nx = ", "import os\nx = os.pa", "import os\nx = os.p", "y", "import os"]
    with open_engine(folder) as engine:
        warm = [engine.complete(asked(p, "\nz = 1\n"), NO_DEADLINE)[0] for p in prefixes]
        assert any(one.timing.n_reused_tokens > 2 for one in warm) == is_reused
    for prefix, one in zip(prefixes, warm, strict=True):
        with open_engine(folder) as engine:
            (cold,) = engine.complete(asked(prefix, "\nz = 1\n"), NO_DEADLINE)
        assert cold.timing.n_reused_tokens == 0
        assert (cold.text, cold.token_ids) == (one.text, one.token_ids)
        assert cold.mean_logprob == pytest.approx(one.mean_logprob, abs=1e-4)


def test_what_the_engine_gets_is_what_transformers_says(bigcode: Path) -> None:
    model = GPTBigCodeForCausalLM.from_pretrained(bigcode).eval()
    ids = list(range(7, 120))
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, :, : tiny_checkpoint.VOCAB_SIZE].numpy()
    backend, order, n_trained = open_backend(bigcode, max_context_tokens=150)
    assert order is Order.PSM and n_trained == 200
    np.testing.assert_allclose(backend.all_logits(ids), expected, atol=1e-4)
    for start, end in ((0, 50), (50, 51), (51, 113)):
        assert backend.extend(ids[start:end])
        np.testing.assert_allclose(backend.logits_V, expected[end - 1], atol=1e-4)
    backend.rewind(20)
    assert backend.n_cached_tokens == 20 and backend.extend(ids[20:30])
    np.testing.assert_allclose(backend.logits_V, expected[29], atol=1e-4)
    with pytest.raises(ContextOverflowError):
        backend.extend([1] * 121)
    with pytest.raises(ContextOverflowError):
        backend.all_logits([1] * 151)
    backend.close()


def test_names_and_hashes_tell_folders_apart(bigcode: Path, qwen: Path) -> None:
    first, second, third = name_models([bigcode, qwen, bigcode])
    assert (first.name, second.name) == ("bigcode-tiny", "tiny-random")
    assert third.name == f"bigcode-tiny ({bigcode})"
    assert first.file_sha256 == third.file_sha256 != second.file_sha256
    # A report keeps a column for each, however often one is named.
    assert len({model.name for model in name_models([bigcode] * 4)}) == 4


def sentencepiece_folder(folder: Path) -> Path:
    """tokenizer.json of CodeLlama's kind: words with a mark, bytes for what is unknown."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["\u2581", "d", "e", "f", "de", "def", "\u2581def", "x", "\n"]
    merges = [("d", "e"), ("de", "f"), ("\u2581", "def")]
    model = models.BPE(
        vocab={word: i for i, word in enumerate(words)}, merges=merges, unk_token="<unk>",
        byte_fallback=True, fuse_unk=True,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    sentinels = [f"\u2581<{name}>" for name in ("PRE", "SUF", "MID", "EOT")]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in sentinels])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_codellamas_kind_of_tokenizer_spells_the_text_and_no_blank_more(tmp_path: Path) -> None:
    tokens = HuggingFaceTokens(sentencepiece_folder(tmp_path / "llama"), frozenset({2}))
    assert tokens.bos_id == 1
    for text in ("def x", " def\n  def", "é☺", "x = 1", "\t"):
        ids = tokens.tokenize(text)
        assert b"".join(tokens.pieces[i] for i in ids) == text.encode()
    assert tokens.fim is not None
    named = [tokens.fim.prefix_id, tokens.fim.suffix_id, tokens.fim.middle_id]
    first = tokens.n_tokens - 4
    assert named == [first, first + 1, first + 2] and tokens.is_special[named].all()
    assert tokens.is_special[2] and not tokens.is_special[tokens.tokenize("def")].any()


def test_sentinels_that_their_tokenizer_calls_ordinary_are_not(tmp_path: Path) -> None:
    """As Qwen's are; the spelling of one inside a text stays text."""
    data = json.loads(tiny_checkpoint.tokenizer_bytes())
    for token in data["added_tokens"]:
        token["special"] = token["content"] == "<|endoftext|>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokens = HuggingFaceTokens(tmp_path, frozenset({0}))
    assert tokens.fim == own_tokens() and tokens.bos_id is None
    assert tokens.is_special[[0, 1, 2, 3]].all() and not tokens.is_special[ord("a")]
    ids = tokens.tokenize("a<fim_prefix>b<|endoftext|>")
    assert not tokens.is_special[ids].any()


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    folder = tmp_path / "held_out"
    folder.mkdir()
    write_shard(folder / "a.jsonl.zst", tiny_corpus.files(4))
    return folder


def evaluate(verb: str, *more: str | Path) -> int:
    return starling.main(["eval", verb, *map(str, more)])


def test_folders_stand_in_the_tables_of_bundles(
    qwen_gguf: Path, bigcode: Path, held_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    common = ("--held-out", held_out, "--bundle", qwen_gguf, "--against", bigcode, "--out", out)
    assert evaluate("bpb", *common, "--max-kb", "1") == 0
    assert evaluate("fim", *common, "-n", "1", "--kind", "line", "--kind", "random span") == 0
    assert (
        evaluate("typing", *common, "--max-files", "1", "--max-chars", "15", "--min-confidence",
                 "0", "--mode", "new") == 0
    )  # fmt: skip
    report = json.loads(out.read_text())
    names = ["tiny-random", "bigcode-tiny"]
    assert [row["completer"] for row in report["bpb"]["rows"]] == names
    assert report["bpb"]["rows"][1]["against"]["verdict"] in ("better", "worse", "no difference")
    copying = [*names, "copy from context"]
    for kind in ("line", "random span"):
        rows = [row for row in report["fim"]["rows"] if row["kind"] == kind]
        assert [row["completer"] for row in rows] == copying
        assert [row["order"] for row in rows] == ["spm", "psm", ""]
    totals = [row for row in report["typing"]["rows"] if row["project"] == "all"]
    assert [row["completer"] for row in totals] == copying
    assert totals[0]["n_keys_alone"] == totals[1]["n_keys_alone"] > 0
    assert totals[1]["latency_ms"]["p95"] >= totals[1]["latency_ms"]["p50"] > 0
    assert set(totals[1]["against"]) == {"saved", "wrong_of_shown"}


def test_typing_into_a_folder_asks_for_the_confidence(
    bigcode: Path, held_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("typing", "--held-out", held_out, "--bundle", bigcode) == 2
    assert "add --min-confidence" in capsys.readouterr().err


def test_benchmarks_of_programs_take_folders_too(bigcode: Path) -> None:
    problem = Problem(
        problem_id="p", prompt="def f(a):\n    ", suffix="\n", reference=None, head="", tail="",
        path="x.py",
    )  # fmt: skip
    sampling = SamplingConfig(max_tokens=5)
    with Writer(bigcode) as writer:
        (one,) = writer.write(problem, [0], sampling, PromptStyle.ENGINE)
        (again,) = writer.write(problem, [0], sampling, PromptStyle.ENGINE)
    assert one == again and one.end in ("max tokens", "end of text") and not one.is_prompt_cut


BIGGER = json.dumps(
    {"model_type": "gpt_bigcode", "vocab_size": tiny_checkpoint.VOCAB_SIZE + 9, "n_positions": 200,
     "n_embd": 48, "n_layer": 3, "n_head": 3}
)  # fmt: skip


def copied(folder: Path, to: Path, *, without: str = "") -> Path:
    shutil.copytree(folder, to)
    if without:
        (to / without).unlink()
    return to


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("config.json", "lacks config.json: download"),
        ("tokenizer.json", "lacks tokenizer.json: download"),
        ("model.safetensors", r"lacks \*\.safetensors: download"),
    ],
)
def test_what_a_folder_lacks_is_named(
    bigcode: Path, tmp_path: Path, without: str, sentence: str
) -> None:
    folder = copied(bigcode, tmp_path / "f", without=without)
    with pytest.raises(CheckpointError, match=sentence):
        name_models([folder])


def test_pickled_weights_are_refused(bigcode: Path, tmp_path: Path) -> None:
    folder = copied(bigcode, tmp_path / "f", without="model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickles, which may hold programs"):
        name_models([folder])


def test_a_folder_with_nothing_of_a_model_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        name_models([tmp_path])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "names no model_type"),
        ("config.json", '{"model_type": "gpt_bigcode"}', "does not say how long a text may be"),
        ("config.json", BIGGER, r"lacks 12 of the weights .* such as transformer\.h\.2\."),
        ("config.json", '{"model_type": "mystery", "n_positions": 64}', "architecture mystery"),
        ("tokenizer.json", "{", "cannot be read as a tokenizer"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "neither a byte-level tokenizer"),
        ("tokenizer.json", '{"model": {"byte_fallback": true}}', "cannot be read as a tokenizer"),
        ("model.safetensors", "short", "cannot be loaded as a model of architecture gpt_bigcode"),
    ],
)
def test_a_damaged_or_unknown_folder_is_one_sentence(
    bigcode: Path, tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    folder = copied(bigcode, tmp_path / "f")
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        with open_engine(folder):
            pass
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_model_that_computes_no_numbers_is_named(bigcode: Path, tmp_path: Path) -> None:
    folder = copied(bigcode, tmp_path / "f")
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with open_engine(folder) as engine:
        with pytest.raises(DecodeError, match="/f computes logits that are not numbers"):
            bits_per_byte.code_lengths(engine, ["import os\nimport sys\n"])


def test_a_tokenizer_of_another_model_is_refused(bigcode: Path, tmp_path: Path) -> None:
    folder = copied(bigcode, tmp_path / "f")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"word{n}" for n in range(20)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="not of one model"):
        with open_engine(folder):
            pass
