"""Guards what a user of `starling train` sees when something is wrong: one sentence, exit status 1
or 2, no traceback, and nothing that looks finished.

The file-size limit stands for a full disk: writes fail in the middle, with an error of the system.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def starling(*arguments: str | Path, max_file_bytes: int | None = None) -> tuple[int, str]:
    """Exit status and last line of stderr."""

    def limit() -> None:
        if max_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    done = subprocess.run(
        [sys.executable, "-m", "starling", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "bug in Starling" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip().split("\n")[-1]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two small folders and a model of a few kilobytes."""
    for name, n_files in (("shop", 8), ("kept", 2)):
        (tmp_path / name).mkdir()
        for n in range(n_files):
            body = "".join(
                f"def {name}{n}_{i}(first, second):\n"
                f"    return first * {i} + second.{name}{n}\n\n\n"
                for i in range(40)
            )
            (tmp_path / name / f"part{n}.py").write_text(body)
    text = (ROOT / "train" / "recipes" / "tiny.toml").read_text(encoding="utf-8")
    text = text.split("[[held_out]]")[0].replace("vocab_size = 2048", "vocab_size = 300")
    for section, name in (("held_out", "kept"), ("source", "shop")):
        text += f'[[{section}]]\nfolder = "{name}"\nname = "{name}"\nlicence = "MIT"\n'
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("n_steps = 60", "n_steps = 3"))
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("train", "corpus", "--recipe", "nothing"), 1, "there is no recipe 'nothing'"),
        (("train", "fit", "--out", "{empty}"), 1, "run `starling train tokenizer` first"),
        (("train", "tokenizer", "--out", "{empty}"), 1, "run `starling train corpus` first"),
        (("train", "export", "--out", "{empty}"), 1, "run `starling train fit` first"),
        (("train", "fit", "--minutes", "-1"), 2, "--minutes"),
        (("train", "bake"), 2, "bake"),
        (("eval", "fim", "--held-out", "{empty}"), 1, "or name the folder of another run"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    filled = [part.format(empty=tmp_path) for part in arguments]
    code, line = starling(*filled)
    assert code == status and said in line


def test_source_without_permission_stops_before_anything_is_written(
    tmp_path: Path, recipe: Path
) -> None:
    recipe.write_text(recipe.read_text().replace('"MIT"', '"GPL-3.0-only"', 1))
    code, line = starling("train", "corpus", "--recipe", recipe, "--out", tmp_path / "run")
    assert code == 1 and "folder:kept is under GPL-3.0-only" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("max_file_bytes", [100, 500, 3_000, 12_000])
def test_full_disk_in_the_corpus(tmp_path: Path, recipe: Path, max_file_bytes: int) -> None:
    run = tmp_path / "run"
    code, line = starling("train", "corpus", "--recipe", recipe, "--out", run, "--workers", "1",
                          max_file_bytes=max_file_bytes)  # fmt: skip
    assert code == 1 and "large" in line
    assert not (run / "corpus.json").exists()
    code, line = starling("train", "corpus", "--recipe", recipe, "--out", run, "--workers", "1")
    assert code == 0, line
    assert json.loads((run / "corpus.json").read_text())["n_files"] == 8


def test_full_disk_while_tokenizing_and_training(tmp_path: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    where = ("--recipe", recipe, "--out", run)
    assert starling("train", "corpus", *where, "--workers", "1")[0] == 0
    code, _ = starling("train", "tokenizer", *where, max_file_bytes=4_000)
    assert code == 1
    assert not list((run / "tokenizer").glob("*"))
    assert starling("train", "tokenizer", *where)[0] == 0
    code, line = starling("train", "fit", *where, max_file_bytes=100_000)
    assert code == 1 and "free space" in line
    assert not list((run / "fit").glob("step-*"))
    assert starling("train", "fit", *where)[0] == 0
    code, _ = starling("train", "export", *where, max_file_bytes=100_000)
    assert code == 1 and not (run / "checkpoint").exists()
    assert starling("train", "export", *where)[0] == 0
    assert (run / "checkpoint" / "spec.json").is_file()
    assert not list(run.rglob("*.tmp"))
