"""What the origin of a file says of its project: the place, the owner and the repository.

    github:acme/shop   git:acme/shop   https://github.com/Acme/shop.git   git@github.com:acme/shop
    pypi:shop          folder:work     https://gitlab.com/acme/team/shop  ssh://git@host/acme/shop

Recipes spell origins as ``kind:name``, lists of Software Heritage as URLs. Names are compared in
lower case, as forges and package indexes do. Nothing here asks whether an origin exists.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

FORGE_OF_HOST = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "codeberg.org": "codeberg",
}
FORGES = frozenset(FORGE_OF_HOST.values())
"""Kinds of origin whose names are OWNER/NAME."""

_URL = re.compile(
    r"(?:[a-z_]+:)?[a-z][a-z0-9+.-]*://(?:[^@/]*@)?(?:www\.)?(?P<host>[^/:]+)(?::\d+)?/(?P<path>.*)"
    r"|(?:[a-z_]+:)?[^@/:\s]+@(?P<ssh_host>[^/:\s]+):(?P<ssh_path>.*)",
    re.IGNORECASE,
)
"""With or without a kind before it; the second form is that of ssh."""
_PACKAGE_HOST = re.compile(r"(?:\w+\.)?pypi\.")
_N_ORIGINS = 10_000
"""Parsed ones that are kept: files of one project follow one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A parsed origin, in lower case."""

    kind: str
    """A forge, a kind of source of a recipe, or the host of a URL that is no known forge."""
    name: str
    """Without ``.git``: ``owner/repository``, at forges with groups longer, or one word."""

    @property
    def owners(self) -> tuple[str, ...]:
        """The account or group; none where the name is one word."""
        return tuple(parts[0] for parts in self._places() if len(parts) > 1)

    @property
    def repos(self) -> tuple[str, ...]:
        """The name and what it lies in, from ``owner/repository`` on; none where it is one word.

        A name of more words may be a repository in a subgroup or a folder in a repository.
        """
        return tuple(
            "/".join(parts[:end]) for parts in self._places() for end in range(2, len(parts) + 1)
        )

    def _places(self) -> list[list[str]]:
        parts = self.name.lstrip("~").split("/")
        # git:forge.example/acme/shop: the first word is a host, though it need not be.
        return [parts, parts[1:]] if len(parts) > 2 and "." in parts[0] else [parts]


@lru_cache(maxsize=_N_ORIGINS)
def parse_origin(text: str) -> Origin:
    """What `text` names; of one without any form, all is the name."""
    kind, path = split_origin(text)
    path = re.split(r"[?#]|/-/", path, maxsplit=1)[0].strip("/").lower()
    if _PACKAGE_HOST.match(kind):
        # A page of the index: project/NAME/VERSION.
        return Origin(kind="pypi", name="".join(path.split("/")[1:2]))
    if kind == "github":
        path = "/".join(path.split("/")[:2])
    return Origin(kind=kind, name=path.removesuffix(".git").rstrip("/"))


def split_origin(text: str) -> tuple[str, str]:
    """Kind in lower case, and all that follows as it is: a name, or a name and a path in it."""
    text = text.strip()
    if found := _URL.match(text):
        host = (found["host"] or found["ssh_host"]).lower()
        path = found["path"] if found["host"] else found["ssh_path"]
        return FORGE_OF_HOST.get(host, host), path.lstrip("/")
    kind, colon, name = text.partition(":")
    if not colon:
        kind, name = "", text
    host, _, rest = name.partition("/")
    host = host.lower().removeprefix("www.")
    if rest and host in FORGE_OF_HOST:
        return FORGE_OF_HOST[host], rest
    return kind.lower(), name
