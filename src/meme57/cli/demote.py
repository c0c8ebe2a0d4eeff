"""meme57 demote: take the champion's title away by hand."""

from __future__ import annotations

import click

from meme57.cli.options import ask, json_option, print_json, project_folder, yes_option


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--reason", required=True, help="Why; it is kept with the version.")
@yes_option
@json_option
def demote(model: str, reason: str, yes: bool, as_json: bool) -> None:
    """Take the champion's title away from a model.

    MODEL is a registered one: meme57-pong, meme57-pong-student.
    `register` does not give it back to the same version; `meme57 promote` does.
    """
    from meme57.api.store import existing_store
    from meme57.tracking import by_hand

    client = existing_store(project_folder()).client()
    change = by_hand.plan_demotion(client, model)
    words = f"{model}@champion: version {change.before} ({change.score}) -> none"
    ask(f"{words}?", yes=yes)
    by_hand.demote(client, change, reason)
    if as_json:
        print_json(change)
    else:
        click.echo(words)
