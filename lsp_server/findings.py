"""What a check of `starling doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding."""

    name: str
    ok: bool
    found: str
    cure: str = ""
    """One sentence; empty when all is well."""
