"""Guards the command line as a user meets it: a process with exit status, stdout and stderr.

A failure would show as a traceback, a wrong exit status, or JSON that a program cannot read.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from quantize.__main__ import quantize
from quantize.llama_quantize import QuantType
from tests.quantize import tiny_checkpoint

ROOT = Path(__file__).parents[2]

# A process whose files may not grow beyond N bytes meets a "full disk" at byte N.
_WITH_FILE_LIMIT = """
import resource, runpy, sys
n_bytes = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
runpy.run_module("quantize", run_name="__main__")
"""


def _run(*arguments: object, start: tuple[str, ...] = ("-m", "quantize")):
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _held_out(folder: Path) -> Path:
    path = folder / "held.py"
    path.write_text("def f(x):\n    return x + 1\n")
    return path


def test_a_bundle_from_the_command_line(checkpoint_folder: Path, tmp_path: Path) -> None:
    text, out = _held_out(tmp_path), tmp_path / "bundle"
    done = _run(checkpoint_folder, "--out", out, "--text", text, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bundle"] == str(out)
    assert report["quant_type"] == "q8_0"
    assert report["size_bytes"] == (out / "model.gguf").stat().st_size
    assert report["held_out"] == "held.py"
    assert done.stderr.splitlines() == ["converting", "quantizing to q8_0", "comparing with f16"]

    again = _run(checkpoint_folder, "--out", out, "--text", text)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.splitlines() == [
        f"Error: {out} exists: choose another folder for --out, or add --force to replace it"
    ]
    forced = _run(checkpoint_folder, "--out", out, "--text", text, "--force", "--type", "q4_0")
    assert forced.returncode == 0, forced.stderr
    assert "q4_0" in forced.stdout and "same top token" in forced.stdout


@pytest.mark.parametrize("limit_bytes", [0, 10_000, 1_000_000, 2_200_000, 3_000_000])
def test_a_full_disk_leaves_nothing(tmp_path: Path, limit_bytes: int) -> None:
    """The f16 file has 2.25 MB, the f32 file 4.5 MB, the index file 4 MB."""
    source, out = tmp_path / "source", tmp_path / "out" / "bundle"
    tiny_checkpoint.write(source)
    for name in tiny_checkpoint.INDEX_FILES:
        (source / name).write_bytes(bytes(4_000_000))
    arguments = (limit_bytes, source, "--out", out, "--text", _held_out(tmp_path))
    for quant_type in ("f32", "q8_0"):
        done = _run(*arguments, "--type", quant_type, start=("-c", _WITH_FILE_LIMIT))
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "could not be written" in done.stderr.splitlines()[-1]
        assert list(out.parent.iterdir()) == []


def _fails(arguments: list[object], status: int, message: str) -> None:
    result = CliRunner().invoke(quantize, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]


def test_bad_input_is_one_sentence(checkpoint_folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "bundle"]
    _fails([tmp_path / "absent", *out], 1, "is not a folder")
    _fails([checkpoint_folder, *out, "--text", tmp_path / "absent"], 1, "give a UTF-8 text file")
    _fails([checkpoint_folder, *out, "--max-mb", "0.5"], 1, "where at most 0.5 MB are allowed")
    _fails([checkpoint_folder, *out, "--max-mb", "-1"], 2, "--max-mb")
    _fails([checkpoint_folder, *out, "--type", "q3"], 2, "'q3'")
    _fails([checkpoint_folder], 2, "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_to(checkpoint_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "bundle"  # its parent is a file, for root too
    _fails([checkpoint_folder, "--out", out], 1, "could not be written")


def test_help_has_an_example_and_every_type() -> None:
    output = CliRunner().invoke(quantize, ["--help"]).output
    assert "Example: starling quantize" in " ".join(output.split())
    for quant_type in QuantType:
        assert quant_type in output


def test_quantizing_needs_no_torch(tmp_path: Path, checkpoint_folder: Path) -> None:
    """Conversion runs on a laptop without the training extra."""
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'tokenizers', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "import runpy; runpy.run_module('quantize', run_name='__main__')"
    )
    arguments = (checkpoint_folder, "--out", tmp_path / "b", "--text", _held_out(tmp_path))
    done = _run(*arguments, start=("-c", code))
    assert done.returncode == 0, done.stderr
