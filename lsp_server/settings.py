"""The user's settings: the one home of their names, units, defaults and explanations.

Editors send them as JSON (camelCase names) in `initializationOptions` and
`workspace/didChangeConfiguration`; `json_schema` gives editors the same facts for their own
settings pages. This module knows neither LSP nor what a setting does.
"""

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

SECTION = "starling"


class AttributionMode(StrEnum):
    """What happens to a suggestion that repeats the training data."""

    ANNOTATE = "annotate"
    HIDE = "hide"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user may change. The docstring under a field is what editors show."""

    bundle_path: Path | None = None
    """Folder of a bundle, or a GGUF file of any fill-in-the-middle model; empty: the default."""
    enabled: bool = True
    """Whether to suggest anything at all."""
    languages_off: tuple[str, ...] = ()
    """Language ids of the editor in which nothing is suggested, e.g. markdown."""
    attribution: AttributionMode = AttributionMode.ANNOTATE
    """Suggestions that repeat the training data: annotate (show where from), hide, or off."""
    max_tokens: int | None = field(default=None, metadata={"minimum": 1, "maximum": 512})
    """Longest suggestion in tokens; empty: chosen by Starling for a line or a block."""
    deadline_ms: int | None = field(default=None, metadata={"minimum": 20, "maximum": 60_000})
    """Longest time in milliseconds for one suggestion, cut there; empty: chosen by Starling."""
    debounce_ms: int = field(default=0, metadata={"minimum": 0, "maximum": 5000})
    """Quiet time in milliseconds before computing; most editors wait already, so none here."""
    # Measured for the default bundle with `starling eval confidence`: at -1 nat half of all
    # one-line suggestions are shown, among them every one that was right to the last character.
    min_confidence: float = field(default=-1.0, metadata={"minimum": -100.0, "maximum": 0.0})
    """Suggestions whose mean log-probability per token (natural log) is lower are not shown."""

    def allows(self, language_id: str) -> bool:
        """Whether documents of this language are completed."""
        return self.enabled and language_id not in self.languages_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Settings from a client, and a sentence for each value that could not be used."""

    settings: Settings
    problems: tuple[str, ...]


def parse(values: object) -> Parsed:
    """JSON values, bare or under a `starling` key -> settings; wrong ones keep their default."""
    if isinstance(values, Mapping) and isinstance(values.get(SECTION), Mapping):
        values = values[SECTION]
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        problem = f"the settings must be an object, not {_shown(values)}: using the defaults"
        return Parsed(settings=Settings(), problems=(problem,))
    by_key = {_json_key(f): f for f in fields(Settings)}
    taken: dict[str, Any] = {}
    problems = []
    for key, value in values.items():
        if key not in by_key:
            problems.append(f"{SECTION}.{key} is not a setting: remove it, or check its spelling")
            continue
        try:
            taken[by_key[key].name] = _from_json(by_key[key], value)
        except ValueError as error:
            problems.append(f"{SECTION}.{key} must be {error}, not {_shown(value)}: ignored")
    return Parsed(settings=Settings(**taken), problems=tuple(problems))


def json_schema() -> dict[str, Any]:
    """JSON schema of the settings, from which editors generate their own pages."""
    docs = _field_docs()
    properties = {_json_key(f): {**_json_type(f), "description": docs[f.name]} for f in _ALL}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Starling",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


_ALL: tuple[Field[Any], ...] = fields(Settings)
_TYPES = typing.get_type_hints(Settings)


def _json_key(setting: Field[Any]) -> str:
    head, *rest = setting.name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain_type(setting: Field[Any]) -> tuple[Any, bool]:
    """The type without `| None`, and whether None is allowed."""
    hint = _TYPES[setting.name]
    if isinstance(hint, types.UnionType):
        return next(t for t in typing.get_args(hint) if t is not types.NoneType), True
    return hint, False


def _from_json(setting: Field[Any], value: object) -> Any:
    """The value as the field's type; ValueError says what it must be."""
    kind, optional = _plain_type(setting)
    if optional and (value is None or value == ""):
        return None
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise ValueError("true or false")
    if kind is Path:
        if isinstance(value, str):
            return Path(value).expanduser()
        raise ValueError("a path")
    if kind is AttributionMode:
        if isinstance(value, str) and value in list(AttributionMode):
            return AttributionMode(value)
        raise ValueError("one of " + ", ".join(AttributionMode))
    if kind in (int, float):
        return _number(setting, kind, value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("a list of language ids")


def _number(setting: Field[Any], kind: type, value: object) -> int | float:
    low, high = setting.metadata["minimum"], setting.metadata["maximum"]
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        if kind is float:
            return float(value)
        if value == int(value):
            return int(value)
    noun = "a whole number" if kind is int else "a number"
    raise ValueError(f"{noun} from {low} to {high}")


def _json_type(setting: Field[Any]) -> dict[str, Any]:
    kind, optional = _plain_type(setting)
    names = {bool: "boolean", int: "integer", float: "number", Path: "string"}
    schema: dict[str, Any]
    if kind is AttributionMode:
        schema = {"type": "string", "enum": list(AttributionMode)}
    elif kind in names:
        schema = {"type": [names[kind], "null"] if optional else names[kind]}
    else:
        schema = {"type": "array", "items": {"type": "string"}}
    default = setting.default
    schema["default"] = list(default) if isinstance(default, tuple) else default
    return {**schema, **setting.metadata}


def _field_docs() -> dict[str, str]:
    """The docstring under each field; Python itself does not keep them."""
    (class_node,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(class_node, ast.ClassDef)
    docs = {}
    for node, after in zip(class_node.body, class_node.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            docs[node.target.id] = str(after.value.value)
    return docs


def _shown(value: object) -> str:
    """A wrong value, short enough for one sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
