"""Traces and returns: hand values, loops over single numbers, and the algorithms they coincide with."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from meme57.agent.returns import (
    advantage_learning,
    backward_recursion,
    corrected_returns,
    retrace_returns,
    retrace_traces,
    soft_watkins_traces,
)
from meme57.agent.ties import TIE_TOLERANCE


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def case(num_steps: int = 7, batch: int = 3, n: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """rewards, discounts, values, traces [T, B, N]."""
    rewards, values = random(num_steps, batch, n, seed=seed), 5 * random(num_steps + 1, batch, n, seed=seed + 1)
    discounts = random(num_steps, batch, n, seed=seed + 2).sigmoid()
    return rewards, discounts, values, random(num_steps, batch, n, seed=seed + 3).sigmoid()


# ---- traces


@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("kappa", [0.0, 0.01])
def test_rounding_cuts_no_trace_between_equal_actions(kappa: float, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    best = size * (1.0 + torch.rand(20_000, 1, generator=generator, dtype=torch.float64))
    noise = torch.rand(20_000, 4, generator=generator, dtype=torch.float64) - 0.5
    q = (best + noise * max(size, 1.0) * 2.0**-23).float()
    taken, policy = torch.zeros(20_000, dtype=torch.long), torch.full_like(q, 0.25)
    c = soft_watkins_traces(q, taken, policy, lambda_=1.0, kappa=kappa)
    assert c.unique().tolist() == [1.0]


def test_a_trace_falls_without_a_step() -> None:
    # kappa = 0.01, Q(a) = 1: the edge is 0.99; beyond it by 1/2, 3/4 and 1 of the tolerance: 1, 1/2, 0
    q = torch.tensor([[0.99 - TIE_TOLERANCE * beyond, 1.0] for beyond in (0.5, 0.75, 1.0)], dtype=torch.float64)
    policy = torch.tensor([[0.0, 1.0]] * 3, dtype=torch.float64)
    c = soft_watkins_traces(q, torch.tensor([0, 0, 0]), policy, lambda_=1.0, kappa=0.01)
    assert c.tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-9)


def test_trace_by_hand() -> None:
    # Q = (1.0, 1.005, 2.0, -1.0), a = 0, kappa = 0.01; passes where 1.0 >= Q(a) - 0.01 |Q(a)|:
    #   1.0 >= 0.99 yes;  1.0 >= 0.99495 yes;  1.0 >= 1.98 no;  1.0 >= -1.01 yes
    # c = 0.95 (0.1 + 0.2 + 0.3) = 0.57
    q, policy = torch.tensor([1.0, 1.005, 2.0, -1.0]), torch.tensor([0.1, 0.2, 0.4, 0.3])
    c = soft_watkins_traces(q, torch.tensor(0), policy, lambda_=0.95, kappa=0.01)
    assert c.shape == ()
    assert c.item() == pytest.approx(0.57, abs=1e-6)


def test_tolerance_of_negative_values_widens_downwards() -> None:
    # Q(a) = -1: the threshold is -1 - 0.1 = -1.1, not -0.9; -1.05 passes, -1.2 does not
    q = torch.tensor([[-1.05, -1.0], [-1.2, -1.0]])
    c = soft_watkins_traces(q, torch.tensor([0, 0]), torch.tensor([[0.0, 1.0]] * 2), lambda_=1.0, kappa=0.1)
    assert c.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kappa", [0.0, 0.01, 0.5, 3.0, math.inf])
def test_traces_equal_a_loop_over_numbers(kappa: float) -> None:
    q, policy = random(4, 3, 2, 6), random(4, 3, 2, 6, seed=1).softmax(-1)
    actions = torch.randint(6, (4, 3, 2), generator=torch.Generator().manual_seed(2))
    traces = soft_watkins_traces(q, actions, policy, lambda_=0.95, kappa=kappa)
    assert traces.shape == (4, 3, 2)
    for where in itertools.product(range(4), range(3), range(2)):
        taken, expectation = q[where][actions[where]].item(), 0.0
        for probability, value in zip(policy[where].tolist(), q[where].tolist(), strict=True):
            if kappa == math.inf or taken >= value - kappa * abs(value):
                expectation += probability
        assert traces[where].item() == pytest.approx(0.95 * expectation, abs=1e-12)


def test_infinite_kappa_passes_every_action_zero_values_included() -> None:
    # inf * |0| would be NaN
    q = torch.tensor([[0.0, 5.0, 0.0], [-3.0, 0.0, 1e30]])
    policy = torch.full((2, 3), 1.0 / 3.0)
    c = soft_watkins_traces(q, torch.tensor([0, 0]), policy, lambda_=0.9, kappa=math.inf)
    assert c.tolist() == pytest.approx([0.9, 0.9])


def test_greedy_action_under_a_greedy_policy_is_watkins() -> None:
    q = random(5, 4)
    greedy = torch.nn.functional.one_hot(q.argmax(-1), 4).double()
    own = soft_watkins_traces(q, q.argmax(-1), greedy, lambda_=0.9, kappa=0.0)
    other = soft_watkins_traces(q, q.argmin(-1), greedy, lambda_=0.9, kappa=0.0)
    assert own.tolist() == [0.9] * 5
    assert other.tolist() == [0.0] * 5


def test_retrace_trace_by_hand_and_loop() -> None:
    # 0.9 min(1, 0.2 / 0.5) = 0.36;  0.9 min(1, 0.8 / 0.5) = 0.9
    policy = torch.tensor([[0.2, 0.8], [0.2, 0.8]], dtype=torch.float64)
    mu = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert retrace_traces(torch.tensor([0, 1]), policy, mu, lambda_=0.9).tolist() == pytest.approx([0.36, 0.9])


# ---- returns


def test_return_by_hand() -> None:
    # G_1 = 2 + 0.5 * 8 = 6;  G_0 = 1 + 0.5 ((1 - 0.25) * 4 + 0.25 * 6) = 1 + 0.5 * 4.5 = 3.25
    returns = corrected_returns(
        torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.5]), torch.tensor([10.0, 4.0, 8.0]), torch.tensor([0.25, 9.0])
    )
    assert returns.tolist() == pytest.approx([3.25, 6.0])


def naive_returns(rewards: Tensor, discounts: Tensor, values: Tensor, traces: Tensor) -> Tensor:
    out = torch.zeros_like(rewards)
    num_steps, *rest = rewards.shape
    for where in itertools.product(*(range(size) for size in rest)):
        g = None
        for t in reversed(range(num_steps)):
            v = values[(t + 1, *where)].item()
            c = 0.0 if t == num_steps - 1 else traces[(t, *where)].item()
            following = v if g is None else (1 - c) * v + c * g
            g = rewards[(t, *where)].item() + discounts[(t, *where)].item() * following
            out[(t, *where)] = g
    return out


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (9, 3, 4)])
def test_returns_equal_a_loop_over_numbers(shape: tuple[int, int, int]) -> None:
    tensors = case(*shape)
    torch.testing.assert_close(corrected_returns(*tensors), naive_returns(*tensors), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 5, 8, 13, 160])
def test_returns_equal_a_loop_whatever_the_length_with_terminals_and_cuts(num_steps: int) -> None:
    rewards, discounts, values, traces = case(num_steps, 4, 2, seed=1)
    discounts, traces = discounts * (random(num_steps, 4, 2, seed=7) < 0.8), traces * (random(num_steps, 4, 2) < 0.8)
    torch.testing.assert_close(
        corrected_returns(rewards, discounts, values, traces), naive_returns(rewards, discounts, values, traces),
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    q_taken = random(num_steps, 4, 2, seed=9)
    expected, g = torch.zeros_like(rewards), torch.zeros(4, 2, dtype=torch.float64)
    for t in reversed(range(num_steps)):
        correction = traces[t] * (g - q_taken[t + 1]) if t < num_steps - 1 else 0.0
        expected[t] = g = rewards[t] + discounts[t] * (values[t + 1] + correction)
    torch.testing.assert_close(
        retrace_returns(rewards, discounts, values, q_taken, traces), expected, rtol=1e-12, atol=1e-12
    )


def test_the_recursion_by_hand_changes_no_argument() -> None:
    # G_2 = 3;  G_1 = 2 + 0.5 * 3 = 3.5;  G_0 = 1 + 2 * 3.5 = 8
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.5, 0.0])
    assert backward_recursion(a, b).tolist() == [8.0, 3.5, 3.0]
    assert (a.tolist(), b.tolist()) == ([1.0, 2.0, 3.0], [2.0, 0.5, 0.0])


def test_any_leading_dimensions() -> None:
    rewards, discounts, values, traces = case()
    whole = corrected_returns(rewards, discounts, values, traces)
    single = corrected_returns(rewards[:, 1, 0], discounts[:, 1, 0], values[:, 1, 0], traces[:, 1, 0])
    torch.testing.assert_close(single, whole[:, 1, 0])


def test_recursion_equals_the_sum_of_equation_3() -> None:
    # G_t = V_t + sum_k (prod_{i<k} gamma_{t+i}) (prod_{i=1..k} c_{t+i}) (r_{t+k} + gamma_{t+k} V_{t+k+1} - V_{t+k})
    rewards, discounts, values, traces = (x[:, 0, 0].tolist() for x in case(8))
    returns = corrected_returns(*(x[:, 0, 0] for x in case(8)))
    for t in range(8):
        total, weight = values[t], 1.0
        for k in range(t, 8):
            total += weight * (rewards[k] + discounts[k] * values[k + 1] - values[k])
            weight *= discounts[k] * traces[k]
        assert returns[t].item() == pytest.approx(total, abs=1e-10)


def test_lambda_zero_is_one_step() -> None:
    rewards, discounts, values, traces = case()
    torch.testing.assert_close(
        corrected_returns(rewards, discounts, values, torch.zeros_like(traces)), rewards + discounts * values[1:]
    )


def test_full_traces_are_monte_carlo_with_a_final_bootstrap() -> None:
    rewards, discounts, values, _ = case(5)
    g = values[5]
    for t in reversed(range(5)):
        g = rewards[t] + discounts[t] * g
        torch.testing.assert_close(corrected_returns(rewards, discounts, values, torch.ones_like(rewards))[t], g)


def test_the_last_trace_is_unused() -> None:
    rewards, discounts, values, traces = case()
    changed = traces.clone()
    changed[-1] = torch.nan
    assert torch.equal(
        corrected_returns(rewards, discounts, values, traces), corrected_returns(rewards, discounts, values, changed)
    )


def test_a_terminal_step_ignores_what_comes_after_and_a_truncation_bootstraps() -> None:
    rewards, discounts, values, traces = case(6)
    terminal = discounts.clone()
    terminal[2] = 0.0  # d_2 = 0
    returns = corrected_returns(rewards, terminal, values, traces)
    assert torch.equal(returns[2], rewards[2])
    later = values.clone()
    later[3:] += 1e6
    assert torch.equal(corrected_returns(rewards, terminal, later, traces)[:3], returns[:3])
    cut = traces.clone()
    cut[2] = 0.0  # the trace is cut, the discount stays: a truncation
    truncated = corrected_returns(rewards, discounts, values, cut)
    torch.testing.assert_close(truncated[2], rewards[2] + discounts[2] * values[3])


def test_a_cut_trace_keeps_huge_returns_behind_it_out() -> None:
    rewards, discounts, values, traces = (x.float() for x in case(6))
    traces[2] = 0.0
    expected = corrected_returns(rewards, discounts, values, traces)[:3]
    rewards[3:] = 1e30
    assert torch.equal(corrected_returns(rewards, discounts, values, traces)[:3], expected)


def test_baseline_is_the_value_not_the_action_value() -> None:
    # with traces of one and V = 0, Retrace subtracts Q(x, a) and Eq. 3 does not
    rewards, discounts = torch.ones(2), torch.ones(2)
    values, q_taken, traces = torch.zeros(3), torch.full((2,), 5.0), torch.ones(2)
    assert corrected_returns(rewards, discounts, values, traces).tolist() == [2.0, 1.0]
    # G_1 = 1;  G_0 = 1 + V_1 + 1 (G_1 - Q_1) = 1 + 0 + (1 - 5) = -3
    assert retrace_returns(rewards, discounts, values, q_taken, traces).tolist() == [-3.0, 1.0]


def test_retrace_equals_a_loop_over_numbers() -> None:
    rewards, discounts, values, traces = case(6)
    q_taken = random(6, 3, 2, seed=9)
    returns = retrace_returns(rewards, discounts, values, q_taken, traces)
    for where in itertools.product(range(3), range(2)):
        g = 0.0
        for t in reversed(range(6)):
            following = values[(t + 1, *where)].item()
            if t < 5:
                following += traces[(t, *where)].item() * (g - q_taken[(t + 1, *where)].item())
            g = rewards[(t, *where)].item() + discounts[(t, *where)].item() * following
            assert returns[(t, *where)].item() == pytest.approx(g, abs=1e-10)


def test_retrace_without_off_policy_error_is_eq_3() -> None:
    rewards, discounts, values, traces = case(6)
    torch.testing.assert_close(
        retrace_returns(rewards, discounts, values, values[:-1], traces),
        corrected_returns(rewards, discounts, values, traces),
    )


# ---- advantage learning


def test_advantage_learning_by_hand() -> None:
    # E Q = 0.25 * 1 + 0.75 * 3 = 2.5;  y - 0.9 (2.5 - Q(a)): 2 - 1.35 for Q(a) = 1, 4 + 0.45 for Q(a) = 3
    q, policy = torch.tensor([[1.0, 3.0]] * 2), torch.tensor([[0.25, 0.75]] * 2)
    lowered = advantage_learning(torch.tensor([2.0, 4.0]), q, torch.tensor([1.0, 3.0]), policy, alpha=0.9)
    assert lowered.tolist() == pytest.approx([0.65, 4.45])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_values_settle_where_gaps_are_wider_and_the_expectation_is_the_same(alpha: float) -> None:
    means, policy = random(3, 5), random(3, 5, seed=1).softmax(-1)  # what each action of three states returns
    q = torch.zeros_like(means)
    for _ in range(4_000):
        targets = advantage_learning(means, q.unsqueeze(1), q, policy.unsqueeze(1), alpha=alpha)
        q += 0.1 * (targets - q)
    expected = (policy * means).sum(-1, keepdim=True)
    torch.testing.assert_close(q, expected + (means - expected) / (1.0 - alpha))
