"""meme57 completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options and names of runs.

    \b
    bash:  meme57 completion bash >> ~/.bashrc
    zsh:   meme57 completion zsh >> ~/.zshrc
    fish:  meme57 completion fish > ~/.config/fish/completions/meme57.fish
    """
    found = get_completion_class(shell)
    assert found is not None, shell
    click.echo(found(ctx.find_root().command, {}, "meme57", "_MEME57_COMPLETE").source())
