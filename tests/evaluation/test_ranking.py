"""The greedy play that ranks checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.errors import Interrupted
from meme57.evaluation import ranking
from meme57.evaluation.protocol import play_episodes

TREE: dict[str, Any] = {
    "env": {"game": "Breakout", "num_envs": 2, "height": 36, "width": 36, "full_action_space": False},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [2, 3]},
    "novelty": {"channels": [2, 3], "hidden_size": 8, "rnd_size": 4},
}


@pytest.mark.parametrize(("own", "played"), [(108_000, 800), (400, 400)])
def test_a_policy_that_never_serves_is_cut(monkeypatch: pytest.MonkeyPatch, own: int, played: int) -> None:
    monkeypatch.setattr(ranking, "EPISODE_FRAMES", 800)
    lengths: list[int] = []

    def watched(make_policy: Callable[..., Any], spec: Any, **settings: Any) -> float:
        episodes = play_episodes(make_policy, spec, **settings)
        lengths.extend(episode.num_steps for episode in episodes)
        return 0.0

    monkeypatch.setattr(ranking, "mean_return", watched)
    parameters = parse_parameters(
        {**TREE, "env": {**TREE["env"], "max_episode_frames": own}, "learner": {"evaluation_episodes": 2}}
    )
    evaluate = ranking.checkpoint_evaluation(parameters)
    assert evaluate is not None
    # Fresh policies always choose one action; Breakout does not begin before FIRE, and has no clock.
    evaluate(*make_networks(agent_spec(parameters, env_spec(parameters.env)), seed=1))
    assert lengths == [played // 4] * 2


def test_no_episodes_asked_for_no_evaluation() -> None:
    assert ranking.checkpoint_evaluation(parse_parameters({**TREE, "learner": {"evaluation_episodes": 0}})) is None


def test_it_can_be_stopped_and_the_network_goes_on_learning() -> None:
    parameters = parse_parameters({**TREE, "learner": {"evaluation_episodes": 2}})
    seen = []

    def stop() -> bool:
        seen.append(network.training)
        return True

    evaluate = ranking.checkpoint_evaluation(parameters, stop=stop)
    assert evaluate is not None
    network, novelty = make_networks(agent_spec(parameters, env_spec(parameters.env)), seed=1)
    network.train()
    with pytest.raises(Interrupted):
        evaluate(network, novelty)
    assert set(seen) == {False}  # so that folded weights are kept from step to step
    assert network.training
