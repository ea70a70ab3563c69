"""The version of Starling. Its home is pyproject.toml."""

import re
from pathlib import Path

DISTRIBUTION = "starling"


def starling_version() -> str:
    """From pyproject.toml in a checkout, from the installed package's metadata elsewhere."""
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if pyproject.is_file():
        found = re.search(r'^version = "([^"]+)"$', pyproject.read_text("utf-8"), re.MULTILINE)
        if found:
            return found[1]
    from importlib import metadata  # Slow to import, and the first answer waits for the version.

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"
