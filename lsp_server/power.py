"""Does this machine run on its battery? Read from the operating system, without a library.

Linux: `/sys/class/power_supply` (kernel documentation, ABI/testing/sysfs-class-power); macOS:
`pmset`; Windows: `GetSystemPowerStatus`. Where none of them tells, the answer is None.
"""

import ctypes
import subprocess
import sys
import threading
import time
from pathlib import Path

LINUX_SUPPLIES = Path("/sys/class/power_supply")
# Plugging in is noticed after this long; asking costs up to some milliseconds.
_REMEMBERED_S = 15.0


class PowerSource:
    """The answer, remembered for a few seconds. Nobody waits for it: some drivers, and other
    systems' programs, take a tenth of a second to tell.
    """

    def __init__(self) -> None:
        self._asked_s: float | None = None
        self._is_battery: bool | None = None

    def is_battery(self) -> bool | None:
        """As it was when last asked; None: unknown, as it is until the first answer has come."""
        now_s = time.monotonic()
        if self._asked_s is None or now_s - self._asked_s >= _REMEMBERED_S:
            self._asked_s = now_s
            threading.Thread(target=self._ask, name="starling-power", daemon=True).start()
        return self._is_battery

    def _ask(self) -> None:
        self._is_battery = on_battery()


def on_battery() -> bool | None:
    """Asks the operating system now; None where it does not tell."""
    if sys.platform == "linux":
        return linux_on_battery(LINUX_SUPPLIES)
    if sys.platform == "darwin":
        return _mac_on_battery()
    if sys.platform == "win32":
        return _windows_on_battery()
    return None


def linux_on_battery(supplies: Path) -> bool | None:
    """A supply that is plugged in decides; without one, a battery that gives power does.

    Batteries of mice and headsets (`scope` Device) do not count.
    """
    mains: list[bool] = []
    batteries: list[str] = []
    for supply in sorted(supplies.glob("*")):
        kind = _read(supply / "type")
        if _read(supply / "scope") == "Device":
            continue
        if kind in ("Mains", "USB"):
            mains.append(_read(supply / "online") == "1")
        elif kind == "Battery":
            batteries.append(_read(supply / "status"))
    if any(mains):
        return False
    if batteries:
        return "Discharging" in batteries
    return False if mains else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _mac_on_battery() -> bool | None:
    try:
        done = subprocess.run(["pmset", "-g", "batt"], capture_output=True, text=True, timeout=1.0)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if "'Battery Power'" in done.stdout:
        return True
    return False if "'AC Power'" in done.stdout else None


def _windows_on_battery() -> bool | None:
    # SYSTEM_POWER_STATUS: ACLineStatus is its first byte; 0 off line, 1 on line, 255 unknown.
    status = (ctypes.c_ubyte * 12)()
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GetSystemPowerStatus(ctypes.byref(status)):
        return None
    return {0: True, 1: False}.get(status[0])
