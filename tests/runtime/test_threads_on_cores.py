"""Guards the promise that Starling leaves the machine to whoever works on it.

With the default model and the real cores. A failure would look like this: a laptop's fan runs while
nobody types; beside a compiler a suggestion takes seconds; or the model takes memory of its own
instead of the file's pages, which all windows of an editor share.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.bundle import default_bundle_directory
from runtime.llama import Model
from runtime.threads import Step, physical_cores

pytestmark = pytest.mark.alone

MODEL_PATH = default_bundle_directory() / "model.gguf"
PROMPT = [300 + i % 3000 for i in range(700)]
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = Model.open(MODEL_PATH, n_context_tokens=1024, n_prefill_threads=physical_cores())
    yield opened
    opened.close()


@contextmanager
def burnt_cores() -> Iterator[None]:
    """Twice as many busy processes as cores, in a session of their own each."""
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(2 * physical_cores())
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def write(model: Model, n_tokens: int) -> None:
    for _ in range(n_tokens):
        model.step([300], n_rows=1)


def read_prompt(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Computes the prompt anew, and some tokens behind it; the steps that the prompt took."""
    steps: list[Step] = []
    governor = model._governor
    report = type(governor).report

    def recorded(step: Step, **took: float) -> None:
        steps.append(step)
        report(governor, step, **took)

    model.rewind(0)
    with monkeypatch.context() as patched:
        patched.setattr(governor, "report", recorded)
        model.extend(PROMPT)
    write(model, 40)
    return steps


def is_parallel(steps: list[Step]) -> bool:
    return any(step.n_threads > 1 for step in steps)


def test_weights_are_the_files_own_pages(model: Model) -> None:
    if not Path("/proc/self/smaps").exists():
        pytest.skip("only Linux tells what is mapped")
    model.rewind(0)
    model.extend(PROMPT[:50])
    mappings = Path("/proc/self/smaps").read_text().split("VmFlags:")
    ours = [mapping for mapping in mappings if str(MODEL_PATH) in mapping]
    mapped_kb = sum(_kb(mapping, "Size") for mapping in ours)
    assert mapped_kb * 1024 >= MODEL_PATH.stat().st_size * 0.9
    assert sum(_kb(mapping, "Private_Dirty") for mapping in ours) == 0


def test_nothing_runs_while_nobody_types(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    read_prompt(model, monkeypatch)
    window_s = 1.5
    started_s, used_s = time.monotonic(), time.process_time()
    while (left_s := started_s + window_s - time.monotonic()) > 0:
        time.sleep(left_s)
    assert time.process_time() - used_s < 0.02 * window_s


def test_writing_takes_one_core(model: Model) -> None:
    model.rewind(0)
    model.extend(PROMPT[:50])
    started_s, used_s = time.perf_counter(), time.process_time()
    write(model, 150)
    assert time.process_time() - used_s < 1.15 * (time.perf_counter() - started_s)


@pytest.mark.skipif(physical_cores() < 2, reason="one core leaves nothing to choose")
def test_busy_cores_are_left_alone_and_free_ones_are_used_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    with burnt_cores():
        n_alone = 0
        while n_alone < 4:
            assert time.monotonic() < deadline_s, "the prompt is still read on busy cores"
            n_alone = 0 if is_parallel(read_prompt(model, monkeypatch)) else n_alone + 1
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_parallel(read_prompt(model, monkeypatch)):
        if time.monotonic() > deadline_s:
            assert not are_cores_free(), "the prompt is still read on one of the free cores"
            pytest.skip("others use the cores")


def are_cores_free() -> bool:
    """Whether as many busy loops as there are cores get all the time that they want."""
    loop = "import time; s=time.perf_counter()\nwhile time.process_time() < 0.3: pass\n"
    loop += "print(time.process_time() / (time.perf_counter() - s))"
    running = [
        subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE)
        for _ in range(physical_cores())
    ]
    shares = [float(process.communicate()[0]) for process in running]
    return min(shares) > 0.9


def _kb(mapping: str, field: str) -> int:
    """A field of one entry of smaps, in kilobytes."""
    lines = [line for line in mapping.splitlines() if line.startswith(field + ":")]
    return sum(int(line.split()[1]) for line in lines)
