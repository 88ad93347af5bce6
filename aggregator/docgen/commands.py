"""docs/cli.md: the help texts of every command."""

from collections.abc import Iterable
from copy import copy

import click

from aggregator.docgen.markdown import notice

PROGRAM = "aggregator"
WIDTH = 100  # characters of a line of help, whatever the terminal


def commands_page(group: click.Group, names: Iterable[str]) -> tuple[str, list[str]]:
    """The page: the program's own help, then that of each command; and a complaint for each that cannot be loaded."""
    root = group.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=WIDTH)
    parts = [
        notice("the commands' help texts"),
        "# Commands\n",
        "What `aggregator --help` and `aggregator COMMAND --help` say.\n",
        _block(group.get_help(root)),
    ]
    complaints: list[str] = []
    for name in names:
        try:
            command = group.get_command(root, name)
        except Exception as error:  # noqa: BLE001 - one broken command hides no other
            complaints.append(f"the command {name!r} cannot be loaded: {type(error).__name__}: {error}")
            continue
        if command is not None:
            parts.append(f"## `{PROGRAM} {name}`\n\n{_block(_help(command, name, root))}")
        if isinstance(command, click.Group):
            within = click.Context(command, info_name=name, parent=root)
            for part, each in command.commands.items():
                parts.append(f"### `{PROGRAM} {name} {part}`\n\n{_block(_help(each, part, within))}")
    return "\n".join(parts), complaints


def _help(command: click.Command, name: str, root: click.Context) -> str:
    """A command's help but for the option --help: click keeps the spelling under which that was asked for first."""
    silent = copy(command)
    silent.add_help_option = False
    return silent.get_help(click.Context(silent, info_name=name, parent=root))


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"
