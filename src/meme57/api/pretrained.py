"""The policies that come with meme57: one game's in a folder each, with a card.

A checkout has teachers and students; the wheel has the students alone. `card.json` holds where a policy is from, its
scores, and the checksum of every file; `card.md` says the same to people.
"""

from __future__ import annotations

from pathlib import Path

from meme57.config.games import canonical_game
from meme57.errors import CheckpointError, ConfigurationError, RefusalError
from meme57.files import checksum, read_json

FOLDER = Path(__file__).parents[1] / "pretrained"
CARD, CARD_PAGE = "card.json", "card.md"


def pretrained_games() -> list[str]:
    """List the games that have a policy here."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CARD}"))


def pretrained_folder(name: str, agent: str | None = None) -> Path | None:
    """Find the folder of the pretrained policy of a game, by any spelling of its name; None if there is none.

    Args:
        agent: teacher or student; by default the teacher, where it is installed.

    Raises:
        RefusalError: this agent is not installed.
        CheckpointError: a file is damaged.
    """
    try:
        game = canonical_game(name)
    except ConfigurationError:
        return None
    if game not in pretrained_games():
        return None
    folder = FOLDER / game
    chosen = agent or ("teacher" if (folder / "teacher").is_dir() else "student")
    if not (folder / chosen).is_dir():
        raise RefusalError(f"the {chosen} of {game} is not installed: a checkout has it, or take --agent student")
    for path, expected in read_json(folder / CARD)["files"].items():
        if path.startswith(f"{chosen}/") and checksum(folder / path) != expected:
            raise CheckpointError(f"{folder / path} is damaged: install meme57 again")
    return folder / chosen
