"""Who collects: the actor loop, and pools of actors behind one interface. Importing this does not import Ray."""

from meme57.actors.actor import Actor, Collected, EpisodeResult
from meme57.actors.build import AgentSpec, agent_spec, make_networks
from meme57.actors.local_pool import LocalPool
from meme57.actors.player import Player, as_features

__all__ = [
    "Actor",
    "AgentSpec",
    "Collected",
    "EpisodeResult",
    "LocalPool",
    "Player",
    "agent_spec",
    "as_features",
    "make_networks",
]
