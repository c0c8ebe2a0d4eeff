"""The games: every single-player ALE v5 game, and the small built-in exploration games."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from importlib import resources

from meme57.errors import ConfigurationError

TOY_GAMES = {
    "Corridor": "toy_corridor",
    "DeepSea5": "toy_deep_sea_5",
    "DeepSea10": "toy_deep_sea_10",
    "DeepSea20": "toy_deep_sea_20",
    "DeepSea30": "toy_deep_sea_30",
    "KeyDoor": "toy_key_door",
}
"""The exploration ladder, which `meme57.envs.toys` builds."""


_GYM_ID = re.compile(
    r"(?:ALE/)?(?P<game>.+?)(?P<ram>-ram)?(?:NoFrameskip|Deterministic)?(?:-v\d+)?", re.IGNORECASE | re.DOTALL
)


@functools.cache
def rom_ids() -> dict[str, str]:
    """Map the names of the 104 ALE v5 games (`MontezumaRevenge`) to their ROM ids (`montezuma_revenge`)."""
    text = resources.files("meme57.config").joinpath("games.csv").read_text()
    return {row["game"]: row["rom_id"] for row in csv.DictReader(text.splitlines())}


def is_toy(game: str) -> bool:
    """Say whether `game` (a canonical name) is a built-in game, which needs no emulator."""
    return game in TOY_GAMES


def rom_id(game: str) -> str:
    """Return the snake-case id of a canonical game name; model names in the registry contain it."""
    return TOY_GAMES.get(game) or rom_ids()[game]


def canonical_game(name: str) -> str:
    """Return the canonical name of a game: `pong`, `ALE/Pong-v5` and `PongNoFrameskip-v4` are all `Pong`.

    The id names the game alone: frame skip and sticky actions are `env.frame_skip` and `env.sticky_action_probability`.

    Raises:
        ConfigurationError: the game is unknown (the message has the nearest names), or its id asks for the RAM.
    """
    parts = _GYM_ID.fullmatch(name.strip())
    key = _key(parts["game"] if parts else name)
    known = {_key(game): game for game in (*rom_ids(), *TOY_GAMES)}
    if key in known:
        if parts and parts["ram"]:
            raise ConfigurationError(
                f"env.game={name!r} shows the console's memory (RAM), which is not supported: "
                f"env.game={known[key]} plays from the screen"
            )
        return known[key]
    near = [known[match] for match in difflib.get_close_matches(key, known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else "e.g. Pong, Breakout, MontezumaRevenge."
    raise ConfigurationError(f"env.game={name!r} is not a known game: {hint}")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
