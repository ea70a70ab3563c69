"""Which files are never read as context, and why: secrets, ignored files, foreign folders.

Works on names and on what `stat` says; of files it reads only `.gitignore` and the like. Patterns
are git's own (`pathspec`); a file that git would not track is not shown to the model either.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_FILE_BYTES = 1_000_000

# Names of files that hold secrets. Matched without regard to case against the name and, for
# patterns with a slash, against the end of the path.
SECRET_PATTERNS: tuple[str, ...] = (
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    "*.pem",
    "*.key",
    "*.pfx",
    "*.p12",
    "*.p8",
    "*.pk8",
    "*.jks",
    "*.jceks",
    "*.bks",
    "*.keystore",
    "keystore.properties",
    "*.keytab",
    "krb5cc_*",
    "*.kdb",
    "*.kdbx",
    "*.psafe3",
    "*.1pux",
    "*.agilekeychain",
    "*.keychain",
    "*.keychain-db",
    "*.ppk",
    "*.asc",
    "*.gpg",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pgpass",
    "pgpass.conf",
    ".my.cnf",
    ".mylogin.cnf",
    ".pypirc",
    ".npmrc",
    ".yarnrc.yml",
    "nuget.config",
    "auth.json",
    ".git-credentials",
    ".htpasswd",
    ".htdigest",
    ".smbcredentials",
    ".curlrc",
    ".wgetrc",
    ".fetchmailrc",
    ".msmtprc",
    ".s3cfg",
    ".boto",
    ".databrickscfg",
    ".dockercfg",
    ".terraformrc",
    "terraform.rc",
    "rclone.conf",
    "kubeconfig",
    "kubeconfig.y*ml",
    "*.kubeconfig",
    ".vault-token",
    ".vault_pass*",
    "vault_pass*",
    ".token",
    "*.token",
    "token.json",
    "token.txt",
    "api_key",
    "api_key.*",
    "apikey",
    "apikey.*",
    "apikeys.*",
    "*_history",
    ".histfile",
    "credentials",
    "credentials.*",
    "*credentials*.json",
    "client_secret*.json",
    "service-account*.json",
    "*firebase-adminsdk*.json",
    "secret.*",
    "secrets.*",
    "*.secret",
    "*.secrets",
    "*.tfvars",
    "*.tfvars.json",
    "*.tfstate",
    "*.tfstate.*",
    "*.ovpn",
    "wg?.conf",
    "wp-config.php",
    "local.settings.json",
    "*/.ssh/*",
    "*/.aws/*",
    "*/.azure/*",
    "*/.gnupg/*",
    "*/.kube/*",
    "*/.docker/config.json",
    "*/.password-store/*",
    "*/.local/share/keyrings/*",
    "*/.mozilla/*/logins.json",
    "*/.m2/settings*.xml",
    "*/.gradle/gradle.properties",
    "*/.oci/*",
    "*/.fly/*",
    "*/run/secrets/*",
    "*/.config/gh/hosts.yml",
    "*/.config/gcloud/*",
)

# Folders whose files git tracks nowhere, or that hold what others wrote.
_FOREIGN_FOLDERS = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file may be read, and if not, why."""

    may_read: bool
    reason: str = ""


_YES = Verdict(may_read=True)


def is_secret(path: str) -> bool:
    """Whether the name of a file says that it holds keys or passwords."""
    lowered = path.lower().replace("\\", "/")
    name = lowered.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(f"/{lowered}" if "/" in pattern else name, pattern)
        for pattern in SECRET_PATTERNS
    )


class Refusals:
    """Judges the files of one workspace folder. Remembers what `.gitignore` files say."""

    def __init__(self, root: Path) -> None:
        """Raises OSError where `root` cannot be looked at."""
        self._real_root = Path(os.path.realpath(root))
        self._ignored = _IgnoreFiles(self._real_root)

    def of(self, path: Path) -> Verdict:
        """Of a file on disk, or of one that is open and not saved yet."""
        real = Path(os.path.realpath(path))
        if is_secret(str(path)) or is_secret(str(real)):
            return Verdict(may_read=False, reason="its name is that of a file with secrets")
        if not real.is_relative_to(self._real_root):
            return Verdict(may_read=False, reason="it lies outside of the workspace")
        inside = real.relative_to(self._real_root)
        if _FOREIGN_FOLDERS & set(inside.parts[:-1]):
            return Verdict(may_read=False, reason="it lies in a folder of tools or packages")
        if self._ignored.covers(real):
            return Verdict(may_read=False, reason="git ignores it")
        return _of_kind(real)

    def may_enter(self, folder: Path) -> bool:
        """Whether there may be files below a folder that may be read."""
        real = Path(os.path.realpath(folder))
        if not real.is_relative_to(self._real_root) or _FOREIGN_FOLDERS & set(real.parts):
            return False
        return real == self._real_root or not self._ignored.covers(real, is_folder=True)


def _of_kind(path: Path) -> Verdict:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _YES  # Open in the editor, and not saved yet.
    except OSError:
        return Verdict(may_read=False, reason="it cannot be opened")
    if not stat.S_ISREG(found.st_mode):
        return Verdict(may_read=False, reason="it is no regular file")
    if found.st_size > MAX_FILE_BYTES:
        return Verdict(may_read=False, reason="it is larger than a megabyte")
    return _YES


class _IgnoreFiles:
    """`.gitignore` of each folder from the repository's top down, and `.git/info/exclude`."""

    def __init__(self, root: Path) -> None:
        self._top = next((one for one in (root, *root.parents) if (one / ".git").exists()), root)
        self._specs: dict[Path, tuple[int, GitIgnoreSpec]] = {}

    def covers(self, path: Path, *, is_folder: bool = False) -> bool:
        """Whether git ignores `path`, below `top`: it or a folder that it lies in."""
        parts = path.relative_to(self._top).parts
        for n_parts in range(1, len(parts) + 1):
            inside = is_folder or n_parts < len(parts)
            if self._matches(self._top.joinpath(*parts[:n_parts]), is_folder=inside):
                # What lies in an ignored folder cannot be taken back by a pattern (gitignore(5)).
                return True
        return False

    def _matches(self, path: Path, *, is_folder: bool) -> bool:
        """The pattern that comes last decides, and deeper files come later."""
        folders = [self._top, *reversed(path.relative_to(self._top).parents[:-1])]
        files = [self._top / ".git" / "info" / "exclude"]
        files += [self._top / folder / ".gitignore" for folder in folders]
        is_ignored = False
        for file in files:
            spec = self._spec(file)
            if spec is None:
                continue
            base = self._top if file.name == "exclude" else file.parent
            name = path.relative_to(base).as_posix() + ("/" if is_folder else "")
            include = spec.check_file(name).include
            is_ignored = is_ignored if include is None else include
        return is_ignored

    def _spec(self, file: Path) -> GitIgnoreSpec | None:
        try:
            found = file.stat()
            known = self._specs.get(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
                return None
            if known is None or known[0] != found.st_mtime_ns:
                from pathspec import GitIgnoreSpec

                text = file.read_text("utf-8", errors="replace")
                known = found.st_mtime_ns, GitIgnoreSpec.from_lines(text.splitlines())
                self._specs[file] = known
        except OSError:
            return None
        return known[1]
