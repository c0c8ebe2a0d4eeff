"""Intrinsic reward: hand values, an episodic memory of plain lists beside the vectorised one, running statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meme57.agent import novelty
from meme57.agent.novelty import EpisodicMemory, NoveltyNetworks, episodic_reward
from meme57.agent.parameters import NoveltySpec

KERNEL = {"kernel_eps": 1e-4, "cluster_distance": 0.008, "pseudo_count": 1e-3, "max_similarity": 8.0}


def spec(**overrides: object) -> NoveltySpec:
    settings = {
        "height": 20, "width": 20, "num_actions": 3, "embedding_size": 4, "num_neighbours": 3, "memory_size": 50,
        **KERNEL, "max_modulation": 5.0, "rnd_size": 6, "channels": (3, 4), "hidden_size": 8, "distance_decay": 0.99,
    }  # fmt: skip
    return NoveltySpec(**{**settings, **overrides})


# ---- the formula


def test_reward_by_hand() -> None:
    # mean 2: d / mean = (0.5, 2), minus 0.008 = (0.492, 1.992)
    # K = 1e-4 / 0.4921 + 1e-4 / 1.9921 = 2.0321e-4 + 0.50198e-4;  s = sqrt(2.53408e-4) + 0.001;  r = 1 / s
    reward = episodic_reward(torch.tensor([1.0, 4.0]).double(), torch.tensor(2.0).double(), **KERNEL)
    similarity = math.sqrt(1e-4 / 0.4921 + 1e-4 / 1.9921) + 0.001
    assert reward.item() == pytest.approx(1 / similarity, rel=1e-9)


def test_ten_frames_seen_before_stay_below_the_largest_similarity() -> None:
    # all kernels 1: s = sqrt(10) + 0.001 = 3.163 <= 8
    reward = episodic_reward(torch.zeros(10), torch.tensor(1.0), **KERNEL)
    assert reward.item() == pytest.approx(1 / (math.sqrt(10) + 0.001), rel=1e-6)


def test_too_similar_is_worth_nothing() -> None:
    near = torch.zeros(4)  # s = 2.001
    for limit, reward in ((2.0, 0.0), (2.01, 1 / 2.001)):
        kernel = {**KERNEL, "max_similarity": limit}
        assert episodic_reward(near, torch.tensor(1.0), **kernel).item() == pytest.approx(reward, rel=1e-6)


def test_within_the_cluster_distance_counts_as_identical() -> None:
    # d / mean = 0.004 < 0.008: kernel 1, s = 1.001
    reward = episodic_reward(torch.tensor([0.004]), torch.tensor(1.0), **KERNEL)
    assert reward.item() == pytest.approx(1 / 1.001, rel=1e-6)


def test_missing_neighbours_do_not_count_and_an_empty_memory_is_worth_nothing() -> None:
    distances = torch.tensor([[1.0, math.inf, math.inf], [math.inf] * 3])
    reward = episodic_reward(distances, torch.tensor(1.0), **KERNEL)
    alone = episodic_reward(torch.tensor([1.0]), torch.tensor(1.0), **KERNEL)
    assert reward[0].item() == alone.item()
    assert reward[1].item() == 0.0


def test_a_running_mean_of_zero_is_floored() -> None:
    reward = episodic_reward(torch.tensor([0.0, 1.0]), torch.tensor(0.0), **KERNEL)
    # d = 0 -> K = 1;  d = 1 / 1e-8 -> K about 1e-12
    assert reward.item() == pytest.approx(1 / 1.001, rel=1e-5)


def test_any_leading_dimensions() -> None:
    distances = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(0))
    whole = episodic_reward(distances, torch.tensor(0.5), **KERNEL)
    assert whole.shape == (3, 2)
    assert whole[2, 1].item() == pytest.approx(
        episodic_reward(distances[2, 1], torch.tensor(0.5), **KERNEL).item(), rel=1e-6
    )


# ---- the memory


class NaiveMemory:
    """A list an environment, searched number by number; written from the specification.

    With `once_long`, a memory that has had so many entries does not store again what it holds K times.
    """

    def __init__(self, num_envs: int, *, size: int, neighbours: int, decay: float, once_long: float = math.inf) -> None:
        self.lists: list[list[np.ndarray]] = [[] for _ in range(num_envs)]
        self.entries, self.once_long = [0] * num_envs, once_long
        self.size, self.neighbours, self.decay = size, neighbours, decay
        self.total, self.weight = 0.0, 0.0

    def reward(self, embeddings: np.ndarray) -> list[float]:
        nearest = []
        for memory, embedding in zip(self.lists, embeddings, strict=True):
            distances = np.square(np.array(memory) - embedding).sum(-1) if memory else np.zeros(0)
            nearest.append(sorted(distances.tolist())[: self.neighbours])
        new = [distance for distances in nearest for distance in distances]
        if new:  # the new distances come in before the division
            self.total = self.decay * self.total + (1 - self.decay) * sum(new) / len(new)
            self.weight = self.decay * self.weight + (1 - self.decay)
        mean = max(self.total / max(self.weight, 1e-8), 1e-8)
        rewards = []
        for distances in nearest:
            kernels = [1e-4 / (max(distance / mean - 0.008, 0.0) + 1e-4) for distance in distances]
            similarity = math.sqrt(sum(kernels)) + 1e-3
            rewards.append(1 / similarity if distances and similarity <= 8 else 0.0)
        for env, (memory, embedding) in enumerate(zip(self.lists, embeddings, strict=True)):
            copies = sum(np.array_equal(entry, embedding) for entry in memory)
            if self.entries[env] >= self.once_long and copies >= self.neighbours:
                continue
            memory.append(embedding)
            self.entries[env] += 1
            del memory[: -self.size]
        return rewards


def compare(
    memory: EpisodicMemory, naive: NaiveMemory, *, num_steps: int, reset_rate: float, seed: int, few: int = 10_000
) -> int:
    rng, num_resets = np.random.default_rng(seed), 0
    num_envs, visited = len(naive.lists), []
    for _ in range(num_steps):
        resets = rng.random(num_envs) < reset_rate
        memory.reset(torch.from_numpy(resets))
        for env in np.flatnonzero(resets):
            naive.lists[env], naive.entries[env] = [], 0
            num_resets += 1
        embeddings = rng.normal(size=(num_envs, 4)).astype(np.float16).astype(np.float32)
        visited.append(embeddings)
        if rng.random() < 0.3:  # a frame seen before, if it is still remembered
            embeddings = visited[rng.integers(min(len(visited), few))]
        got = memory.reward(torch.from_numpy(embeddings))
        np.testing.assert_allclose(got.numpy(), naive.reward(embeddings.astype(np.float64)), rtol=2e-4)
    return num_resets


@pytest.mark.parametrize("long", [1, 20, novelty.LONG])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_memory_equals_plain_lists_through_wraps_and_resets(
    size: int, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "LONG", long)  # shorter episodes are searched together, longer ones by themselves
    memory = EpisodicMemory(spec(memory_size=size), 3)
    naive = NaiveMemory(3, size=size, neighbours=3, decay=0.99, once_long=long)
    assert compare(memory, naive, num_steps=120, reset_rate=0.02, seed=size) > 2


@pytest.mark.parametrize("long", [1, 20])
def test_what_is_not_stored_again_changes_no_reward(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four frames that come again and again, K copies are enough, while the episode fits into the memory."""
    monkeypatch.setattr(novelty, "LONG", long)
    memory, naive = EpisodicMemory(spec(memory_size=1000), 3), NaiveMemory(3, size=1000, neighbours=3, decay=0.99)
    compare(memory, naive, num_steps=200, reset_rate=0.0, seed=5, few=4)
    assert [len(entries) for entries in naive.lists] == [200] * 3
    assert memory._counts.tolist() == [len(stored) for stored in map(capped, naive.lists, [long] * 3)]
    compare(memory, naive, num_steps=100, reset_rate=0.05, seed=6, few=4)


def capped(entries: list[np.ndarray], long: int) -> list[np.ndarray]:
    kept: list[np.ndarray] = []
    for entry in entries:
        if len(kept) < long or sum(np.array_equal(entry, other) for other in kept) < 3:
            kept.append(entry)
    return kept


def test_a_game_that_stands_still_keeps_its_memory_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "LONG", 10)
    memory = EpisodicMemory(spec(memory_size=1000), 2)
    moving = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    for step in range(300):
        memory.reward(torch.stack([moving[step], moving[step % 2]]))
    assert memory._counts.tolist() == [300, 10]


@pytest.mark.parametrize("size", [1100, 30_000])
def test_memory_equals_plain_lists_when_it_grows(size: int) -> None:
    memory = EpisodicMemory(spec(memory_size=size), 2)
    naive = NaiveMemory(2, size=size, neighbours=3, decay=0.99)
    compare(memory, naive, num_steps=1200, reset_rate=0.0, seed=3)


def test_first_reward_of_an_episode_is_zero_and_others_are_not_wiped() -> None:
    memory = EpisodicMemory(spec(), 2)
    embedding = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    assert memory.reward(embedding).tolist() == [0.0, 0.0]
    memory.reset(torch.tensor([True, False]))
    after = memory.reward(embedding)
    assert after[0].item() == 0.0
    # env 1 sees its one neighbour again, at distance 0 exactly: kernel 1, s = 1.001
    assert after[1].item() == pytest.approx(1 / 1.001, rel=1e-6)


def test_new_distances_enter_the_mean_before_the_division() -> None:
    memory = EpisodicMemory(spec(), 1)
    memory.reward(torch.zeros(1, 4))
    # the first distance is its own mean whatever its size: d / mean = 1, K = 1e-4 / 0.9921
    reward = memory.reward(torch.full((1, 4), 30.0))
    assert reward.item() == pytest.approx(1 / (math.sqrt(1e-4 / 0.9921) + 1e-3), rel=1e-5)


def test_running_mean_survives_episodes_and_is_restored() -> None:
    memory = EpisodicMemory(spec(), 1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        memory.reward(torch.randn(1, 4, generator=generator))
    memory.reset(torch.tensor([True]))
    other = EpisodicMemory(spec(), 1)
    other.load_state_dict(memory.state_dict())
    for _ in range(3):
        embedding = torch.randn(1, 4, generator=generator)
        assert memory.reward(embedding).item() == other.reward(embedding).item()
    assert other.state_dict() == memory.state_dict()


# ---- the networks


@pytest.fixture(name="networks")
def _networks() -> NoveltyNetworks:
    torch.manual_seed(0)
    return NoveltyNetworks(spec())


def test_lifelong_is_one_before_any_statistics(networks: NoveltyNetworks) -> None:
    assert networks.lifelong(torch.tensor([0.0, 5.0])).tolist() == [1.0, 1.0]


def test_lifelong_by_hand(networks: NoveltyNetworks) -> None:
    # one batch of errors 1 and 3: mean 2, population std 1;  alpha = 1 + (err - 2): 4.5 -> 3.5, 9 -> clipped 5, 1 -> 1
    networks.update_statistics(torch.tensor([1.0, 3.0, 999.0]), torch.tensor([True, True, False]))
    alpha = networks.lifelong(torch.tensor([4.5, 9.0, 1.0, 2.0]))
    assert alpha.tolist() == pytest.approx([3.5, 5.0, 1.0, 1.0], abs=1e-4)


def test_statistics_equal_a_loop(networks: NoveltyNetworks) -> None:
    rng = np.random.default_rng(0)
    first, second, weight = 0.0, 0.0, 0.0
    for _ in range(30):
        errors, mask = rng.gamma(2.0, 1.0, 8), rng.random(8) < 0.7
        mask[0] = True
        errors[~mask] = np.nan
        networks.update_statistics(torch.tensor(errors, dtype=torch.float32), torch.tensor(mask))
        kept = errors[mask]
        first = 0.99 * first + 0.01 * kept.mean()
        second = 0.99 * second + 0.01 * np.square(kept).mean()
        weight = 0.99 * weight + 0.01
    mean = first / weight
    std = math.sqrt(second / weight - mean**2)
    for error in (0.1, 2.5, 4.0, 50.0):
        expected = min(max(1 + (error - mean) / std, 1.0), 5.0)
        assert networks.lifelong(torch.tensor([error])).item() == pytest.approx(expected, rel=1e-4)


def test_statistics_travel_with_the_weights(networks: NoveltyNetworks) -> None:
    networks.update_statistics(torch.tensor([1.0, 3.0]), torch.tensor([True, True]))
    other = NoveltyNetworks(spec())
    other.load_state_dict(networks.state_dict())
    error = torch.tensor([0.5, 2.5, 3.7])
    assert torch.equal(other.lifelong(error), networks.lifelong(error))


def frames(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (*shape, 20, 20), generator=generator, dtype=torch.uint8)


def test_losses_equal_a_loop(networks: NoveltyNetworks) -> None:
    observations, mask = frames(4, 2), torch.tensor([[True, True], [True, False], [True, False]])
    actions = torch.tensor([[0, 2], [1, 1], [2, 0]])
    inverse_loss, rnd_loss, errors = networks.losses(observations, actions, mask)
    entropies, rnd = [], []
    for t in range(3):
        for b in range(2):
            pair = torch.cat(
                [networks.embed(observations[t, b : b + 1]), networks.embed(observations[t + 1, b : b + 1])], 1
            )
            log_probabilities = networks.inverse(pair).log_softmax(-1)[0]
            error = networks.rnd_error(observations[t + 1, b : b + 1]).item()
            assert errors[t, b].item() == pytest.approx(error, rel=1e-5)
            if mask[t, b]:
                entropies.append(-log_probabilities[actions[t, b]].item())
                rnd.append(error)
    assert inverse_loss.item() == pytest.approx(sum(entropies) / 4, rel=1e-5)
    assert rnd_loss.item() == pytest.approx(sum(rnd) / 4, rel=1e-5)


def test_rnd_error_is_the_mean_square(networks: NoveltyNetworks) -> None:
    images = networks.frames(frames(3))
    difference = networks.rnd_predictor(images) - networks.rnd_target(images)
    for row, error in zip(difference.tolist(), networks.rnd_error(frames(3)).tolist(), strict=True):
        assert error == pytest.approx(sum(x * x for x in row) / 6, rel=1e-5)


def test_padding_changes_neither_losses_nor_gradients(networks: NoveltyNetworks) -> None:
    observations, mask = frames(4, 2), torch.tensor([[True, True], [True, False], [True, False]])
    actions = torch.tensor([[0, 2], [1, 1], [2, 0]])

    def gradients(observations: torch.Tensor, actions: torch.Tensor) -> list[torch.Tensor]:
        networks.zero_grad()
        inverse_loss, rnd_loss, _ = networks.losses(observations, actions, mask)
        (inverse_loss + rnd_loss).backward()
        return [inverse_loss, rnd_loss, *(p.grad.clone() for p in networks.parameters() if p.grad is not None)]

    before = gradients(observations, actions)
    observations, actions = observations.clone(), actions.clone()
    observations[2:, 1], actions[1:, 1] = 255, 2
    for old, new in zip(before, gradients(observations, actions), strict=True):
        torch.testing.assert_close(old, new)


def test_only_the_predictor_learns_novelty(networks: NoveltyNetworks) -> None:
    inverse_loss, rnd_loss, _ = networks.losses(frames(3, 2), torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2) > 0)
    rnd_loss.backward(retain_graph=True)
    assert all(p.grad is None for p in (*networks.embedding.parameters(), *networks.rnd_target.parameters()))
    assert all(p.grad is not None for p in networks.rnd_predictor.parameters())
    networks.zero_grad()
    inverse_loss.backward()
    assert all(p.grad is None for p in networks.rnd_predictor.parameters())
    assert all(p.grad is not None for p in networks.embedding.parameters())


def test_actors_see_float16_embeddings(networks: NoveltyNetworks) -> None:
    embedding = networks.act_embed(frames(3))
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, embedding.half().float())
    torch.testing.assert_close(embedding, networks.embed(frames(3)), rtol=1e-3, atol=1e-3)


def test_a_batch_without_errors_moves_no_moment() -> None:
    networks = NoveltyNetworks(spec())
    networks.update_statistics(torch.tensor([1.0, 3.0]), torch.tensor([True, True]))
    moments = ("error_mean", "error_square", "error_count")
    before = [getattr(networks, name).item() for name in moments]
    networks.update_statistics(torch.tensor([9.0, torch.nan]), torch.tensor([False, False]))
    assert [getattr(networks, name).item() for name in moments] == before
