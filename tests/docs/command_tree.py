"""The commands of `starling` as click knows them, and the examples in their help."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

import starling

_EXAMPLES = re.compile(r"^Examples?: (.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_GLOSS = re.compile(r"\s{3,}.*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One command."""

    path: str
    """As it is typed, e.g. `starling attribute check`."""
    command: click.Command

    @property
    def options(self) -> set[str]:
        """All spellings, `--help` among them."""
        own = {name for parameter in self.command.params for name in parameter.opts}
        hidden = {name for parameter in self.command.params for name in parameter.secondary_opts}
        return own | hidden | {"--help", "-h"}

    @property
    def words(self) -> str:
        """All that its help says in sentences."""
        text = inspect.cleandoc(self.command.help or "").replace("\b\n", "")
        return f"{text}\n\n{self.command.epilog or ''}"

    @property
    def examples(self) -> list[str]:
        """Lines to type."""
        return [line for text in _EXAMPLES.findall(self.words) for line in _lines(text)]


def all_commands() -> dict[str, Known]:
    """By path, groups too."""
    context = click.Context(starling.cli, info_name="starling")
    return {known.path: known for known in _walk("starling", starling.cli, context)}


def find(words: list[str], known: dict[str, Known]) -> tuple[Known, list[str]]:
    """The command that `starling ...` runs, and the rest of the words."""
    path, rest = words[0], words[1:]
    while rest and f"{path} {rest[0]}" in known:
        path, rest = f"{path} {rest[0]}", rest[1:]
    default = getattr(known[path].command, "default_verb", None)
    if default and rest:
        path = f"{path} {default}"
    return known[path], rest


def unknown_options(words: list[str], known: dict[str, Known]) -> list[str]:
    """What in a command line is neither a verb nor an option of it."""
    command, rest = find(words, known)
    wrong = [word for word in rest if word.startswith("-") and len(word) > 1]
    wrong = [word for word in wrong if word.partition("=")[0] not in command.options]
    names_no_verb = isinstance(command.command, click.Group) and rest[:1] and rest[0].isalpha()
    return wrong + (rest[:1] if names_no_verb and rest[0].islower() else [])


def _walk(path: str, command: click.Command, context: click.Context) -> Iterator[Known]:
    yield Known(path=path, command=command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _walk(f"{path} {name}", inner, context)


def _lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\n\s*", "", text)
    for line in joined.splitlines():
        if not line.startswith("Exit status"):
            yield _GLOSS.sub("", line.strip())
