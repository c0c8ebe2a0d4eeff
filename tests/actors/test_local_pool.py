"""The pool in this process: exploration ladder, saved state, and no Ray in sight."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from meme57.actors import LocalPool, agent_spec, make_networks
from meme57.envs import env_spec


@pytest.fixture(name="make_pool")
def _make_pool(make_parameters, request):
    def make(**groups) -> LocalPool:
        parameters = make_parameters(**groups)
        env = env_spec(parameters.env)
        pool = LocalPool(parameters, env, agent_spec(parameters, env))
        request.addfinalizer(pool.close)
        return pool

    return make


def test_environments_have_the_ladders_rates(make_pool) -> None:
    pool = make_pool(env={"num_envs": 3}, actors={"epsilon_base": 0.4, "epsilon_alpha": 2.0})
    assert pool.num_envs == 3
    chunks = pool.collect(48).chunks
    for env, epsilon in enumerate((0.4, 0.4**2, 0.4**3)):  # 0.4^(1 + 2 i / 2); four actions
        mu = np.concatenate([c.mu for c in chunks if c.episode % 3 == env and c.episode < 3])
        allowed = (epsilon / 4, epsilon / 4 + 1 - epsilon)
        assert all(min(abs(m - a) for a in allowed) < 1e-6 for m in mu.tolist())


def test_state_goes_through_json_and_on_identically(make_pool) -> None:
    first, second = make_pool(), make_pool()
    first.collect(100)
    state = json.loads(json.dumps(first.state_dict()))
    first.load_state_dict(state)
    second.load_state_dict(state)
    left, right = first.collect(80), second.collect(80)
    assert left.episodes == right.episodes
    for a, b in zip(left.chunks, right.chunks, strict=True):
        assert (a.frames, a.episode, a.policy) == (b.frames, b.episode, b.policy)
        assert a.steps.action.tolist() == b.steps.action.tolist()
        assert a.steps.intrinsic.tolist() == b.steps.intrinsic.tolist()


def test_fresh_networks_are_those_of_the_seed(make_parameters) -> None:
    parameters = make_parameters()
    spec = agent_spec(parameters, env_spec(parameters.env))
    before = torch.random.get_rng_state()
    (one, novelty), (two, _), (other, _) = (make_networks(spec, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)  # the global stream is left alone
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert novelty.spec.num_actions == 4


def test_importing_actors_does_not_import_ray() -> None:
    code = "import sys, meme57.actors; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
