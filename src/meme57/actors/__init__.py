"""Collecting experience: the actor loop, and pools of actors behind one interface. Importing this imports no Ray."""

from meme57.actors.actor import Actor, Collected, EpisodeResult
from meme57.actors.local_pool import ActorPool, LocalPool
from meme57.actors.player import Player, as_features
from meme57.actors.pools import make_pool

__all__ = [
    "Actor",
    "ActorPool",
    "Collected",
    "EpisodeResult",
    "LocalPool",
    "Player",
    "as_features",
    "make_pool",
]
