"""Multiply-adds against arithmetic by hand."""

from __future__ import annotations

import pytest

from meme57.agent import cost
from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import agent_spec, make_networks
from meme57.envs import env_spec
from meme57.learning.distillation import student_spec
from presets import preset


def test_student_by_hand() -> None:
    # 52x52, kernel 8 stride 4 -> 12x12x4: 144 * 4 * 64 = 36,864.  Kernel 4 stride 2 -> 5x5x8: 25 * 8 * 4 * 16 = 12,800.
    # LSTM: 4 * 32 * (200 + 8 + 1 + 32) = 30,848.  Logits: 32 * 9 = 288.
    student = StudentNetwork(StudentSpec(52, 52, 9, 32, (4, 8)))
    assert cost.student_step(student) == 36_864 + 12_800 + 30_848 + 288


@pytest.mark.parametrize(
    ("name", "teacher", "embedding_and_rnd"),
    [("laptop", 898_816, 413_184), ("gpu", 57_449_728, 3_965_952), ("paper", 66_971_136, 22_281_216)],
)
def test_the_presets_cost_what_was_counted_layer_by_layer(name: str, teacher: int, embedding_and_rnd: int) -> None:
    """A student costs at most a tenth of its teacher."""
    parameters = preset(name)
    env = env_spec(parameters.env)
    network, novelty = make_networks(agent_spec(parameters, env), seed=1)
    assert (cost.teacher_step(network), cost.novelty_step(novelty)) == (teacher, embedding_and_rnd)
    assert cost.student_step(StudentNetwork(student_spec(parameters, env))) <= 0.1 * teacher
