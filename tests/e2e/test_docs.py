"""Guards the pages and the help: each command on them is typed as it stands, and works.

A failure would be a new user whose first copied line ends in an error. Runs the README first, with
the program as it is installed: its toy recipe trains a model on Starling's own source code, from
which other pages go on. What cannot be tried here says so above its block (tests/docs/pages.py).
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs import command_tree, pages, scratch
from tests.docs.pages import Block
from tests.docs.warm_starling import WarmStarling
from tests.lsp_client import REPOSITORY

LONGEST_S = 500
TRAINING = "starling train all"
# What a reader of a later page has done already.
BEFORE = """\
for name in engine tools; do
    starling attribute build ~/code/$name --name $name --licence MIT --out ~/.starling/$name
done
cp -r runs/tiny runs/nano
mkdir bundles
cp -r runs/tiny/bundle bundles/tiny
"""
BUGS = re.compile(r"Traceback \(most recent call last\)|this is a bug in Starling")
# Answers whose exit status says what was found.
ANSWERS = ("attribute check", "attribute search", "attribute who", "attribute forget", "doctor")
# Examples in the help that are not typed here, and why. Their words are checked all the same.
NOT_TYPED = {
    "starling train all": "typed as the README's",
    "starling train adapt": "20 minutes",
    "starling train fit": "90 minutes",
    "starling quantize runs": "typed as the README's",
    "starling quantize sweep": "a minute",
    "starling train tokenizer": "typed on docs/training.md",
    "starling train export": "typed on docs/training.md",
    "starling train corpus ~/src/shop": "typed on docs/corpus.md",
    "starling train corpus default": "downloads 189 distributions",
    "torchrun": "needs eight GPUs",
    "starling eval attribution": "needs the corpus of the default bundle",
    "starling eval bpb": "minutes, and needs other models",
    "starling eval confidence": "minutes",
    "starling eval ds1000": "needs the published file",
    "starling eval fim": "minutes",
    "starling eval humaneval": "needs the published file",
    "starling eval memory": "minutes",
    "starling eval multipl-e": "needs the published file",
    "starling eval typing": "minutes",
    "starling playground": "runs until it is stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Where commands are typed."""

    project: Path
    environment: dict[str, str]

    def run(self, text: str, *, by_program: bool = False) -> subprocess.CompletedProcess[str]:
        """What a shell says to `text`; with the installed program or with its warm double."""
        environment = dict(self.environment)
        if by_program:
            installed = Path(sys.executable).parent
            environment["PATH"] = f"{installed}{os.pathsep}{environment['PATH']}"
        started_s = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        print(f"{time.monotonic() - started_s:6.1f} s  {text.strip()}")
        return done


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A user's project, in which the README's model was trained."""
    folder = tmp_path_factory.mktemp("docs")
    environment = scratch.make(folder)
    place = Scratch(project=folder / "project", environment=environment)
    warm = WarmStarling(folder / "bin", environment)
    try:
        (training,) = (block for block in to_type(readme()) if TRAINING in block.text)
        check(training, place, by_program=True)
        made = place.run(BEFORE)
        assert made.returncode == 0, made.stderr
        yield place
    finally:
        warm.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in pages.pages() if pages.has_commands(page)], ids=pages.name_of
)
def test_each_command_of_a_page_works(page: Path, typed: Scratch) -> None:
    for block in to_type(page):
        if TRAINING not in block.text:
            check(block, typed, by_program=page == readme())


@pytest.mark.slow
@pytest.mark.parametrize("path", command_tree.all_commands())
def test_each_example_of_the_help_works(path: str, typed: Scratch) -> None:
    for example in command_tree.all_commands()[path].examples:
        if example.startswith(tuple(NOT_TYPED)):
            continue
        done = typed.run(example)
        allowed = {0, 1} if any(answer in example for answer in ANSWERS) else {0}
        assert done.returncode in allowed, f"{example}\n{done.stdout}{done.stderr}"
        assert not BUGS.search(done.stderr), f"{example}\n{done.stderr}"


@pytest.mark.slow
def test_the_toy_model_knows_whose_code_it_learned(typed: Scratch) -> None:
    # A file of the toy corpus, so that whatever is suggested stands behind copied code.
    source = (REPOSITORY / "runtime" / "fim.py").read_text("utf-8")
    (typed.project / "copied.py").write_text(source, "utf-8")
    line = source.split("\n").index('    PSM = "psm"') + 1
    done = typed.run(f"starling complete copied.py:{line} --bundle runs/tiny/bundle --json")
    assert done.returncode == 0, done.stderr
    checked = typed.run("starling attribute check copied.py --index runs/tiny/bundle --json")
    assert checked.returncode == 1, checked.stderr
    assert '"copy"' in checked.stdout
    assert "folder:runtime" in checked.stdout and "Apache-2.0" in checked.stdout


def check(block: Block, place: Scratch, *, by_program: bool) -> None:
    done = place.run(block.text, by_program=by_program)
    said = f"{block.place}\n{block.text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    assert done.returncode == block.status, f"exit status {done.returncode}: {said}"
    assert not BUGS.search(done.stderr), said


def to_type(page: Path) -> list[Block]:
    return [block for block in pages.blocks(page) if block.language == "sh" and not block.not_run]


def readme() -> Path:
    return REPOSITORY / "README.md"
