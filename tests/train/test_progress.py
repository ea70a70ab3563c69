"""Guards what a run shows: the live line, metrics.jsonl and the plots.

A failure would mean a run whose curve has holes or doubled steps after a kill, a terminal full of
broken lines, a plot that is blank, or a training loop that waits for its own bookkeeping.
"""

import json
import math
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import image

from tests.train.tiny_run import largest_file
from train.errors import TrainError
from train.fitting.metrics import METRICS_FILE, STEP_KEYS, read_metrics
from train.fitting.plot_command import plot
from train.fitting.plots import write_plots
from train.fitting.progress import Progress, StepReport

ROOT = Path(__file__).resolve().parents[2]
STEP_SECONDS = 0.5


def report(step: int, n_steps: int = 100) -> StepReport:
    return StepReport(
        step=step,
        loss=1 + math.pi / step,
        grad_norm=1 / 3,
        lr_factor=1.0,
        n_tokens=1000,
        step_seconds=STEP_SECONDS,
        data_wait_seconds=0.01 * STEP_SECONDS,
        elapsed_seconds=step * STEP_SECONDS,
        progress=step / n_steps,
    )


def progress_in(
    directory: Path, *, resumed_step: int = 0, say: Callable[[str], None] = print
) -> Progress:
    return Progress(
        directory,
        say,
        flops_per_token=6e6,
        peak_flops=24e9,
        resumed_step=resumed_step,
        n_steps=100,
    )


def rows_of(directory: Path) -> list[dict[str, float]]:
    lines = (directory / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class TestMetricsFile:
    def test_rows_keep_their_keys_and_every_bit_of_the_loss(self, tmp_path: Path) -> None:
        with progress_in(tmp_path) as progress:
            progress.record(report(3))
            progress.record_validation(3, 2.25)
        step, validation = rows_of(tmp_path)
        assert tuple(step) == STEP_KEYS
        assert step["loss"] == report(3).loss
        assert step["grad_norm"] == 1 / 3
        assert step["tokens_per_second"] == 2000
        assert step["mfu"] == 0.5
        assert validation == {"step": 3, "validation_loss": 2.25}

    def test_without_a_known_peak_there_is_no_mfu(self, tmp_path: Path) -> None:
        with Progress(
            tmp_path, print, flops_per_token=1.0, peak_flops=None, resumed_step=0
        ) as progress:
            progress.record(report(1))
        assert rows_of(tmp_path)[0]["mfu"] is None

    def test_what_is_not_finite_is_null_and_plots_skip_it(self, tmp_path: Path) -> None:
        with progress_in(tmp_path) as progress:
            progress.record(replace(report(1), grad_norm=math.inf))
            progress.record(report(2))
        assert '"grad_norm": null' in (tmp_path / METRICS_FILE).read_text(encoding="utf-8")
        norms = read_metrics(tmp_path / METRICS_FILE).steps["grad_norm"]
        assert math.isnan(norms[0]) and norms[1] == 1 / 3
        write_plots(tmp_path)

    @pytest.mark.parametrize("torn", [b"", b'{"step": 10, "loss": 1.2', b"\x00\x00\x00\n", b"\n\n"])
    def test_a_continued_run_has_each_step_once(self, tmp_path: Path, torn: bytes) -> None:
        path = tmp_path / METRICS_FILE
        with progress_in(tmp_path) as progress:
            for step in range(1, 10):
                progress.record(report(step))
                if step % 3 == 0:
                    progress.record_validation(step, 1.0)
        before = path.read_bytes()
        path.write_bytes(before + torn)
        with progress_in(tmp_path, resumed_step=5) as progress:
            for step in range(6, 10):
                progress.record(report(step))
                if step % 3 == 0:
                    progress.record_validation(step, 1.0)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ".tmp"] == []

    def test_a_row_that_only_lacks_its_line_end_stays(self, tmp_path: Path) -> None:
        with progress_in(tmp_path) as progress:
            progress.record(report(1))
        path = tmp_path / METRICS_FILE
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))
        with progress_in(tmp_path, resumed_step=1) as progress:
            progress.record(report(2))
        assert [row["step"] for row in rows_of(tmp_path)] == [1, 2]

    def test_a_run_begun_anew_has_none_of_the_old_rows(self, tmp_path: Path) -> None:
        for loss_of_step_1 in (1.0, 2.0):
            with progress_in(tmp_path) as progress:
                progress.record(replace(report(1), loss=loss_of_step_1))
        assert [row["loss"] for row in rows_of(tmp_path)] == [2.0]

    def test_a_flushed_row_outlives_sigkill(self, tmp_path: Path) -> None:
        script = """
import os, signal, sys
from pathlib import Path
from tests.train.test_progress import progress_in, report
progress = progress_in(Path(sys.argv[1]))
for step in range(1, 51):
    progress.record(report(step))
progress.flush()
progress.record(report(51))
os.kill(os.getpid(), signal.SIGKILL)
"""
        finished = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, timeout=120, check=False
        )
        assert finished.returncode == -9
        assert [row["step"] for row in rows_of(tmp_path)][:50] == list(range(1, 51))
        with progress_in(tmp_path, resumed_step=50):
            pass
        assert len(rows_of(tmp_path)) == 50

    def test_rows_reach_the_disk_while_the_run_goes_on(self, tmp_path: Path) -> None:
        with progress_in(tmp_path) as progress:
            step, deadline = 0, time.monotonic() + 60
            while step < 2 or len(rows_of(tmp_path)) < 2:
                assert time.monotonic() < deadline
                progress.record(report(step := step + 1))

    def test_recording_a_step_takes_microseconds(self, tmp_path: Path) -> None:
        reports = [report(step) for step in range(1, 5001)]
        with progress_in(tmp_path) as progress:
            seconds = []
            for one in reports:
                started = time.thread_time()
                progress.record(one)
                seconds.append(time.thread_time() - started)
        # Some 15 microseconds; a step of the smallest model takes a thousand times as long.
        assert np.median(seconds) < 250e-6
        assert sum(seconds) < 2.5

    def test_a_full_disk_keeps_the_rows_until_there_is_space(self, tmp_path: Path) -> None:
        said: list[str] = []
        with progress_in(tmp_path, say=said.append) as progress:
            with largest_file(100):
                progress.record(report(1))
                progress.record(report(2))
                with pytest.raises(TrainError, match="free space on that disk"):
                    progress.flush()
            progress.flush()
        assert sum("free space" in line for line in said) == 1
        assert [row["step"] for row in rows_of(tmp_path)] == [1, 2]

    def test_a_folder_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / METRICS_FILE).mkdir()
        with pytest.raises(TrainError, match=METRICS_FILE):
            progress_in(tmp_path)


class TestLines:
    def test_without_a_terminal_there_is_a_first_line_and_a_last(self, tmp_path: Path) -> None:
        said: list[str] = []
        with progress_in(tmp_path, say=said.append) as progress:
            for step in range(1, 41):
                progress.record(report(step))
        assert len(said) == 2
        first, last = said
        # The first step tells no time left: it compiles the model and starts the workers.
        assert first.startswith("step 1/100  1.0 %  loss 4.142") and "left" not in first
        assert last.startswith("step 40/100  40.0 %  loss 1.")
        assert last.endswith("2000 tokens/s  MFU 50.0 %  data wait 1.0 %  0:00:30 left")

    def test_time_left_is_that_of_the_last_minutes(self, tmp_path: Path) -> None:
        said: list[str] = []
        with progress_in(tmp_path, say=said.append) as progress:
            # A fast start, then ten minutes of one step in 10 seconds.
            for step in range(1, 81):
                seconds = 10 * max(0, step - 20) + 0.1 * min(step, 20)
                progress.record(
                    replace(report(step), step_seconds=10.0, elapsed_seconds=float(seconds))
                )
        assert said[-1].endswith("100 tokens/s  MFU 2.5 %  data wait 0.1 %  0:03:20 left")

    def test_a_validation_has_its_own_line(self, tmp_path: Path) -> None:
        said: list[str] = []
        with progress_in(tmp_path, say=said.append) as progress:
            progress.record_validation(7, 1.23456)
        assert said == ["step 7  validation loss 1.2346"]

    def test_data_wait_share_leaves_out_the_start_of_the_workers(self, tmp_path: Path) -> None:
        with progress_in(tmp_path) as progress:
            assert progress.data_wait_share == 0
            progress.record(replace(report(1), data_wait_seconds=0.5))
            progress.record(report(2))
            progress.record(replace(report(3), data_wait_seconds=0.03 * STEP_SECONDS))
            assert progress.data_wait_share == pytest.approx(0.02)

    def test_the_error_of_the_run_is_the_one_told(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), progress_in(tmp_path) as progress:
            progress.record(report(1))
            raise KeyboardInterrupt
        assert len(rows_of(tmp_path)) == 1

    @pytest.mark.parametrize(
        ("n_columns", "last_line"),
        [
            (120, "step 30/100  30.0 %  loss {}  2000 tokens/s  MFU 50.0 %  data wait 1.0 %  "
                  "0:00:35 left"),
            (80, "step 30/100  30.0 %  loss {}  2000 tokens/s  MFU 50.0 %  0:00:35 left"),
            (40, "step 30/100  30.0 %  loss {}"),
            (20, "step 30/100"),
        ],
    )  # fmt: skip
    def test_a_terminal_has_one_line_that_changes(
        self, tmp_path: Path, n_columns: int, last_line: str
    ) -> None:
        screen, smooth_loss = _shown_on_terminal(tmp_path, n_columns)
        last_line = last_line.format(f"{smooth_loss:.3f}")
        said = "a line of the loop\r\nstep 20  validation loss 1.5000\r\n"
        assert screen == _screen(f"{said}{last_line}\r\n", n_columns)
        assert len(last_line) < n_columns


SCRIPT_OF_A_RUN = """
import sys
from pathlib import Path
from tests.train.test_progress import progress_in, report
def say(line):
    print(line, file=sys.stderr, flush=True)
with progress_in(Path(sys.argv[1]), say=say) as progress:
    for step in range(1, 31):
        progress.record(report(step))
        # As if so much time had passed that the line is drawn again.
        progress._shown_at = 0
        if step == 10:
            progress.say("a line of the loop")
        if step == 20:
            progress.record_validation(step, 1.5)
"""


def _shown_on_terminal(directory: Path, n_columns: int) -> tuple[list[str], float]:
    """The lines on the screen after a run of 30 steps, and the last smoothed loss."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, n_columns))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT_OF_A_RUN, str(directory)], cwd=ROOT, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while data := terminal.read(4096):
                shown += data
        except OSError:
            # Linux says so that the other side is closed.
            pass
    assert process.wait(timeout=60) == 0
    smooth_loss = None
    for step in range(1, 31):
        loss = report(step).loss
        smooth_loss = loss if smooth_loss is None else 0.95 * smooth_loss + 0.05 * loss
    assert smooth_loss is not None
    return _screen(shown.decode(), n_columns), smooth_loss


def _screen(text: str, n_columns: int) -> list[str]:
    """What a terminal shows after `text`: it knows \\r, \\n, wrapping and "erase to the end"."""
    lines, column = [""], 0
    while text:
        if text.startswith("\x1b[K"):
            lines[-1], text = lines[-1][:column], text[3:]
            continue
        character, text = text[0], text[1:]
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append("")
        else:
            if column == n_columns:
                lines.append("")
                column = 0
            lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
            column += 1
    return lines


class TestPlots:
    def test_a_run_gives_three_plots_that_show_something(self, tmp_path: Path) -> None:
        _run(tmp_path / "fit", n_steps=300)
        paths = write_plots(tmp_path / "fit")
        assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
            "fit/plots/loss.png",
            "fit/plots/learning_rate.png",
            "fit/plots/throughput.png",
        ]
        for path in paths:
            pixels = image.imread(path)
            height, width, _ = pixels.shape
            assert (width, 500 < height < 1000) == (1080, True)
            # The blue line, and not only a few pixels of it.
            assert (
                np.abs(pixels[:, :, :3] - (0, 0x72 / 255, 0xB2 / 255)).max(axis=2) < 0.1
            ).sum() > (500)
        assert {path.name for path in (tmp_path / "fit/plots").iterdir()} == {
            path.name for path in paths
        }

    def test_the_losses_of_the_plot_are_those_of_the_run(self, tmp_path: Path) -> None:
        """The smooth line falls from left to right when the losses do."""
        _run(tmp_path, n_steps=300)
        pixels = image.imread(write_plots(tmp_path)[0])[:, :, :3]
        is_line = np.abs(pixels - (0, 0x72 / 255, 0xB2 / 255)).max(axis=2) < 0.02
        heights = [
            np.flatnonzero(is_line[:, column]).mean() for column in (250, 400, 550, 700, 900)
        ]
        assert heights == sorted(heights) and heights[-1] - heights[0] > 50

    @pytest.mark.parametrize("n_steps", [1, 2, 5])
    def test_the_shortest_runs_can_be_plotted(self, tmp_path: Path, n_steps: int) -> None:
        _run(tmp_path, n_steps=n_steps)
        assert len(write_plots(tmp_path)) == 3

    def test_plotting_leaves_matplotlib_as_it_was(self, tmp_path: Path) -> None:
        """In a notebook a user's own figures must stay theirs."""
        _run(tmp_path, n_steps=5)
        script = (
            "import sys, matplotlib\n"
            "from pathlib import Path\n"
            "from train.fitting.plots import write_plots\n"
            "before = list(dict.items(matplotlib.rcParams))\n"
            "write_plots(Path(sys.argv[1]))\n"
            "assert 'matplotlib.pyplot' not in sys.modules\n"
            "assert list(dict.items(matplotlib.rcParams)) == before\n"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, timeout=120, check=True
        )

    def test_without_matplotlib_one_sentence_says_how_to_get_it(self, tmp_path: Path) -> None:
        _run(tmp_path, n_steps=5)
        script = (
            "import sys\n"
            "sys.modules['matplotlib'] = sys.modules['matplotlib.figure'] = None\n"
            "from pathlib import Path\n"
            "from train.errors import TrainError\n"
            "from train.fitting.plots import write_plots\n"
            "try:\n"
            "    write_plots(Path(sys.argv[1]))\n"
            "except TrainError as error:\n"
            "    print(error)\n"
        )
        finished = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT, timeout=120, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert "pip install matplotlib" in finished.stdout
        assert finished.stdout.count("\n") == 1

    def test_a_plot_is_whole_or_not_there(self, tmp_path: Path) -> None:
        _run(tmp_path, n_steps=50)
        whole = [path.read_bytes() for path in write_plots(tmp_path)]
        with largest_file(4096), pytest.raises(TrainError, match="loss.png cannot be written"):
            write_plots(tmp_path)
        plots = sorted((tmp_path / "plots").iterdir())
        assert {path.read_bytes() for path in plots} == set(whole)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "run `starling train fit` first"),
            (b"", "holds no steps yet"),
            (b'{"step": 1, "lo', "holds no steps yet"),
            (b'{"step": 1, "loss": 1.0}\nnonsense\n', "line 2 of .* is not a row of metrics"),
            (b'{"step": 1, "loss": "low"}\n', "line 1 of .* is not a row of metrics"),
            (b'{"loss": 1.0}\n', "line 1 of .* is not a row of metrics"),
        ],
    )
    def test_bad_metrics_are_one_sentence(
        self, tmp_path: Path, content: bytes | None, sentence: str
    ) -> None:
        if content is not None:
            (tmp_path / METRICS_FILE).write_bytes(content)
        with pytest.raises(TrainError, match=sentence):
            write_plots(tmp_path)
        assert not (tmp_path / "plots").exists()


class TestPlotCommand:
    def test_one_run_is_plotted_where_it_lies(self, tmp_path: Path) -> None:
        _run(tmp_path / "run/fit", n_steps=20)
        result = CliRunner().invoke(plot, [str(tmp_path / "run")], catch_exceptions=False)
        assert result.exit_code == 0
        assert [Path(line).name for line in result.output.splitlines()] == [
            "loss.png", "learning_rate.png", "throughput.png",
        ]  # fmt: skip
        assert (tmp_path / "run/fit/plots/loss.png").exists()

    def test_several_runs_share_a_figure_and_have_their_own_colours(self, tmp_path: Path) -> None:
        # Names that matplotlib would read as a formula, and as a label to hide.
        for name in ("a/$x$", "b/_y"):
            _run(tmp_path / name, n_steps=200)
        out = tmp_path / "both"
        arguments = [str(tmp_path / "a/$x$"), str(tmp_path / "b/_y"), "--out", str(out)]
        result = CliRunner().invoke(plot, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        pixels = image.imread(out / "learning_rate.png")[:, :, :3]
        # Both runs have the same rates; only the legend shows the first one's colour.
        for colour in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):
            assert (np.abs(pixels - np.array(colour) / 255).max(axis=2) < 0.02).sum() > 50

    @pytest.mark.parametrize(
        ("runs", "sentence"),
        [
            (("a", "b"), "several runs need --out"),
            (("a", "a", "--out", "x"), "named twice"),
            (("nowhere",), "does not exist"),
        ],
    )
    def test_what_cannot_be_plotted_is_a_usage_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: tuple[str, ...], sentence: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("a", "b"):
            _run(Path(name), n_steps=3)
        result = CliRunner().invoke(plot, runs)
        assert result.exit_code == 2
        assert sentence in result.output

    def test_a_folder_without_a_run_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TrainError, match="there are no metrics in"):
            CliRunner().invoke(plot, [str(tmp_path)], catch_exceptions=False)


def _run(directory: Path, *, n_steps: int) -> None:
    """Metrics of a run whose loss falls along a straight line, with noise."""
    noise = np.random.default_rng(0)
    with progress_in(directory, say=lambda _: None) as progress:
        for step in range(1, n_steps + 1):
            loss = 5 - 3 * step / n_steps + noise.normal() * 0.2
            progress.record(replace(report(step), loss=float(loss)))
            if step % 50 == 0:
                progress.record_validation(step, float(loss))


def test_tensorboard_gets_the_scalars(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _run(tmp_path, n_steps=60)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"loss/train", "loss/validation", "speed/MFU"} <= set(scalars)
    assert events.Scalars("loss/validation")[0].step == 50
