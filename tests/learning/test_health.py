"""Health diagnostics against hand values and naive loops; padding never counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meme57.agent.network import NetworkOutput
from meme57.agent.transforms import signed_hyperbolic
from meme57.blueprint import agent_spec
from meme57.envs import env_spec
from meme57.learning import health as h
from meme57.learning.learner import Learner
from meme57.replay.ring import PrioritisedRing


def test_choice_gain_is_the_policys_value_above_that_of_the_action_taken() -> None:
    q = signed_hyperbolic(torch.tensor([[4.0, 1.0, -2.0], [0.5, 0.5, 0.5]]))
    pi = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    gain = h.choice_gain(q, pi, torch.tensor([2, 1]))
    torch.testing.assert_close(gain, torch.tensor([1.75 + 2.0, 0.0]), rtol=1e-4, atol=1e-5)  # 2 + 0.25 - 0.5 = 1.75


def test_trace_lengths_by_hand() -> None:
    traces = torch.tensor([0.9, 0.5, 0.2, 0.8]).view(4, 1, 1)
    last = torch.tensor([False, False, False, True]).view(4, 1)
    # n_3 = 1; n_2 = 1 + 0.8; n_1 = 1 + 0.2 * 1.8 = 1.36; n_0 = 1 + 0.5 * 1.36 = 1.68
    assert h.trace_lengths(traces, last).flatten().tolist() == pytest.approx([1.68, 1.36, 1.8, 1.0])
    cut = torch.tensor([False, True, False, True]).view(4, 1)  # n_1 = 1, n_0 = 1 + 0.5
    assert h.trace_lengths(traces, cut).flatten().tolist() == pytest.approx([1.5, 1.0, 1.8, 1.0])


def test_full_traces_reach_the_end() -> None:
    last = torch.zeros(5, 2, dtype=torch.bool)
    assert h.trace_lengths(torch.ones(5, 2, 3), last)[:, 0, 0].tolist() == [5, 4, 3, 2, 1]
    assert h.trace_lengths(torch.zeros(5, 2, 3), last).unique().tolist() == [1]


def test_explained_variance() -> None:
    targets = torch.tensor([[1.0, 2.0, 3.0, math.nan]])
    mask = torch.tensor([[True, True, True, False]])
    assert h.explained_variance(targets, torch.zeros(1, 4), mask).item() == 1.0
    assert h.explained_variance(targets, targets - 2.0, mask).item() == pytest.approx(0.0)  # a constant 2
    assert h.explained_variance(targets, targets * 2.0, mask).item() == pytest.approx(-3.0)
    # values 1, 2, 2 leave errors 0, 0, 1: variance 2/9 of 2/3
    assert h.explained_variance(targets, torch.tensor([[0.0, 0.0, 1.0, 7.0]]), mask).item() == pytest.approx(2 / 3)
    assert h.explained_variance(torch.ones(1, 3), torch.randn(1, 3), torch.ones(1, 3, dtype=torch.bool)).item() == 0.0


def test_worse_by_more_than_the_tolerance() -> None:
    q = torch.tensor([[2.0, 1.99, 1.5], [-2.0, -2.01, -2.5], [0.0, -0.001, 0.0]])
    worse = [h.is_worse(q, torch.full((3,), action), kappa=0.01).tolist() for action in range(3)]
    assert worse == [[False] * 3, [False, False, True], [True, True, False]]


def test_dead_share() -> None:
    assert h.dead_share(torch.tensor([[0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 3.0, 0.0]])).item() == 0.5


def test_units_that_are_off_everywhere_are_not_active(make_parameters, make_batch) -> None:
    parameters = make_parameters(network={"normalise_heads": False})
    learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))
    hidden, size = learner.network.values.advantage.hidden, parameters.network.head_size
    with torch.no_grad():
        hidden.weight.zero_()
        hidden.bias[:size] = 1.0  # on in the first of three policies
        hidden.bias[size:] = -1.0
    _, metrics = learner.update(make_batch(lengths=[6, 3, 6, 1], terminal=[False, True, False, True]))
    assert metrics["health/active_advantage_units"].item() == pytest.approx(1 / 3, abs=1e-6)


def test_gates_that_are_wide_open_are_saturated(make_parameters, make_batch) -> None:
    parameters = make_parameters()
    learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))
    lstm, size = learner.network.lstm, parameters.network.lstm_size
    with torch.no_grad():
        for weight in (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_hh_l0):
            weight.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([5.0, 0.0, 5.0, -5.0]).repeat_interleave(size))  # i, f, g, o: two of three
    _, metrics = learner.update(make_batch(lengths=[6, 3, 6, 1], terminal=[False, True, False, True]))
    assert metrics["health/saturated_gates"].item() == pytest.approx(2 / 3, abs=1e-6)


def test_every_37th_update_has_a_check_up(make_parameters, make_batch) -> None:
    parameters = make_parameters(learner={"learning_rate": 1e-2})
    learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))
    batch = make_batch(lengths=[6, 3, 6, 1], terminal=[False, True, False, True])
    found = [learner.update(batch)[1] for _ in range(2 * h.PERIOD_UPDATES + 1)]
    checked = [any(name.startswith("health/") for name in metrics) for metrics in found]
    assert [i for i, has in enumerate(checked) if has] == [0, h.PERIOD_UPDATES, 2 * h.PERIOD_UPDATES]
    first, later = found[0], found[-1]
    assert first["health/choice_gain"] == pytest.approx(0.0, abs=1e-6)  # all values are equal at first
    assert later["health/choice_gain"] != 0
    assert first["health/policy_churn"] == 0  # the target network is still a copy
    assert first["health/explained_variance"] == pytest.approx(0.0, abs=1e-6)  # value heads start at zero
    assert 1.0 <= later["health/trace_length_steps"] <= 6.0
    assert later["health/explained_variance"] > 0.3  # one batch, 74 times over
    assert later["health/explained_variance_intrinsic"] > 0.3
    assert 0.0 <= later["health/dead_units"] < 1.0
    assert 0.3 < first["health/active_advantage_units"] < 0.7
    assert {f"sigma_{z}/{j}" for z in ("extrinsic", "intrinsic") for j in range(3)} <= later.keys()
    assert later["learner/sigma_extrinsic"] == pytest.approx(
        np.mean([later[f"sigma_extrinsic/{j}"].item() for j in range(3)])
    )


def test_greedy_actions_are_those_that_are_followed(make_parameters) -> None:
    logits, q = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    heads = (values.expand(3, 1, 2, 3) for values in (q, -q, logits))
    output = NetworkOutput(*heads, state=torch.zeros(2, 1, 8), core=torch.zeros(3, 1, 8))
    for distilled, action in ((True, 1), (False, 2)):
        chosen = h.greedy_actions(output, make_parameters(loss={"distil_policy": distilled}).loss)
        assert chosen.tolist() == [[action], [action]]


def test_padding_does_not_count(make_parameters, make_batch) -> None:
    parameters = make_parameters()
    seen = []
    for fill in (0.0, 1e9):
        learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))
        batch = make_batch(lengths=[6, 3, 6, 1], terminal=[False, True, False, True])
        batch.rewards[~batch.mask] = fill
        seen.append({k: v.item() for k, v in learner.update(batch)[1].items() if k.startswith("health/")})
    assert seen[0] == pytest.approx(seen[1], rel=1e-5)


def test_effective_share_of_a_prioritised_draw() -> None:
    ring = PrioritisedRing(8, exponent=1.0)
    assert ring.effective_share() == 1.0
    ring.insert(4)
    assert ring.effective_share() == pytest.approx(1.0)
    ring.update([0, 1, 2, 3], [1.0, 0.0, 0.0, 0.0])
    assert ring.effective_share() == pytest.approx(0.25, rel=1e-4)  # as good as one of four
    ring.update([0, 1], [3.0, 1.0])
    assert ring.effective_share() == pytest.approx(16 / (4 * 10), rel=1e-4)
