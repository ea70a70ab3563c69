"""Guards the executors: a Ray or a Slurm makes the very bytes that this machine makes alone, a task
that fails is one sentence with the place of its log, and nothing listens to the outside.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.corpus_project import build, result_bytes, write_project
from tests.train.failing_step import N_TASKS
from train.corpus.slurm_executor import job_name_of

ROOT = Path(__file__).parents[2]
HAS_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install ray",
)
# 127.0.0.1 as /proc/net/tcp and /proc/net/tcp6 write it.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


@pytest.fixture
def env() -> Iterator[dict[str, str]]:
    """Without a cluster; a Ray has a folder of its own, whose path is short enough for sockets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield kept | {"RAY_TMPDIR": folder}


@pytest.fixture(scope="module")
def partition() -> str:
    """The first partition of a running Slurm."""
    if not shutil.which("scontrol"):
        pytest.skip("Slurm is not installed")
    try:
        # Without any configuration Slurm looks for one for a minute.
        subprocess.run(["scontrol", "ping"], capture_output=True, check=True, timeout=10)
    except subprocess.SubprocessError as error:
        pytest.skip(f"no Slurm answers: {error}")
    names = subprocess.run(
        ["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=True
    )
    return names.stdout.split()[0]


def starling(project: Path, *options: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "starling", "train", "corpus",
               str(project / "mine.toml"), "--workers", "2", *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)


def read_files(folder: Path, *where: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.train.failing_step", str(folder), *where],
        capture_output=True, text=True, check=False, cwd=ROOT, env=env,
    )  # fmt: skip


def write_all_but_one(folder: Path) -> Path:
    """Sources of `failing_step`; the last one is missing, and its path is returned."""
    for i in range(N_TASKS - 1):
        (folder / f"source{i}.txt").write_text("here")
    return folder / f"source{N_TASKS - 1}.txt"


def check_told(failed: subprocess.CompletedProcess[str], missing: Path) -> None:
    """One sentence, and the whole story where it says."""
    logs = missing.parent / "stages" / "settings" / "logs" / "read" / "failed"
    sentence = failed.stderr.strip().splitlines()[-1]
    assert failed.returncode == 1
    assert "the step `read` failed (FileNotFoundError: " in sentence and str(logs) in sentence
    assert sentence.endswith("run the same command again, it continues")
    told = [path.read_text() for path in logs.iterdir()]
    assert len(told) == 1 and "Traceback" in told[0] and str(missing) in told[0]


def check_each_ran_once(folder: Path) -> None:
    assert [path.read_text() for path in folder.glob("done*")] == N_TASKS * ["here\n"]


def wait_for_jobs(stages: Path, partition: str) -> None:
    """Until no job works in `stages`: one of the same name starts when the others have ended."""
    subprocess.run(
        ["srun", "--quiet", "--dependency=singleton", f"--job-name={job_name_of(stages)}",
         f"--partition={partition}", "--mem=10M", "true"],
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["local", pytest.param("ray", marks=[pytest.mark.cluster, HAS_RAY])]
)
def test_a_task_that_fails_is_one_sentence(kind: str, tmp_path: Path, env: dict[str, str]) -> None:
    missing = write_all_but_one(tmp_path)
    check_told(read_files(tmp_path, kind, env=env), missing)
    missing.write_text("here")
    again = read_files(tmp_path, kind, env=env)
    assert again.stdout == "finished\n", again.stderr
    check_each_ran_once(tmp_path)


@pytest.mark.cluster
@HAS_RAY
def test_ray_makes_the_same_bytes(project: Path, env: dict[str, str]) -> None:
    build(project, project / "alone")
    made = starling(project, "--executor", "ray", "--out", str(project / "ray"), env=env)
    assert made.returncode == 0, made.stderr
    assert result_bytes(project / "ray") == result_bytes(project / "alone")


@pytest.mark.cluster
@HAS_RAY
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_ray_listens_on_loopback_and_tells_nobody(env: dict[str, str]) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.train.ray_listeners"],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env=env | {"RAY_USAGE_STATS_ENABLED": "1"},
    ).stdout.split("\n")  # fmt: skip
    assert "statistics: 0" in said
    addresses = set(said) - {"statistics: 0", ""}
    assert addresses and addresses <= LOOPBACK


@HAS_RAY
def test_no_cluster_at_the_address(tmp_path: Path, env: dict[str, str]) -> None:
    # Nothing answers at port 1 of this machine.
    failed = read_files(tmp_path, "ray", env=env | {"RAY_ADDRESS": "127.0.0.1:1"})
    assert failed.returncode == 1 and "RAY_ADDRESS=127.0.0.1:1, or unset" in failed.stderr


@pytest.mark.cluster
def test_slurm_makes_the_same_bytes(project: Path, env: dict[str, str], partition: str) -> None:
    build(project, project / "alone")
    out = project / "slurm"
    options = ["--executor", "slurm", "--partition", partition, "--out", str(out)]
    assert "the jobs are queued" in starling(project, *options, env=env).stderr

    def jobs() -> set[str]:
        name = job_name_of(out / "stages")
        squeue = ["squeue", "--noheader", f"--name={name}", "--format=%F"]
        return set(
            subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split()
        )

    handed_in = jobs()
    assert "the jobs are queued" in starling(project, *options, env=env).stderr
    assert jobs() <= handed_in, "handed in twice"
    beside = starling(project, "--out", str(out), env=env)
    assert beside.returncode == 1 and "jobs of an earlier command work in" in beside.stderr

    wait_for_jobs(out / "stages", partition)
    made = starling(project, *options, env=env)
    assert made.returncode == 0 and "corpus_id" in made.stderr, made.stderr
    assert result_bytes(out) == result_bytes(project / "alone")


@pytest.mark.cluster
def test_a_job_that_fails_is_told_by_the_next_command(
    tmp_path: Path, env: dict[str, str], partition: str
) -> None:
    # Jobs find the step where this command finds it.
    env = env | {"PYTHONPATH": str(ROOT)}
    missing = write_all_but_one(tmp_path)
    assert read_files(tmp_path, "slurm", partition, env=env).stdout == "queued\n"
    wait_for_jobs(tmp_path / "stages", partition)
    check_told(read_files(tmp_path, "slurm", partition, env=env), missing)
    missing.write_text("here")
    assert read_files(tmp_path, "slurm", partition, env=env).stdout == "queued\n"
    wait_for_jobs(tmp_path / "stages", partition)
    assert read_files(tmp_path, "slurm", partition, env=env).stdout == "finished\n"
    check_each_ran_once(tmp_path)


@pytest.mark.cluster
def test_what_slurm_refuses_leaves_nothing_queued(
    tmp_path: Path, env: dict[str, str], partition: str
) -> None:
    write_all_but_one(tmp_path).write_text("here")
    for _ in range(2):
        refused = read_files(tmp_path, "slurm", "no-such-partition", env=env)
        assert refused.returncode == 1 and "Slurm refused the jobs of `read`" in refused.stderr


@pytest.mark.parametrize(
    ("named", "cure"), [([], "add --partition NAME"), (["work"], "run this on a login node")]
)
def test_slurm_that_is_not_here(
    named: list[str], cure: str, tmp_path: Path, env: dict[str, str]
) -> None:
    failed = read_files(tmp_path, "slurm", *named, env=env | {"PATH": str(tmp_path)})
    assert failed.returncode == 1 and cure in failed.stderr
