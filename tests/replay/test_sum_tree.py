import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meme57.errors import ReplayError
from meme57.replay.sum_tree import SumTree


def naive_find(weights: np.ndarray, u: float) -> int:
    """The definition, as a loop."""
    cumulative = 0.0
    for i, weight in enumerate(weights):
        cumulative += weight
        if cumulative > u:
            return i
    raise AssertionError("u is beyond the total")


@st.composite
def trees(draw, weights):
    """A capacity and a list of updates, each a list of (index, weight) with repeats allowed."""
    capacity = draw(st.integers(1, 70))
    update = st.lists(st.tuples(st.integers(0, capacity - 1), weights), min_size=1, max_size=40)
    return capacity, draw(st.lists(update, min_size=1, max_size=5))


def apply(capacity, updates):
    tree, naive = SumTree(capacity), np.zeros(capacity)
    for update in updates:
        indices, values = (np.array(column) for column in zip(*update, strict=True))
        tree.set(indices, values)
        for index, value in update:
            naive[index] = value
    return tree, naive


@given(trees(st.integers(0, 1000).map(lambda n: n / 8)), st.integers(0, 2**32 - 1))
def test_equals_the_naive_cumulative_sum_where_sums_are_exact(case, seed):
    tree, naive = apply(*case)
    np.testing.assert_array_equal(tree.get(np.arange(len(naive))), naive)
    assert tree.total == naive.sum()
    if tree.total == 0:
        return
    edges = np.concatenate([[0.0], np.cumsum(naive)])
    u = np.concatenate([edges, np.random.default_rng(seed).random(20) * tree.total])
    u = u[u < tree.total]
    np.testing.assert_array_equal(tree.find(u), [naive_find(naive, x) for x in u])


@given(trees(st.one_of(st.just(0.0), st.floats(0, 1e12), st.floats(0, 1e-300), st.floats(0, 1))))
def test_never_finds_a_weight_of_zero_even_at_rounded_edges(case):
    tree, naive = apply(*case)
    assert tree.total == pytest.approx(naive.sum(), rel=1e-12)
    if tree.total == 0:
        return
    edges = np.concatenate([[0.0], np.cumsum(naive), [np.nextafter(tree.total, 0)]])
    near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)])
    found = tree.find(near[near < tree.total])
    assert np.all((found >= 0) & (found < len(naive)))
    assert np.all(naive[found] > 0)


def test_upper_edge_where_rounding_exceeds_the_partial_sums():
    # cumulative sums of 0.1 differ by summation order; leaf 10 on are zero and must not be reached
    tree = SumTree(16)
    tree.set(np.arange(10), 0.1)
    assert tree.find(np.nextafter(tree.total, 0)) == 9


def test_hand_values():
    tree = SumTree(5)
    tree.set([0, 2, 3, 2], [1.0, 9.0, 3.0, 2.0])  # index 2 twice: the last, 2.0, stays
    assert tree.total == 6.0  # 1 + 0 + 2 + 3 + 0
    np.testing.assert_array_equal(tree.find([0.0, 0.999, 1.0, 2.999, 3.0, 5.999]), [0, 0, 2, 2, 3, 3])
    assert tree.find(np.array([[0.5], [4.0]])).shape == (2, 1)


@given(trees(st.floats(0, 1e6)))
def test_depends_on_the_leaves_alone(case):
    tree, naive = apply(*case)
    fresh = SumTree(len(naive))
    fresh.set(np.arange(len(naive)), naive)
    assert fresh.total == tree.total  # to the bit: a restored replay draws the same
    single = SumTree(len(naive))
    for index, value in enumerate(naive):
        single.set(index, value)
    assert single.total == tree.total


def test_refuses_what_makes_no_sense():
    tree = SumTree(3)
    with pytest.raises(ReplayError, match="outside"):
        tree.find(0.0)  # empty
    tree.set([0, 1], [1.0, 2.0])
    for u in (-1e-9, 3.0, np.nan):
        with pytest.raises(ReplayError, match="outside"):
            tree.find(u)
    for indices, values in [([3], [1.0]), ([-1], [1.0]), ([0], [-1.0]), ([0], [np.nan]), ([0], [np.inf]),
                            ([0, 1], [1.0, 2.0, 3.0]), ([0.5], [1.0])]:  # fmt: skip
        with pytest.raises(ReplayError):
            tree.set(indices, values)
    assert tree.total == 3.0
    with pytest.raises(ReplayError, match="capacity"):
        SumTree(0)
    tree.set([], [])
    assert tree.get([]).size == 0
