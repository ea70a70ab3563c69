"""Jupyter notebooks as text to learn from, in StarCoder's two forms (Li et al. 2023, section 3.2).

    structured   <jupyter_start><jupyter_text>TEXT<jupyter_code>CODE<jupyter_output>OUTPUT ...
    script       <jupyter_script># %% [markdown]\\n# TEXT\\n\\n# %%\\nCODE ...

Reads nbformat 3 and 4 as plain JSON, and is patient with what notebooks in the wild get wrong. What
runs nowhere (raw cells) and what is no text (images, HTML, widgets) is left out. The end-of-text
token is the tokenizer's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from train.corpus.formats.conversation import line_of, load_object, records_of, text_of
from train.corpus.formats.tokens import spells_special_token
from train.corpus.raw_file import Rendered

Style = Literal["structured", "script"]

MIN_CHARS = 100
"""Source of all cells together: StarCoder2's limit for Kaggle notebooks (section 2.4.2)."""
MAX_OUTPUT_CHARS = 1_000
"""Where StarCoder's published code cuts an output; `CUT` stands for the rest."""
CUT = "[...]"
STRUCTURED_LANGUAGE = "Python"
"""Structured notebooks are those that say of themselves that they are Python (section 3.2)."""


def render(data: bytes, style: Style) -> Rendered:
    """The text of one notebook, or the reason why there is none. Raises nothing."""
    notebook = load_object(data)
    if notebook is None:
        return Rendered(reason="not JSON")
    if not isinstance(notebook.get("cells", notebook.get("worksheets")), list):
        return Rendered(reason="not a notebook")
    cells = [cell for entry in _cells(notebook) if (cell := _to_cell(entry)) is not None]
    if not cells:
        return Rendered(reason="no cells")
    if not any(cell.is_code for cell in cells):
        return Rendered(reason="no code cells")
    if sum(len(cell.source) for cell in cells) < MIN_CHARS:
        return Rendered(reason="too short")
    language = _language(notebook)
    if not language:
        return Rendered(reason="unknown language")
    if style == "structured":
        return _structured(cells, language)
    return _script(cells, language)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    is_code: bool
    source: str
    output: str


# How kernels and notebooks call our languages, in lower case and without a version.
_NAMES = {
    "C": "c", "C#": ".net-csharp c# csharp", "C++": "c++ xcpp", "Clojure": "clojure",
    "CoffeeScript": "coffeescript", "Elixir": "elixir", "F#": ".net-fsharp f# fsharp",
    "Gnuplot": "gnuplot", "Go": "go gophernotes", "Groovy": "groovy",
    "Haskell": "haskell ihaskell", "Java": "java", "JavaScript":
    "javascript ijavascript js node node.js nodejs", "Julia": "julia", "Kotlin": "kotlin",
    "Lua": "lua", "MATLAB": "matlab", "Octave": "octave", "PHP": "php", "Perl": "perl",
    "PowerShell": ".net-powershell powershell", "Python":
    "python ipython pyspark pysparkkernel conda-env-python xpython xeus-python",
    "R": "r ir", "Ruby": "ruby iruby", "Rust": "rust evcxr", "SQL": "sql",
    "Scala": "scala almond sparkkernel", "Shell": "bash shell", "Swift": "swift",
    "TypeScript": "typescript deno tslab",
}  # fmt: skip
_LANGUAGES = {name: language for language, names in _NAMES.items() for name in names.split()}
_COMMENT_SIGNS = {
    "C": "//", "C#": "//", "C++": "//", "Clojure": ";;", "CoffeeScript": "#", "Elixir": "#",
    "F#": "//", "Gnuplot": "#", "Go": "//", "Groovy": "//", "Haskell": "--", "Java": "//",
    "JavaScript": "//", "Julia": "#", "Kotlin": "//", "Lua": "--", "MATLAB": "%", "Octave": "%",
    "PHP": "//", "Perl": "#", "PowerShell": "#", "Python": "#", "R": "#", "Ruby": "#", "Rust": "//",
    "SQL": "--", "Scala": "//", "Shell": "#", "Swift": "//", "TypeScript": "//",
}  # fmt: skip
_VERSION_CHARS = "0123456789.-_ "

# `%` before a letter: a continued expression has a blank there. `x = !ls` is a magic too.
_MAGIC = re.compile(r"(?:[\w, ]+=\s*)?(?:%[A-Za-z]|![^=]|\?+\w)|[\w.]+\?+\s*$")
_CELL_MAGIC = re.compile(r"%%([\w!]+)")
# Their cell is Python below the first line; the cell of any other cell magic is something else.
_PYTHON_CELL_MAGICS = ("capture", "memit", "mprun", "prun", "python", "python3", "time", "timeit")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cells of both formats: version 3 has them in worksheets."""
    yield from records_of(notebook.get("cells"))
    for worksheet in records_of(notebook.get("worksheets")):
        yield from records_of(worksheet.get("cells"))


def _to_cell(entry: dict[str, Any]) -> _Cell | None:
    """A cell with something in it, of a kind that is shown or run."""
    kind = entry.get("cell_type")
    source = _joined(entry.get("source", entry.get("input")))
    source = _BLANK_ENDS.sub("", source).rstrip()
    if not source or kind not in ("code", "markdown", "heading"):
        return None
    if kind == "code":
        return _Cell(is_code=True, source=source, output=_output(entry.get("outputs")))
    if kind == "heading":
        level = entry.get("level")
        source = "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 1) + " " + source
    return _Cell(is_code=False, source=source, output="")


_BLANK_ENDS = re.compile(r"\A(?:[ \t]*\n)+")


def _joined(value: object) -> str:
    """A text that stands there whole or as a list of its lines."""
    if isinstance(value, list):
        return text_of("".join(part for part in value if isinstance(part, str)))
    return text_of(value)


def _output(value: object) -> str:
    """What a cell printed and showed, as text, cut to `MAX_OUTPUT_CHARS`."""
    parts = [_output_text(entry) for entry in records_of(value)]
    # Consecutive writes to one stream are pieces of one text.
    text = "".join(part if part.endswith("\n") else part + "\n" for part in parts if part).strip()
    return text if len(text) <= MAX_OUTPUT_CHARS else text[:MAX_OUTPUT_CHARS] + CUT


def _output_text(entry: dict[str, Any]) -> str:
    kind = entry.get("output_type")
    if kind == "stream":
        return _shown(entry.get("text"))
    if kind in ("error", "pyerr"):
        # The frames below it are other people's code and the author's paths.
        return f"{line_of(entry.get('ename'))}: {line_of(entry.get('evalue'))}"
    data = entry.get("data")
    if not isinstance(data, dict):
        data = {"text/plain": entry.get("text")}  # version 3: types are keys of the output itself
        data |= {"image/" + key: None for key in ("png", "jpeg", "svg") if key in entry}
    text = _shown(data.get("text/plain"))
    is_drawn = any(key.startswith("image/") for key in data)
    # Beside an image the text only says that there is one: <Figure size 640x480 with 1 Axes>.
    return "" if is_drawn and text.lstrip().startswith("<") else text


def _shown(value: object) -> str:
    """Output as a terminal leaves it: no colours, and of a progress bar its last state."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    if "\x1b" in value:
        value = _TERMINAL_CODES.sub("", value)
    if "\r" in value:
        lines = value.replace("\r\n", "\n").split("\n")
        value = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return text_of(value)


def _language(notebook: dict[str, Any]) -> str:
    """Our name of the kernel's language; empty where nothing that we know says it."""
    for name in _language_names(notebook):
        name = name.lower()
        language = _LANGUAGES.get(name) or _LANGUAGES.get(name.rstrip(_VERSION_CHARS))
        if language:
            return language
    return ""


def _language_names(notebook: dict[str, Any]) -> Iterator[str]:
    metadata = _mapping(notebook.get("metadata"))
    info, kernel = _mapping(metadata.get("language_info")), _mapping(metadata.get("kernelspec"))
    yield line_of(info.get("name"))
    yield line_of(kernel.get("language"))
    yield line_of(kernel.get("name"))
    yield line_of(metadata.get("language"))
    # Version 3 says it in each code cell.
    yield from (line_of(cell.get("language")) for cell in _cells(notebook) if "input" in cell)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _structured(cells: list[_Cell], language: str) -> Rendered:
    if language != STRUCTURED_LANGUAGE:
        return Rendered(reason=f"not {STRUCTURED_LANGUAGE}")
    if all(cell.is_code for cell in cells):
        return Rendered(reason="no text cells")
    blocks = list(_merged(cells))
    if spells_special_token(*(part for block in blocks for part in (block.source, block.output))):
        return Rendered(reason="spells a special token")
    parts = ["<jupyter_start>"]
    for block in blocks:
        if block.is_code:
            output = block.output or "<empty_output>"
            parts.append(f"<jupyter_code>{block.source}<jupyter_output>{output}")
        else:
            parts.append(f"<jupyter_text>{block.source}")
    return Rendered(text="".join(parts), language=language)


def _merged(cells: Iterable[_Cell]) -> Iterator[_Cell]:
    """Neighbours of one type as one; of code the output of the last cell stays (section 3.2)."""
    sources: list[str] = []
    last: _Cell | None = None
    for cell in [*cells, None]:
        if last is not None and (cell is None or cell.is_code != last.is_code):
            source = ("\n" if last.is_code else "\n\n").join(sources)
            yield _Cell(is_code=last.is_code, source=source, output=last.output)
            sources = []
        if cell is not None:
            sources.append(cell.source)
        last = cell


def _script(cells: list[_Cell], language: str) -> Rendered:
    sign = _COMMENT_SIGNS[language]
    parts = []
    for cell in cells:
        if cell.is_code:
            source = cell.source
            if language == "Python":
                source = _without_magics(source)
            parts.append(f"{sign} %%\n{source}")
        else:
            parts.append(f"{sign} %% [markdown]\n{_commented(cell.source, sign)}")
    text = "\n\n".join(parts) + "\n"
    if spells_special_token(text):
        return Rendered(reason="spells a special token")
    return Rendered(text="<jupyter_script>" + text, language=language)


def _commented(text: str, sign: str) -> str:
    return "\n".join(f"{sign} {line}".rstrip() for line in text.split("\n"))


def _without_magics(source: str) -> str:
    """Code in which only Python is not commented out."""
    if not any(sign in source for sign in "%!?"):
        return source
    lines = source.split("\n")
    found = _CELL_MAGIC.match(lines[0].lstrip())
    if found and found[1] not in _PYTHON_CELL_MAGICS:
        return _commented(source, "#")
    return "\n".join(map(_without_magic, lines, [idx == 0 for idx in range(len(lines))]))


def _without_magic(line: str, is_first: bool) -> str:
    code = line.lstrip()
    if not (_MAGIC.match(code) or (is_first and _CELL_MAGIC.match(code))):
        return line
    indent = line[: len(line) - len(code)]
    # A block must not become empty.
    return f"{indent}{'pass  ' if indent else ''}# {code}"
