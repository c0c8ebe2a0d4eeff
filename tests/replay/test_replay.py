import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meme57.errors import ReplayError

P = 4


def naive_sequence(episode, start, batch_T):
    """One sequence of an uncut episode, step by step: the arrays that a batch must hold for it."""
    n = len(episode.mu)
    end = min(start + batch_T, n)
    L = end - start
    shape = episode.observations.shape[1:]
    want = {
        "frames": np.zeros((batch_T + 1, *shape), np.uint8),
        "inputs.action": np.full(batch_T + 1, 5),
        "inputs.embedding": np.zeros((batch_T + 1, 2), np.float16),
        **{
            f"inputs.{name}": np.zeros(batch_T + 1, np.float32)
            for name in ("reward", "intrinsic", "lifelong", "episodic")
        },
        "actions": np.zeros(batch_T, np.int64),
        "rewards": np.zeros(batch_T, np.float32),
        "intrinsic_rewards": np.zeros(batch_T, np.float32),
        "mu": np.zeros(batch_T, np.float32),
        "mask": np.zeros(batch_T, bool),
        "lengths": L,
        "terminal": episode.terminal and end == n,
        "policies": episode.policy,
        "lstm_state": episode.states[start],
    }
    for t in range(L + 1):
        want["frames"][t] = episode.observations[start + t]
        for name in ("action", "reward", "intrinsic", "lifelong", "episodic", "embedding"):
            want[f"inputs.{name}"][t] = getattr(episode.inputs[start + t], name)
    for t in range(L):
        left = episode.inputs[start + t + 1]
        want["actions"][t], want["rewards"][t], want["intrinsic_rewards"][t] = left.action, left.reward, left.intrinsic
        want["mu"][t], want["mask"][t] = episode.mu[start + t], True
    return want


def naive_starts(num_steps):
    """Where the sequences of an episode start: every chunk but the last; chunk 0 if it is the only one."""
    num_chunks = -(-num_steps // P)
    return [0] if num_chunks == 1 else [P * i for i in range(num_chunks - 1)]


def check_sequence(flat, b, want):
    for name, value in want.items():
        array = flat[name]
        got = array[b] if name in ("frames", "lengths", "terminal", "policies") else array[:, b]
        np.testing.assert_array_equal(got, value, err_msg=name)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 19), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_sequences_equal_those_cut_from_whole_episodes(make_episode, make_replay, flatten, lengths, random):
    episodes = [make_episode(n, actor=k % 2, episode=k, terminal=k % 3 != 0) for k, n in enumerate(lengths)]
    replay = make_replay(capacity_sequences=64)
    queues = [list(episode.chunks) for episode in episodes]
    expected = []  # (episode, start) in the order in which the sequences are complete
    while any(queues):
        k = random.choice([i for i, queue in enumerate(queues) if queue])
        chunk = queues[k].pop(0)
        starts = [] if chunk.index == 0 and not chunk.is_last else [max(chunk.index - 1, 0) * P]
        assert replay.add([chunk]) == len(starts)
        expected += [(k, start) for start in starts]
    assert sorted(expected) == [(k, s) for k, n in enumerate(lengths) for s in naive_starts(n)]
    assert replay.num_inserted == len(replay) == len(expected)
    assert replay.num_pending == 0
    assert replay.num_chunks == sum(-(-n // P) for n in lengths)  # shared chunks are held once
    assert replay.num_bytes == sum(chunk.num_bytes for episode in episodes for chunk in episode.chunks)
    flat = flatten(replay.sample(16, np.random.default_rng(0)))
    for b, sequence_id in enumerate(flat["sequence_ids"]):
        k, start = expected[sequence_id]
        check_sequence(flat, b, naive_sequence(episodes[k], start, 2 * P))


def test_every_length_up_to_three_periods(make_episode, make_replay, flatten):
    for n in range(1, 3 * P + 1):
        episode = make_episode(n, terminal=n % 2 == 0)
        replay = make_replay()
        assert replay.add(episode.chunks) == len(naive_starts(n))
        flat = flatten(replay.sample(4, np.random.default_rng(n)))
        for b, sequence_id in enumerate(flat["sequence_ids"]):
            check_sequence(flat, b, naive_sequence(episode, naive_starts(n)[sequence_id], 2 * P))


def test_a_reused_batch_keeps_nothing(make_episode, make_replay, flatten):
    full, short = make_replay(), make_replay()
    full.add(make_episode(4 * P).chunks)
    short.add(make_episode(1, seed=7).chunks)
    out = full.sample(5, np.random.default_rng(0), out=full.new_batch(5))
    for array in [*out.inputs, *(a for name, a in vars(out).items() if name != "inputs")]:
        array.fill(99)  # worse than anything a real batch holds
    reused = short.sample(5, np.random.default_rng(1), out=out)
    assert reused is out
    fresh = flatten(short.sample(5, np.random.default_rng(1)))
    for name, array in flatten(reused).items():
        np.testing.assert_array_equal(array, fresh[name], err_msg=name)


def test_a_batch_of_another_layout_is_refused(make_episode, make_replay):
    replay = make_replay()
    with pytest.raises(ReplayError, match="holds no sequence"):
        replay.sample(2, np.random.default_rng(0))
    replay.add(make_episode(5).chunks)
    with pytest.raises(ReplayError, match="new_batch"):
        replay.sample(2, np.random.default_rng(0), out=replay.new_batch(3))
    with pytest.raises(ReplayError, match="at least one"):
        replay.sample(0, np.random.default_rng(0))


def test_a_gap_makes_no_sequence(make_episode, make_replay):
    replay = make_replay()
    c = make_episode(6 * P).chunks
    assert replay.add([c[0]]) == 0
    assert replay.add([c[2]]) == 0  # c1 is missing: c2 waits as a new start
    assert replay.num_chunks == replay.num_pending == 1
    assert replay.add([c[3]]) == 1
    assert replay.end_pending({5}) == 0
    assert replay.num_pending == 1
    assert replay.end_pending({0}) == 0  # it is in a sequence already
    assert replay.num_pending == 0
    assert replay.add([c[5]]) == 0  # an episode's last chunk without its predecessor starts none and is not kept
    assert replay.num_pending == 0
    assert replay.num_chunks == 2


def test_a_restarted_episode_of_the_same_number_replaces_the_waiting_chunk(make_episode, make_replay):
    replay = make_replay()
    old, new = make_episode(3 * P, seed=1).chunks, make_episode(3 * P, seed=2).chunks
    assert old[0].policy != new[0].policy
    replay.add([old[0]])
    assert replay.add([new[1]]) == 0  # consecutive index, but another policy acted
    assert replay.add([new[0]]) == 0
    assert replay.add([new[1]]) == 1
    assert replay.num_chunks == 2


def test_a_lost_actors_lone_chunk_becomes_a_sequence_and_the_others_wait_on(make_episode, make_replay):
    replay = make_replay()
    for actor in range(3):
        replay.add(make_episode(2 * P, actor=actor).chunks[:1])
    assert replay.num_pending == 3
    assert replay.end_pending([1, 7]) == len(replay) == 1
    assert replay.num_pending == 2
    assert replay.num_chunks == 3  # nothing that was taken in is lost
    assert replay.sample(1, np.random.default_rng(0)).lengths.tolist() == [P]


def test_an_episode_that_ended_elsewhere_waits_no_longer(make_episode, make_replay):
    """Its last chunk was too stale to come in."""
    replay = make_replay()
    for episode in (4, 5):
        replay.add(make_episode(2 * P, actor=1, episode=episode).chunks[:1])
    assert replay.end_pending([], {(1, 4), (0, 5), (1, 9)}) == len(replay) == 1
    assert replay.num_pending == 1


def test_eviction_frees_chunks_oldest_first(make_episode, make_replay):
    replay = make_replay(capacity_sequences=3)
    chunks = make_episode(8 * P).chunks  # sequences 0..6
    for k, chunk in enumerate(chunks):
        replay.add([chunk])
        assert len(replay) == min(k, 3)
        assert replay.num_chunks == min(k + 1, 4)  # three overlapping sequences hold four chunks
    assert replay.num_inserted == 7
    np.testing.assert_array_equal(replay.sequence_ids(), [4, 5, 6])
    assert replay.num_bytes == sum(chunk.num_bytes for chunk in chunks[-4:])
    together = make_replay(capacity_sequences=3)
    assert together.add(chunks) == 7  # more than the capacity in one call
    assert together.num_chunks == 4
    first, second = (r.contents()[0] for r in (replay, together))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_late_priorities_are_ignored_and_unknown_ids_refused(make_episode, make_replay):
    replay = make_replay(capacity_sequences=3)
    replay.add(make_episode(8 * P).chunks)
    replay.update_priorities([0, 5, 3, 6, 5], [100.0, 2.0, 100.0, 0.0, 3.0])  # 0 and 3 are gone, 5 twice
    np.testing.assert_array_equal(replay.priorities(), [1.0, 3.0, 1e-6])
    for ids, priorities in [([7], [1.0]), ([-1], [1.0]), ([5], [np.nan]), ([5], [np.inf]), ([4, 5], [1.0, -1.0]),
                            ([4], [1.0, 2.0])]:  # fmt: skip
        with pytest.raises(ReplayError):
            replay.update_priorities(ids, priorities)
    np.testing.assert_array_equal(replay.priorities(), [1.0, 3.0, 1e-6])
    replay.update_priorities([], [])


def test_new_sequences_enter_with_the_largest_priority_present(make_episode, make_replay):
    replay = make_replay(capacity_sequences=3)
    chunks = make_episode(9 * P).chunks
    replay.add(chunks[:4])  # 0, 1, 2
    np.testing.assert_array_equal(replay.priorities(), [1.0, 1.0, 1.0])
    replay.update_priorities([0, 1, 2], [5.0, 0.25, 0.5])
    replay.add(chunks[4:5])  # 3 enters with 5 and evicts 0
    np.testing.assert_array_equal(replay.priorities(), [0.25, 0.5, 5.0])
    replay.update_priorities([3], [0.125])
    replay.add(chunks[5:6])  # the 5 is no more: 4 enters with 0.5
    np.testing.assert_array_equal(replay.priorities(), [0.5, 0.125, 0.5])


def test_draws_follow_the_priorities(make_episode, make_replay):
    replay = make_replay(importance_exponent=0.5)
    replay.add(make_episode(8 * P).chunks)
    priorities = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0])
    replay.update_priorities(np.arange(7), priorities)
    weights = np.maximum(priorities, 1e-6) ** 0.6
    expected = weights / weights.sum()
    rng, out = np.random.default_rng(3), replay.new_batch(8)
    counts, num_draws = np.zeros(7), 0
    for _ in range(1000):
        batch = replay.sample(8, rng, out)
        np.testing.assert_allclose(batch.probabilities, expected[batch.sequence_ids], rtol=1e-12)
        importance = (7 * batch.probabilities) ** -0.5
        np.testing.assert_allclose(batch.importance, importance / importance.max(), rtol=1e-6)
        counts += np.bincount(batch.sequence_ids, minlength=7)
        num_draws += 8
    chi_square = ((counts - num_draws * expected) ** 2 / (num_draws * expected)).sum()
    assert chi_square < 22.5  # 6 degrees of freedom: 0.1 % of independent draws exceed it; stratified ones vary less
    assert counts[6] / counts[3] == pytest.approx(8**0.6, rel=0.15)


def test_exponents_of_zero_mean_uniform_draws(make_episode, make_replay):
    replay = make_replay(priority_exponent=0.0, importance_exponent=0.0)
    replay.add(make_episode(5 * P).chunks)
    replay.update_priorities([0, 1, 2, 3], [0.0, 1.0, 50.0, 7.0])
    batch = replay.sample(4, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.sequence_ids, [0, 1, 2, 3])  # one in each stratum
    np.testing.assert_array_equal(batch.probabilities, 0.25)
    np.testing.assert_array_equal(batch.importance, 1.0)


def test_the_door_refuses_what_breaks_the_contract(make_episode, make_replay):
    replay = make_replay()
    good = make_episode(2 * P).chunks[0]
    short = make_episode(3).chunks[0]

    def steps(**changes):
        return {"steps": good.steps._replace(**changes)}

    nan = np.full(P, np.nan, np.float32)
    bad = [
        {"policy": -1},
        {"index": -1},
        {"terminal": True},
        {"frame_shape": (5, 6)},
        {"frames": b"nonsense"},
        {"frames": short.frames},
        {"lstm_state": np.zeros((2, 4), np.float32)},
        {"lstm_state": np.full((2, 3), np.inf, np.float32)},
        {"mu": np.full(P, 1.5, np.float32)},
        {"mu": nan},
        {"mu": np.zeros(0, np.float32)},
        {"mu": np.zeros(P - 1, np.float32)},
        {"first_inputs": good.first_inputs._replace(action=np.asarray(6))},
        steps(action=np.full(P, 5)),
        steps(action=np.full(P, -1)),
        steps(action=np.zeros(P, np.int32)),
        steps(reward=nan),
        steps(intrinsic=nan),
        steps(episodic=np.zeros(P - 1, np.float32)),
        steps(embedding=np.zeros((P, 3), np.float16)),
        steps(embedding=np.zeros((P, 2), np.float32)),
    ]
    for changes in bad:
        with pytest.raises(ReplayError, match="actor 0, episode 0, chunk"):
            replay.add([good, dataclasses.replace(good, **changes)])
    with pytest.raises(ReplayError, match="fewer at an episode's end"):
        replay.add([dataclasses.replace(short, is_last=False, terminal=False)])
    assert replay.num_chunks == 0  # all or nothing
    assert replay.add([short]) == 1


def test_damaged_frames_are_found_when_they_are_decoded(make_episode, make_replay):
    replay = make_replay()
    chunk = make_episode(3).chunks[0]
    replay.add([dataclasses.replace(chunk, frames=chunk.frames[:-4])])  # the header still states the right size
    with pytest.raises(ReplayError, match="damaged"):
        replay.sample(1, np.random.default_rng(0))


def test_impossible_settings_are_refused(make_replay):
    for bad in ({"period": 0}, {"capacity_sequences": 0}, {"num_actions": 0}, {"frame_shape": (0, 5)},
                {"priority_exponent": -0.1}, {"importance_exponent": float("nan")}):  # fmt: skip
        with pytest.raises(ReplayError):
            make_replay(**bad)


def test_adding_and_sampling_in_two_threads(make_episode, make_replay):
    replay = make_replay(capacity_sequences=5)
    replay.add(make_episode(3 * P, actor=9).chunks)
    episodes = [make_episode(5 * P, episode=k).chunks for k in range(60)]
    writer = threading.Thread(target=lambda: [replay.add([chunk]) for chunks in episodes for chunk in chunks])
    writer.start()
    rng, out = np.random.default_rng(0), replay.new_batch(4)
    while writer.is_alive():
        batch = replay.sample(4, rng, out)
        replay.update_priorities(batch.sequence_ids, rng.random(4))
        assert batch.mask.sum() == batch.lengths.sum() == 4 * 2 * P
    writer.join()
    assert replay.num_inserted == 2 + 60 * 4
    assert replay.num_chunks <= 10
