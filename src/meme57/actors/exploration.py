"""Which action is taken: how often a uniform one, and how one is drawn from the distilled policy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meme57.agent.bandit import epsilon_ladder
from meme57.config import Parameters


def exploration_rates(parameters: Parameters) -> npt.NDArray[np.float64]:
    """Return the exploration rates of all `env.num_envs` environments."""
    actors = parameters.actors
    return epsilon_ladder(parameters.env.num_envs, base=actors.epsilon_base, alpha=actors.epsilon_alpha)


class KeptNoise:
    """Gumbel noise [E, A] for drawing actions, kept from step to step where the policy does not care what is done.

    A policy with perplexity p (the exponential of its entropy: 1 if it is sure, A if it is uniform) keeps the noise
    with probability (1 - 1 / steps) (p - 1) / (A - 1). So a policy that knows nothing prefers the same action for
    `steps` steps on average and gets somewhere, where one that draws anew dithers on the spot. One that is sure draws
    anew. Softmax has the probability of an action before anything was drawn, not in the state where it is taken: the
    noise that led there is still in force.

    Args:
        shape: E, A.
        steps: mean number of steps for which a uniform policy keeps it, 1 or more; 1 always draws anew.
        rng: shared with the caller.

    Source: ours; to explore in one direction for a while as in temporally extended eps-greedy (Dabney et al., 2021).
    """

    def __init__(self, shape: tuple[int, int], *, steps: float, rng: np.random.Generator) -> None:
        self._most, self._rng = 1.0 - 1.0 / steps, rng
        self._noise = np.zeros(shape)

    def next(self, policy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the noise [E, A] of the next step, which the policies [E, A] take; do not change it."""
        entropy = -(policy * np.log(np.maximum(policy, 1e-300))).sum(-1)
        kept = self._most * np.expm1(entropy) / max(1, policy.shape[1] - 1)
        self.renew(self._rng.random(len(policy)) >= kept)
        return self._noise

    def renew(self, which: npt.NDArray[np.bool_]) -> None:
        """Draw the noise of these environments [E] anew."""
        self._noise[which] = self._rng.gumbel(size=(int(which.sum()), self._noise.shape[1]))


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Compute softmax(logits / temperature): [E, A]."""
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(-1, keepdims=True))
    policy: npt.NDArray[np.float64] = weights / weights.sum(-1, keepdims=True)
    return policy


def draw(logits: npt.NDArray[np.float32], temperature: float, noise: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Draw actions [E] from softmax(logits / temperature) by Gumbel noise [E, A]."""
    drawn: npt.NDArray[np.int64] = (logits.astype(np.float64) / temperature + noise).argmax(-1)
    return drawn


def explore(
    preferred: npt.NDArray[np.int64],
    epsilons: npt.NDArray[np.float64] | float,
    num_actions: int,
    rng: np.random.Generator,
    *,
    policy: npt.NDArray[np.float64] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Replace preferred actions [E] by uniform ones with probability epsilon; return the probability mu [E] of each.

    Args:
        epsilons: one rate for all, or [E].
        policy: [E, A] probabilities that the preferred actions were drawn with; without it, they were certain.
    """
    random = rng.integers(num_actions, size=len(preferred))
    actions = np.where(rng.random(len(preferred)) < epsilons, random, preferred)
    chosen = actions == preferred if policy is None else policy[np.arange(len(actions)), actions]
    mu = epsilons / num_actions + (1.0 - epsilons) * chosen
    return actions, mu.astype(np.float32)
