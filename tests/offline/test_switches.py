"""Guards the switches that keep libraries quiet: one that is missing is a library that asks its hub
for news, or counts its uses, or prints the user's code where it crashes, and nobody notices.
"""

import json
import os
import subprocess
import sys

import pytest

from runtime.privacy import LIBRARY_SWITCHES
from tests.confined.preloaded import NetworkGuard, network_guard
from tests.lsp_client import REPOSITORY

# What a user's shell may say otherwise.
CONTRARY = {name: "1" if value == "0" else "0" for name, value in LIBRARY_SWITCHES.items()}
# What each library itself makes of its switch, as an expression that is true.
EFFECTS = {
    "HF_HUB_OFFLINE": "huggingface_hub.constants.HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY": "huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK": "os.environ['DO_NOT_TRACK'] == '1'",
    "RAY_USAGE_STATS_ENABLED": "os.environ['RAY_USAGE_STATS_ENABLED'] == '0'",
    "GGML_NO_BACKTRACE": "os.environ['GGML_NO_BACKTRACE'] == '1'",
}


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> NetworkGuard:
    return network_guard(tmp_path_factory.mktemp("guard"))


def run(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def test_each_switch_has_its_effect_against_the_environment() -> None:
    """After the front door, as every verb sees it; a switch without a line here is not tested."""
    assert set(EFFECTS) == set(LIBRARY_SWITCHES)
    names = dict.fromkeys(EFFECTS.values())
    program = f"""
import json, os, starling
assert starling.main(["settings"]) == 0
import huggingface_hub.constants
print(json.dumps({{text: bool(eval(text)) for text in {list(names)!r}}}))
"""
    done = run(program, CONTRARY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(names, True)


@pytest.mark.parametrize("by_the_front_door", [False, True])
def test_a_hub_is_never_asked(guard: NetworkGuard, by_the_front_door: bool) -> None:
    """The library tries it where the switch is off, so that it is the switch that stops it."""
    program = """
import huggingface_hub
try:
    huggingface_hub.HfApi().model_info("some/model", timeout=5)
except Exception as error:
    print(type(error).__name__)
"""
    if by_the_front_door:
        program = f"import starling; starling.main(['settings'])\n{program}"
    guard.forget()
    done = run(program, CONTRARY | guard.environment)
    assert done.returncode == 0, done.stderr
    assert bool(guard.seen("refused")) is not by_the_front_door
    assert (done.stdout.splitlines()[-1] == "OfflineModeIsEnabled") is by_the_front_door
