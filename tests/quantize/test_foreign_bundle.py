"""Guards the way from a StarCoder folder to a completion: the command, the bundle, the engine.

A failure would show as weights that convert and then cannot be opened in an editor, or as a model
without fill-in-the-middle that nobody was told of.
"""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quantize.__main__ import quantize
from runtime.bundle import open_bundle
from runtime.engine import Engine
from runtime.prompt import FimRequest
from runtime.sampling import SamplingConfig
from tests.quantize import tiny_starcoder, tokenizer_files


def _quantize(folder: Path, out: Path) -> Result:
    text = folder.parent / "held_out.py"
    text.write_text("def f(x):\n    return x + 1\n" * 20)
    arguments = [str(folder), "--type", "q8_0", "--out", str(out), "--text", str(text)]
    return CliRunner().invoke(quantize, arguments)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("foreign")
    tiny_starcoder.write(work / "starcoder-tiny")
    done = _quantize(work / "starcoder-tiny", work / "bundle")
    assert done.exit_code == 0, done.output
    assert "note:" not in done.stderr
    return work / "bundle"


def test_a_completion_between_prefix_and_suffix(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.spec is not None
    assert (opened.spec.name, opened.spec.architecture) == ("starcoder-tiny", "starcoder")
    with Engine.load(opened.model_path) as engine:
        assert engine.info.fim is not None
        request = FimRequest(prefix="def f(x):\n    return ", suffix="\n", path="a.py")
        assert "<fim_suffix>" in engine.prompt_text(request)
        assert engine.complete(request, SamplingConfig(temperature=0.0))


def test_the_card_promises_nothing_about_foreign_weights(bundle: Path) -> None:
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "bigcode-openrail-m" in card and "Apache-2.0" not in card


def test_without_sentinels_it_works_and_says_what_will_not(tmp_path: Path) -> None:
    folder, out = tmp_path / "plain", tmp_path / "bundle"
    tiny_starcoder.write(folder, tokenizer_files.byte_level("gpt-2", ("<|endoftext|>",)))
    done = _quantize(folder, out)
    assert done.exit_code == 0, done.output
    (note,) = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert "only continue a text from left to right" in note
    with Engine.load(out / "model.gguf") as engine:
        assert engine.info.fim is None
