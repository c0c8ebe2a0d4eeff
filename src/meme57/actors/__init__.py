"""Who collects: the actor loop, and pools of actors behind one interface. Importing this does not import Ray."""

from meme57.actors.actor import Actor, Collected, EpisodeResult
from meme57.actors.build import AgentSpec, agent_spec, make_networks
from meme57.actors.local_pool import ActorPool, LocalPool
from meme57.actors.player import Player, as_features
from meme57.actors.pools import make_pool

__all__ = [
    "Actor",
    "ActorPool",
    "AgentSpec",
    "Collected",
    "EpisodeResult",
    "LocalPool",
    "Player",
    "agent_spec",
    "as_features",
    "make_networks",
    "make_pool",
]
