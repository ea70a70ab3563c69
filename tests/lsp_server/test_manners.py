"""Guards the server's manners: how long it waits for who types, and whether it knows that the
machine runs on its battery. A failure is a laptop that gets hot, or ghost text that comes late.
"""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server import power
from lsp_server.debounce import CLIENT_WAITS_MS, MAX_WAIT_MS, wait_ms
from lsp_server.figures import Figures
from lsp_server.power import linux_on_battery


@pytest.mark.parametrize(
    ("setting_ms", "compute_ms", "client", "expected_ms"),
    [
        (75, 500.0, "Neovim", 75),
        (0, 500.0, None, 0),
        (None, None, None, 0),
        (None, 40.0, None, 40),
        (None, 40.0, "Visual Studio Code", 0),
        (None, 90.0, "Visual Studio Code", 40),
        (None, 40.0, "Neovim", 0),
        (None, 300.0, "Neovim", 100),
        (None, 5000.0, "an editor of the future", 400),
    ],
)
def test_who_types_is_waited_for(setting_ms, compute_ms, client, expected_ms) -> None:
    found = wait_ms(setting_ms=setting_ms, mean_compute_ms=compute_ms, client_name=client)
    assert found == expected_ms


@given(
    st.floats(min_value=0.0, max_value=10_000.0),
    st.sampled_from([None, *CLIENT_WAITS_MS]),
)
def test_the_wait_grows_with_the_model_and_is_bounded(compute_ms, client) -> None:
    def wait(ms: float) -> float:
        return wait_ms(setting_ms=None, mean_compute_ms=ms, client_name=client)

    assert 0 <= wait(compute_ms) <= wait(compute_ms + 10) <= MAX_WAIT_MS
    # Editor and server together wait as long as computing takes, or as long as the editor does.
    together = wait(compute_ms) + CLIENT_WAITS_MS.get(client, 0.0)
    assert together <= max(compute_ms, CLIENT_WAITS_MS.get(client, 0.0))


def test_figures_follow_the_latest_suggestions() -> None:
    figures = Figures()
    assert (figures.hit_rate, figures.tokens_per_second) == (None, None)
    figures.add_computation(total_ms=100.0, decode_ms=50.0, n_tokens=10)
    assert (figures.mean_compute_ms, figures.tokens_per_second) == (100.0, 200.0)
    for _ in range(40):
        figures.add_computation(total_ms=300.0, decode_ms=100.0, n_tokens=10)
    assert figures.mean_compute_ms == pytest.approx(300.0, rel=0.01)
    assert figures.tokens_per_second == pytest.approx(100.0, rel=0.01)
    figures.add_computation(total_ms=300.0, decode_ms=0.0, n_tokens=0)
    for is_hit in (True, False, False):
        figures.count(is_hit=is_hit)
    assert figures.hit_rate == 0.33


SUPPLIES = {
    "plugged in": ({"AC": ("Mains", "online", "1"), "BAT0": ("Battery", "status", "Full")}, False),
    "on battery": (
        {"AC": ("Mains", "online", "0"), "BAT0": ("Battery", "status", "Discharging")},
        True,
    ),
    "two batteries, one used": (
        {"BAT0": ("Battery", "status", "Unknown"), "BAT1": ("Battery", "status", "Discharging")},
        True,
    ),
    "charging by USB": (
        {"ucsi": ("USB", "online", "1"), "BAT0": ("Battery", "status", "Charging")},
        False,
    ),
    "a desktop": ({"AC": ("Mains", "online", "1")}, False),
    "nothing known": ({}, None),
}


@pytest.mark.parametrize("name", SUPPLIES)
def test_linux_tells_where_the_power_comes_from(tmp_path: Path, name: str) -> None:
    supplies, expected = SUPPLIES[name]
    for supply, (kind, file, value) in supplies.items():
        (tmp_path / supply).mkdir()
        (tmp_path / supply / "type").write_text(kind + "\n")
        (tmp_path / supply / file).write_text(value + "\n")
    assert linux_on_battery(tmp_path) is expected


def test_the_battery_of_a_mouse_is_not_ours(tmp_path: Path) -> None:
    mouse = tmp_path / "hidpp_battery_0"
    mouse.mkdir()
    for file, value in {"type": "Battery", "scope": "Device", "status": "Discharging"}.items():
        (mouse / file).write_text(value)
    assert linux_on_battery(tmp_path) is None
    assert linux_on_battery(tmp_path / "missing") is None


def test_the_system_is_not_asked_at_each_key(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(power, "on_battery", lambda: asked.append(1) or True)
    source = power.PowerSource()
    # Nobody waits for the first answer, which comes from a thread of its own.
    given_up_s = time.monotonic() + 20
    while source.is_battery() is None:
        assert time.monotonic() < given_up_s
    assert [source.is_battery() for _ in range(100)] == [True] * 100
    assert len(asked) == 1
