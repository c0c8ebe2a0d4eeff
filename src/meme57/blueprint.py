"""From parameters to the parts of a run: the agent's networks, its bandits, the replay, the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from meme57.agent.bandit import SlidingWindowUCB
from meme57.agent.family import PolicyFamily
from meme57.agent.network import MemeNetwork, NetworkSpec
from meme57.agent.novelty import NoveltyNetworks, NoveltySpec
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.replay import SequenceReplay

SEED_STRIDE = 100_003
"""Seeds of two actors, or of one actor before and after a re-seed, never meet."""


@dataclass(frozen=True)
class AgentSpec:
    """Shapes and constants of the agent on one game."""

    network: NetworkSpec
    novelty: NoveltySpec
    family: PolicyFamily


def agent_spec(parameters: Parameters, env: EnvSpec) -> AgentSpec:
    """The agent that the parameters describe, on the game of `env`."""
    chosen, novelty = parameters.network, parameters.novelty
    network = NetworkSpec(
        height=env.height,
        width=env.width,
        num_actions=env.num_actions,
        num_policies=parameters.family.num_policies,
        torso=chosen.torso,
        lstm_size=chosen.lstm_size,
        head_size=chosen.head_size,
        feature_size=chosen.feature_size,
        action_embedding_size=chosen.action_embedding_size,
        embedding_size=novelty.embedding_size,
        small_channels=chosen.small_channels,
        nfnet_widths=chosen.nfnet_widths,
        nfnet_blocks=chosen.nfnet_blocks,
        nfnet_group_width=chosen.nfnet_group_width,
        normalise_heads=chosen.normalise_heads,
        balance_inputs=chosen.balance_inputs,
    )
    return AgentSpec(network, _novelty_spec(parameters, env), policy_family(parameters))


def make_networks(spec: AgentSpec, *, seed: int) -> tuple[MemeNetwork, NoveltyNetworks]:
    """Freshly initialised networks, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MemeNetwork(spec.network), NoveltyNetworks(spec.novelty)


def make_bandits(parameters: Parameters, *, num_envs: int, index: int) -> list[SlidingWindowUCB]:
    """One bandit for each environment, or one for all (`bandit.scope`); `index` keeps two actors' seeds apart.

    Episodes of many games end in step, so bandits of their own begin their sweep at different policies.
    """
    chosen = parameters.bandit
    is_shared = chosen.scope == "shared"
    num_policies = parameters.family.num_policies
    return [
        SlidingWindowUCB(
            num_policies,
            window=chosen.window,
            beta=chosen.ucb_beta,
            epsilon=chosen.epsilon,
            seed=parameters.run.seed * SEED_STRIDE + index * 1_009 + env,
            first_arm=0 if is_shared else (index + env) % num_policies,
        )
        for env in range(1 if is_shared else num_envs)
    ]


def _novelty_spec(parameters: Parameters, env: EnvSpec) -> NoveltySpec:
    chosen = parameters.novelty
    return NoveltySpec(
        height=env.height,
        width=env.width,
        num_actions=env.num_actions,
        embedding_size=chosen.embedding_size,
        num_neighbours=chosen.num_neighbours,
        memory_size=chosen.memory_size,
        kernel_eps=chosen.kernel_eps,
        cluster_distance=chosen.cluster_distance,
        pseudo_count=chosen.pseudo_count,
        max_similarity=chosen.max_similarity,
        max_modulation=chosen.max_modulation,
        rnd_size=chosen.rnd_size,
        channels=chosen.channels,
        hidden_size=chosen.hidden_size,
        distance_decay=chosen.distance_decay,
    )


def policy_family(parameters: Parameters) -> PolicyFamily:
    """The family; without an intrinsic reward every beta is 0."""
    chosen = parameters.family
    return PolicyFamily.ladder(
        num_policies=chosen.num_policies,
        gamma_max=chosen.gamma_max,
        gamma_min=chosen.gamma_min,
        beta_max=chosen.beta_max if parameters.novelty.enabled else 0.0,
    )


def make_replay(parameters: Parameters, env: EnvSpec) -> SequenceReplay:
    """An empty replay for sequences of two periods."""
    chosen = parameters.replay
    return SequenceReplay(
        period=chosen.period,
        capacity_sequences=chosen.capacity_sequences,
        frame_shape=(env.height, env.width),
        lstm_size=parameters.network.lstm_size,
        embedding_size=parameters.novelty.embedding_size,
        num_actions=env.num_actions,
        priority_exponent=chosen.priority_exponent,
        importance_exponent=chosen.importance_exponent,
    )


def find_device() -> torch.device:
    """A CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
