"""Guards that no text judges what it was calibrated on, and that holes come with the text.

A failure would show as a quantization that looks better than it is.
"""

from pathlib import Path

import pytest

from quantize.errors import CalibrationError, QuantizeError
from quantize.texts import Texts, read_texts
from train.corpus.source_file import SourceFile, write_shard

LINE = "    total = sum(price * amount for price, amount in zip(prices, amounts))\n"


def _file(origin: str, path: str, text: str = LINE * 4) -> SourceFile:
    return SourceFile(
        origin=origin, version="1", path=path, licence="MIT", language="Python", swhid="",
        text=f"# {origin} {path}\n{text}",
    )  # fmt: skip


def _projects(folder: Path, *files: SourceFile) -> Path:
    folder.mkdir(parents=True)
    write_shard(folder / "all.jsonl.zst", files)
    return folder


def _lines(texts: Texts) -> tuple[set[str], set[str]]:
    return tuple(
        {line for line in half.text.splitlines() if line.startswith("# ")}
        for half in (texts.proof, texts.calibration)
    )


def test_whole_projects_on_either_side(tmp_path: Path) -> None:
    files = [_file(f"pypi:{name}", f"{i}.py", LINE * 60) for name in "abcde" for i in range(3)]
    checkpoint = _projects(tmp_path / "run" / "held_out", *files).parent / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "held_out.txt").write_text("x = 1\n")
    texts = read_texts(None, None, checkpoint=checkpoint)
    assert (texts.proof.name, texts.calibration.name) == ("a, c, e", "b, d")
    proof, calibration = _lines(texts)
    assert len(proof) == 9 and len(calibration) == 6 and not proof & calibration
    assert texts.proof.tasks and {task.origin for task in texts.proof.tasks} <= {
        "pypi:a", "pypi:c", "pypi:e",
    }  # fmt: skip
    assert read_texts(tmp_path / "run" / "held_out", None, checkpoint=tmp_path) == texts


def test_files_of_a_single_project_are_divided(tmp_path: Path) -> None:
    files = [_file("mine", f"{i}.py", LINE * 200) for i in range(5)]
    folder = _projects(tmp_path / "held", *files)
    proof, calibration = _lines(read_texts(folder, None, checkpoint=tmp_path))
    assert len(proof) == 3 and len(calibration) == 2 and not proof & calibration


def test_a_text_beside_the_weights_is_cut_in_two(tmp_path: Path) -> None:
    text = "".join(f"x{i} = {i}\n" for i in range(4999))
    (tmp_path / "held_out.txt").write_text(text)
    texts = read_texts(None, None, checkpoint=tmp_path)
    assert texts.proof.text + texts.calibration.text == text
    assert 0.4 * len(text) < len(texts.proof.text) < 0.6 * len(text)
    assert texts.proof.text.endswith("\n")
    assert texts.proof.name == "held_out.txt, first half"


def test_too_little_to_calibrate_on_is_left_alone(tmp_path: Path) -> None:
    folder = _projects(tmp_path / "held", _file("a", "1.py"), _file("b", "1.py"))
    texts = read_texts(folder, None, checkpoint=tmp_path)
    assert (texts.proof.name, texts.calibration.name) == ("a", "Starling's own runtime")


def test_our_own_sources_are_the_last_resort(tmp_path: Path) -> None:
    texts = read_texts(None, None, checkpoint=tmp_path)
    assert "def plain_windows" in texts.proof.text and "class Engine" in texts.calibration.text
    assert "class Engine" not in texts.proof.text
    assert texts.proof.name == "Starling's own quantize"


def test_given_texts(tmp_path: Path) -> None:
    (tmp_path / "held.py").write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    (tmp_path / "other.py").write_text(LINE * 3)
    texts = read_texts(tmp_path / "held.py", tmp_path / "other.py", checkpoint=tmp_path)
    assert (texts.proof.text, texts.calibration.text) == ("x = 1\n", LINE * 3)
    assert texts.proof.tasks == () and len(texts.calibration.tasks) > 3
    only_proof = read_texts(tmp_path / "held.py", None, checkpoint=tmp_path)
    assert only_proof.proof == texts.proof and "class Engine" in only_proof.calibration.text
    with pytest.raises(CalibrationError, match="would calibrate what it then judges"):
        read_texts(tmp_path / "held.py", tmp_path / "held.py", checkpoint=tmp_path)


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00"])
def test_text_that_cannot_be_read(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "held").write_bytes(data)
    with pytest.raises(QuantizeError, match="give a UTF-8 text file"):
        read_texts(tmp_path / "held", None, checkpoint=tmp_path)


def test_a_folder_without_projects(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="holds no held-out projects"):
        read_texts(tmp_path, None, checkpoint=tmp_path)
