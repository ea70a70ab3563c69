"""Guards the promise "all of it or nothing": a bundle appears whole, or the disk is as it was.

A failure would show as half a bundle that an editor tries to load, or as a lost older one.
"""

import json
from pathlib import Path

import pytest

from quantize import bundle_writer
from quantize.budget import Budget, best_of
from quantize.bundle_writer import write_bundle
from quantize.checkpoint import INDEX_FILES, INDEXES_FOLDER
from quantize.errors import BudgetError, CheckpointError, OutputError, OutputExistsError
from quantize.llama_quantize import Override, QuantType
from quantize.report import QuantizationReport
from quantize.rounding import Rounding
from quantize.texts import HeldOut, Texts
from runtime.bundle import open_bundle
from runtime.engine import Engine
from tests.quantize import tiny_checkpoint

SAMPLE = HeldOut(name="sample", text="def f(x):\n    return x + 1\n")
OTHER = HeldOut(name="other", text=Path(__file__).read_text(encoding="utf-8"))


def _write(
    source: Path, destination: Path, quant_type: QuantType = QuantType.Q8_0, **changes
) -> QuantizationReport:
    options = {
        "roundings": [Rounding.of(quant_type)],
        "texts": Texts(proof=SAMPLE, calibration=OTHER),
        "budget": Budget(),
        "overwrite": False,
        "on_progress": lambda *_: None,
    }
    return write_bundle(source, destination, **(options | changes))


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint with everything that training may put beside the weights."""
    folder = tmp_path / "source" / "checkpoint"
    tiny_checkpoint.write(folder)
    for number, name in enumerate(INDEX_FILES):
        (folder / name).write_bytes(bytes([number]) * 1000)
    (folder / "evaluation.json").write_text(json.dumps({"bits_per_byte": 1.5}))
    (folder / "corpus.json").write_text(json.dumps({"n_files": 3, "licences": {"MIT": 3}}))
    return folder


@pytest.mark.parametrize("quant_type", [QuantType.F32, QuantType.F16, QuantType.Q8_0])
def test_a_bundle_is_whole_and_opens(source: Path, tmp_path: Path, quant_type) -> None:
    out = tmp_path / "deep" / "er" / "bundle"
    report = _write(source, out, quant_type=quant_type)

    expected = {"model.gguf", "spec.json", "quantization.json", "MODEL_CARD.md"}
    expected |= {"evaluation.json", "corpus.json", *INDEX_FILES}
    assert {path.name for path in out.iterdir()} == expected
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]
    for name in ("spec.json", "evaluation.json", "corpus.json", *INDEX_FILES):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    assert json.loads((out / "quantization.json").read_text()) == json.loads(report.to_json())
    card = (out / "MODEL_CARD.md").read_text()
    assert "| bits_per_byte | 1.5 |" in card and "| MIT | 3 |" in card

    bundle = open_bundle(out)
    assert bundle.spec is not None and bundle.spec.name == "tiny-random"
    with Engine.load(bundle.model_path) as engine:
        assert engine.info.spec == bundle.spec
        assert engine.info.size_bytes == report.size_bytes


def test_indexes_of_further_corpora_travel(source: Path, tmp_path: Path) -> None:
    further = source / INDEXES_FOLDER / "shop"
    further.mkdir(parents=True)
    for name in INDEX_FILES:
        (further / name).write_bytes(name.encode())
    _write(source, tmp_path / "bundle")
    for name in INDEX_FILES:
        assert (tmp_path / "bundle" / INDEXES_FOLDER / "shop" / name).read_bytes() == name.encode()
        assert (tmp_path / "bundle" / name).read_bytes() == (source / name).read_bytes()


def test_the_optional_files_are_optional(checkpoint_folder: Path, tmp_path: Path) -> None:
    _write(checkpoint_folder, tmp_path / "b")
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "model.gguf",
        "spec.json",
        "quantization.json",
        "MODEL_CARD.md",
    }


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(max_mb=1.0), "1.20 MB where at most 1 MB"),
        (Budget(max_kl_nats=1e-9), "KL divergence .* at most 1e-09"),
    ],
)
def test_a_missed_budget_leaves_nothing(checkpoint_folder, tmp_path, budget, message) -> None:
    with pytest.raises(BudgetError, match=message):
        _write(checkpoint_folder, tmp_path / "b", budget=budget)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_budget_is_no_obstacle(checkpoint_folder: Path, tmp_path: Path) -> None:
    _write(checkpoint_folder, tmp_path / "b", budget=Budget(max_mb=1.3, max_kl_nats=0.1))
    assert (tmp_path / "b" / "model.gguf").is_file()


def test_a_compensated_bundle_says_so(checkpoint_folder: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    rounding = Rounding.of(QuantType.Q4_0, overrides=[Override.parse("attn_v=q8_0")])
    report = _write(
        checkpoint_folder,
        tmp_path / "b",
        roundings=[rounding],
        on_progress=lambda step, *_: steps.append(step),
    )
    assert report.method == "gptq" and report.calibrated_on == "other"
    assert report.overrides == ("attn_v=q8_0",)
    assert report.tensor_types == {"F32": 9, "Q4_0": 12, "Q6_K": 1, "Q8_0": 2}
    assert {"reading calibration text", "compensating errors"} < set(steps)
    card = (tmp_path / "b" / "MODEL_CARD.md").read_text()
    assert "q4_0 gptq attn_v=q8_0" in card and "calibrated on other" in card


def test_rows_that_are_no_multiple_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp leaves such matrices in f16; compensation does not insist on them."""
    monkeypatch.setattr(tiny_checkpoint, "D_FF", 340)
    tiny_checkpoint.write(tmp_path / "odd")
    report = _write(tmp_path / "odd", tmp_path / "b", quant_type=QuantType.Q4_0)
    assert report.method == "gptq"
    assert (report.tensor_types["F16"], report.tensor_types["Q4_0"]) == (2, 12)


def test_of_several_the_best_within_the_budget(checkpoint_folder: Path, tmp_path: Path) -> None:
    several = [Rounding.of(kind) for kind in (QuantType.F16, QuantType.Q8_0, QuantType.Q6_K)]
    small = Budget(max_mb=1.3)
    n_files: list[int] = []
    report = _write(
        checkpoint_folder, tmp_path / "b", roundings=several, budget=small,
        on_progress=lambda *_: n_files.append(len(list(tmp_path.glob(".b.partial-*/*.gguf")))),
    )  # fmt: skip
    assert max(n_files) == 3, "the original, the best so far, and the one that is tried"
    assert report.quant_type == "q8_0"
    assert (tmp_path / "b" / "model.gguf").stat().st_size == report.size_bytes
    assert not list((tmp_path / "b").glob("candidate*"))


def test_speed_decides_among_those_that_nobody_can_tell_apart() -> None:
    def report(
        name: str, size_mb: int, kl: float, speed: float, f16_speed: float = 100
    ) -> QuantizationReport:
        return QuantizationReport(
            quant_type=name, size_bytes=size_mb * 10**6, reference_size_bytes=10**8,
            tensor_types={}, held_out="", n_tokens=1, mean_kl_nats=kl, p99_kl_nats=kl,
            top1_agreement=1.0, bits_per_byte=1.0, reference_bits_per_byte=1.0,
            decode_tokens_per_s=speed, reference_decode_tokens_per_s=f16_speed,
        )  # fmt: skip

    f16, q8, q4 = (
        report("f16", 80, 0, 100),
        report("q8_0", 40, 4e-4, 170),
        report("q4_0", 25, 9e-3, 250),
    )
    assert best_of([f16, q8, q4], Budget()) is q8
    assert best_of([f16, q4], Budget()) is f16
    assert best_of([q4], Budget(max_kl_nats=1e-3)) is q4
    assert best_of([f16, q8, q4], Budget(max_kl_nats=1e-4)) is f16
    q8_while_others_worked = report("q8_0", 40, 4e-4, 34, f16_speed=20)
    assert best_of([f16, q8_while_others_worked], Budget()) is q8_while_others_worked


def test_nan_in_the_last_tensor_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source" / "c"
    tiny_checkpoint.write(source)
    tensors = tiny_checkpoint.random_tensors()
    tensors["model.norm.weight"][0] = float("nan")
    tiny_checkpoint.write_safetensors(source / "model.safetensors", tensors)
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        _write(source, tmp_path / "out" / "b")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("step", ["write_gguf", "measure", "render_card", "open_bundle"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_the_old_bundle(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    out = tmp_path / "out" / "b"
    _write(source, out)
    before = _tree(tmp_path)

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(bundle_writer, step, fail)
    with pytest.raises(type(error)):
        _write(source, out, overwrite=True)
    assert _tree(tmp_path) == before
    assert [path.name for path in out.parent.iterdir()] == ["b"]


def test_a_rename_that_fails_puts_the_old_bundle_back(source, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out" / "b"
    _write(source, out)
    before = _tree(tmp_path)
    rename = Path.rename

    def fail_into_place(self: Path, target: Path) -> Path:
        if Path(target) == out and ".partial-" in self.name and not self.name.endswith("-old"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_into_place)
    with pytest.raises(OSError, match="Input/output"):
        _write(source, out, quant_type=QuantType.F16, overwrite=True)
    assert _tree(tmp_path) == before


def test_nothing_is_overwritten_unasked(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    _write(source, out)
    before = _tree(out)
    with pytest.raises(OutputExistsError, match="--force"):
        _write(source, out, quant_type=QuantType.F16)
    assert _tree(out) == before

    report = _write(source, out, quant_type=QuantType.F16, overwrite=True)
    assert (out / "model.gguf").stat().st_size == report.size_bytes
    assert _tree(out) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "source"]


def test_an_empty_folder_may_be_filled(checkpoint_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    _write(checkpoint_folder, tmp_path / "b")
    assert (tmp_path / "b" / "model.gguf").is_file()


@pytest.mark.parametrize("kind", ["folder", "folder of models", "file", "dangling link"])
def test_force_replaces_bundles_only(checkpoint_folder: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "precious"
    match kind:
        case "folder":
            out.mkdir()
            (out / "thesis.tex").write_text("years of work")
        case "folder of models":
            out.mkdir()
            (out / "model.gguf").write_bytes(b"GGUF")
            (out / "another.gguf").write_bytes(b"GGUF")
        case "file":
            out.write_text("years of work")
        case "dangling link":
            out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="not a bundle"):
        _write(checkpoint_folder, out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_link_to_a_bundle_is_not_replaced(checkpoint_folder: Path, tmp_path: Path) -> None:
    """Only the link would be, and the bundle would stay where it takes space."""
    _write(checkpoint_folder, tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(OutputError, match="is a link: name the folder .*b itself"):
        _write(checkpoint_folder, tmp_path / "link", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link"]


@pytest.mark.parametrize("up", [".", "..", "../.."])
def test_the_checkpoint_itself_is_never_replaced(source: Path, up: str) -> None:
    before = _tree(source)
    (source / "model.gguf").write_bytes(b"x")  # so that it would pass for a bundle
    with pytest.raises(OutputError, match="the checkpoint itself"):
        _write(source, source / up, overwrite=True)
    (source / "model.gguf").unlink()
    assert _tree(source) == before


def test_what_came_meanwhile_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"

    def someone_else(step: str, _done: int, _total: int) -> None:
        if step == "comparing with f16" and not out.exists():
            out.mkdir()
            (out / "theirs").write_text("x")

    with pytest.raises(OutputExistsError, match="came to exist"):
        _write(source, out, on_progress=someone_else)
    assert _tree(out) == {"theirs": b"x"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "source"]
