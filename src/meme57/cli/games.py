"""meme57 games."""

from __future__ import annotations

import click

from meme57.cli.options import json_option, print_json


@click.command()
@click.argument("names", nargs=-1, metavar="[GAME]...")
@json_option
def games(names: tuple[str, ...], as_json: bool) -> None:
    """List the games and their reference scores.

    Shows the scores of random play and of a human, if they were published. Any spelling works: `pong`, `Pong` and
    `ALE/Pong-v5` are the same game.
    """
    from meme57.config import canonical_game
    from meme57.config.games import TOY_GAMES, rom_ids
    from meme57.evaluation.reference import has_reference, reference_score

    shown = [canonical_game(name) for name in names] or [*rom_ids(), *TOY_GAMES]
    references = {game: reference_score(game) if has_reference(game) else None for game in shown}
    if as_json:
        rows = references.items()
        print_json([{"game": g, "random": r and r.random, "human": r and r.human} for g, r in rows])
        return
    width = max(len(game) for game in shown)
    click.echo(f"{'env.game':<{width}}  {'random':>10}  {'human':>10}")
    for game, reference in references.items():
        random, human = (f"{reference.random:,.1f}", f"{reference.human:,.1f}") if reference else ("-", "-")
        click.echo(f"{game:<{width}}  {random:>10}  {human:>10}")
