"""A sum tree over non-negative weights: draws in proportion to weight in O(log capacity), many at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meme57.errors import ReplayError


class SumTree:
    """A complete binary tree in one float64 array; every inner node is the sum of its two children.

    Node k has children 2k and 2k+1, the root is node 1, leaf i is node `size + i`, with `size` the power of two at
    or above `capacity`. The tree is a function of its leaves alone: it does not depend on the order of updates.
    Source: prioritised replay (Schaul et al. 2015) [inherited]; the vectorised form is [ours].
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ReplayError(f"a sum tree needs a capacity of at least 1, not {capacity}")
        self.capacity = capacity
        self._depth = (capacity - 1).bit_length()
        self._size = 1 << self._depth
        self._nodes = np.zeros(2 * self._size, dtype=np.float64)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._nodes[1])

    def get(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return a copy of the weights of `indices` [...]. `ReplayError`: an index is out of range."""
        return self._nodes[self._leaves(indices)]

    def set(self, indices: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Set the weights of `indices` [K] to `values` ([K] or one number). A repeated index keeps its last value.

        `ReplayError`, the tree unchanged: an index is out of range, a value is negative or not finite, or the shapes do
        not fit.
        """
        leaves = self._leaves(indices).reshape(-1)
        weights = np.asarray(values, dtype=np.float64)
        if weights.ndim > 0 and weights.size != leaves.size:
            raise ReplayError(f"{leaves.size} indices cannot take {weights.size} weights")
        if not np.all(np.isfinite(weights) & (weights >= 0)):
            raise ReplayError("a weight is negative or not finite; weights must be finite and at least 0")
        self._nodes[leaves] = weights.reshape(-1) if weights.ndim > 0 else weights
        if leaves.size > self._size // 8:
            self._sum_all()
        else:
            self._sum_above(leaves)

    def find(self, u: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Find, for each u in [0, total), the smallest i whose cumulative weight is > u; never a leaf of weight zero.

        u [...] -> [...]. If rounding would lead beyond the last weight of a subtree, its last leaf of positive weight
        is returned. `ReplayError`: the tree is empty, or a u is outside [0, total).
        """
        rest = np.array(u, dtype=np.float64)
        if not np.all((rest >= 0) & (rest < self.total)):
            raise ReplayError(f"a position is outside [0, {self.total}), the sum of the weights")
        node = np.ones(rest.shape, dtype=np.int64)
        for _ in range(self._depth):
            left = 2 * node
            weight = self._nodes[left]
            right = (rest >= weight) & (self._nodes[left + 1] > 0)
            rest = np.where(right, rest - weight, rest)
            node = left + right
        return node - self._size

    def _leaves(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        index = np.asarray(indices)
        if index.size == 0:
            return np.zeros(index.shape, dtype=np.int64)
        if not np.issubdtype(index.dtype, np.integer):
            raise ReplayError(f"indices must be integers, not {index.dtype}")
        if index.min() < 0 or index.max() >= self.capacity:
            raise ReplayError(f"an index is outside 0..{self.capacity - 1}")
        return index.astype(np.int64) + self._size

    def _sum_above(self, leaves: npt.NDArray[np.int64]) -> None:
        nodes = leaves
        for _ in range(self._depth):
            nodes = nodes >> 1  # nodes met twice are summed twice, to the same value: cheaper than np.unique
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def _sum_all(self) -> None:
        width = self._size // 2
        while width >= 1:
            children = self._nodes[2 * width : 4 * width]
            self._nodes[width : 2 * width] = children[0::2] + children[1::2]
            width //= 2
