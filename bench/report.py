"""What a performance script found: one shape as JSON, one table as Markdown.

    {"title": ..., "machine": {...}, "notes": [...],
     "rows": [{"what", "ours", "rival", "ratio", "unit", "bar", "met"}]}

`ratio` is ours / rival, in the row's unit; `bar` is the promise in words, such as "<= 50 ms", and
`met` says whether it was kept (null: nothing was promised). Whoever gathers results reads the JSON
that each script prints with --json.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
VERSIONS_OF = ("llama-cpp-python", "numba", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured thing."""

    what: str
    ours: float | None
    unit: str
    rival: float | None = None
    bar: str = ""
    """The promise, as people read it; empty: nothing was promised."""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the rival's; None where either is missing."""
        if self.ours is None or not self.rival:
            return None
        return self.ours / self.rival


@dataclass(slots=True, kw_only=True)
class Report:
    """The rows of one run of one script."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the numbers, a sentence each."""

    def at_most(
        self, what: str, ours: float, limit: float, unit: str, *, rival: float | None = None
    ) -> None:
        """Adds a row whose number must not exceed the limit."""
        self._bound(what, ours, limit, unit, rival, sign="<=", met=ours <= limit)

    def at_least(
        self, what: str, ours: float, limit: float, unit: str, *, rival: float | None = None
    ) -> None:
        """Adds a row whose number must reach the limit."""
        self._bound(what, ours, limit, unit, rival, sign=">=", met=ours >= limit)

    def ratio_at_most(self, what: str, ours: float, rival: float, limit: float, unit: str) -> None:
        """Adds a row whose ours / rival must not exceed the limit."""
        met, bar = ours <= limit * rival, f"<= {limit:.3g}x"
        self.rows.append(Row(what=what, ours=ours, rival=rival, unit=unit, bar=bar, met=met))

    def ratio_at_least(self, what: str, ours: float, rival: float, limit: float, unit: str) -> None:
        """Adds a row whose ours / rival must reach the limit."""
        met, bar = ours >= limit * rival, f">= {limit:.3g}x"
        self.rows.append(Row(what=what, ours=ours, rival=rival, unit=unit, bar=bar, met=met))

    def fact(self, what: str, ours: float | None, unit: str, *, rival: float | None = None) -> None:
        """Adds a row that nothing was promised about."""
        self.rows.append(Row(what=what, ours=ours, rival=rival, unit=unit))

    def show(self, *, as_json: bool) -> None:
        """Prints it, as one JSON document or as Markdown."""
        print(json.dumps(self.to_json(), indent=2) if as_json else self.to_markdown())

    def to_json(self) -> dict[str, object]:
        """The shape in the head of this module."""
        rows = [{**asdict(row), "ratio": _rounded(row.ratio)} for row in self.rows]
        return {
            "title": self.title,
            "machine": machine(),
            "notes": list(self.notes),
            "rows": [
                {**row, "ours": _rounded(row["ours"]), "rival": _rounded(row["rival"])}
                for row in rows
            ],
        }

    def to_markdown(self) -> str:
        """A heading, the machine, one table, the notes."""
        facts = "; ".join(f"{name} {value}" for name, value in machine().items())
        table = _table(
            ("what", "ours", "rival", "ours / rival", "unit", "bar", "met"),
            (
                (
                    row.what, _text(row.ours), _text(row.rival), _text(row.ratio),
                    row.unit, row.bar, {None: "", True: "yes", False: "**no**"}[row.met],
                )
                for row in self.rows
            ),
        )  # fmt: skip
        notes = "".join(f"\n- {note}" for note in self.notes)
        return f"## {self.title}\n\n{facts}.\n\n{table}\n{notes}".rstrip()

    def _bound(
        self,
        what: str,
        ours: float,
        limit: float,
        unit: str,
        rival: float | None,
        *,
        sign: str,
        met: bool,
    ) -> None:
        bar = f"{sign} {limit:g} {unit}"
        self.rows.append(Row(what=what, ours=ours, rival=rival, unit=unit, bar=bar, met=met))


def machine() -> dict[str, str]:
    """Processor, cores, load, and the versions that decide speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "processor": _processor(),
        "cores": str(cores),
        "load average": load,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS_OF},
        "commit": _commit(),
    }


def quantile(values: Iterable[float], share: float) -> float:
    """The least of the values that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
