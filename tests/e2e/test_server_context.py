"""Guards what the model is shown of other files, through the real server: `starling.showPrompt` is
the only way for a user to see that no secret is among it.
"""

import time
from pathlib import Path

import pytest

from tests.lsp_client import TIMEOUT_S, LspClient

SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000}
SHOP = "def sell_item(till): ...\n"
MAIN = "from shop import sell_item\nfrom secrets import sell_item\nsell_item(\n"
PLACE = (2, 10)
NEVER = "sell_item = 'hunter2'\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "w"
    root.mkdir()
    (root / "shop.py").write_text(SHOP)
    (root / "secrets.py").write_text(NEVER)
    (root / "ignored.py").write_text(NEVER)
    (root / ".gitignore").write_text("ignored.py\n")
    (tmp_path / "outside.py").write_text(NEVER)
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    return root


def prompt_with(client: LspClient, uri: str, wanted: str) -> str:
    """The prompt, once it holds `wanted`: files are read beside the typing, not before it."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        prompt = client.prompt(uri, PLACE)
        if wanted in prompt:
            return prompt
        assert time.monotonic() < deadline_s, prompt


def test_the_prompt_shows_what_is_used_and_nothing_that_is_nobodys_business(
    root: Path, tiny_gguf: Path
) -> None:
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(settings=SETTINGS, root_uri=root.as_uri())
        client.wait_ready()
        uri = (root / "main.py").as_uri()
        for name in ("secrets.py", "ignored.py", "../outside.py"):
            client.open((root / name).resolve().as_uri(), NEVER)
        client.open(uri, MAIN)
        head = f"<file_sep>shop.py\n{SHOP}<file_sep>main.py\n<fim_prefix>"
        prompt = prompt_with(client, uri, "sell_item(till)")
        assert prompt.startswith(head) and "hunter2" not in prompt
        # Whatever is typed, the head of the prompt stays, and with it what the model has read.
        for text in ("till", ", sell_item", ")"):
            client.change(uri, PLACE, PLACE, text)
            assert client.prompt(uri, PLACE).startswith(head)
        # The editor's text counts once it was saved, not each key of it.
        shop_uri = (root / "shop.py").as_uri()
        client.open(shop_uri, SHOP.replace("till", "drawer"))
        prompt_with(client, uri, "sell_item(drawer)")
        client.notify(
            "workspace/didChangeConfiguration",
            {"settings": {"starling": {**SETTINGS, "otherFiles": False}}},
        )
        assert client.prompt(uri, PLACE).startswith("<file_sep>main.py\n<fim_prefix>")
        assert client.shut_down() == 0
        assert b"hunter2" not in client.stderr
