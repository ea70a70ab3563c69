"""Guards training against notebooks that were made to hurt: scripts and images in them do not reach
the corpus, and huge or deep ones are refused or cut, soon. A failure would be a run that hangs, or
a model that has learned a stranger's HTML and escape sequences as if they were output.
"""

import json
import time
from typing import Any

import pytest

from train.corpus.formats.notebook import MAX_OUTPUT_CHARS, Style, render

CODE = {"cell_type": "code", "source": "total = 1\n" * 30}
TEXT = {"cell_type": "markdown", "source": "What is counted here, and why it is counted. " * 4}
METADATA = {"language_info": {"name": "python"}}


def notebook(*outputs: Any, cells: list[Any] | None = None) -> bytes:
    made = cells if cells is not None else [TEXT, {**CODE, "outputs": list(outputs)}]
    return json.dumps({"nbformat": 4, "metadata": METADATA, "cells": made}).encode()


def stream(text: str) -> dict[str, str]:
    return {"output_type": "stream", "text": text}


@pytest.mark.parametrize("style", ["structured", "script"])
def test_html_scripts_and_images_stay_out(style: Style) -> None:
    data = {
        "text/html": "<script>steal()</script><img src=https://example.org/x.png>",
        "application/javascript": "steal()",
        "image/svg+xml": "<svg onload=steal()>",
        "image/png": "AAAA",
        "text/plain": "<Figure>",
    }
    shown = [{"output_type": kind, "data": data} for kind in ("display_data", "execute_result")]
    rendered = render(notebook(*shown, stream("\x1b[2J\x1b[31mdone\x1b[0m\n")), style)
    assert rendered.text and "total = 1" in rendered.text
    assert not any(word in rendered.text for word in ("steal", "<script", "<svg", "AAAA", "\x1b"))


BOMBS = {
    "a huge output": notebook(stream("y" * 3_000_000)),
    "a progress bar of a million steps": notebook(stream("\r".join(map(str, range(300_000))))),
    "many outputs": notebook(*[stream("a\n")] * 60_000),
    "many escapes": notebook(stream("\x1b[" * 800_000)),
    "many cells": notebook(cells=[TEXT, CODE] * 12_000),
    "a line of question marks": notebook(cells=[TEXT, {**CODE, "source": "a.b" * 400_000 + "?"}]),
    "a magic of commas": notebook(cells=[TEXT, {**CODE, "source": "a, " * 200_000 + "x"}]),
    "deep": b'{"cells":' + b"[" * 500_000,
    "deep and closed": b'{"cells":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    "a number of a million digits": b'{"cells": [' + b"9" * 1_000_000 + b"]}",
    "cells in a circle of types": notebook(cells=[{"cell_type": CODE, "source": {"a": [TEXT]}}]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_time(name: str) -> None:
    for style in ("structured", "script"):
        started_s = time.process_time()
        rendered = render(BOMBS[name], style)
        assert time.process_time() - started_s < 4, name
        assert bool(rendered.text) != bool(rendered.reason)
    if "output" in name:
        assert len(render(BOMBS[name], "structured").text) < 2 * MAX_OUTPUT_CHARS
