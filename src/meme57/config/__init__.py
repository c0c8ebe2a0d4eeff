"""What a person sets: typed parameters and the list of games."""

from meme57.config.games import canonical_game, is_toy, rom_id
from meme57.config.parameters import Parameters
from meme57.config.parse import load_parameters, parse_parameters

__all__ = ["Parameters", "canonical_game", "is_toy", "load_parameters", "parse_parameters", "rom_id"]
