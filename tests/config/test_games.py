"""The list of games is the emulator's, and names are forgiving."""

from __future__ import annotations

import re

import gymnasium
import pytest
from ale_py import roms

from meme57.config import canonical_game, is_toy, rom_id
from meme57.config.games import rom_ids
from meme57.errors import ConfigurationError


def test_list_equals_the_emulators_registry() -> None:
    import ale_py

    gymnasium.register_envs(ale_py)
    registered = {
        re.fullmatch(r"ALE/(.*)-v5", name)[1]: spec.kwargs["game"]
        for name, spec in gymnasium.registry.items()
        if re.fullmatch(r"ALE/(.*)-v5", name)
    }
    assert rom_ids() == registered
    assert len(rom_ids()) == 104


def test_every_rom_is_there() -> None:
    assert all(roms.get_rom_path(rom).is_file() for rom in rom_ids().values())


@pytest.mark.parametrize(
    "name", ["MontezumaRevenge", "montezuma_revenge", "ALE/MontezumaRevenge-v5", "montezumarevenge"]
)
def test_spellings(name: str) -> None:
    assert canonical_game(name) == "MontezumaRevenge"
    assert rom_id(canonical_game(name)) == "montezuma_revenge"


@pytest.mark.parametrize(
    "name",
    [
        "PongNoFrameskip-v4", "PongNoFrameskip-v0", "PongDeterministic-v0", "PongDeterministic-v4",
        "Pong-v0", "Pong-v4", "Pong-v5", "ale/pong-v5", "PONG", "pongnoframeskip-v4", "PongNoFrameskip", "ALE/Pong",
        " Pong ",
    ],
)  # fmt: skip
def test_ids_of_gym_and_gymnasium_are_understood(name: str) -> None:
    assert canonical_game(name) == "Pong"


@pytest.mark.parametrize("name", ["ms pacman", "Ms. Pacman", "MsPacmanNoFrameskip-v4", "ms-pacman", "ALE/MsPacman-v5"])
def test_names_with_blanks_and_dots_too(name: str) -> None:
    assert canonical_game(name) == "MsPacman"


@pytest.mark.parametrize(
    "name", ["Pong-ram-v5", "ALE/Pong-ram-v5", "Pong-ramNoFrameskip-v4", "Pong-ramDeterministic-v0"]
)
def test_the_consoles_memory_is_no_picture(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"memory .* not supported: env\.game=Pong plays from the screen"):
        canonical_game(name)


@pytest.mark.parametrize("name", ["PnogNoFrameskip-v4", "Pnog-ram-v5"])
def test_unknown_ids_get_near_names(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"env.game='{name}' is not a known game: did you mean Pong"):
        canonical_game(name)


def test_every_name_and_rom_id_is_its_own_game() -> None:
    for game, rom in rom_ids().items():
        for name in (game, rom, f"ALE/{game}-v5", f"{game}NoFrameskip-v4", f"{game}Deterministic-v0", game.upper()):
            assert canonical_game(name) == game


def test_the_toy_is_known_but_no_atari_game() -> None:
    assert canonical_game("corridor") == "Corridor"
    assert is_toy("Corridor")
    assert not is_toy("Pong")
    assert rom_id("Corridor") == "toy_corridor"


@pytest.mark.parametrize(("name", "hint"), [("Brekout", "Breakout"), ("montezumas revenge", "MontezumaRevenge")])
def test_unknown_names_get_near_ones(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        canonical_game(name)


def test_hopeless_names_get_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"'%%%' is not a known game: e\.g\. Pong"):
        canonical_game("%%%")
