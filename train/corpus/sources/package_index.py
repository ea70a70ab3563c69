"""Pinned Python distributions from the package index that the user's pip is configured for.

Wheels and sdists are found and downloaded with unearth, not with pip: for an sdist, ``pip
download`` runs the package's own build code. Here nothing is unpacked and nothing is executed.
What is chosen depends on the index alone, not on the platform or Python version of this machine.

Knows nothing of what is inside a distribution.
"""

import hashlib
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from train.corpus.sources.archives import TAR_SUFFIXES
from train.corpus.sources.pip_settings import PipSettings, read_pip_settings
from train.errors import SourceError

Distribution = Literal["wheel", "sdist"]

MAX_DISTRIBUTION_BYTES = 1_000_000_000
"""A larger distribution holds binaries, and would fill a small disk."""
N_TRIES = 3
"""A lost connection or an overloaded index is tried again; more would only hide a real outage."""

_SUFFIXES = {"wheel": (".whl",), "sdist": (*TAR_SUFFIXES, ".zip")}
_HASHES = ("sha256", "sha384", "sha512", "md5")
_CHUNK_BYTES = 1 << 18
_BACKOFF_S = 0.25

T = TypeVar("T")


def cache_directory() -> Path:
    """Where fetched distributions are kept: STARLING_CACHE, or the user's cache folder."""
    if given := os.environ.get("STARLING_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "starling"


def fetch(pin: str, *, distribution: Distribution, sha256: str = "") -> Path:
    """The distribution ``name==version`` in the cache; threads and processes may share the cache.

    `sha256` is verified each time, also for what is in the cache; empty means that any is taken.
    Raises SourceError when there is none, its hash is wrong, or the index does not answer.
    """
    name, version = _parse_pin(pin)
    directory = cache_directory() / "distributions" / f"{name}-{version}"
    if cached := _cached(directory, distribution, sha256.lower()):
        return cached
    return _asking_index(
        pin,
        lambda client, finder: _download(
            client, _choose(finder, pin, distribution, sha256.lower()), directory
        ),
    )


def resolve_sha256(pin: str, distribution: Distribution) -> str:
    """The SHA-256 to write into a recipe: what the index says, or else of the file it gives."""
    link = _asking_index(pin, lambda client, finder: _choose(finder, pin, distribution, ""))
    return link.hashes.get("sha256") or sha256_of(fetch(pin, distribution=distribution))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """One file that the index offers."""

    pin: str
    url: str
    filename: str
    hashes: dict[str, str]
    """By name of the algorithm, as the index gives them; `sha256` is the recipe's where given."""


def _parse_pin(pin: str) -> tuple[str, str]:
    from packaging.utils import InvalidName, canonicalize_name
    from packaging.version import InvalidVersion, Version

    name, _, version = pin.partition("==")
    try:
        return canonicalize_name(name.strip(), validate=True), str(Version(version))
    except (InvalidName, InvalidVersion) as error:
        raise SourceError(f"the pin {pin!r} is not name==version: correct the recipe") from error


def _preference(filename: str) -> tuple[bool, str]:
    """Wheels without compiled parts first, then by name: the same on every machine."""
    return not filename.endswith(("-none-any.whl", ".tar.gz")), filename


def _cached(directory: Path, distribution: Distribution, sha256: str) -> Path | None:
    if not directory.is_dir():
        return None
    found = [
        path
        for path in directory.iterdir()
        if path.name.endswith(_SUFFIXES[distribution]) and not path.name.startswith(".")
    ]
    found.sort(key=lambda path: _preference(path.name))
    if not found or not sha256:
        return found[0] if found else None
    for path in found:
        if sha256_of(path) == sha256:
            return path
    raise SourceError(
        f"{found[0]} does not have the SHA-256 that the recipe states ({sha256}): delete it, or "
        "correct the recipe"
    )


def _choose(finder: Any, pin: str, distribution: Distribution, sha256: str) -> _Link:
    from packaging.version import Version

    name, version = _parse_pin(pin)
    links = []
    versions = set()
    for package in finder.find_all_packages(name, allow_yanked=True):
        versions.add(Version(package.version))
        link = package.link
        if Version(package.version) == Version(version) and link.filename.endswith(
            _SUFFIXES[distribution]
        ):
            given = {key: values[0].lower() for key, values in (link.hash_option or {}).items()}
            links.append(_Link(pin=pin, url=link.url, filename=link.filename, hashes=given))
    if not links:
        raise _not_offered(pin, distribution, versions)
    links.sort(key=lambda link: _preference(link.filename))
    if not sha256:
        return links[0]
    for link in links:
        if link.hashes.get("sha256", sha256) == sha256:
            return _Link(
                pin=pin,
                url=link.url,
                filename=link.filename,
                hashes={**link.hashes, "sha256": sha256},
            )
    raise SourceError(
        f"the index has no {distribution} of {pin} with the SHA-256 that the recipe states "
        f"({sha256}): lock the recipe again if you trust the new one"
    )


def _not_offered(pin: str, distribution: Distribution, versions: set[Any]) -> SourceError:
    name, version = _parse_pin(pin)
    if not versions:
        return SourceError(
            f"the index does not know {name}: check the name in the recipe, and which index pip "
            "is configured for"
        )
    if version not in map(str, versions):
        return SourceError(
            f"the index has no version {version} of {name}, the newest is {max(versions)}: correct "
            "the recipe"
        )
    other = "sdist" if distribution == "wheel" else "wheel"
    return SourceError(
        f"the index has no {distribution} of {pin}: ask for its {other}, or leave it out"
    )


def _download(client: Any, link: _Link, directory: Path) -> Path:
    hashers = {name: hashlib.new(name) for name in _HASHES if name in link.hashes}
    n_bytes = 0
    with _writing(directory) as (file, temporary):
        with client.get_stream(link.url) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > MAX_DISTRIBUTION_BYTES:
                    raise SourceError(
                        f"{link.filename} is larger than {MAX_DISTRIBUTION_BYTES} bytes: leave "
                        f"{link.pin} out"
                    )
                for hasher in hashers.values():
                    hasher.update(chunk)
                file.write(chunk)
        for name, hasher in hashers.items():
            if hasher.hexdigest() != link.hashes[name]:
                raise SourceError(
                    f"what was downloaded as {link.filename} has the {name} {hasher.hexdigest()} "
                    f"and not {link.hashes[name]}: try again, and do not trust this index if it "
                    "stays so"
                )
        file.flush()
        os.fsync(file.fileno())
        # `filename` is the last part of a URL's path, so it leads to no other folder.
        return temporary.replace(directory / link.filename)


@contextmanager
def _writing(directory: Path) -> Iterator[tuple[Any, Path]]:
    """A temporary file beside its final name, which is gone afterwards unless it was renamed."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".part-", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)


def _asking_index(pin: str, ask: Callable[[Any, Any], T]) -> T:
    """The answer of `ask(client, finder)`, tried again where the network fails."""
    import httpx2

    with ExitStack() as cleanup:
        client, finder = _open_client(read_pip_settings(), cleanup)
        for try_idx in range(N_TRIES):
            try:
                return ask(client, finder)
            except httpx2.HTTPError as error:
                if try_idx + 1 == N_TRIES:
                    raise SourceError(
                        f"{pin} cannot be fetched ({_first_line(error)}): check the network and "
                        "which index pip is configured for"
                    ) from error
                time.sleep(_BACKOFF_S * 2**try_idx)
            except OSError as error:
                raise SourceError(
                    f"{pin} cannot be kept in the cache ({error}): free space there, or set "
                    "STARLING_CACHE to another folder"
                ) from error
            except (ValueError, httpx2.InvalidURL) as error:
                raise SourceError(
                    f"the index gives no usable page for {pin} ({_first_line(error)}): check which "
                    "index pip is configured for"
                ) from error
    raise AssertionError("unreachable")


def _open_client(settings: PipSettings, cleanup: ExitStack) -> tuple[Any, Any]:
    """An HTTP client and a finder that look where pip would look."""
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    # A package that one of several indexes lacks is no warning.
    logging.getLogger("unearth").addHandler(logging.NullHandler())
    indexes = [] if settings.no_index else list(settings.index_urls)
    if not settings.no_index and not settings.has_index:
        # unearth without sources has the same built-in index as pip.
        indexes.insert(0, PackageFinder().sources[0]["url"])
    if not indexes and not settings.find_links:
        raise SourceError("pip is configured to use no index: allow one, or put files in the cache")
    try:
        certificates = ssl.create_default_context(cafile=settings.certificates or None)
    except OSError as error:
        raise SourceError(
            f"pip's certificates {settings.certificates} cannot be read ({error}): correct `cert` "
            "in its configuration"
        ) from error
    client = PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=certificates,
        proxy=settings.proxy or None,
        timeout=settings.timeout_s,
        follow_redirects=True,
        auth=MultiDomainBasicAuth(prompting=False, index_urls=indexes),
        event_hooks={"response": [_raise_for_overload]},
    )
    cleanup.enter_context(client)
    finder = PackageFinder(
        client,
        index_urls=indexes,
        find_links=settings.find_links,
        trusted_hosts=settings.trusted_hosts,
        ignore_compatibility=True,
    )
    return client, finder


def _raise_for_overload(response: Any) -> None:
    """An index that fails must not look like one that lacks the package."""
    if response.status_code >= 500 or response.status_code == 429:
        response.raise_for_status()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
