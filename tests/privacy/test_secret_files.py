"""Guards "secret files are never context", through the real server: `starling.showPrompt` shows
what the model is given. A failure is a password that it reads, and may suggest in another file.
"""

from pathlib import Path

import pytest

from tests.e2e.test_server_context import prompt_with
from tests.lsp_client import LspClient

# One of each kind; tests/lsp_server/test_context_refusals.py has every name.
KINDS = {
    "environment": ".env", "environment of a stage": ".env.production", "direnv": ".envrc",
    "certificate and key": "tls/server.pem", "private key": "tls/server.key", "SSH": ".ssh/config",
    "SSH key": "id_ed25519", "PuTTY key": "putty.ppk", "PGP": "mail.asc", "PKCS 12": "a.p12",
    "Java keystore": "release.jks", "Android signing": "keystore.properties",
    "Kerberos": "a.keytab",
    "password database": "old.kdbx", "password store": ".password-store/mail.gpg",
    "netrc": ".netrc", "curl": ".curlrc", "git": ".git-credentials", "npm": ".npmrc",
    "PyPI": ".pypirc", "Composer": "auth.json", "Maven": ".m2/settings.xml",
    "PostgreSQL": ".pgpass", "MySQL": ".my.cnf", "htpasswd": ".htpasswd", "AWS": ".aws/credentials",
    "Google cloud": "client_secret_1.json", "Azure": ".azure/accessTokens.json",
    "Firebase": "x-firebase-adminsdk-1.json", "Kubernetes": ".kube/config",
    "Kubernetes of a cluster": "prod.kubeconfig", "Docker": ".docker/config.json",
    "Terraform variables": "prod.tfvars", "Terraform state": "terraform.tfstate",
    "Ansible vault": ".vault_pass", "Hashicorp vault": ".vault-token", "token": "ci.token",
    "shell history": ".bash_history", "database history": ".psql_history", "VPN": "home.ovpn",
    "module of secrets": "secrets.py", "rclone": "rclone.conf",
}  # fmt: skip
SECRET = "canary_in_a_secret_file"
# What the model would be shown first of all: a definition of just the name in use.
CONTENT = f"sell_item = '{SECRET}'\ndef sell_item(till): ...  # {SECRET}\n"
MAIN = "from plain import sell_item\nfrom secrets import sell_item\nsell_item(\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    for name in KINDS.values():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(CONTENT)
    return root


def test_there_are_thirty_kinds() -> None:
    assert len(set(KINDS.values())) >= 30


def test_no_kind_of_secret_file_is_shown(root: Path, tiny_gguf: Path) -> None:
    """Open in the editor as source code, saved, on disk, and named in an import."""
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(settings={"minConfidence": 0}, root_uri=root.as_uri())
        client.wait_ready()
        for name in KINDS.values():
            uri = (root / name).as_uri()
            client.open(uri, CONTENT)
            client.save(uri)
        uri = (root / "main.py").as_uri()
        client.open(uri, MAIN)
        assert SECRET not in prompt_with(client, uri, "<fim_middle>")
        # The very same under a name that says nothing of secrets is shown, once it is read: by then
        # the others would have been, too.
        client.open((root / "plain.py").as_uri(), CONTENT.replace(SECRET, "plainly"))
        prompt = prompt_with(client, uri, "plainly")
        assert SECRET not in prompt
        assert client.shut_down() == 0
        assert SECRET.encode() not in client.stderr
