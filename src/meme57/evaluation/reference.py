"""Scores of random play, humans and records on the 57 games.

Video Pinball's random score is 0.0 here: only that reproduces the published Agent57 aggregates (mean 4766.2 %,
median 1933.5 %). Other tables print 16256.9; the column `random_elsewhere` keeps it.
Source: the table's `source` column, one entry per game.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources

from meme57.config.games import canonical_game
from meme57.errors import ConfigurationError

WHOLE_GAME_FRAMES = 108_000
"""Length to which published scores are played: 30 minutes."""


@dataclass(frozen=True)
class ReferenceScore:
    """The published scores that a return on `game` is measured against, in the game's own points."""

    game: str
    random: float
    human: float
    record: float | None
    """The human world record; None if the source table has none (Defender, Surround)."""
    source: str


def reference_score(game: str) -> ReferenceScore:
    """Look up the reference score of a game: `Pong`, `pong` or `ALE/Pong-v5`.

    Raises:
        ConfigurationError: the game is unknown, or not one of the 57.
    """
    name = canonical_game(game)
    try:
        return _references()[name]
    except KeyError:
        raise ConfigurationError(
            f"no reference scores for {name}: scores are reported raw "
            f"(human-normalised scores exist for the {len(_references())} games of the Atari-57 suite)."
        ) from None


def has_reference(game: str) -> bool:
    """Say whether `game` has a random and a human score; no environment of Gymnasium has."""
    try:
        return canonical_game(game) in _references()
    except ConfigurationError:
        return False


def reference_beside(game: str | None, max_episode_frames: int | None) -> ReferenceScore | None:
    """Look up the published scores that a return may stand beside; None if there are none.

    Published scores are of whole games, so a return from shorter ones (`env.max_episode_frames`) stands alone.
    """
    if game is None or not has_reference(game) or is_cut(max_episode_frames):
        return None
    return reference_score(game)


def is_cut(max_episode_frames: int | None) -> bool:
    """Say whether games end before the length of published scores; a length that is not known counts as whole."""
    return max_episode_frames is not None and max_episode_frames < WHOLE_GAME_FRAMES


def reference_games() -> tuple[str, ...]:
    """List the 57 games by canonical name, in alphabetical order of their ROM ids."""
    return tuple(_references())


@functools.cache
def _references() -> dict[str, ReferenceScore]:
    return {
        row["game"]: ReferenceScore(
            game=row["game"],
            random=float(row["random"]),
            human=float(row["human"]),
            record=float(row["record"]) if row["record"] else None,
            source=row["source"],
        )
        for row in rows_of("reference_scores.csv")
    }


def rows_of(name: str) -> list[dict[str, str]]:
    """Read a CSV file of this package."""
    text = resources.files("meme57.evaluation").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
