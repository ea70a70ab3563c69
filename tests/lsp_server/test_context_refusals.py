"""Guards what is never read as context: a secret that reaches a prompt can be suggested back, and a
file of another client's workspace has no business in this one.
"""

import os
from pathlib import Path

import pytest

from lsp_server.context.cursor import OpenFile
from lsp_server.context.refusals import MAX_FILE_BYTES, SECRET_PATTERNS, Refusals, is_secret
from lsp_server.context.sources import Sources

SECRET_NAMES = [
    ".env", ".env.local", "prod.env", ".ENV", ".envrc", "server.pem", "tls.key", "a.pfx", "a.p12",
    "AuthKey.p8", "a.jks", "release.keystore", "vault.kdbx", "old.kdb", "putty.ppk", "key.asc",
    "dump.gpg", "id_rsa", "id_rsa.old", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", "_netrc",
    ".pgpass", ".my.cnf", ".pypirc", ".npmrc", ".yarnrc.yml", ".git-credentials", ".htpasswd",
    ".vault-token", "credentials", "credentials.json", "gcp-credentials.json",
    "client_secret_12.json", "service-account.json", "secret.py", "secrets.yaml", "app.secrets",
    "prod.tfvars", "prod.tfvars.json", "terraform.tfstate", "terraform.tfstate.backup",
    "home.ovpn", "wp-config.php", "local.settings.json", "home/.ssh/config", ".aws/config",
    "home/.azure/a.json", "home/.gnupg/a", "home/.kube/config", ".docker/config.json",
    "home/.config/gh/hosts.yml", "home/.config/gcloud/a.db", "signing.pk8", "a.jceks", "a.bks",
    "keystore.properties", "http.keytab", "krb5cc_1000", "old.psafe3", "export.1pux",
    "login.keychain-db", "pgpass.conf", ".mylogin.cnf", "NuGet.Config", "auth.json", ".htdigest",
    ".smbcredentials", ".curlrc", ".wgetrc", ".msmtprc", ".s3cfg", ".boto", ".databrickscfg",
    ".dockercfg", ".terraformrc", "rclone.conf", "kubeconfig", "kubeconfig.yaml",
    "prod.kubeconfig", ".vault_pass.txt", "vault_pass", "ci.token", "token.json", "token.txt",
    "api_key.txt", "apikeys.json", ".bash_history", ".zsh_history", ".python_history",
    ".psql_history", "fish_history", "app-firebase-adminsdk-1a.json", "wg0.conf",
    "home/.password-store/mail.gpg", "home/.local/share/keyrings/login", "home/.m2/settings.xml",
    "home/.gradle/gradle.properties", "home/.oci/config", "home/.fly/config.yml",
    "home/run/secrets/database",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_names(name: str) -> None:
    assert is_secret(name) and is_secret(f"/home/u/{name}") and is_secret(f"C:\\w\\{name}".lower())


@pytest.mark.parametrize(
    "name",
    ["env.py", "keyboard.py", "environment/a.py", "token.py", "tokenizer.json", "secretary.py",
     "monkey.py", "pem.py", "credential.py", "ssh/client.py", "docker/config.json", "history.py",
     "auth.py", "tokens.json", "keytab.py", "settings.xml", "gradle.properties", "weights.conf",
     "run/secrets_test.py", "authentication.json", "vault.py", "bot.py",
     "kubeconfig.go", "api_key_view.rb"],
)  # fmt: skip
def test_names_that_only_look_secret(name: str) -> None:
    assert not is_secret(name) and not is_secret(f"/home/u/{name}")


def test_every_pattern_is_tried() -> None:
    for pattern in SECRET_PATTERNS:
        name = pattern.replace("*", "x").lstrip("/")
        assert is_secret(name), pattern
    assert len(SECRET_PATTERNS) >= 30


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    for name, text in {
        "a.py": "a = 1\n",
        "sub/b.py": "b = 1\n",
        "sub/deep/c.py": "c = 1\n",
        "build/out.py": "x = 1\n",
        "build/keep.py": "x = 1\n",
        "sub/generated.py": "x = 1\n",
        "sub/kept_generated.py": "x = 1\n",
        "sub/deep/local.py": "x = 1\n",
        "private.py": "x = 1\n",
        "node_modules/m/i.py": "x = 1\n",
        ".env": "TOKEN=1\n",
        ".gitignore": "/build/\n*generated.py\n",
        "build/.gitignore": "!keep.py\n",
        "sub/.gitignore": "!kept_generated.py\n/deep/local.py\n",
        ".git/info/exclude": "private.py\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "elsewhere.py").write_text("secret = 1\n")
    (tmp_path / "workspace2").mkdir()
    (tmp_path / "workspace2" / "a.py").write_text("x = 1\n")
    return root


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.py", ""),
        ("sub/b.py", ""),
        ("sub/deep/c.py", ""),
        ("not_saved_yet.py", ""),
        ("build/out.py", "git ignores it"),
        ("build/keep.py", "git ignores it"),  # nothing comes back from an ignored folder
        ("sub/generated.py", "git ignores it"),
        ("sub/kept_generated.py", ""),
        ("sub/deep/local.py", "git ignores it"),
        ("private.py", "git ignores it"),
        ("node_modules/m/i.py", "it lies in a folder of tools or packages"),
        (".git/config.py", "it lies in a folder of tools or packages"),
        (".env", "its name is that of a file with secrets"),
        ("../elsewhere.py", "it lies outside of the workspace"),
        ("../workspace2/a.py", "it lies outside of the workspace"),
        ("sub", "it is no regular file"),
    ],
)
def test_verdicts(workspace: Path, name: str, reason: str) -> None:
    verdict = Refusals(workspace).of(workspace / name)
    assert (verdict.may_read, verdict.reason) == (not reason, reason)


def test_verdicts_follow_the_ignore_files(workspace: Path) -> None:
    refusals = Refusals(workspace)
    assert refusals.of(workspace / "a.py").may_read
    ignore = workspace / ".gitignore"
    ignore.write_text("a.py\n")
    os.utime(ignore, ns=(1, 1))
    assert not refusals.of(workspace / "a.py").may_read
    ignore.unlink()
    assert refusals.of(workspace / "a.py").may_read


def test_patterns_of_the_repository_above_the_workspace_count(workspace: Path) -> None:
    refusals = Refusals(workspace / "sub")
    assert not refusals.of(workspace / "sub" / "generated.py").may_read
    assert refusals.of(workspace / "sub" / "b.py").may_read
    assert not refusals.of(workspace / "a.py").may_read


def test_links_are_followed_before_they_are_judged(workspace: Path) -> None:
    for name, target in {
        "out.py": "../elsewhere.py", "env.py": ".env", "in.py": "sub/b.py", "gone.py": "nowhere",
        "loop.py": "loop.py", "up": "..",
    }.items():  # fmt: skip
        (workspace / name).symlink_to(target)
    refusals = Refusals(workspace)
    assert refusals.of(workspace / "in.py").may_read
    for name in ("out.py", "env.py", "up/elsewhere.py", "loop.py"):
        assert not refusals.of(workspace / name).may_read, name


def test_a_workspace_behind_a_link(workspace: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(workspace)
    assert Refusals(link).of(link / "a.py").may_read
    assert Refusals(link).of(workspace / "a.py").may_read
    assert not Refusals(link).of(link / "build" / "out.py").may_read


@pytest.mark.parametrize(
    ("data", "is_text"),
    [
        (b"x = 1\r\n", True),
        (b"\xef\xbb\xbfx = 1\n", True),
        (b"", True),
        (b"x" * MAX_FILE_BYTES, True),
        (b"x" * (MAX_FILE_BYTES + 1), False),
        (b"ELF\0\1", False),
        (b"\xff\xfe", False),
    ],
)
def test_large_and_binary_files_are_no_text(tmp_path: Path, data: bytes, is_text: bool) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(data)
    source = Sources().of_file(path)
    assert (source is not None) is is_text
    assert Refusals(tmp_path).of(path).may_read is (len(data) <= MAX_FILE_BYTES)
    if source is not None:
        assert "\r" not in source.text and "\ufeff" not in source.text


def test_a_file_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    sources = Sources()
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    first = sources.of_file(path)
    assert first is not None and sources.of_file(path) is first
    path.write_text("x = 22\n")
    again = sources.of_file(path)
    assert again is not None and again.text == "x = 22\n"
    # The editor's text counts, not that on disk, and each change of it.
    shown = sources.of_open(path, OpenFile(uri="", revision=3, text="x = 3\r\n"))
    assert shown.text == "x = 3\n"
    same = OpenFile(uri="", revision=3, text="not looked at")
    assert sources.of_open(path, same) is shown
    path.unlink()
    assert sources.of_file(path) is None
    # One that was closed is forgotten: otherwise a server that runs for weeks would grow.
    sources.keep_open([path])
    assert sources.of_open(path, same) is shown
    sources.keep_open([tmp_path / "b.py"])
    assert sources.of_open(path, same) is not shown
