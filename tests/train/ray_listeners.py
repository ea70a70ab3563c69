"""Prints the address of each socket that a Ray of ours listens on, and if it tells statistics.

Run as `python -m tests.train.ray_listeners`. Needs Linux's /proc.
"""

import os
from pathlib import Path

from train.corpus.ray_executor import connected

_LISTENS = "0A"
"""State of a socket in /proc/net/tcp."""


def listeners() -> set[str]:
    """Addresses, as the system's table writes them, of this process and all below it."""
    own = set().union(*(_sockets(pid) for pid in _family(os.getpid())))
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
    ]
    return {
        row[1].partition(":")[0]
        for row in rows
        if row[3] == _LISTENS and f"socket:[{row[9]}]" in own
    }


def _family(root: int) -> set[int]:
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                stat = (path / "stat").read_text()
            except OSError:
                continue
            parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _sockets(pid: int) -> set[str]:
    names = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            names.add(os.readlink(descriptor))
    except OSError:
        pass
    return names


if __name__ == "__main__":
    with connected(1):
        import ray

        # A worker runs, so that every kind of process is there.
        ray.get(ray.remote(lambda: None).remote())
        for address in sorted(listeners()):
            print(address)
        print("statistics:", os.environ["RAY_USAGE_STATS_ENABLED"])
