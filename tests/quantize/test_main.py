"""Guards the command line as a user meets it: a process with exit status, stdout and stderr.

A failure would show as a traceback, a wrong exit status, or JSON that a program cannot read.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from quantize.__main__ import quantize
from quantize.llama_quantize import QuantType, quantize_file
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
    assert done.stderr.splitlines() == [
        "converting", "quantizing to q8_0", "comparing with f16", "timing",
    ]  # fmt: skip

    again = _run(checkpoint_folder, "--out", out, "--text", text)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.splitlines() == [
        f"Error: {out} exists: choose another folder for --out, or add --force to replace it"
    ]
    forced = _run(checkpoint_folder, "--out", out, "--text", text, "--force", "--type", "f16")
    assert forced.returncode == 0, forced.stderr
    assert "made by llama.cpp." in forced.stdout


def test_a_bundle_is_measured_again(checkpoint_folder: Path, tmp_path: Path) -> None:
    """It says of itself how it was made; a bare GGUF file can only say its type."""
    text, out = str(_held_out(tmp_path)), tmp_path / "b"
    options = ["--against", str(checkpoint_folder), "--text", text]
    made = CliRunner().invoke(
        quantize, [str(checkpoint_folder), "--out", str(out), "--type", "q4_0", "--text", text]
    )
    assert made.exit_code == 0, made.output
    assert "made by gptq, calibrated on Starling's own" in made.stdout
    verified = CliRunner().invoke(quantize, ["verify", str(out), *options, "--json"])
    assert verified.exit_code == 0, verified.output
    first, again = json.loads((out / "quantization.json").read_text()), json.loads(verified.stdout)
    assert first.keys() == again.keys()
    differing = {name for name in first if first[name] != again[name]}
    assert all("tokens_per_s" in name for name in differing), differing

    missed = CliRunner().invoke(
        quantize, ["verify", str(out / "model.gguf"), *options, "--max-kl", "1e-9"]
    )
    assert missed.exit_code == 1
    assert "the mean KL divergence is" in missed.stderr.splitlines()[-1]
    assert "q4_0" in missed.stdout and "made by" not in missed.stdout


@pytest.mark.parametrize(
    ("limit_bytes", "quant_type"),
    [(0, "q8_0"), (1_000_000, "q8_0"), (2_500_000, "f32"), (3_000_000, "q8_0")],
)
def test_a_full_disk_leaves_nothing(tmp_path: Path, limit_bytes: int, quant_type: str) -> None:
    """The f16 file has 2.25 MB, the f32 file 4.5 MB, the index file 4 MB."""
    source, out = tmp_path / "source", tmp_path / "out" / "bundle"
    tiny_checkpoint.write(source)
    for name in tiny_checkpoint.INDEX_FILES:
        (source / name).write_bytes(bytes(4_000_000))
    arguments = (limit_bytes, source, "--out", out, "--text", _held_out(tmp_path))
    done = _run(*arguments, "--type", quant_type, start=("-c", _WITH_FILE_LIMIT))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "could not be written" in done.stderr.splitlines()[-1]
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def _fails(
    arguments: list[object], status: int, message: str, *, n_lines: int | None = None
) -> None:
    """`n_lines`: 1 where it is said before any work."""
    result = CliRunner().invoke(quantize, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]
    assert n_lines is None or len(result.stderr.splitlines()) == n_lines, result.stderr


def test_bad_input_is_one_sentence(checkpoint_folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "bundle"]
    _fails([tmp_path / "absent", *out], 1, "is not a folder")
    _fails([checkpoint_folder, *out, "--text", tmp_path / "absent"], 1, "give a UTF-8 text file")
    _fails([checkpoint_folder, *out, "--max-mb", "0.5"], 1, "where at most 0.5 MB are allowed")
    _fails([checkpoint_folder, *out, "--max-mb", "-1"], 2, "--max-mb")
    _fails([checkpoint_folder, *out, "--type", "q3"], 2, "'q3'")
    _fails([checkpoint_folder, *out, "--tensor", "attn_v"], 2, "write PATTERN=TYPE")
    unknown = ["--tensor", "gate_inp=q8_0"]
    _fails([checkpoint_folder, *out, *unknown], 2, "has 'gate_inp' in its name", n_lines=1)
    _fails([checkpoint_folder, *out, "--type", "best", "--tensor", "a=f16"], 2, "or name a type")
    _fails([checkpoint_folder, *out, "--type", "best", "--no-imatrix"], 2, "or name a type")
    # llama.cpp would leave either out without a word.
    for option in (("--tensor", "attn=q8_0"), ("--method", "gptq")):
        _fails([checkpoint_folder, *out, "--type", "f16", *option], 2, "name a smaller --type")
    short = tmp_path.parent / "short.py"
    short.write_text("x = 1\n")
    _fails(
        [checkpoint_folder, *out, "--type", "q4_0", "--calibration", short], 1, "short.py has 6 to"
    )
    _fails(["verify", tmp_path / "absent", "--against", checkpoint_folder], 1, "absent")
    _fails(["verify", checkpoint_folder, "--against", tmp_path / "absent"], 1, "does not exist")
    _fails(["sweep", checkpoint_folder, "--plot", tmp_path / "a.pdf"], 2, "PNG or SVG")
    _fails(["sweep", checkpoint_folder, "--type", "f32"], 2, "name smaller types")
    _fails([checkpoint_folder], 2, "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_file_is_no_original(f16_file: Path, tmp_path: Path) -> None:
    """Else everything would look perfect beside it."""
    small = tmp_path / "small.gguf"
    quantize_file(f16_file, small, QuantType.Q4_0)
    _fails(["verify", small, "--against", small], 1, "is quantized already (it has tensors in Q4")
    _fails(["sweep", small, "--type", "q4_0"], 1, "a checkpoint folder or a file in f16")


def test_a_folder_that_may_not_be_written_to(checkpoint_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "bundle"  # its parent is a file, for root too
    _fails([checkpoint_folder, "--out", out], 1, "could not be written")


def test_a_sweep_measures_each_type(checkpoint_folder: Path, tmp_path: Path) -> None:
    text, table, plot = _held_out(tmp_path), tmp_path / "t.md", tmp_path / "t.svg"
    types = [argument for name in ("f16", "q5_0") for argument in ("--type", name)]
    result = CliRunner().invoke(
        quantize,
        [*map(str, ("sweep", checkpoint_folder, "--text", text, *types)),
         "--markdown", str(table), "--plot", str(plot)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [line.split("|")[1].strip() for line in table.read_text().splitlines()]
    assert rows == ["type", "---", "f16", "q5_0", "q5_0 gptq"]
    assert result.stdout == table.read_text()
    drawn = plot.read_text()
    assert drawn.startswith("<?xml") and "llama.cpp" in drawn and "error-compensated" in drawn


def test_a_folder_that_has_the_name_of_a_verb(
    checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweep").symlink_to(checkpoint_folder)
    monkeypatch.chdir(tmp_path)
    text = _held_out(tmp_path)
    done = CliRunner().invoke(quantize, ["./sweep", "--out", "b", "--text", str(text)])
    assert done.exit_code == 0, done.output


def test_help_has_an_example_and_every_type() -> None:
    output = CliRunner().invoke(quantize, ["--help"]).output
    assert "Example: starling quantize" in " ".join(output.split())
    for quant_type in QuantType:
        assert quant_type in output


def test_quantizing_needs_no_torch(tmp_path: Path, checkpoint_folder: Path) -> None:
    """Conversion runs on a laptop with the extra `quantize`, without the rest of `train`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    train = [wanted.split(">")[0] for wanted in project["optional-dependencies"]["train"]]
    absent = [name.replace("-", "_") for name in train if name != "starling[quantize]"]
    assert {"torch", "transformers", "datatrove"} <= set(absent)
    code = (
        "import sys\n"
        f"for name in {absent}:\n"
        "    sys.modules[name] = None\n"
        "import runpy; runpy.run_module('quantize', run_name='__main__')"
    )
    arguments = (checkpoint_folder, "--out", tmp_path / "b", "--text", _held_out(tmp_path))
    done = _run(*arguments, start=("-c", code))
    assert done.returncode == 0, done.stderr
