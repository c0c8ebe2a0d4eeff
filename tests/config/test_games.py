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


def test_every_name_and_rom_id_is_its_own_game() -> None:
    for game, rom in rom_ids().items():
        assert canonical_game(game) == canonical_game(rom) == canonical_game(f"ALE/{game}-v5") == game


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
