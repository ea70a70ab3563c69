"""Guards notebooks as text: the two formats of StarCoder, languages, and patience with bad files.

A failure would teach the model broken notebooks, or stop a run at a strange file.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.fim import SPECIAL_TOKENS
from train.corpus.formats import notebook

LONG = "total = sum(value for value in range(100) if value % 3 == 0 or value % 5 == 0)"
TEXT = "# Sums\n\nWe add up multiples of three and of five."


def code(source: Any, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def text(source: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


def stream(value: Any) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": value}


def shown(**data: Any) -> dict[str, Any]:
    named = {key.replace("_", "/"): value for key, value in data.items()}
    return {"output_type": "execute_result", "data": named}


def packed(*cells: dict[str, Any], language: Any = "python", **more: Any) -> bytes:
    metadata = {"language_info": {"name": language}}
    return json.dumps({"nbformat": 4, "metadata": metadata, "cells": cells} | more).encode()


def structured(*cells: dict[str, Any], **more: Any) -> str:
    return notebook.render(packed(*cells, **more), "structured").text


def script(*cells: dict[str, Any], **more: Any) -> str:
    return notebook.render(packed(*cells, **more), "script").text


def test_structured_notebooks_follow_the_published_format() -> None:
    rendered = notebook.render(
        packed(
            text(["# Sums\n", "\n", "We add."]),
            text("Really."),
            code("x = 1\n", stream("lost\n")),
            code(["\n", LONG + "\n", "x"], stream(["a\n", "b\n"]), shown(text_plain="2")),
            text("Done."),
            code("%matplotlib inline\n!ls"),
        ),
        "structured",
    )
    assert rendered.language == "Python"
    assert rendered.text == (
        "<jupyter_start><jupyter_text># Sums\n\nWe add.\n\nReally."
        f"<jupyter_code>x = 1\n{LONG}\nx<jupyter_output>a\nb\n2"
        "<jupyter_text>Done.<jupyter_code>%matplotlib inline\n!ls<jupyter_output><empty_output>"
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (stream("plain"), "plain"),
        (stream("  0%\r 50%\r100%\ndone"), "100%\ndone"),
        (stream("10%\r100%\r\n"), "100%"),
        (stream("\x1b[1;31mred\x1b[0m"), "red"),
        (shown(text_plain=["a", "b"], text_html="<b>a</b>"), "ab"),
        (shown(text_html="<b>a</b>"), "<empty_output>"),
        (shown(image_png="iVBO", text_plain="<Figure size 1x1>"), "<empty_output>"),
        (shown(image_png="iVBO", text_plain="[1, 2]"), "[1, 2]"),
        (
            {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["/home"]},
            "ValueError: no",
        ),
        ({"output_type": "pyout", "text": ["3"], "png": "iVBO"}, "3"),
        ({"output_type": "pyerr", "ename": "E", "evalue": "x"}, "E: x"),
        (stream("y" * 1000), "y" * 1000),
        (stream("y" * 1001), "y" * 1000 + "[...]"),
        ({"output_type": "display_data", "data": 3}, "<empty_output>"),
    ],
)
def test_outputs_become_text(output: dict[str, Any], expected: str) -> None:
    assert structured(text(TEXT), code(LONG, output)).endswith("<jupyter_output>" + expected)


def test_of_merged_cells_only_the_last_output_stays() -> None:
    rendered = structured(text(TEXT), code("a", stream("first")), code(LONG))
    assert rendered.endswith("<jupyter_output><empty_output>") and "first" not in rendered


def test_scripts_are_in_percent_format() -> None:
    assert script(text(TEXT), code(LONG + "\r\nx", stream("never"))) == (
        "<jupyter_script># %% [markdown]\n# # Sums\n#\n"
        f"# We add up multiples of three and of five.\n\n# %%\n{LONG}\nx\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%matplotlib inline", "# %matplotlib inline"),
        ("!pip install x", "# !pip install x"),
        ("files = !ls", "# files = !ls"),
        ("t = %timeit -o f()", "# t = %timeit -o f()"),
        ("df?", "# df?"),
        ("?df.head", "# ?df.head"),
        ("    !ls", "    pass  # !ls"),
        ("    % (1, 2)", "    % (1, 2)"),
        ("x = a % b", "x = a % b"),
        ("  != y)", "  != y)"),
        ("x = 'why?'", "x = 'why?'"),
    ],
)
def test_magics_are_comments_in_scripts(line: str, expected: str) -> None:
    assert f"\n{expected}\n" in script(code(f"{LONG}\n{line}\nz = 1"), code("q" * 50))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%%time\nx = 1", "# %%\n# %%time\nx = 1\n"),
        ("%%bash\nls\ncd x", "# %%\n# %%bash\n# ls\n# cd x\n"),
        ("%%html\n<b>\n", "# %%\n# %%html\n# <b>\n"),
    ],
)
def test_cell_magics(source: str, expected: str) -> None:
    assert script(text(TEXT + LONG), code(source)).endswith(expected)


@pytest.mark.parametrize(
    ("metadata", "language", "sign"),
    [
        ({"language_info": {"name": "R"}}, "R", "#"),
        ({"kernelspec": {"name": "ir"}}, "R", "#"),
        ({"kernelspec": {"name": "python3"}}, "Python", "#"),
        ({"kernelspec": {"language": "julia", "name": "julia-1.9"}}, "Julia", "#"),
        ({"kernelspec": {"name": "julia-1.9"}}, "Julia", "#"),
        ({"kernelspec": {"name": "xcpp17"}}, "C++", "//"),
        ({"kernelspec": {"name": ".net-csharp"}}, "C#", "//"),
        ({"language_info": {"name": "haskell"}}, "Haskell", "--"),
        ({"language_info": {"name": "matlab"}}, "MATLAB", "%"),
    ],
)
def test_languages_and_their_comment_signs(metadata: Any, language: str, sign: str) -> None:
    rendered = notebook.render(packed(text(TEXT), code(LONG), metadata=metadata), "script")
    assert rendered.language == language
    assert rendered.text.startswith(f"<jupyter_script>{sign} %% [markdown]\n{sign} # Sums")


def test_version_three_is_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Sums"]},
        {"cell_type": "code", "language": "python", "input": [LONG, "\n", LONG],
         "outputs": [{"output_type": "pyout", "text": ["7"]}]},
    ]  # fmt: skip
    data = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert notebook.render(data, "structured").text == (
        f"<jupyter_start><jupyter_text>## Sums<jupyter_code>{LONG}\n{LONG}<jupyter_output>7"
    )


@pytest.mark.parametrize(
    ("data", "style", "reason"),
    [
        (b"\xff\xfe", "script", "not JSON"),
        (b'{"cells": [', "script", "not JSON"),
        (b"[" * 100_000, "script", "not JSON"),
        (b"[1]", "script", "not a notebook"),
        (b"{}", "script", "not a notebook"),
        (b'{"cells": 3}', "script", "not a notebook"),
        (b'{"cells": [3, null, {}]}', "script", "no cells"),
        (packed(text(TEXT * 3)), "script", "no code cells"),
        (packed(code("")), "script", "no cells"),
        (packed(code("x" * 99)), "script", "too short"),
        (packed(code("x" * 100)), "script", ""),
        (packed(code(LONG * 2), language="klingon"), "script", "unknown language"),
        (packed(code(LONG * 2), language=None), "script", "unknown language"),
        (packed(code(LONG), text(TEXT), language="R"), "structured", "not Python"),
        (packed(code(LONG * 2)), "structured", "no text cells"),
        (packed(code(LONG * 2 + "<fim_middle>")), "script", "spells a special token"),
        (
            packed(code(LONG, stream("<jupyter_code>")), text(TEXT)),
            "structured",
            "spells a special token",
        ),
        (packed(code(LONG, stream("<jupyter_code>")), text(TEXT)), "script", ""),
    ],
)
def test_reasons(data: bytes, style: notebook.Style, reason: str) -> None:
    rendered = notebook.render(data, style)
    assert (rendered.reason, bool(rendered.text)) == (reason, not reason)


KEYS = st.sampled_from(
    ["cells", "worksheets", "cell_type", "source", "input", "outputs", "output_type", "text",
     "data", "metadata", "language_info", "kernelspec", "name", "language", "level",
     "text/plain", "ename"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
PIECE = st.sampled_from(["a\n", "%", "!", "\r", "\ud800", "x = 1\n", "\x1b[", *SPECIAL_TOKENS]) | (
    st.text(max_size=9)
)
CELL = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", "heading", "raw"])},
    optional={
        "source": st.lists(PIECE | JSON) | PIECE,
        "level": JSON,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"output_type": st.sampled_from(["stream", "error", "display_data"])},
                optional={"text": st.lists(PIECE) | JSON, "data": JSON, "ename": PIECE},
            )
        ),
    },
)
STYLES = st.sampled_from(["structured", "script"])


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), STYLES)
@settings(max_examples=60)
def test_nothing_raises(data: bytes, style: notebook.Style) -> None:
    rendered = notebook.render(data, style)
    assert bool(rendered.text) != bool(rendered.reason)


@given(st.lists(CELL, max_size=6), STYLES)
@settings(max_examples=60)
def test_tokens_mark_structure_and_nothing_else(cells: Any, style: notebook.Style) -> None:
    data = packed(*cells, code(LONG), text(TEXT))
    rendered = notebook.render(data, style)
    assert rendered == notebook.render(data, style)
    rendered.text.encode()
    if rendered.text:
        body = rendered.text
        for token in ("<jupyter_start>", "<jupyter_script>"):
            body = body.removeprefix(token)
        n_code = body.count("<jupyter_code>")
        assert body.count("<jupyter_output>") == n_code
        assert (style == "structured") == (n_code > 0)
        allowed = ("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>")
        assert not any(token in body for token in SPECIAL_TOKENS if token not in allowed)
