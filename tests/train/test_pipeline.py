"""Guards the corpus pipeline as a whole: every file has its verdict, held-out code stays unseen,
and the result is the same bytes whatever the workers and the order, when run again, and after being
killed at any moment.
"""

import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from attribution.manifest import corpus_id_of, read_manifest
from tests.train.corpus_project import (
    LOCAL,
    SETTINGS,
    SOURCES,
    build,
    code,
    result_bytes,
    write_project,
)
from train.corpus.executors import Cluster
from train.corpus.explain import explain
from train.corpus.pipeline import CorpusPaths, build_corpus
from train.corpus.run_lock import locked
from train.corpus.source_file import SourceFile, read_rows, read_shards
from train.errors import CorpusError, RecipeError, SourceError
from train.recipe_file import load_recipe
from train.run import corpus_id_of_run

FATES = {
    "kept/secret_sauce.py": ("held out", "", ""),
    "one/a.py": ("kept", "", ""),
    "one/b.py": ("kept", "", ""),
    "one/near.py": ("dropped", "near dedup", "near duplicate"),
    "one/latin.py": ("dropped", "format", "not UTF-8, nor declared"),
    "one/short.py": ("dropped", "quality", "too short"),
    "one/notes.xyzzy": ("dropped", "language", "unknown language"),
    "one/page.html": ("dropped", "language", "other language"),
    "one/_vendor/copied.py": ("dropped", "quality", "vendored copy"),
    "one/nul.py": ("dropped", "language", "binary"),
    "one/gpl.py": ("dropped", "licence", "copyleft header"),
    "one/asked.py": ("dropped", "opt-out", "path:folder:one/asked.py"),
    "one/leaked.py": ("dropped", "decontaminate", "holds generic"),
    "one/stock.ipynb": ("kept", "", ""),
    "one/broken.ipynb": ("dropped", "format", "not JSON"),
    "one/link.py": ("dropped", "read", "link"),
    "two/same.py": ("dropped", "exact dedup", "exact duplicate"),
    "two/leak.py": ("dropped", "near dedup", "near duplicate of held-out code"),
    "two/crlf.py": ("kept", "", ""),
    "two/declared.py": ("kept", "", ""),
    "two/big.py": ("dropped", "cap", "share of this project full"),
    "bare/code.py": ("dropped", "licence", "no licence"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


def texts(folder: Path) -> dict[str, SourceFile]:
    return {f"{file.origin}/{file.path}": file for file in read_shards(folder)}


def test_each_file_meets_its_fate(project: Path) -> None:
    summary = build(project, project / "out")
    paths = CorpusPaths(root=project / "out")
    rows = {
        f"{r['origin']}/{r['path']}".removeprefix("folder:"): r for r in read_rows(paths.manifest)
    }
    found = {name: (r["verdict"], r["stage"], r["reason"]) for name, r in rows.items()}
    for name, (verdict, stage, reason) in FATES.items():
        assert found[name][:2] == (verdict, stage), (name, found[name])
        assert found[name][2].startswith(reason), (name, found[name])
    assert set(found) == set(FATES)

    kept = texts(paths.corpus)
    assert set(kept) == {f"folder:{name}" for name, fate in FATES.items() if fate[0] == "kept"}
    assert "\r" not in kept["folder:two/crlf.py"].text
    assert "café" in kept["folder:two/declared.py"].text
    assert "jane" not in kept["folder:one/b.py"].text
    assert kept["folder:one/stock.ipynb"].text.startswith("<jupyter_start>")
    assert rows["one/b.py"]["redacted"] == {"EMAIL": 1} and summary["redacted"] == {"EMAIL": 1}
    assert set(texts(paths.held_out)) == {"folder:kept/secret_sauce.py"}

    assert summary["n_files"] == len(kept)
    assert summary["n_bytes"] == sum(len(file.text.encode()) for file in kept.values())
    assert summary["licences"] == {"MIT": 3, "BSD-3-Clause": 2}
    for stage in summary["stages"]:
        assert stage["files_in"] - stage["files_out"] == sum(stage["reasons"].values()), stage
    for earlier, later in zip(summary["stages"], summary["stages"][1:], strict=False):
        assert later["files_in"] == earlier["files_out"], (earlier, later)
    dropped = {(r["stage"], r["reason"]) for r in rows.values() if r["verdict"] == "dropped"}
    assert dropped == {(s["stage"], s["reason"]) for s in summary["samples"]}
    page = paths.report.read_text(encoding="utf-8")
    assert "copyleft header" in page and summary["corpus_id"] in page


def test_manifest_is_the_corpus(project: Path) -> None:
    build(project, project / "out")
    rows = read_manifest(project / "out" / "index" / "manifest.jsonl.zst")
    kept = texts(project / "out" / "corpus")
    assert {f"{row.origin}/{row.path}" for row in rows} == set(kept)
    for row in rows:
        file = kept[f"{row.origin}/{row.path}"]
        assert (row.swhid, row.licence, row.n_bytes) == (
            file.swhid, file.licence, len(file.text.encode()),
        )  # fmt: skip
    assert corpus_id_of(rows) == corpus_id_of_run(project / "out")


def test_result_is_the_same_bytes_with_more_workers_and_shuffled_sources(project: Path) -> None:
    build(project, project / "out1")
    expected = result_bytes(project / "out1")
    assert {"corpus.json", "manifest.jsonl.zst", "report.html"} <= set(expected)
    random.Random(7).shuffle(shuffled := list(SOURCES))
    assert shuffled != SOURCES
    (project / "mine.toml").write_text(SETTINGS + "".join(shuffled))
    build(project, project / "out2", Cluster(kind="local", n_workers=2))
    assert result_bytes(project / "out2") == expected
    said: list[str] = []
    recipe = load_recipe(str(project / "mine.toml"))
    build_corpus(recipe, project / "out2", cluster=LOCAL, say=said.append)
    assert any("nothing changed" in line for line in said)
    assert result_bytes(project / "out2") == expected


def test_a_changed_source_is_seen(project: Path) -> None:
    first = build(project, project / "out")
    (project / "one" / "a.py").write_text(code("changed"))
    second = build(project, project / "out")
    assert first["corpus_id"] != second["corpus_id"]
    assert "changed_0" in texts(project / "out" / "corpus")["folder:one/a.py"].text


@pytest.mark.slow
def test_killed_at_random_moments_it_continues_to_the_same_bytes(project: Path) -> None:
    started = time.monotonic()
    build(project, project / "whole", Cluster(kind="local", n_workers=2))
    whole_s = time.monotonic() - started
    expected = result_bytes(project / "whole")
    command = [sys.executable, "-m", "starling", "train", "corpus", str(project / "mine.toml"),
               "--out", str(project / "parts"), "--workers", "2"]  # fmt: skip
    draw = random.Random(11)
    n_killed = 0
    for _ in range(4):
        run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            # Later and later, so that each step is hit; a step of its own takes part of a second.
            run.wait(timeout=draw.uniform(0.3, 1.2) * whole_s + 2 * n_killed)
            break
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            n_killed += 1
            if not (project / "parts" / "corpus.json").exists():
                with pytest.raises(CorpusError, match="starling train corpus"):
                    corpus_id_of_run(project / "parts")
    assert n_killed, "the run was never killed"
    build(project, project / "parts")
    assert result_bytes(project / "parts") == expected


def test_full_disk_leaves_nothing_half_visible(project: Path) -> None:
    # 20 KB for any one file: too little for the corpus shard, as on a disk that fills up.
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from starling import main; sys.exit(main())"
    )
    (project / "mine.toml").write_text((SETTINGS + "".join(SOURCES)).replace("20_000", "2_000_000"))
    (project / "two" / "random.py").write_text(
        "".join(f"x{i} = {random.Random(i).random()}\n" for i in range(4_000))
    )
    failed = subprocess.run(
        [sys.executable, "-c", limited, "train", "corpus", str(project / "mine.toml"),
         "--out", str(project / "out"), "--workers", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert failed.returncode == 1 and "free some space" in failed.stderr, failed.stderr
    assert not (project / "out" / "corpus.json").exists()
    build(project, project / "out")
    build(project, project / "fresh")
    assert result_bytes(project / "out") == result_bytes(project / "fresh")


def test_two_runs_on_one_folder_do_not_mix(project: Path) -> None:
    command = [sys.executable, "-m", "starling", "train", "corpus", str(project / "mine.toml"),
               "--out", str(project / "out"), "--workers", "1"]  # fmt: skip
    with locked(project / "out"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1 and "another run is making a corpus" in second.stderr
    build(project, project / "out")


def test_all_refused_sources_are_reported_together(project: Path) -> None:
    (project / "mine.toml").write_text(
        SETTINGS + "".join(SOURCES).replace('folder = "one"', 'folder = "gone"')
        + '[[source]]\narchive = "no.zip"\nname = "no"\n'
    )  # fmt: skip
    with pytest.raises(SourceError) as caught:
        build(project, project / "out")
    assert "gone" in str(caught.value) and "no.zip" in str(caught.value)


def test_unknown_language_is_refused(project: Path) -> None:
    (project / "mine.toml").write_text(SETTINGS.replace("Python", "Pyton") + "".join(SOURCES))
    with pytest.raises(RecipeError, match="Pyton"):
        build(project, project / "out")


def test_other_languages_are_capped_to_their_share(project: Path) -> None:
    for i in range(40):
        table = "".join(f'key_{i}_{n} = "value number {n * i}"\n' for n in range(40))
        (project / "two" / f"table{i}.toml").write_text(f"[table{i}]\n{table}")
    (project / "mine.toml").write_text(
        SETTINGS.replace("[tokenizer]", 'main_language = "Python"\n[tokenizer]').replace(
            "20_000", "2_000_000"
        )
        + "".join(SOURCES)
    )
    summary = build(project, project / "out")
    others = summary["n_bytes"] - summary["languages"]["Python"]
    assert 0.2 < others / summary["n_bytes"] <= 0.25


def test_explain_tells_the_way_of_one_file(project: Path) -> None:
    recipe = load_recipe(str(project / "mine.toml"))
    before = "\n".join(explain(recipe, project / "one" / "b.py", project / "out"))
    assert "replaced: EMAIL 1" in before and "has no corpus yet" in before
    build(project, project / "out")
    near = "\n".join(explain(recipe, project / "one" / "near.py", project / "out"))
    assert "dropped at near dedup: near duplicate" in near
    short = "\n".join(explain(recipe, project / "one" / "short.py", project / "out"))
    assert "dropped: too short" in short


def test_paths_on_the_command_line(project: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(project / "two")]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    shutil.make_archive(str(project / "packed"), "zip", project / "one")
    finished = subprocess.run(
        [sys.executable, "-m", "starling", "train", "corpus", str(project / "two"),
         str(project / "packed.zip"), "--out", str(project / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    kept = texts(project / "out" / "corpus")
    assert {"git:two/crlf.py", "archive:packed.zip/b.py"} <= set(kept)
    assert kept["git:two/crlf.py"].licence == "NOASSERTION"


def start(project: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "starling", "train", "corpus", str(project / "mine.toml"),
               "--out", str(project / "out"), "--workers", "2"]  # fmt: skip
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def workers_of(run: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of a run's workers, once there are some; they are children of its fork server."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and run.poll() is None:
        for child in children.read_text().split():
            grandchildren = Path(f"/proc/{child}/task/{child}/children").read_text().split()
            if grandchildren:
                return [int(pid) for pid in grandchildren]
        time.sleep(0.01)
    raise AssertionError(f"no workers were seen: {run.communicate()}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_parent_takes_its_workers_along_and_leaves_no_lock(project: Path) -> None:
    run = start(project)
    workers = workers_of(run)
    run.kill()
    run.communicate()
    build(project, project / "out")
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.01)
    build(project, project / "fresh")
    assert result_bytes(project / "out") == result_bytes(project / "fresh")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_ends_the_run_with_a_cure(project: Path) -> None:
    run = start(project)
    os.kill(workers_of(run)[0], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1 and b"fewer --workers" in said, said
    build(project, project / "out")


def test_a_terminal_sees_the_steps_go_by(project: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    run = subprocess.Popen(
        [sys.executable, "-m", "starling", "train", "corpus", str(project / "mine.toml"),
         "--out", str(project / "out"), "--workers", "1"],
        stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while data := terminal.read(4096):
                shown += data
        except OSError:
            pass  # Linux's way to say that the other end is closed.
    assert run.wait() == 0
    steps = (b"prepare: ", b"join: ", b"choose: ", b"write: ", b"publish: ")
    assert b"task/s]" in shown and any(step in shown for step in steps), shown
