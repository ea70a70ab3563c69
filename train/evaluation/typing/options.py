"""Options that the two commands about typing share: which held-out files, and how much of each."""

from typing import Any

import click

language_option = click.option(
    "--language", default="Python", show_default=True,
    help="Language of the held-out files to type; empty: all of them.",
)  # fmt: skip


def max_files_option(*, at_least: int) -> Any:
    """How many files are typed in each mode."""
    return click.option(
        "--max-files", type=click.IntRange(min=at_least), default=26, show_default=True,
        help="Files in each mode, spread over the projects.",
    )  # fmt: skip


def max_chars_option(*, default: int) -> Any:
    """How much of each file is typed."""
    return click.option(
        "--max-chars", type=click.IntRange(min=1), default=default, show_default=True,
        help="Characters to type in each file; in a longer file from a drawn line on.",
    )  # fmt: skip


def seed_option(*, default: int) -> Any:
    """What is drawn."""
    return click.option(
        "--seed", default=default, show_default=True, help="Of the drawn files, lines, functions."
    )
