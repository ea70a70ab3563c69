"""Lets a piece of work be killed at random moments, again and again, then lets it end.

    python -m tests.faults.kill_loop {index,bundle,tokens} FOLDER N_KILLS SEED

A program of its own: it imports everything once and forks for each try, so that the moments fall
into the work and not into its imports, and no thread of a test is in the way.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attribution.indexes import open_indexes
from attribution.segments import build_segment
from quantize.budget import Budget
from quantize.bundle_writer import write_bundle
from quantize.llama_quantize import QuantType
from quantize.rounding import Rounding
from quantize.texts import HeldOut, Texts
from runtime.bundle import MODEL_FILE, open_bundle
from tests.attribution.corpus import document, invented_code, module_documents
from tests.quantize import tiny_checkpoint

N_OLD_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that takes a while and leaves files in a folder."""

    prepare: Callable[[Path], None]
    """What is there before: also the result of an earlier run."""
    run: Callable[[Path], None]
    check: Callable[[Path], None]
    """AssertionError, or whatever opening raises, when what a user sees is not whole."""
    result: Callable[[Path], dict[str, bytes]]
    """What a run that was not disturbed leaves, and nothing else may be there."""


def main() -> None:
    """Exit status 0 when everything was whole at any time, and the last run's result the same."""
    name, folder, n_kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    work = WORKS[name]
    if name == "tokens":  # Here, not in each child: it takes seconds.
        import tests.train.test_run  # noqa: F401
    for place in (folder / "whole", folder / "killed"):
        place.mkdir(parents=True)
        # In a child too: what has used llama.cpp has threads, and can no more be forked.
        assert _wait(_start(work.prepare, place)) == 0
    started_s = time.monotonic()
    assert _wait(_start(work.run, folder / "whole")) == 0
    whole_s = time.monotonic() - started_s
    draw = random.Random(seed)
    n_killed = 0
    for _ in range(n_kills):
        child = _start(work.run, folder / "killed")
        time.sleep(draw.uniform(0.0, whole_s))
        os.kill(child, signal.SIGKILL)
        if _wait(child) == -signal.SIGKILL:
            n_killed += 1
        else:
            whole_s /= 2  # The first run was the slow one: it compiled.
        work.check(folder / "killed")
    assert n_killed, "it was always faster"
    assert _wait(_start(work.run, folder / "killed")) == 0
    expected, found = (work.result(folder / place) for place in ("whole", "killed"))
    assert set(found) == set(expected), set(found) ^ set(expected)
    assert found == expected
    print(f"killed {n_killed} times in {whole_s:.2f} s of work")


def _start(run: Callable[[Path], None], folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run(folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _add_old_index(folder: Path) -> None:
    old = [document(invented_code(1, N_OLD_LINES))]
    build_segment(folder / "index", "old", old, keep_others=True)


def _add_index(folder: Path) -> None:
    build_segment(folder / "index", "new", module_documents(), keep_others=True, full_text=True)


def _check_indexes(folder: Path) -> None:
    indexes = open_indexes(folder / "index", expected_corpus_id=None)
    assert indexes, "the old one is gone"
    for index in indexes:
        index.verify()


def _indexes(folder: Path) -> dict[str, bytes]:
    """What is there, without what killed builds left: that is swept when it is a day old."""
    files = _files(folder / "index")
    return {
        name: b"" if name.endswith(".db") else data
        for name, data in files.items()
        if ".building." not in name
    }


def _prepare_checkpoint(folder: Path) -> None:
    tiny_checkpoint.write(folder / "checkpoint")
    _write_bundle(folder, QuantType.F16)


def _write_bundle(folder: Path, quant_type: QuantType = QuantType.Q8_0) -> None:
    sample = HeldOut(name="sample", text="def f(x):\n    return x + 1\n")
    write_bundle(
        folder / "checkpoint",
        folder / "out" / "bundle",
        roundings=[Rounding.of(quant_type)],
        texts=Texts(proof=sample, calibration=sample),
        budget=Budget(),
        overwrite=True,
        on_progress=lambda *_: None,
    )


def _check_bundle(folder: Path) -> None:
    place = folder / "out" / "bundle"
    if not place.exists():  # Killed between two renames; the next run puts it back.
        (place,) = place.parent.glob("*-old")
    assert open_bundle(place).spec is not None


def _bundle(folder: Path) -> dict[str, bytes]:
    """The weights, and the names of all else beside them, which tells how long things took."""
    files = _files(folder / "out")
    return {name: data if name.endswith(MODEL_FILE) else b"" for name, data in files.items()}


def _prepare_corpus(folder: Path) -> None:
    from tests.train import test_run, tiny_corpus

    test_run.corpus(folder / "run", tiny_corpus.files(9), tiny_corpus.files(12)[9:])


def _make_tokens(folder: Path) -> None:
    from tests.train import test_run
    from train.run import make_tokens

    make_tokens(test_run.recipe(), folder / "run", say=lambda _: None)


def _check_tokens(folder: Path) -> None:
    from train.samples.shards import open_tokens

    for name in ("tokens.bin", "held_out.bin"):
        path = folder / "run" / "tokenizer" / name
        if path.exists():
            assert open_tokens(path).n_documents > 0


def _tokens(folder: Path) -> dict[str, bytes]:
    return _files(folder / "run" / "tokenizer")


WORKS = {
    "index": Work(
        prepare=_add_old_index, run=_add_index, check=_check_indexes, result=_indexes
    ),
    "bundle": Work(
        prepare=_prepare_checkpoint, run=_write_bundle, check=_check_bundle, result=_bundle
    ),
    "tokens": Work(
        prepare=_prepare_corpus, run=_make_tokens, check=_check_tokens, result=_tokens
    ),
}  # fmt: skip

if __name__ == "__main__":
    main()
