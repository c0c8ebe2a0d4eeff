"""The games: every single-player ALE v5 game, the small built-in exploration games, and ids of Gymnasium."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from importlib import resources
from typing import Any

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
    """Return the snake-case id of a game; model names in the registry contain it."""
    return TOY_GAMES.get(game) or rom_ids().get(game) or re.sub(r"[^a-z0-9]+", "_", game.lower()).strip("_")


def file_name(game: str) -> str:
    """Return the game as part of a folder's name: `my_package-MyEnv-v0` for `my_package:MyEnv-v0`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", game).strip("-._") or "game"


def listed_game(name: str) -> str:
    """Read a game in a list: as `canonical_game`, or an id of Gymnasium with its module, `gymnasium:CartPole-v1`."""
    return name if ":" in name else canonical_game(name)


def game_settings(game: str, configured: str) -> dict[str, Any]:
    """Return the parameters, by dotted names, that replace the configured game with `game`.

    Raises:
        ConfigurationError: the configured one is of Gymnasium, whose settings fit no game of this project.
    """
    if game == configured:
        return {}
    if ":" in game:
        return {"env.id": game}
    if configured not in rom_ids() and not is_toy(configured):
        raise ConfigurationError(
            f"env.id={configured} is configured, and the list of games has {game}: list ids of Gymnasium with their "
            "package, such as gymnasium:CartPole-v1, or leave env.id out"
        )
    return {"env.game": game}


def gymnasium_id(value: str) -> str:
    """Check that no game of this project has this id.

    Raises:
        ConfigurationError: it is an Atari game's, or one of our own games'.
    """
    parts = _GYM_ID.fullmatch(value)
    known = {_key(game): game for game in (*rom_ids(), *TOY_GAMES)}
    if ":" not in value and parts and _key(parts["game"]) in known:
        raise ConfigurationError(
            f"env.id={value} has the name of a game of this project, env.game={known[_key(parts['game'])]}: "
            f"type that, or the package of the one that you mean, env.id=gymnasium:{value}"
        )
    return value


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
    if re.search(r":|-v\d+$", name) and not name.startswith("ALE/"):
        hint += f" An environment of Gymnasium is env.id={name.strip()}, in a list of games PACKAGE:{name.strip()}."
    raise ConfigurationError(f"env.game={name!r} is not a known game: {hint}")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
