"""The actor on real games: what it stores is what happened, and unrolling it gives the decisions again."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from meme57.actors.actor import SEED_STRIDE
from meme57.agent.network import Features
from meme57.agent.novelty import EpisodicMemory
from meme57.agent.transforms import signed_parabolic
from meme57.blueprint import make_replay
from meme57.envs import make_env
from meme57.learning.tensors import to_tensors, with_newest_embeddings
from meme57.replay.chunks import Chunk
from meme57.replay.codec import decompress_frames_into

PONG = {"game": "Pong", "num_envs": 2, "max_episode_frames": 120, "noop_max": 8}  # truncated after 30 steps


def frames_of(chunk: Chunk) -> np.ndarray:
    out = np.zeros((chunk.num_steps + 1, *chunk.frame_shape), np.uint8)
    decompress_frames_into(chunk.frames, out)
    return out


def by_episode(chunks: Iterable[Chunk]) -> dict[int, list[Chunk]]:
    episodes: dict[int, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        episodes[chunk.episode].append(chunk)
    return dict(sorted(episodes.items()))


def same(left: Chunk, right: Chunk) -> bool:
    def flat(chunk: Chunk) -> list[object]:
        values = dict(vars(chunk))
        groups = [values.pop("first_inputs")._asdict(), values.pop("steps")._asdict()]
        arrays = [np.asarray(v).tobytes() for group in groups for v in group.values()]
        return [v.tobytes() if isinstance(v, np.ndarray) else v for v in values.values()] + arrays

    return flat(left) == flat(right)


# ---- acting and learning see the same


@pytest.mark.parametrize("acts_on_values", [False, True])
@pytest.mark.parametrize("env", [PONG, {"game": "Corridor", "num_envs": 3, "max_episode_frames": 92}], ids=str)
@torch.no_grad()
def test_unrolling_stored_sequences_gives_the_greedy_actions_again(make_actor, env, acts_on_values) -> None:
    played = make_actor(env=env, loss={"distil_policy": not acts_on_values}, epsilon=0.0)
    collected = played.actor.collect(75)
    assert len(collected.episodes) >= 4
    replay = make_replay(played.parameters, played.env)
    replay.add(collected.chunks)
    batch = replay.sample(40, np.random.default_rng(0))
    features = Features(*(torch.from_numpy(value) for value in batch.inputs))
    output = played.network(torch.from_numpy(batch.frames), features, torch.from_numpy(batch.lstm_state))
    betas = played.spec.family.betas.float()
    q = output.q_extrinsic + betas[:, None] * output.q_intrinsic
    preferences = (q if acts_on_values else output.logits)[:, torch.arange(40), torch.from_numpy(batch.policies)][:-1]
    actions, mask = torch.from_numpy(batch.actions), torch.from_numpy(batch.mask)
    taken = preferences.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    assert (preferences.amax(-1) - taken)[mask].max() < 1e-5  # the action taken is the best one, ties apart
    assert len(np.unique(batch.actions[batch.mask])) > 1
    assert set(batch.lengths.tolist()) >= {16}


@torch.no_grad()
def test_unrolling_stored_sequences_gives_the_probabilities_of_drawn_actions_again(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.1, actors={"temperature": 0.5})
    replay = make_replay(played.parameters, played.env)
    replay.add(played.actor.collect(75).chunks)
    batch = replay.sample(40, np.random.default_rng(0))
    features = Features(*(torch.from_numpy(value) for value in batch.inputs))
    output = played.network(torch.from_numpy(batch.frames), features, torch.from_numpy(batch.lstm_state))
    logits = output.logits[:, torch.arange(40), torch.from_numpy(batch.policies)][:-1]
    policy = 0.9 * (logits / 0.5).softmax(-1) + 0.1 / logits.shape[-1]
    expected = policy.gather(-1, torch.from_numpy(batch.actions).unsqueeze(-1)).squeeze(-1)
    mask = torch.from_numpy(batch.mask)
    assert expected[mask].std() > 0.01
    torch.testing.assert_close(expected[mask], torch.from_numpy(batch.mu)[mask], rtol=1e-3, atol=1e-4)
    assert len(np.unique(batch.actions[batch.mask])) > 4


def test_a_lost_life_ends_what_is_learned_from_and_not_the_play(make_actor) -> None:
    game = {"game": "Breakout", "num_envs": 1, "full_action_space": False}
    whole, lives = (
        make_actor(env=game, epsilon=0.5, actors={"terminal_on_life_loss": on}).actor.collect(900)
        for on in (False, True)
    )
    assert lives.episodes == whole.episodes  # the play, its returns and its numbers of steps
    games = len(whole.episodes)
    assert games >= 2
    assert sum(chunk.terminal for chunk in whole.chunks) == games
    assert 5 * games <= sum(chunk.terminal for chunk in lives.chunks) < 5 * (games + 1)  # a game has five lives
    for name in ("action", "reward", "intrinsic"):
        played, parts = (
            np.concatenate([getattr(chunk.steps, name) for chunk in collected.chunks]) for collected in (whole, lives)
        )
        both = min(len(played), len(parts))  # what is still open at the end is not returned
        assert both > 800
        np.testing.assert_array_equal(played[:both], parts[:both])
    begun = [chunks[0] for chunks in by_episode(lives.chunks).values()]
    assert [chunk.index for chunk in begun] == [0] * len(begun)
    going_on = [chunk for chunk in begun if chunk.lstm_state.any()]
    assert len(going_on) >= 4 * games  # a new life begins with the state and the last action of the game that goes on
    assert all(chunk.first_inputs.action < 4 for chunk in going_on)


@torch.no_grad()
def test_state_at_the_second_chunk_is_what_unrolling_the_first_leaves(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.3)
    num_pairs = 0
    for chunks in by_episode(played.actor.collect(70).chunks).values():
        assert not chunks[0].lstm_state.any()
        for first, second in itertools.pairwise(chunks):
            inputs = [
                np.concatenate([np.asarray(start)[None], steps[:-1]])
                for start, steps in zip(first.first_inputs, first.steps, strict=True)
            ]
            features = Features(*(torch.from_numpy(value).unsqueeze(1) for value in inputs))
            frames = torch.from_numpy(frames_of(first)[:-1]).unsqueeze(0)
            output = played.network(frames, features, torch.from_numpy(first.lstm_state).unsqueeze(1))
            np.testing.assert_allclose(output.state[:, 0].numpy(), second.lstm_state, rtol=1e-4, atol=1e-5)
            num_pairs += 1
    assert num_pairs >= 8


# ---- what is stored is what happened


def test_chunks_replayed_in_single_environments_give_the_same_frames_and_rewards(make_actor) -> None:
    played = make_actor(env={"game": "Breakout", "num_envs": 2, "max_episode_frames": 240}, epsilon=0.5)
    collected = played.actor.collect(140)
    episodes = by_episode(collected.chunks)
    rewards = 0.0
    for index in range(2):  # both environments end together, at the frame limit: episode e is environment e % 2
        env = make_env(played.env, num_envs=1)
        observation = env.reset(seed=3 * SEED_STRIDE + index)[0]
        for episode in sorted(e for e in episodes if e % 2 == index):
            for chunk in episodes[episode]:
                frames = frames_of(chunk)
                assert np.array_equal(frames[0], observation)
                for t, action in enumerate(chunk.steps.action):
                    result = env.step(np.array([action]))
                    observation = result.observation[0]
                    assert np.array_equal(frames[t + 1], observation)
                    assert chunk.steps.reward[t] == result.reward[0]
                    rewards += result.reward[0]
                last = bool(result.terminated[0] or result.truncated[0])
                assert (chunk.is_last, chunk.terminal) == (last, bool(result.terminated[0]))
            observation = env.step(np.array([0])).observation[0]  # the reset step
        env.close()
    assert rewards > 0
    # 60 steps an episode, two whole ones and 18 steps of the third (two vector steps were resets), 16 in chunks
    assert [sum(c.num_steps for c in chunks) for chunks in episodes.values()] == [60, 60, 60, 60, 16, 16]
    assert collected.num_steps == 2 * 138


def test_chunks_of_an_episode_are_periods_in_order(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.5)
    collected = played.actor.collect(64)
    complete = [chunks for chunks in by_episode(collected.chunks).values() if chunks[-1].is_last]
    assert len(complete) == 4
    for chunks in complete:
        assert [c.index for c in chunks] == [0, 1, 2, 3]
        assert [c.num_steps for c in chunks] == [8, 8, 8, 6]  # 30 steps
        assert [c.is_last for c in chunks] == [False, False, False, True]
        assert not any(c.terminal for c in chunks)  # the frame limit truncates
        assert len({c.policy for c in chunks}) == 1
        assert {c.weight_version for c in chunks} == {7}
        for first, second in itertools.pairwise(chunks):
            assert np.array_equal(frames_of(first)[-1], frames_of(second)[0])
            for name, value in second.first_inputs._asdict().items():
                assert np.array_equal(value, getattr(first.steps, name)[-1])


def test_an_episode_starts_with_no_inputs(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.5)
    first = [chunks[0] for chunks in by_episode(played.actor.collect(64).chunks).values()]
    assert len(first) >= 4
    for chunk in first:
        assert chunk.first_inputs.action == played.env.num_actions
        for name in ("reward", "intrinsic", "lifelong", "episodic", "embedding"):
            assert not np.any(getattr(chunk.first_inputs, name)), name


def test_corridor_end_is_terminal_with_its_reward(make_actor) -> None:
    from meme57.envs.toys import toy

    following = toy("Corridor").following
    length = len(following) - 1
    played = make_actor(env={"game": "Corridor", "num_envs": 1}, epsilon=1.0)

    class Guide:  # in the place of the actor's random numbers: always explores, and always forward
        def integers(self, num_actions, size):
            return following[played.actor._env.state].argmax(-1)

        def random(self, size):
            return np.zeros(size)

    played.actor._rng = Guide()
    collected = played.actor.collect(length)
    rest = length - 8
    assert [c.num_steps for c in collected.chunks] == [8, rest]
    assert collected.chunks[1].terminal
    assert collected.chunks[1].steps.reward.tolist() == [0.0] * (rest - 1) + [1.0]
    assert [(e.extrinsic_return, e.num_steps) for e in collected.episodes] == [(1.0, length)]


@pytest.mark.parametrize("renew", [False, True])
@torch.no_grad()
def test_intrinsic_rewards_are_those_of_the_observation_that_the_step_led_to(make_actor, renew) -> None:
    played = make_actor(env=PONG, epsilon=0.5, novelty={"renew_embedding": renew})
    episodes = by_episode(played.actor.collect(62).chunks)
    memory = EpisodicMemory(played.spec.novelty, 2)
    # the constructor saw the first observations with the networks of the run's seed, before weights came
    from meme57.blueprint import make_networks

    _, fresh = make_networks(played.spec, seed=3)
    found = np.concatenate([chunk.steps.lifelong for chunks in episodes.values() for chunk in chunks])
    assert len(np.unique(found)) > 10  # so that it shows if it were left out
    for pair in ((0, 1), (2, 3)):
        steps = [[chunk for chunk in episodes[e]] for e in pair]
        frames = [np.concatenate([frames_of(c)[: None if c.is_last else -1] for c in chunks]) for chunks in steps]
        memory.reset(torch.tensor([True, True]))
        for t in range(31):
            observation = torch.from_numpy(np.stack([f[t] for f in frames]))
            networks = fresh if (t == 0 and pair == (0, 1)) else played.novelty
            embedding = (fresh if pair == (0, 1) else played.novelty).act_embed(observation)  # an episode keeps its own
            episodic = memory.reward(embedding)
            lifelong = networks.lifelong(networks.rnd_error(observation))
            if t == 0:
                assert not episodic.any()
                continue
            for env, chunks in enumerate(steps):
                chunk, at = chunks[(t - 1) // 8], (t - 1) % 8
                assert chunk.steps.episodic[at] == pytest.approx(episodic[env].item(), rel=1e-3)
                assert chunk.steps.lifelong[at] == pytest.approx(lifelong[env].item(), rel=1e-3)
                assert chunk.steps.intrinsic[at] == pytest.approx((episodic * lifelong)[env].item(), rel=1e-3)
                stored = played.novelty.act_embed(observation) if renew else embedding
                np.testing.assert_allclose(chunk.steps.embedding[at], stored[env].half().numpy(), rtol=2e-3)


@torch.no_grad()
def test_renewed_embeddings_are_those_of_the_newest_weights_in_acting_and_in_learning(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.5, novelty={"renew_embedding": True})
    num_actions = played.spec.network.num_actions
    replay = make_replay(played.parameters, played.env)
    replay.add(played.actor.collect(62).chunks)
    batch = to_tensors(replay.sample(12, np.random.default_rng(0)), torch.device("cpu"))

    def embedded(t: int, b: int) -> torch.Tensor:
        if batch.features.action[t, b] == num_actions:
            return torch.zeros(5)
        return played.novelty.act_embed(batch.frames[b, t : t + 1])[0]

    def assert_newest(embedding: torch.Tensor) -> None:
        for b, length in enumerate(batch.lengths.tolist()):
            for t in range(length + 1):
                torch.testing.assert_close(embedding[t, b].float(), embedded(t, b), rtol=2e-3, atol=1e-3)

    assert (batch.features.action == num_actions).any()
    assert_newest(batch.features.embedding)
    played.novelty.load_state_dict({name: 1.5 * value for name, value in played.novelty.state_dict().items()})
    renewed = with_newest_embeddings(batch, played.novelty, num_actions=num_actions)
    assert_newest(renewed.features.embedding)
    assert not torch.allclose(renewed.features.embedding, batch.features.embedding.float(), rtol=0.1)
    as_it_was = renewed._replace(features=renewed.features._replace(embedding=batch.features.embedding))
    assert all(one is two for one, two in zip(as_it_was.features, batch.features, strict=True))
    assert all(one is two for one, two in zip(as_it_was[2:], batch[2:], strict=True))
    for settings in ({}, {"enabled": False, "renew_embedding": True}):
        others = make_actor(env=PONG, novelty=settings)
        assert with_newest_embeddings(batch, others.novelty, num_actions=num_actions) is batch


@torch.no_grad()
def test_the_network_reads_the_inputs_that_are_stored(make_actor) -> None:
    """They are kept twice, on the host and on the device; some environments begin an episode alone."""
    played = make_actor(env={"game": "Breakout", "num_envs": 3}, epsilon=1.0)
    player, alone = played.actor._player, 0
    for _ in range(500):
        played.actor.collect(1)
        alone += int((player.inputs.action == played.spec.network.num_actions).sum() == 1)
        for stored, read in zip(player.inputs, player._features, strict=True):
            np.testing.assert_array_equal(read.numpy(), stored)
        np.testing.assert_array_equal(player._frames.numpy(), player.observation)
    assert alone > 2


def test_episode_results_are_the_sums_of_their_steps(make_actor) -> None:
    played = make_actor(env={"game": "Breakout", "num_envs": 2, "max_episode_frames": 240}, epsilon=0.5)
    collected = played.actor.collect(130)
    complete = [c for c in by_episode(collected.chunks).values() if c[-1].is_last]
    assert len(complete) == len(collected.episodes) == 4
    for chunks, episode in zip(complete, collected.episodes, strict=True):
        assert episode.policy == chunks[0].policy
        assert episode.num_steps == sum(c.num_steps for c in chunks) == 60
        assert episode.extrinsic_return == sum(c.steps.reward.sum() for c in chunks)
        rewards = np.concatenate([c.steps.reward for c in chunks])
        gamma = float(played.spec.family.gammas[episode.policy])
        discounted = sum(gamma**t * float(reward) for t, reward in enumerate(rewards))
        assert episode.discounted_return == pytest.approx(discounted, rel=1e-6)
    assert any(episode.extrinsic_return > 0 for episode in collected.episodes)


@pytest.mark.parametrize("acts_on_values", [False, True])
@torch.no_grad()
def test_predicted_return_is_the_value_of_the_preferred_action_at_the_first_step(make_actor, acts_on_values) -> None:
    played = make_actor(env=PONG, loss={"distil_policy": not acts_on_values})
    collected = played.actor.collect(100)
    complete = [c for c in by_episode(collected.chunks).values() if c[-1].is_last]
    assert len(complete) == len(collected.episodes) >= 4
    for (first, *_), episode in zip(complete, collected.episodes, strict=True):
        inputs = Features(*(torch.from_numpy(np.asarray(v)).view(1, 1, *v.shape) for v in first.first_inputs))
        frames = torch.from_numpy(frames_of(first)[:1]).unsqueeze(0)
        out = played.network(frames, inputs, played.network.initial_state(1))
        j = episode.policy
        q = out.q_extrinsic[0, 0, j]
        combined = q + float(played.spec.family.betas[j]) * out.q_intrinsic[0, 0, j]
        best = int((combined if acts_on_values else out.logits[0, 0, j]).argmax())
        assert episode.predicted_return == pytest.approx(float(signed_parabolic(q[best])), rel=1e-4)
    assert len({episode.predicted_return for episode in collected.episodes}) > 1


# ---- exploration


def test_a_uniform_policy_that_keeps_its_noise_repeats_actions(make_actor) -> None:
    """At a high temperature all six actions are equal."""
    repeated = []
    for noise_steps in (1, 100):
        settings = {"temperature": 1_000.0, "noise_steps": noise_steps}
        chunks = make_actor(env=PONG, actors=settings).actor.collect(100).chunks
        runs = [np.concatenate([c.steps.action for c in chunks if c.episode == env]) for env in (0, 1)]
        repeated.append(float(np.mean([run[1:] == run[:-1] for run in runs])))
    assert repeated[0] < 0.4
    assert repeated[1] > 0.9


def test_stored_mu_tells_greedy_and_random_actions_apart(make_actor) -> None:
    chunks = make_actor(env=PONG, epsilon=0.36).actor.collect(60).chunks
    mu = np.concatenate([chunk.mu for chunk in chunks])
    # 18 actions: 0.02 elsewhere, 0.64 + 0.02 on the greedy one
    assert set(np.round(mu, 4).tolist()) == {np.round(np.float32(0.02), 4), np.round(np.float32(0.66), 4)}


# ---- the bandit


def test_policies_come_from_the_bandits_first_sweep(make_actor) -> None:
    played = make_actor(env={**PONG, "num_envs": 2, "max_episode_frames": 32}, epsilon=0.5)
    episodes = by_episode(played.actor.collect(40).chunks)
    policies = {e: chunks[0].policy for e, chunks in episodes.items()}
    assert [policies[e] for e in range(6)] == [0, 1, 1, 2, 2, 0]  # a bandit each, from different policies on


def test_a_shared_bandit_sweeps_over_the_environments(make_actor) -> None:
    played = make_actor(env={**PONG, "max_episode_frames": 32}, bandit={"scope": "shared"}, epsilon=0.5)
    episodes = by_episode(played.actor.collect(26).chunks)
    assert [episodes[e][0].policy for e in range(3)] == [0, 1, 2]


def test_without_a_bandit_policies_are_uniform(make_actor) -> None:
    played = make_actor(env={"num_envs": 2, "max_episode_frames": 8}, bandit={"enabled": False}, epsilon=0.5)
    collected = played.actor.collect(300)
    counts = np.bincount([episode.policy for episode in collected.episodes], minlength=3)
    assert counts.sum() == 200
    assert counts.min() > 40


def test_without_novelty_there_is_no_intrinsic_reward(make_actor) -> None:
    played = make_actor(env=PONG, novelty={"enabled": False}, epsilon=0.5)
    for chunk in played.actor.collect(40).chunks:
        for name in ("intrinsic", "lifelong", "episodic", "embedding"):
            assert not np.any(getattr(chunk.steps, name))
    assert not played.spec.family.betas.any()


# ---- cuts, seeds and state


def test_cut_episodes_are_truncations(make_actor) -> None:
    played = make_actor(env=PONG, epsilon=0.5)
    collected = played.actor.collect(11)
    cut = played.actor.cut_episodes()
    assert [(c.index, c.num_steps, c.is_last, c.terminal) for c in cut] == [(1, 3, True, False)] * 2
    replay = make_replay(played.parameters, played.env)
    assert replay.add([*collected.chunks, *cut]) == 2
    assert replay.num_pending == 0
    played.actor.restart()
    later = played.actor.collect(8).chunks
    assert [c.episode for c in later] == [2, 3]
    assert not np.array_equal(frames_of(later[0]), frames_of(collected.chunks[0]))
    assert not collected.episodes  # a cut episode's return is not whole


def test_an_episode_cut_exactly_at_its_first_chunks_end_is_a_sequence(make_actor) -> None:
    # specification section 3: (c_0, padding) if m = 1, and a cut counts as truncation
    played = make_actor(env=PONG, epsilon=0.5)
    replay = make_replay(played.parameters, played.env)
    replay.add(played.actor.collect(8).chunks)
    replay.add(played.actor.cut_episodes())
    assert len(replay) == 0
    assert replay.end_pending() == len(replay) == 2


def test_restarts_never_use_a_seed_twice(make_actor, monkeypatch) -> None:
    played = make_actor(env=PONG)
    seeds: list[int] = []
    reset = played.actor._env.reset
    monkeypatch.setattr(played.actor._env, "reset", lambda *, seed: seeds.append(seed) or reset(seed=seed))
    for _ in range(3):
        played.actor.restart()
    used = [seed + env for seed in [3 * SEED_STRIDE, *seeds] for env in range(2)]
    assert len(set(used)) == 8
    assert all(0 <= seed < 2**31 for seed in used)


@pytest.mark.parametrize(
    ("env", "scope", "novelty"),
    [(PONG, "environment", True), ({"num_envs": 3}, "shared", True), ({"num_envs": 3}, "environment", False)],
    ids=str,
)
def test_restored_state_goes_on_identically(make_actor, env, scope: str, novelty: bool) -> None:
    settings = {"env": env, "bandit": {"scope": scope}, "novelty": {"enabled": novelty}}
    first, second = (make_actor(**settings, epsilon=0.3) for _ in range(2))
    first.actor.collect(35)
    first.actor.cut_episodes()
    state = json.loads(json.dumps(first.actor.state_dict()))
    first.actor.restart()
    second.actor.load_state_dict(state)
    left, right = first.actor.collect(48), second.actor.collect(48)
    assert left.episodes == right.episodes
    assert len(left.chunks) == len(right.chunks) > 8
    assert all(same(a, b) for a, b in zip(left.chunks, right.chunks, strict=True))


def test_same_seed_same_chunks_and_collecting_in_parts_changes_nothing(make_actor) -> None:
    first, second = (make_actor(env=PONG, epsilon=0.3) for _ in range(2))
    whole, parts = first.actor.collect(34), second.actor.collect(13)
    parts.add(second.actor.collect(21))
    assert whole.num_steps == parts.num_steps
    assert all(same(a, b) for a, b in zip(whole.chunks, parts.chunks, strict=True))
    other = make_actor(env=PONG, run={"seed": 4}, epsilon=0.3).actor.collect(34)
    assert not any(same(a, b) for a, b in zip(whole.chunks, other.chunks, strict=False))


def test_a_prediction_is_made_at_the_first_step_alone(make_actor) -> None:
    actor = make_actor(env={"num_envs": 2}, epsilon=1.0).actor
    actor._lengths[:], actor._predicted_returns[:] = [0, 5], [7.0, 7.0]
    actor.collect(1)
    assert actor._predicted_returns[0] != 7.0
    assert actor._predicted_returns[1] == 7.0


def test_bandits_learn_from_whole_undiscounted_returns(make_actor) -> None:
    played = make_actor(env={"game": "Breakout", "num_envs": 2, "max_episode_frames": 240}, epsilon=0.5)
    episodes = played.actor.collect(130).episodes
    plays = [play for bandit in played.actor._bandits for play in bandit.plays]
    assert any(reward for _, reward in plays)
    assert sorted(plays) == sorted((episode.policy, episode.extrinsic_return) for episode in episodes)
