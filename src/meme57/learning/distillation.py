"""Offline distillation: a small student learns to act like the exploiting policy, on replayed and on its own states."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meme57.agent.masked import masked_mean
from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import find_device, make_replay
from meme57.config import Parameters
from meme57.envs import EnvSpec, make_env, refuse_code
from meme57.envs.spec import VectorEnv
from meme57.errors import Interrupted, ReplayError
from meme57.learning.policies import StudentPolicy, Teacher, save_student
from meme57.learning.tensors import to_tensors, with_newest_embeddings
from meme57.replay import SequenceReplay, load_snapshot
from meme57.stopping import never

SEGMENT_STEPS = 20
SEGMENTS_KEPT = 64
UPDATES_A_SEGMENT = 4
OWN_PLAY_SEED = 1_800_000_001
EXPLORATION = 0.05
"""Share of random actions while the student plays for its own training states, so that it learns to recover [ours]."""


class Segment(NamedTuple):
    """T steps of B sequences with the teacher's preferences."""

    frames: Tensor  # [T, B, H, W] uint8
    actions: Tensor  # [T, B] long, the previous actions
    rewards: Tensor  # [T, B] the previous rewards
    first: Tensor  # [T, B] bool, True where an episode begins
    state: Tensor  # [2, B, H] the student's state before the first step
    teacher: Tensor  # [T, B, A] preferences
    mask: Tensor  # [T, B] bool


def distill(
    parameters: Parameters,
    *,
    checkpoint: Path,
    replay_folder: Path,
    replay_index: dict[str, Any],
    folder: Path,
    stop: Callable[[], bool] = never,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Train the student, write it to `folder`, and measure how faithful it is.

    Returns:
        agreement (share of equal greedy actions) and kl (teacher || student) on new states of the student's own
        play, and parameter counts.

    Raises:
        CheckpointError, ReplayError: the teacher or its replay cannot be read.
        Interrupted: `stop` asked for it; nothing is written.
    """
    settings = parameters.distill
    torch.set_num_threads(parameters.learner.torch_threads)
    device = find_device()
    teacher = Teacher.load(checkpoint, torso=parameters.network.torso).to(device)
    refuse_code(teacher.env, (parameters.env.game, *parameters.env.wrappers))
    replay = make_replay(parameters, teacher.env)
    load_snapshot(replay, replay_folder, replay_index)
    if len(replay) == 0:
        raise ReplayError(
            f"the replay in {replay_folder} holds no sequence: train longer with `kedro run --pipelines learn`"
        )
    student = _make_student(parameters, teacher).to(device)
    optimiser = torch.optim.Adam(student.parameters(), lr=settings.learning_rate)
    rng = np.random.default_rng([parameters.run.seed, 3])
    play = OwnPlay(teacher, student, num_envs=settings.num_envs, seed=parameters.run.seed, rng=rng)
    try:
        for update in range(settings.updates):
            if stop():
                raise Interrupted("stopped while distilling: start again to distil the student")
            _set_rate(optimiser, settings.learning_rate * (1.0 - update / settings.updates))
            own = rng.random() < settings.on_policy_share
            segment = play.segment() if own else replayed_segment(teacher, student, replay, settings.batch_size, rng)
            _update(student, optimiser, segment, temperature=settings.temperature)
            progress(update + 1, settings.updates)
        save_student(student, folder, teacher.env)
        fidelity = play.fidelity(settings.fidelity_steps, temperature=settings.temperature)
    finally:
        play.close()
    fidelity["parameters_teacher"] = float(sum(p.numel() for p in teacher.network.parameters()))
    fidelity["parameters_student"] = float(sum(p.numel() for p in student.parameters()))
    return fidelity


class OwnPlay:
    """The student plays. The teacher watches the same episodes and gives its own preferences."""

    def __init__(
        self, teacher: Teacher, student: StudentNetwork, *, num_envs: int, seed: int, rng: np.random.Generator
    ) -> None:
        self._env: VectorEnv = make_env(teacher.env, num_envs=num_envs)
        self._teacher, self._student = teacher.player(num_envs), StudentPolicy(student, num_envs)
        self._num_actions, self._num_envs, self._rng = teacher.env.num_actions, num_envs, rng
        self._segments: deque[Segment] = deque(maxlen=SEGMENTS_KEPT)
        self._uses = 0
        observation = self._env.reset(seed=OWN_PLAY_SEED + seed % 1_000_000)
        self._teacher.begin(observation)
        self._student.begin(observation)

    def segment(self) -> Segment:
        """Return a recent segment; every few calls, play a new one."""
        if self._uses % UPDATES_A_SEGMENT == 0:
            self._segments.append(self.play(SEGMENT_STEPS, exploration=EXPLORATION))
        self._uses += 1
        return self._segments[int(self._rng.integers(len(self._segments)))]

    def play(self, num_steps: int, *, exploration: float) -> Segment:
        """Play the next steps of all environments."""
        student, rows = self._student, []
        state = student.state.clone()
        for _ in range(num_steps):
            inputs = (student.observation, student.actions, student.rewards, student.first)
            preferences = self._teacher.preferences()
            actions = student.act()
            random = self._rng.integers(self._num_actions, size=self._num_envs)
            actions = np.where(self._rng.random(self._num_envs) < exploration, random, actions)
            result = self._env.step(actions)
            self._teacher.observe(actions, result)
            student.observe(actions, result)
            # inference mode made the preferences: autograd takes only a copy; a reset ignores the action
            rows.append((*inputs, ~result.is_reset, preferences.clone()))
        columns, device = list(zip(*rows, strict=True)), state.device
        frames, actions_t, rewards, first, mask = (
            torch.from_numpy(np.stack(column)).to(device) for column in columns[:5]
        )
        return Segment(frames, actions_t, rewards, first, state, torch.stack(columns[5]), mask)

    @torch.inference_mode()
    def fidelity(self, num_steps: int, *, temperature: float) -> dict[str, float]:
        """Measure agreement and KL over that many steps of the student's own play, which it never trained on."""
        segment = self.play(max(1, num_steps // self._num_envs), exploration=0.0)
        student = _unroll(self._student.network, segment)
        agreement = (student.argmax(-1) == segment.teacher.argmax(-1)).float()
        target = (segment.teacher / temperature).log_softmax(-1)
        kl = (target.exp() * (target - student.log_softmax(-1))).sum(-1)
        return {
            name: float(masked_mean(values, segment.mask)) for name, values in (("agreement", agreement), ("kl", kl))
        }

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


@torch.no_grad()
def replayed_segment(
    teacher: Teacher, student: StudentNetwork, replay: SequenceReplay, batch_size: int, rng: np.random.Generator
) -> Segment:
    """Draw a batch of replayed sequences; the teacher starts from the stored state, the student from zeros."""
    batch = to_tensors(replay.sample(batch_size, rng), next(student.parameters()).device)
    if teacher.novelty is not None:
        batch = with_newest_embeddings(batch, teacher.novelty, num_actions=teacher.network.spec.num_actions)
    output = teacher.network(batch.frames, batch.features, batch.state)
    acts_on_values = teacher.network.acting_betas is not None  # policy 0 acts on extrinsic values only
    preferences = (output.q_extrinsic if acts_on_values else output.logits)[:-1, :, 0]
    return Segment(
        frames=batch.frames[:, :-1].transpose(0, 1),
        actions=batch.features.action[:-1],
        rewards=batch.features.reward[:-1],
        first=torch.zeros_like(batch.mask),
        state=student.initial_state(batch_size),
        teacher=preferences,
        mask=batch.mask,
    )


def distillation_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, temperature: float) -> Tensor:
    """Average the cross-entropy from softmax(teacher / temperature) to softmax(student) over real steps.

    [T, B, A] -> [].
    """
    target = (teacher / temperature).softmax(-1)
    losses = functional.cross_entropy(student.flatten(0, 1), target.flatten(0, 1), reduction="none").view_as(mask)
    return masked_mean(losses, mask)


def _update(student: StudentNetwork, optimiser: torch.optim.Optimizer, segment: Segment, *, temperature: float) -> None:
    loss = distillation_loss(_unroll(student, segment), segment.teacher, segment.mask, temperature=temperature)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(student.parameters(), 10.0)
    optimiser.step()


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _unroll(student: StudentNetwork, segment: Segment) -> Tensor:
    return student.unroll(segment.frames, segment.actions, segment.rewards, segment.first, segment.state)


def student_spec(parameters: Parameters, env: EnvSpec) -> StudentSpec:
    """Return the student that the parameters describe, on the game of `env`."""
    return StudentSpec(
        height=env.height,
        width=env.width,
        num_actions=env.num_actions,
        lstm_size=parameters.distill.lstm_size,
        channels=parameters.distill.channels,
        frame_dtype=env.frame_dtype,
        temperature=parameters.evaluate.temperature,
        distilled_at=parameters.distill.temperature,
    )


def _make_student(parameters: Parameters, teacher: Teacher) -> StudentNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.run.seed)
        student = StudentNetwork(student_spec(parameters, teacher.env))
    student.frames.load_state_dict(teacher.network.frames.state_dict())
    return student
