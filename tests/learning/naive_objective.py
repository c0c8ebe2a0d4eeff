"""The objective once more, number by number in plain Python, written from the specification's section 3."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field


@dataclass
class Batch:
    """Nested lists; index order as in the code: [t][b], heads [t][b][j][a]."""

    actions: list
    rewards: dict[str, list]
    mu: list
    lengths: list[int]
    terminal: list[bool]
    policies: list[int]
    importance: list[float]


@dataclass
class Result:
    loss: float = 0.0
    value_loss: float = 0.0
    policy_loss: float = 0.0
    priorities: list[float] = field(default_factory=list)
    sigma: dict[str, list[float]] = field(default_factory=dict)
    gradients: dict[tuple, float] = field(default_factory=dict)  # (head, t, b, j, a) -> d loss / d head
    num_dropped: dict[str, int] = field(default_factory=lambda: {"e": 0, "i": 0, "pi": 0})


def sgn(x: float) -> int:
    return (x > 0) - (x < 0)


def h(x: float) -> float:
    return sgn(x) * (math.sqrt(abs(x) + 1) - 1) + 0.001 * x


def h_inverse(y: float) -> float:
    e = 0.001
    return sgn(y) * (((math.sqrt(1 + 4 * e * (abs(y) + 1 + e)) - 1) / (2 * e)) ** 2 - 1)


def softmax(x: list[float], temperature: float = 1.0) -> list[float]:
    exponentials = [math.exp((v - max(x)) / temperature) for v in x]
    return [v / sum(exponentials) for v in exponentials]


def as_good(value: float, other: float, q: list[float]) -> float:
    """1 where `value` is at most 2e-6 of the scale below `other`, 0 from 4e-6 on, a straight line between."""
    short = (other - value) / max(1.0, *(abs(v) for v in q))
    if short <= 2e-6:
        return 1.0
    return (4e-6 - short) / 2e-6 if short < 4e-6 else 0.0


def greedy(q: list[float], eps: float) -> list[float]:
    good = [as_good(v, max(q), q) for v in q]
    return [eps / len(q) + (1 - eps) * g / sum(good) for g in good]


def naive_objective(online, target, batch: Batch, gammas, betas, running, loss, *, priority_eta: float) -> Result:
    """`online`, `target`: head name (e, i, pi) -> nested lists; `running`: component -> [N]; `loss`: parameters."""
    n, result = len(gammas), Result()
    real = [(t, b) for b, length in enumerate(batch.lengths) for t in range(length)]

    def q_combined(t, b, j):
        return [e + betas[j] * i for e, i in zip(online["e"][t][b][j], online["i"][t][b][j], strict=True)]

    def pi(t, b, j):
        if not loss.distil_policy:
            return greedy(q_combined(t, b, j), loss.distillation_epsilon)
        return softmax(online["pi"][t][b][j], loss.target_temperature)

    def trace(t, b, j):
        action, probabilities = batch.actions[t][b], pi(t, b, j)
        if loss.target == "q_lambda":
            return loss.lambda_
        if loss.target == "retrace":
            return loss.lambda_ * min(1.0, probabilities[action] / batch.mu[t][b])
        q = q_combined(t, b, j)
        if loss.kappa == math.inf:
            return loss.lambda_
        passes = [as_good(q[action], v - loss.kappa * abs(v), q) for v in q]
        return loss.lambda_ * sum(p * good for p, good in zip(probabilities, passes, strict=True))

    def value(z, t, b, j):
        values = (online if loss.bootstrap == "online" else target)[z][t][b][j]
        return sum(p * h_inverse(q) for p, q in zip(pi(t, b, j), values, strict=True))

    returns = {}
    for z in ("e", "i"):
        for b, length in enumerate(batch.lengths):
            for j in range(n):
                for t in reversed(range(length)):
                    following = value(z, t + 1, b, j)
                    if t < length - 1:
                        c, g = trace(t + 1, b, j), returns[z, t + 1, b, j]
                        if loss.target == "retrace":
                            values = (online if loss.bootstrap == "online" else target)[z][t + 1][b][j]
                            following += c * (g - h_inverse(values[batch.actions[t + 1][b]]))
                        else:
                            following = (1 - c) * following + c * g
                    d = 0.0 if batch.terminal[b] and t == length - 1 else 1.0
                    returns[z, t, b, j] = batch.rewards[z][t][b] + gammas[j] * d * following

    def td_error(z, t, b, j):
        values, taken = online[z][t][b][j], online[z][t][b][j][batch.actions[t][b]]
        gap = sum(p * q for p, q in zip(pi(t, b, j), values, strict=True)) - taken
        return h(returns[z, t, b, j]) - loss.advantage_alpha * gap - taken

    delta = {where: td_error(*where) for where in returns}
    for z in ("e", "i"):
        result.sigma[z] = [
            max(running[z][j], statistics.pstdev(delta[z, t, b, j] for t, b in real), loss.sigma_floor)
            for j in range(n)
        ]

    eta = loss.cross_mixture_eta if loss.cross_mixture else 1.0

    def mixing(b, j):  # weight of L_j at one step of sequence b in the total
        return (eta * (j == batch.policies[b]) + (1 - eta) / n) * batch.importance[b] / len(real)

    def scale(z, j):
        return result.sigma[z][j] if loss.normalise_td else 1.0

    def share(z, j):  # of a component in L_j
        return (1.0 if z == "e" else abs(betas[j])) / (1 + abs(betas[j]))

    for (z, t, b, j), error in delta.items():
        action = batch.actions[t][b]
        q, q_target = online[z][t][b][j][action], target[z][t][b][j][action]
        far = abs(q - q_target) > loss.trust_region_alpha * result.sigma[z][j]
        if loss.trust_region and far and sgn(q - q_target) != sgn(-error):
            result.num_dropped[z] += 1
            continue
        weight = mixing(b, j) * share(z, j)
        result.value_loss += weight * 0.5 * (error / scale(z, j)) ** 2
        result.gradients[z, t, b, j, action] = -weight * error / scale(z, j) ** 2

    for t, b in real:
        for j in range(n):
            now, before = softmax(online["pi"][t][b][j]), softmax(target["pi"][t][b][j])
            kl = sum(p * math.log(p / o) for p, o in zip(before, now, strict=True))
            if kl > loss.max_kl:
                result.num_dropped["pi"] += 1
                continue
            teacher = greedy(q_combined(t, b, j), loss.distillation_epsilon)
            result.policy_loss -= mixing(b, j) * sum(g * math.log(p) for g, p in zip(teacher, now, strict=True))
            if loss.distil_policy:
                for a, (g, p) in enumerate(zip(teacher, now, strict=True)):
                    result.gradients["pi", t, b, j, a] = loss.distillation_weight * mixing(b, j) * (p - g)
    result.loss = result.value_loss + (loss.distillation_weight * result.policy_loss if loss.distil_policy else 0.0)

    for b, length in enumerate(batch.lengths):
        j = batch.policies[b]
        errors = [sum(share(z, j) * abs(delta[z, t, b, j] / scale(z, j)) for z in ("e", "i")) for t in range(length)]
        result.priorities.append(priority_eta * max(errors) + (1 - priority_eta) * sum(errors) / length)
    return result
