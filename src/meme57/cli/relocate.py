"""meme57 relocate: make the store of a copied or moved checkout point to its own files again."""

from __future__ import annotations

import click

from meme57.cli.options import ask, project_folder, yes_option


@click.command()
@yes_option
def relocate(yes: bool) -> None:
    """Make the MLflow store of a copied or moved checkout point to its own files.

    MLflow stores the places of files as absolute addresses. Addresses in another checkout are rewritten, all or none.
    A copy of the old database stays beside the new one.
    """
    from meme57.api.store import existing_store
    from meme57.tracking import relocation

    store = existing_store(project_folder())
    plan = relocation.plan_relocation(store)
    if not plan.changes:
        click.echo(f"The store keeps its files in {plan.new}: nothing to do.")
        return
    words = f"{len(plan.changes)} addresses"
    ask(f"Rewrite {words} from {', '.join(map(str, plan.old))} to {plan.new}?", yes=yes)
    backup = relocation.relocate(store)
    click.echo(f"{words} lead to {plan.new} now; the store as it was is {backup}")
