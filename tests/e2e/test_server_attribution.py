"""Guards that an editor is told whose code a suggestion is, before and after it is accepted."""

from tests import copying_bundle
from tests.lsp_client import LspClient

URI = "file:///w/a.py"
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000}


def test_a_copy_is_flagged_in_the_command_and_in_the_status(tmp_path, tiny_gguf) -> None:
    bundle = copying_bundle.make(tmp_path / "bundle", tiny_gguf)
    lines = copying_bundle.PREFIX.split("\n")
    end = (len(lines) - 1, len(lines[-1]))
    with LspClient(bundle=bundle) as client:
        client.initialize(settings=SETTINGS, root_uri="file:///w")
        client.wait_ready()
        client.open(URI, copying_bundle.PREFIX + copying_bundle.SUFFIX)
        (item,) = client.inline(URI, end)
        (accepted,) = item["command"]["arguments"]
        assert accepted["verdict"] == "copy"
        (source,) = accepted["matches"][0]["sources"]
        assert (source["package"], source["version"]) == ("records", "1.2.3")
        assert (source["path"], source["licence"]) == ("records/reader.py", "MIT")
        assert source["swhid"].startswith("swh:1:cnt:")
        assert source["lines"][0] <= end[0] + 1 <= source["lines"][1]
        client.wait_status(lambda status: status["verdict"] == "copy")
        assert client.call("workspace/executeCommand", item["command"]) is None

        hide = {"settings": {"starling": {**SETTINGS, "attribution": "hide"}}}
        client.notify("workspace/didChangeConfiguration", hide)
        assert client.inline(URI, end) == []
        assert client.shut_down() == 0
