"""Guards the main promise, with the weights and the index that ship, over the real server.

Code copied from a package of the training set, typed up to its middle, is flagged with package,
version, path and licence; code that was written for this test is not. The packages are those that
serving itself installs, at the versions that were trained on.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from attribution.manifest import read_manifest
from runtime.bundle import default_bundle_directory
from tests.lsp_client import LspClient

SETTINGS = {"deadlineMs": 20_000, "minConfidence": 0}

# Places (package, module, line, column) in code that the model continues as it stands there.
COPIED = [
    ("attrs", "attr.validators", 391, 24),
    ("click", "click.utils", 219, 20),
    ("click", "click.core", 381, 30),
    ("click", "click.types", 46, 25),
    ("click", "click.decorators", 170, 15),
    ("click", "click.termui", 205, 43),
    ("jinja2", "jinja2.environment", 332, 21),
    ("jinja2", "jinja2.nodes", 226, 27),
    ("jinja2", "jinja2.visitor", 66, 29),
    ("attrs", "attr._cmp", 82, 21),
]

OWN_CODE = '''\
import math


class Ferry:
    """Carries wagons over the sound, as many as its deck is long."""

    def __init__(self, deck_metres, knots):
        self.deck_metres = deck_metres
        self.knots = knots
        self.wagons = []

    def board(self, wagon_metres):
        taken = sum(self.wagons)
        if taken + wagon_metres > self.deck_metres:
            return False
        self.wagons.append(wagon_metres)
        return True

    def minutes_for(self, nautical_miles):
        hours = nautical_miles / self.knots
        return math.ceil(hours * 60)

    def empty_deck(self):
        unloaded, self.wagons = self.wagons, []
        return unloaded


def fleet_minutes(ferries, nautical_miles):
    slowest = 0
    for ferry in ferries:
        slowest = max(slowest, ferry.minutes_for(nautical_miles))
    return slowest
'''


def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def client():
    with LspClient(bundle=default_bundle_directory()) as client:
        client.initialize(settings=SETTINGS, root_uri="file:///w")
        client.wait_ready()
        yield client
        assert client.shut_down() == 0


def suggested(client: LspClient, uri: str, text: str) -> list[dict]:
    """What is suggested at the end of `text`, with verdict and matches."""
    client.open(uri, text + "\n")
    lines = text.split("\n")
    items = client.inline(uri, (len(lines) - 1, len(lines[-1])))
    client.close(uri)
    return [item["command"]["arguments"][0] | {"text": item["insertText"]} for item in items]


def test_copied_functions_are_flagged_with_their_source(client: LspClient) -> None:
    """Many of them: the model goes its own way in others, a short one may be "unknown", and a tie
    of two tokens may fall otherwise on another processor. None that is verbatim is called new."""
    rows = {(row.origin, row.path): row for row in
            read_manifest(default_bundle_directory() / "manifest.jsonl.zst")}  # fmt: skip
    n_flagged = 0
    for number, (package, module, line, column) in enumerate(COPIED):
        lines = source_of(module).split("\n")[:line]
        typed = "\n".join([*lines[:-1], lines[-1][:column]])
        for answer in suggested(client, f"file:///w/copied{number}.py", typed):
            if answer["verdict"] != "copy":
                is_verbatim = lines[-1][column:] == answer["text"]
                assert not is_verbatim or answer["verdict"] == "unknown", answer["text"]
                continue
            sources = [source for match in answer["matches"] for source in match["sources"]]
            (source, *_) = [one for one in sources if one["package"] == package]
            assert source["version"] == importlib.metadata.version(package)
            row = rows[f"pypi:{package}", source["path"]]
            assert source["path"].endswith(module.replace(".", "/") + ".py")
            assert (source["licence"], source["swhid"]) == (row.licence, row.swhid)
            first, last = source["lines"]
            assert first <= line <= last + 1
            n_flagged += 1
    assert n_flagged >= len(COPIED) / 4, f"{n_flagged} of {len(COPIED)}"


def test_own_code_is_not_flagged(client: LspClient) -> None:
    """Every line of it, at its start and in its middle; only what is certain may be said."""
    lines = OWN_CODE.rstrip("\n").split("\n")
    verdicts = []
    for line_idx in range(6, len(lines)):
        line = lines[line_idx]
        indent = len(line) - len(line.lstrip())
        for column in {indent, (indent + len(line)) // 2}:
            typed = "\n".join([*lines[:line_idx], line[:column]])
            answers = suggested(client, f"file:///w/own{line_idx}-{column}.py", typed)
            verdicts += [answer["verdict"] for answer in answers]
    assert len(verdicts) >= 20, "the model should have something to say"
    assert "copy" not in verdicts
    assert verdicts.count("none") >= 0.8 * len(verdicts)
