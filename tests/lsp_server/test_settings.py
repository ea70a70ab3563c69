"""Guards the settings: a wrong value must be named and ignored, never break the session, and what
editors show must be what the server does.
"""

from dataclasses import fields
from pathlib import Path

import pytest

from lsp_server.settings import AttributionMode, Settings, all_facts, parse
from lsp_server.settings_files import json_schema
from lsp_server.wanted import is_wanted


def test_nothing_means_the_defaults() -> None:
    for nothing in ({}, None, {"starling": {}}, {"starling": None}, [], {"starling": []}):
        parsed = parse(nothing)
        assert (parsed.settings, parsed.problems) == (Settings(), ())


def test_every_setting_can_be_set() -> None:
    values = {
        "enabled": False,
        "languagesOff": ["markdown"],
        "pathsOff": ["vendor/"],
        "workspacesOff": ["/clients/*"],
        "bundlePath": "/models/x.gguf",
        "modelFolders": ["/models"],
        "attribution": "hide",
        "extraIndexes": ["/indexes/ours"],
        "allowedSources": ["click"],
        "allowedLicences": ["0BSD"],
        "recordAccepted": True,
        "maxTokens": 16,
        "maxAlternatives": 2,
        "deadlineMs": 300,
        "debounceMs": 75,
        "minConfidence": 0.7,
        "prefetch": False,
        "otherFiles": False,
        "batterySaver": True,
        "unloadAfterMinutes": 0.5,
        "nThreads": 2,
        "useGpu": False,
        "hoverExplains": True,
        "instructModelPath": "/models/chat.gguf",
    }
    parsed = parse({"starling": values})
    assert parsed.problems == ()
    assert set(values) == {fact.key for fact in all_facts()}
    settings = parsed.settings
    unchanged = [f.name for f in fields(Settings) if getattr(settings, f.name) == f.default]
    assert unchanged == []
    assert settings.bundle_path == Path("/models/x.gguf")
    assert settings.extra_indexes == (Path("/indexes/ours"),)
    assert settings.attribution is AttributionMode.HIDE
    assert settings.languages_off == ("markdown",)
    assert (settings.unload_after_minutes, settings.n_threads) == (0.5, 2)


def test_empty_means_the_default_of_starling() -> None:
    for key in ("bundlePath", "maxTokens", "debounceMs", "unloadAfterMinutes"):
        for nothing in (None, ""):
            assert parse({key: nothing}).problems == ()
    assert parse({"unloadAfterMinutes": None}).settings.unload_after_minutes is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enabled", "yes"),
        ("enabled", 1),
        ("enabled", None),
        ("languagesOff", "python"),
        ("languagesOff", [1]),
        ("pathsOff", {"vendor/": True}),
        ("extraIndexes", "/one/folder"),
        ("attribution", "sometimes"),
        ("attribution", ["hide"]),
        ("maxTokens", 0),
        ("maxTokens", True),
        ("maxTokens", 2.5),
        ("maxAlternatives", 6),
        ("deadlineMs", -1),
        ("deadlineMs", float("nan")),
        ("debounceMs", "75"),
        ("minConfidence", 1.5),
        ("unloadAfterMinutes", 0),
        ("bundlePath", 7),
        ("enabeld", True),
    ],
)
def test_a_wrong_value_is_named_and_ignored(key, value) -> None:
    parsed = parse({key: value, "deadlineMs": 321} if key != "deadlineMs" else {key: value})
    (problem,) = parsed.problems
    assert f"starling.{key} " in problem
    default = Settings()
    expected = default if key == "deadlineMs" else Settings(deadline_ms=321)
    assert parsed.settings == expected


@pytest.mark.parametrize("values", [["x"], "x", 3, True, {"starling": 3}])
def test_settings_that_are_no_object(values) -> None:
    parsed = parse(values)
    assert parsed.settings == Settings() and len(parsed.problems) == 1


def test_the_schema_tells_the_defaults_and_accepts_them() -> None:
    properties = json_schema()["properties"]
    assert len(properties) == len(fields(Settings))
    defaults = {key: schema["default"] for key, schema in properties.items()}
    assert parse(defaults) == parse({})
    assert all(len(schema["description"]) > 20 for schema in properties.values())
    assert properties["deadlineMs"]["minimum"] == 20
    assert properties["attribution"]["enum"] == ["annotate", "hide", "off"]


ROOTS = ("file:///w/app",)


@pytest.mark.parametrize(
    ("settings", "uri", "language_id", "expected"),
    [
        (Settings(), "file:///w/app/a.py", "python", True),
        (Settings(enabled=False), "file:///w/app/a.py", "python", False),
        (Settings(languages_off=("markdown",)), "file:///w/app/a.py", "python", True),
        (Settings(languages_off=("markdown",)), "file:///w/app/a.md", "markdown", False),
        (Settings(paths_off=("vendor/",)), "file:///w/app/x/vendor/y/a.py", "python", False),
        (Settings(paths_off=("vendor/",)), "file:///w/app/vendor.py", "python", True),
        (Settings(paths_off=("*.min.js",)), "file:///w/app/lib/a.min.js", "javascript", False),
        (Settings(paths_off=("/docs/**",)), "file:///w/app/docs/a.py", "python", False),
        (Settings(paths_off=("/docs/**",)), "file:///w/app/x/docs/a.py", "python", True),
        # Patterns count from the workspace folder, not from the root of the disk.
        (Settings(paths_off=("/w/",)), "file:///w/app/a.py", "python", True),
        (Settings(paths_off=("*.py", "!main.py")), "file:///w/app/main.py", "python", True),
        (Settings(paths_off=("*.py",)), "untitled:Untitled-1", "python", True),
        (Settings(workspaces_off=("/w/*",)), "file:///w/app/src/a.py", "python", False),
        (Settings(workspaces_off=("/w/app",)), "file:///w/app%20two/a.py", "python", True),
        (Settings(workspaces_off=("/w/app two",)), "file:///w/app%20two/a.py", "python", False),
        (Settings(workspaces_off=("/v/*",)), "file:///w/app/a.py", "python", True),
    ],
)
def test_where_nothing_is_suggested(settings, uri, language_id, expected) -> None:
    assert is_wanted(settings, uri, language_id, ROOTS) is expected


def test_a_home_in_a_folder_pattern() -> None:
    parsed = parse({"workspacesOff": ["~/clients/*"]})
    uri = (Path.home() / "clients" / "acme" / "a.py").as_uri()
    assert not is_wanted(parsed.settings, uri, "python", ())


def test_a_home_of_nobody_is_a_folder_that_is_not_there() -> None:
    path = "~nobody-of-that-name/model"
    parsed = parse({"bundlePath": path, "modelFolders": ["~/models", path]})
    assert parsed.problems == ()
    assert parsed.settings.bundle_path == Path(path)
    assert parsed.settings.model_folders == (Path.home() / "models", Path(path))
