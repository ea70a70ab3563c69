"""`starling attribute VERB`: the index from the command line.

Each verb has its module, which is imported when the verb is used.
"""

import importlib

import click

COMMANDS = {
    "check": "attribution.check_command:check",
    "search": "attribution.search_command:search_command",
    "who": "attribution.who_command:who",
    "stats": "attribution.stats_command:stats",
    "notice": "attribution.notice_command:notice",
    "build": "attribution.build_command:build",
    "build-renamed": "attribution.renamed_command:build_renamed_command",
    "forget": "attribution.forget_command:forget_command",
    "merge": "attribution.merge_command:merge_command",
    "verify": "attribution.stats_command:verify",
}
"""Where each verb lives, ``module:function``."""


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, _, function = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module_name), function)
        assert isinstance(command, click.Command), f"{cmd_name=}"
        return command


@click.group(cls=_Commands)
def attribute() -> None:
    """Where does this code come from? Asks the index of the training data, offline.

    Example: starling attribute check src/app.py

    Exit status of each command: 0 fine or found, 1 a problem or not found, 2 wrong use.
    """


if __name__ == "__main__":
    attribute()
