"""Runs pytest; what fails is run once more by itself, because the machine may have been busy.

    python -m tests.two_chances ARGUMENTS -- ARGUMENTS OF THE FIRST RUN ONLY

Whole files are run again: what is checked at the end of a file counts as its last test, which would
pass alone. No chance has what is no accident: many files that fail, or a run that broke off.
"""

import subprocess
import sys

import pytest

MAX_FILES = 5


class Watch:
    """A plugin of pytest that notes what failed, also in xdist's processes."""

    def __init__(self) -> None:
        self.failed_files: set[str] = set()
        self.broke_off = False
        """Whether there are tests that were never run."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed_files.add(report.nodeid.partition("::")[0])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.broke_off |= report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object) -> None:
        self.broke_off |= error is not None


def main(arguments: list[str]) -> int:
    """The exit status of pytest, of the second run if there was one."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    always, first = arguments[:at], arguments[at + 1 :]
    watch = Watch()
    status = int(pytest.main([*always, *first], plugins=[watch]))
    is_chance = status == pytest.ExitCode.TESTS_FAILED and not watch.broke_off
    if not is_chance or len(watch.failed_files) > MAX_FILES:
        return status
    files = sorted(watch.failed_files)
    print(f"\nONCE MORE, AFTER A FAILURE: {' '.join(files)}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *always, *files]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
