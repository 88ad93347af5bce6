"""`aggregator token`."""

import json
from collections.abc import Sequence

import click

from aggregator.cli.completing import topics
from aggregator.errors import AggregatorError
from aggregator.feed.access import Gate, Token, hash_of, new_token
from aggregator.feed.sink import NAME


@click.command(name="token")
@click.argument("name")
@click.argument("topics", nargs=-1, shell_complete=topics)
def command(name: str, topics: Sequence[str]) -> None:
    """Make a token for a client of the feed, which may have TOPICS, or everything where none are named.

    Standard output gets the table for the configuration, which holds only the token's hash. Standard error gets the
    token itself: give it to the client, it is kept nowhere.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter('a name has letters, digits, "_", "-" and "."', param_hint="NAME")
    token = new_token()
    try:
        Gate((Token(name, hash_of(token), tuple(topics)),))
    except AggregatorError as error:
        raise click.BadParameter(str(error), param_hint="TOPICS") from None
    click.echo("[[feed.tokens]]")
    click.echo(f'name = "{name}"')
    click.echo(f'hash = "{hash_of(token)}"')
    if topics:
        click.echo(f"topics = {json.dumps(list(topics), ensure_ascii=False)}")
    click.echo(f"the token, for the client alone: {token}", err=True)
