"""Reads recipes: TOML files, each key checked.

A recipe is found by name in ``train/recipes/`` or by path. ``extends = "default"`` takes what the
file does not say itself from another recipe, key by key; its sources too, if it names none. Every
key is known; an unknown one is refused with the nearest known name, so that a misspelt setting
never falls back in silence.
"""

import difflib
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from train.errors import RecipeError
from train.recipe import (
    PLACES,
    CorpusConfig,
    FitConfig,
    ModelConfig,
    Recipe,
    Source,
    TokenizerConfig,
)

RECIPES_DIRECTORY = Path(__file__).resolve().parent / "recipes"

_LISTS, _SECTIONS = ("source", "held_out"), ("corpus", "tokenizer", "model", "fit")

T = TypeVar("T")


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name, or in that TOML file; raises RecipeError."""
    path = _path_of(name_or_path)
    values = _read(path, ())
    held_out = _sources(values, "held_out", path)
    sources = _sources(values, "source", path)
    _refuse_doubled((*held_out, *sources), path)
    return Recipe(
        name=path.stem,
        path=path.resolve(),
        sources=sources,
        held_out=held_out,
        corpus=_section(CorpusConfig, values, "corpus", path),
        tokenizer=_section(TokenizerConfig, values, "tokenizer", path),
        model=_section(ModelConfig, values, "model", path),
        fit=_section(FitConfig, values, "fit", path),
    )


def _path_of(name_or_path: str) -> Path:
    path = Path(name_or_path)
    return path if path.suffix == ".toml" else RECIPES_DIRECTORY / f"{name_or_path}.toml"


def _read(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """The tables of a file over those of the recipe that it extends."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in RECIPES_DIRECTORY.glob("*.toml")))
        raise RecipeError(
            f"there is no recipe {path.stem!r}: use one of {known}, or the path of a .toml file"
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # Syntax, encoding, huge numbers.
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    _refuse_unknown(values, ("extends", *_LISTS, *_SECTIONS), str(path))
    _check_tables(values, path)
    base_name = values.pop("extends", None)
    if base_name is None:
        return values
    if not isinstance(base_name, str):
        raise RecipeError(f"{path} extends must be the name or path of a recipe")
    base_path = _path_of(base_name)
    if base_path.suffix == ".toml" and not base_path.is_absolute():
        base_path = path.parent / base_path
    if base_path.resolve() in (path.resolve(), *extended_by):
        raise RecipeError(f"{path} extends itself: name another recipe")
    base = _read(base_path, (*extended_by, path.resolve()))
    if base_path.parent.resolve() != path.parent.resolve():
        _anchor(base, base_path.parent.resolve())
    return base | {
        key: base.get(key, {}) | value if isinstance(value, dict) else value
        for key, value in values.items()
    }


def _check_tables(values: Mapping[str, Any], path: Path) -> None:
    """What is a table or a list of them must be one before files are put over each other."""
    for key in _LISTS:
        rows = values.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RecipeError(f"{path}: `{key}` must be a list of tables, written [[{key}]]")
    for key in _SECTIONS:
        if not isinstance(values.get(key, {}), dict):
            raise RecipeError(f"{path}: `{key}` must be a table, written [{key}]")


def _anchor(values: Mapping[str, Any], directory: Path) -> None:
    """Relative paths become absolute: they start at the file that wrote them."""
    for key in _LISTS:
        for row in values.get(key, []):
            for place in (*PLACES, "store"):
                if place != "pin" and isinstance(row.get(place), str):
                    row[place] = str(directory / row[place])
    corpus = values.get("corpus", {})
    # Values of a wrong type stay as they are: `_checked` names them.
    if isinstance(opt_out := corpus.get("opt_out"), str) and opt_out:
        corpus["opt_out"] = str(directory / opt_out)
    if isinstance(names := corpus.get("decontaminate"), list):
        corpus["decontaminate"] = [
            str(directory / name) if isinstance(name, str) else name for name in names
        ]


def _sources(values: Mapping[str, Any], key: str, path: Path) -> tuple[Source, ...]:
    return tuple(
        _build(Source, row, f"[[{key}]] number {i + 1}", path)
        for i, row in enumerate(values.get(key, []))
    )


def _refuse_doubled(sources: tuple[Source, ...], path: Path) -> None:
    # PEP 503: distributions whose names differ only in case and separators are one.
    names = [
        re.sub(r"[-_.]+", "-", source.origin).lower() if source.pin else source.origin
        for source in sources
    ]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise RecipeError(f"{path} names {', '.join(sorted(doubled))} twice: keep one")


def _section(kind: type[T], values: Mapping[str, Any], key: str, path: Path) -> T:
    if key not in values:
        raise RecipeError(f"{path} has no [{key}] section: add one")
    return _build(kind, values[key], f"[{key}]", path)


def _build(kind: type[T], values: Mapping[str, Any], where: str, path: Path) -> T:
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    _refuse_unknown(values, known, f"{path} {where}")
    missing = [
        name for name, field in known.items() if field.default is MISSING and name not in values
    ]
    if missing:
        raise RecipeError(f"{path} {where} lacks {', '.join(missing)}: add it")
    checked = {}
    for name, value in values.items():
        checked[name] = _checked(value, known[name].type, f"{path} {where} {name}")
    return kind(**checked)


def _checked(value: Any, annotation: Any, where: str) -> Any:
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > sys.float_info.max:
            raise RecipeError(f"{where} is too large for a number: write a smaller one")
        return float(value)
    if annotation == tuple[str, ...] and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise RecipeError(f"{where} must be a list of strings, not {value!r}")
    if not isinstance(annotation, type) or type(value) is not annotation:
        wanted = getattr(annotation, "__name__", str(annotation))
        raise RecipeError(f"{where} must be of type {wanted}, not {value!r}")
    return value


def _refuse_unknown(values: Mapping[str, Any], known: Any, where: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
            raise RecipeError(f"{where} has an unknown key `{key}`: {hint}")
