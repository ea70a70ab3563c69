"""What people and editors read about the settings, made from `settings`, their one home.

    python -m lsp_server.settings_files

writes the files below anew; a test compares them with what it would write. `json_schema` and
`markdown` are also what `starling settings` prints.
"""

import json
import os
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsp_server.settings import SECTION, SettingFacts, all_facts

_MADE_BY = "Made by `python -m lsp_server.settings_files`; do not edit."


def json_schema() -> dict[str, Any]:
    """JSON schema of the object that a client sends."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Starling",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            fact.key: {**fact.schema, "description": fact.description} for fact in all_facts()
        },
    }


def markdown() -> str:
    """The page about the settings."""
    rows = "\n".join(_markdown_row(fact) for fact in all_facts())
    return f"""# Settings

<!-- {_MADE_BY} -->

Editors send these under the section `{SECTION}`, in `initializationOptions` and in
`workspace/didChangeConfiguration`. All of them may change while the server runs. A value that
cannot be used is named once, and its default applies.

| setting | value | default | what it does |
|---|---|---|---|
{rows}
"""


def plain_text() -> str:
    """The same for a terminal."""
    entries = []
    for fact in all_facts():
        default = json.dumps(fact.schema["default"])
        shown_default = "empty" if default == "null" else default
        head = f"{SECTION}.{fact.key} = {shown_default}  ({_kind(fact).replace('`', '')})"
        entries.append(f"{head}\n{textwrap.indent(textwrap.fill(fact.description, 90), '    ')}\n")
    return "\n".join(entries)


def vscode_configuration() -> dict[str, Any]:
    """`contributes.configuration` of the extension's package.json."""
    return {
        "title": "Starling",
        "properties": {
            f"{SECTION}.{fact.key}": {
                **fact.schema,
                "markdownDescription": fact.description,
                "scope": "machine" if fact.is_of_machine else "window",
            }
            for fact in all_facts()
        },
    }


def neovim_module() -> str:
    """A Lua module: every setting with type, default and sentence."""
    entries = "\n".join(_lua_entry(fact) for fact in all_facts())
    return f"-- {_MADE_BY}\nreturn {{\n{entries}\n}}\n"


# Path below the repository -> its text.
FILES: dict[str, Callable[[], str]] = {
    "docs/settings.md": markdown,
    "editors/vscode/settings.schema.json": lambda: _json_text(vscode_configuration()),
    "editors/nvim/lua/starling/settings.lua": neovim_module,
}


def write_all(repository: Path) -> list[Path]:
    """Writes every file whose text is not yet what it should be; those that were written."""
    written = []
    for name, make in FILES.items():
        path, text = repository / name, make()
        if not path.is_file() or path.read_text("utf-8") != text:
            _write(path, text)
            written.append(path)
    return written


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, encoding="utf-8", newline="\n", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _markdown_row(fact: SettingFacts) -> str:
    default = json.dumps(fact.schema["default"])
    shown_default = "" if default == "null" else f"`{default}`"
    return f"| `{fact.key}` | {_kind(fact)} | {shown_default} | {fact.description} |"


def _kind(fact: SettingFacts) -> str:
    schema = fact.schema
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind, is_optional = _json_type(schema)
    shown = {"boolean": "yes or no", "integer": "whole number", "array": "list of strings"}.get(
        kind, kind
    )
    if "minimum" in schema:
        shown += f", {schema['minimum']:g} to {schema['maximum']:g}"
    return shown + (", or empty" if is_optional else "")


def _json_type(schema: dict[str, Any]) -> tuple[str, bool]:
    """The name of the type, and whether null is allowed."""
    found = schema["type"]
    return (str(found[0]), True) if isinstance(found, list) else (str(found), False)


def _lua_entry(fact: SettingFacts) -> str:
    kind, is_optional = _json_type(fact.schema)
    values: dict[str, Any] = {
        "type": kind,
        "optional": is_optional,
        "default": fact.schema["default"],
        **{key: fact.schema[key] for key in ("enum", "minimum", "maximum") if key in fact.schema},
        "description": fact.description,
    }
    # Lua has no nil in tables: an absent default is an empty setting.
    body = ", ".join(f"{key} = {_lua(value)}" for key, value in values.items() if value is not None)
    return f"  {fact.key} = {{ {body} }},"


def _lua(value: object) -> str:
    if isinstance(value, list):
        return "{ " + ", ".join(map(_lua, value)) + " }" if value else "{}"
    if isinstance(value, str):
        # JSON's escapes of printable text are Lua's too.
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


if __name__ == "__main__":
    for changed in write_all(Path(__file__).resolve().parent.parent):
        print(changed)
