"""meme57 promote: make a version the champion by hand."""

from __future__ import annotations

import click

from meme57.cli.options import ask, json_option, print_json, project_folder, run_option, yes_option


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--version", metavar="N", help="This version; by default the challenger, the newest registered one.")
@run_option(help="The newest version of this run.")
@click.option("--reason", required=True, help="Why; it is kept with the version.")
@yes_option
@json_option
def promote(model: str, version: str | None, run: str | None, reason: str, yes: bool, as_json: bool) -> None:
    """Make a version of a model the champion.

    MODEL is a registered one: meme57-pong, meme57-pong-student. The champion rule does not apply.
    """
    if version is not None and run is not None:
        raise click.UsageError("--version or --run, not both.")
    from meme57.api.store import existing_store
    from meme57.tracking import by_hand

    client = existing_store(project_folder()).client()
    change = by_hand.plan_promotion(client, model, version, run)
    before = "none" if change.before is None else f"version {change.before}"
    words = f"{model}@champion: {before} -> version {change.after} ({change.score})"
    ask(f"{words}?", yes=yes)
    by_hand.promote(client, change, reason)
    if as_json:
        print_json(change)
    else:
        click.echo(words)
