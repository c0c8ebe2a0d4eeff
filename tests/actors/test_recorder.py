"""The recorder of one actor: environments whose chunks do not begin together."""

from __future__ import annotations

import numpy as np

from meme57.actors.player import empty_inputs
from meme57.actors.recorder import ChunkRecorder


def test_chunks_that_begin_apart_keep_their_own_state_and_version() -> None:
    """Environment 0 ends after a step, so it begins a chunk in the middle of that of environment 1."""
    recorder = ChunkRecorder(actor=0, num_envs=2, period=2, frame_shape=(1, 1), lstm_size=1, embedding_size=0)
    both, first, none = np.array([True, True]), np.array([True, False]), np.array([False, False])
    recorder.begin_episodes(both, np.array([0, 1]))
    chunks, frame, inputs = [], np.zeros((2, 1, 1), np.uint8), empty_inputs((2,), 0)
    for version, ended in ((1, first), (2, none)):
        recorder.before_step(frame, inputs, np.full((2, 2, 1), version, np.float32), version)
        recorder.after_step(both, frame, inputs, np.ones(2, np.float32))
        chunks += recorder.finish(ended, none, np.array([0, 0]))
        recorder.begin_episodes(ended, np.array([2, 0]))
    found = [(c.episode, c.num_steps, c.terminal, c.weight_version, c.lstm_state.tolist()) for c in chunks]
    assert found == [(0, 1, True, 1, [[1.0], [1.0]]), (1, 2, False, 1, [[1.0], [1.0]])]
