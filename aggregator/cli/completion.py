"""`aggregator completion`."""

import click

from aggregator.cli import COMPLETES
from aggregator.cli.completing import PROGRAM, SHELLS


@click.command(name="completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def command(shell: str) -> None:
    """Print what completes the program's words in a SHELL: commands, options, ids of exchanges, topics.

    bash: eval "$(aggregator completion bash)" in ~/.bashrc; zsh: the same, with zsh, in ~/.zshrc after compinit;
    fish: aggregator completion fish > ~/.config/fish/completions/aggregator.fish
    """
    context = click.get_current_context().find_root()
    click.echo(SHELLS[shell](context.command, {}, PROGRAM, COMPLETES).source(), nl=False)
