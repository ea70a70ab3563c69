"""The user's settings: the one home of their names, units, defaults and explanations.

Editors send them as JSON (camelCase names) in `initializationOptions` and
`workspace/didChangeConfiguration`. What editors and people read about them is made from here by
`settings_files`. This module knows neither LSP nor what a setting does.
"""

import ast
import inspect
import os
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


def _list_of(what: str, **more: Any) -> Any:
    return field(default=(), metadata={"of": what, **more})


def _within(minimum: float, maximum: float, default: float | None) -> Any:
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


# A workspace that the user only looks at must not choose which files are opened on this machine.
_OF_THE_MACHINE = {"machine": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user may change. The docstring under a field is what editors show."""

    enabled: bool = True
    """Whether to suggest anything at all."""
    languages_off: tuple[str, ...] = _list_of("language ids")
    """Language ids of the editor in which nothing is suggested, e.g. markdown."""
    paths_off: tuple[str, ...] = _list_of("patterns")
    """Files in which nothing is suggested, as patterns of .gitignore, e.g. vendor/ or *.min.js."""
    workspaces_off: tuple[str, ...] = _list_of("folders", **_OF_THE_MACHINE)
    """Workspace folders in which nothing is suggested; ~ and * may be used, e.g. ~/clients/*."""
    bundle_path: Path | None = field(default=None, metadata=_OF_THE_MACHINE)
    """Folder of a bundle, or a GGUF file of any fill-in-the-middle model; empty: the default."""
    model_folders: tuple[Path, ...] = _list_of("folders", **_OF_THE_MACHINE)
    """More folders in which to look for bundles and GGUF files to choose from."""
    attribution: AttributionMode = AttributionMode.ANNOTATE
    """Suggestions that repeat the training data: annotate (show where from), hide, or off."""
    extra_indexes: tuple[Path, ...] = _list_of("folders", **_OF_THE_MACHINE)
    """Folders of your own attribution indexes (`starling attribute build`), asked as well."""
    allowed_sources: tuple[str, ...] = _list_of("package names")
    """Packages that may be repeated without a warning, e.g. your own: their copies are not hidden
    and not marked after they were accepted."""
    allowed_licences: tuple[str, ...] = _list_of("SPDX licence identifiers")
    """Licences (SPDX) under which code may be repeated without a warning, e.g. 0BSD; a match counts
    as allowed when all its sources are."""
    record_accepted: bool = False
    """Whether to keep a record, on this machine only, of accepted suggestions and their sources."""
    max_tokens: int | None = _within(1, 512, None)
    """Longest suggestion in tokens; empty: chosen by Starling for a line or a block."""
    max_alternatives: int = _within(1, 5, 3)
    """How many suggestions to offer when you ask by key; while you type it is always one."""
    deadline_ms: int | None = _within(20, 60_000, None)
    """Longest time in milliseconds for one suggestion, cut there; empty: chosen by Starling."""
    debounce_ms: int | None = _within(0, 5000, None)
    """Quiet time in milliseconds before computing while you type; empty: as long as the model took
    lately, less what the editor has waited already."""
    # Measured for the default bundle with `starling eval confidence`, which prints the keys saved
    # and the suggestions shown for each threshold.
    min_confidence: float = _within(0.0, 1.0, 0.55)
    """Suggestions that are right with a lower probability are not shown while you type; of a line
    whose end is less sure only the head. Whole lines are shown from the square of it on, since they
    save more. 0: always all of it."""
    prefetch: bool = True
    """Whether to compute ahead while you pause: after a file is opened or saved, and after you
    accepted a suggestion."""
    other_files: bool = True
    """Whether other files of the workspace are read: parts of them are shown to the model, and
    words of them are suggested more often."""
    battery_saver: bool = False
    """Whether to suggest on battery only when you ask by key, and compute nothing ahead."""
    unload_after_minutes: float | None = _within(0.005, 10_000.0, 60.0)
    """Minutes without a request after which the model leaves memory, until the next request; empty:
    never."""
    n_threads: int | None = _within(1, 256, None)
    """Processor cores for reading a prompt; empty: all physical ones. Writing takes one."""
    use_gpu: bool = True
    """Whether a graphics card computes, where llama-cpp-python was built for one."""
    hover_explains: bool = False
    """Whether hovering over a function explains it."""
    instruct_model_path: Path | None = field(default=None, metadata=_OF_THE_MACHINE)
    """GGUF file of a chat model that words the explanations; empty: no other model than the one
    that completes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Settings from a client, and a sentence for each value that could not be used."""

    settings: Settings
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFacts:
    """What editors and documentation say of one setting."""

    key: str
    """camelCase, without the section."""
    description: str
    schema: dict[str, Any]
    """JSON schema of the value: type, default, limits."""
    is_of_machine: bool
    """Not to be set by a workspace that the user merely opened."""


def parse(values: object) -> Parsed:
    """JSON values, bare or under a `starling` key -> settings; wrong ones keep their default."""
    if isinstance(values, Mapping) and SECTION in values:
        values = values[SECTION]
    # In Lua an empty object is an empty list.
    if values is None or values == []:
        values = {}
    if not isinstance(values, Mapping):
        problem = f"the settings must be an object, not {_shown(values)}: using the defaults"
        return Parsed(settings=Settings(), problems=(problem,))
    by_key = {_json_key(f): f for f in _ALL}
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


def all_facts() -> tuple[SettingFacts, ...]:
    """Every setting, in the order in which people should read them."""
    docs = _field_docs()
    return tuple(
        SettingFacts(
            key=_json_key(setting),
            description=" ".join(docs[setting.name].split()),
            schema=_schema_of(setting),
            is_of_machine=bool(setting.metadata.get("machine")),
        )
        for setting in _ALL
    )


_ALL: tuple[Field[Any], ...] = fields(Settings)
_TYPES = typing.get_type_hints(Settings)
_JSON_NAMES = {bool: "boolean", int: "integer", float: "number", Path: "string"}


def expanded(path: str) -> Path:
    """With `~` as the home folder. `~somebody` whom nobody knows stays, and is found missing."""
    return Path(os.path.expanduser(path))


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
            return expanded(value)
        raise ValueError("a path")
    if kind is AttributionMode:
        if isinstance(value, str) and value in list(AttributionMode):
            return AttributionMode(value)
        raise ValueError("one of " + ", ".join(AttributionMode))
    if kind in (int, float):
        return _number(setting, kind, value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        if typing.get_args(kind)[0] is Path:
            return tuple(expanded(item) for item in value)
        return tuple(value)
    raise ValueError(f"a list of {setting.metadata['of']}")


def _number(setting: Field[Any], kind: type, value: object) -> int | float:
    low, high = setting.metadata["minimum"], setting.metadata["maximum"]
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        if kind is float:
            return float(value)
        if value == int(value):
            return int(value)
    noun = "a whole number" if kind is int else "a number"
    raise ValueError(f"{noun} from {low} to {high}")


def _schema_of(setting: Field[Any]) -> dict[str, Any]:
    kind, optional = _plain_type(setting)
    schema: dict[str, Any]
    if kind is AttributionMode:
        schema = {"type": "string", "enum": list(AttributionMode)}
    elif kind in _JSON_NAMES:
        name = _JSON_NAMES[kind]
        schema = {"type": [name, "null"] if optional else name}
    else:
        schema = {"type": "array", "items": {"type": "string"}}
    default = setting.default
    schema["default"] = list(default) if isinstance(default, tuple) else default
    limits = {
        key: setting.metadata[key] for key in ("minimum", "maximum") if key in setting.metadata
    }
    return {**schema, **limits}


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
