"""What a killed run left beside its destination: taken away, or put back, by the next one.

A folder that is being built is locked by its builder, and the system takes the lock away with the
process; so another run that is under way is never disturbed, whatever the clock says.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD_SUFFIX = "-old"
# What `tempfile.mkdtemp` puts after a prefix.
_RANDOM = "[a-z0-9_]{8}"


def prefix_of(destination: Path) -> str:
    """How the names of folders begin in which `destination` is built."""
    return f".{destination.name}.partial-"


@contextmanager
def held(building: Path) -> Iterator[None]:
    """While it lasts, `building` is somebody's. Where folders cannot be locked (Windows, some
    network drives), nothing is swept either."""
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(building, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(destination: Path) -> None:
    """Removes what nobody builds any more; a bundle that was about to be replaced comes back.

    For the moment between the two renames of a replacement there is none at `destination`.
    """
    if os.name == "nt" or not destination.parent.is_dir():
        return
    ours = re.compile(re.escape(prefix_of(destination)) + _RANDOM + f"({OLD_SUFFIX})?")
    for place in list(destination.parent.iterdir()):
        if not ours.fullmatch(place.name) or not _is_nobodys(place):
            continue
        if place.name.endswith(OLD_SUFFIX) and not os.path.lexists(destination):
            place.rename(destination)
        else:
            shutil.rmtree(place, ignore_errors=True)


def _is_nobodys(place: Path) -> bool:
    """Whether it is a folder, and no link to one, that no process holds."""
    import fcntl

    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
