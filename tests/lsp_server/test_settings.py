"""Guards the settings: a wrong value must be named and ignored, never break the session, and what
editors show must be what the server does.
"""

from dataclasses import fields
from pathlib import Path

import pytest

from lsp_server.settings import AttributionMode, Settings, json_schema, parse


def test_nothing_means_the_defaults() -> None:
    for nothing in ({}, None, {"starling": {}}):
        parsed = parse(nothing)
        assert (parsed.settings, parsed.problems) == (Settings(), ())


def test_every_setting_can_be_set() -> None:
    parsed = parse(
        {
            "starling": {
                "bundlePath": "/models/x.gguf",
                "enabled": False,
                "languagesOff": ["markdown"],
                "attribution": "hide",
                "maxTokens": 16,
                "deadlineMs": 300,
                "debounceMs": 75,
                "minConfidence": -1.5,
            }
        }
    )
    assert parsed.problems == ()
    assert parsed.settings == Settings(
        bundle_path=Path("/models/x.gguf"),
        enabled=False,
        languages_off=("markdown",),
        attribution=AttributionMode.HIDE,
        max_tokens=16,
        deadline_ms=300,
        debounce_ms=75,
        min_confidence=-1.5,
    )
    changed = [f.name for f in fields(Settings) if getattr(parsed.settings, f.name) == f.default]
    assert changed == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enabled", "yes"),
        ("enabled", 1),
        ("languagesOff", "python"),
        ("languagesOff", [1]),
        ("attribution", "sometimes"),
        ("attribution", ["hide"]),
        ("maxTokens", 0),
        ("maxTokens", True),
        ("maxTokens", 2.5),
        ("deadlineMs", -1),
        ("deadlineMs", float("nan")),
        ("debounceMs", "75"),
        ("minConfidence", 0.5),
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


@pytest.mark.parametrize("values", [[], "x", 3, True])
def test_settings_that_are_no_object(values) -> None:
    parsed = parse(values)
    assert parsed.settings == Settings() and len(parsed.problems) == 1


def test_languages_and_the_main_switch() -> None:
    settings = Settings(languages_off=("markdown",))
    assert settings.allows("python") and not settings.allows("markdown")
    assert not Settings(enabled=False).allows("python")


def test_the_schema_tells_the_defaults_and_accepts_them() -> None:
    properties = json_schema()["properties"]
    assert len(properties) == len(fields(Settings))
    defaults = {key: schema["default"] for key, schema in properties.items()}
    assert parse(defaults) == parse({})
    assert all(len(schema["description"]) > 20 for schema in properties.values())
    assert properties["deadlineMs"]["minimum"] == 20
    assert properties["attribution"]["enum"] == ["annotate", "hide", "off"]
