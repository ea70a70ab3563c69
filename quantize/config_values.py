"""Single values of config.json, each checked where it is read. Knows no architecture."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

from quantize.errors import CheckpointError


def count(config: Mapping[str, Any], key: str) -> int:
    """A positive whole number that must be there."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(
            f"config.json has {key} = {value!r} instead of a positive whole number: "
            "export the checkpoint again"
        )
    return value


def count_or(config: Mapping[str, Any], key: str, default: int) -> int:
    """`default` where config.json is silent, or says null."""
    return default if config.get(key) is None else count(config, key)


def number(config: Mapping[str, Any], key: str) -> float:
    """A positive finite number that must be there."""
    value = config.get(key)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 < value <= sys.float_info.max
    ):
        raise CheckpointError(
            f"config.json has {key} = {value!r} instead of a positive number: "
            "export the checkpoint again"
        )
    return float(value)


def number_or(config: Mapping[str, Any], key: str, default: float) -> float:
    """`default` where config.json is silent, or says null."""
    return default if config.get(key) is None else number(config, key)


def flag(config: Mapping[str, Any], key: str, *, default: bool) -> bool:
    """True or false; `default` where config.json is silent, or says null."""
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(
            f"config.json has {key} = {value!r} instead of true or false: "
            "export the checkpoint again"
        )
    return default if value is None else value


def require(config: Mapping[str, Any], key: str, allowed: Collection[object]) -> None:
    """The value is one of `allowed`, or absent: llama.cpp computes no other."""
    value = config.get(key)
    if value is not None and value not in allowed:
        raise CheckpointError(
            f"config.json has {key} = {value!r}, but llama.cpp computes this architecture only "
            f"with {' or '.join(map(repr, allowed))}: use a checkpoint trained so"
        )
