"""Teacher and student as policies that play E environments at once, loaded from their folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from meme57.actors import Player
from meme57.actors.exploration import draw
from meme57.agent.bounds import NonNegative
from meme57.agent.family import PolicyFamily
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.agent.parameters import NetworkSpec, NoveltySpec
from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.agent.torso import is_class_path, torso_class
from meme57.checkpoints.manifest import AGENT, MANIFEST
from meme57.checkpoints.source import check_whole
from meme57.checkpoints.tensors import save_tensors
from meme57.config import Parameters
from meme57.config.groups import FamilyParameters
from meme57.envs import EnvSpec, StepResult
from meme57.errors import (
    CheckpointError,
    ConfigurationError,
    EnvironmentSetupError,
    IncompatibleCheckpointError,
    first_line,
)
from meme57.files import checked, parse_as, read_json, write_json

NETWORK, NOVELTY = "network.safetensors", "novelty.safetensors"
TEACHER_FILES = (AGENT, NETWORK, NOVELTY)
"""The files of a checkpoint that playing needs."""
STUDENT_WEIGHTS = "student.safetensors"
STUDENT_SPEC = "student.json"
STUDENT_ENV = "env.json"
LARGEST_SIZE, MOST_BLOCKS = 2**24, 1000

Network = TypeVar("Network", bound=nn.Module)


MEANT_BEFORE = {"normalise_heads": False, "balance_inputs": False}
"""Values of settings that did not exist when older weights were stored."""


class Policy(Protocol):
    """Something that plays E environments."""

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Begin episodes at `observation` [E, H, W]."""

    def act(self) -> npt.NDArray[np.int64]:
        """Return actions [E] for the current observation."""

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> None:
        """Take in the result of the actions."""


class Choice:
    """Chooses actions by preferences: the best ones, or ones drawn at a temperature above 0."""

    def __init__(self, temperature: float, *, seed: int = 0) -> None:
        self._temperature, self._rng = temperature, np.random.default_rng([seed, 5])

    def __call__(self, preferences: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Choose from preferences [E, A]: actions [E]."""
        if self._temperature:
            return draw(preferences, self._temperature, self._rng.gumbel(size=preferences.shape))
        best: npt.NDArray[np.int64] = preferences.argmax(-1)
        return best


class Teacher:
    """A checkpoint's weights with everything that is needed to use them.

    Args:
        temperature: it plays actions drawn from its policy at this temperature; 0: the best ones.
    """

    def __init__(
        self, env: EnvSpec, network: MemeNetwork, novelty: NoveltyNetworks | None, *, temperature: float = 0.0
    ) -> None:
        self.env, self.network, self.novelty, self.temperature = env, network, novelty, temperature

    @classmethod
    def load(cls, folder: Path, *, torso: str | None = None) -> Teacher:
        """Read a checkpoint folder; if it has a manifest, check every file's checksum first.

        Args:
            torso: the torso that the user's own configuration or command names. A class path is imported only if it
                stands here: a file cannot say what code runs.

        Raises:
            CheckpointError: a file is missing or damaged.
            IncompatibleCheckpointError: a file names a class that `torso` does not.
        """
        if (folder / MANIFEST).exists():
            check_whole(folder)
        tree = read_json(folder / AGENT)
        try:
            env = EnvSpec.from_json(tree["env"])
            network_spec = parse_as(NetworkSpec, {**MEANT_BEFORE, **tree["network"]})
            novelty_spec = parse_as(NoveltySpec, tree["novelty"])
            _check_sizes(env, network_spec, novelty_spec)
            family = PolicyFamily.ladder(**parse_as(FamilyParameters, tree["family"]).model_dump())
            with_novelty = bool(tree["novelty_enabled"])
            betas = tuple(family.betas.tolist() if with_novelty else [0.0] * family.num_policies)
            network_spec = replace(network_spec, acting_betas=None if tree["distil_policy"] else betas)
            temperature = parse_as(NonNegative, tree.get("temperature", 0.0))
            if not is_class_path(network_spec.torso):
                torso_class(network_spec.torso)
        except (KeyError, TypeError, ValueError, OverflowError, EnvironmentSetupError, ConfigurationError) as error:
            raise CheckpointError(f"{folder / AGENT} is damaged: {error!r}") from error
        if is_class_path(network_spec.torso) and network_spec.torso != torso:
            raise IncompatibleCheckpointError(
                f"{folder / AGENT} names the torso {network_spec.torso}, which is code that this command does "
                "not name: if it is your own, give torso= (in Python), --torso (of `meme57`) or network.torso"
            )
        network, novelty = load_network(partial(MemeNetwork, network_spec), folder / NETWORK), None
        if with_novelty:
            novelty = load_network(partial(NoveltyNetworks, novelty_spec), folder / NOVELTY)
        return cls(env, network.eval(), novelty, temperature=temperature)

    def to(self, device: torch.device) -> Teacher:
        """Move the networks to `device`."""
        self.network.to(device)
        if self.novelty is not None:
            self.novelty.to(device)
        return self

    def player(
        self, num_envs: int, *, policy: int = 0, temperature: float | None = None, seed: int = 0
    ) -> TeacherPolicy:
        """Return policy j for `num_envs` environments; j = 0 is the exploiting one.

        Args:
            temperature: in place of the teacher's own.
            seed: of the draws.
        """
        choice = Choice(self.temperature if temperature is None else temperature, seed=seed)
        return TeacherPolicy(self, num_envs, policy=policy, choice=choice)


def describe(env: EnvSpec, network: Any, novelty: Any, parameters: Parameters) -> dict[str, Any]:
    """Return, as JSON types, what is needed to use a checkpoint's weights on their own."""
    return {
        "env": env.to_json(),
        "network": asdict(network),
        "novelty": asdict(novelty),
        "family": parameters.family.model_dump(mode="json"),
        "distil_policy": parameters.loss.distil_policy,
        "temperature": parameters.evaluate.temperature,
        "novelty_enabled": parameters.novelty.enabled,
    }


class TeacherPolicy:
    """A `Policy` that chooses by one policy's preferences."""

    def __init__(self, teacher: Teacher, num_envs: int, *, policy: int, choice: Choice) -> None:
        device = next(teacher.network.parameters()).device
        self._player = Player(teacher.network, teacher.novelty, num_envs=num_envs, device=device)
        self._policies = np.full(num_envs, policy, np.int64)
        self._choose = choice

    @torch.inference_mode()
    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Begin episodes."""
        self._player.begin(observation)

    @torch.inference_mode()
    def preferences(self) -> Tensor:
        """Return preferences [E, A] and advance the recurrent state."""
        return self._player.preferences(self._policies)

    def act(self) -> npt.NDArray[np.int64]:
        """Return actions [E]."""
        return self._choose(self.preferences().cpu().numpy())

    @torch.inference_mode()
    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> None:
        """Take in the result of the actions."""
        self._player.observe(actions, result)


class StudentPolicy:
    """A `Policy` that chooses by the student's logits.

    Args:
        temperature: it plays as the teacher does at this one, in place of the student's own.
        seed: of the draws.
    """

    def __init__(
        self, network: StudentNetwork, num_envs: int, *, temperature: float | None = None, seed: int = 0
    ) -> None:
        self.network, self._num_envs = network, num_envs
        chosen = network.spec.temperature if temperature is None else temperature
        self._choose = Choice(chosen / network.spec.distilled_at, seed=seed)
        self._device = next(network.parameters()).device

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Begin episodes."""
        self.observation = observation
        self.actions = np.full(self._num_envs, self.network.spec.num_actions, np.int64)
        self.rewards = np.zeros(self._num_envs, np.float32)
        self.first = np.ones(self._num_envs, np.bool_)
        self.state = self.network.initial_state(self._num_envs)

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Return logits [E, A] and advance the recurrent state."""
        logits, self.state = self.network(
            *(torch.from_numpy(array).to(self._device) for array in (self.observation, self.actions, self.rewards)),
            self.state,
        )
        found: Tensor = logits
        return found

    def act(self) -> npt.NDArray[np.int64]:
        """Return actions [E]."""
        return self._choose(self.logits().cpu().numpy())

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> None:
        """Take in the result of the actions."""
        self.observation = result.observation
        self.actions = np.where(result.is_reset, self.network.spec.num_actions, actions)
        self.rewards = result.reward
        self.first = result.is_reset
        self.state = self.state * torch.from_numpy(~result.is_reset).to(self._device).unsqueeze(-1)


def save_student(network: StudentNetwork, folder: Path, env: EnvSpec | None = None) -> None:
    """Write weights and spec; with `env` also the game, which makes the folder self-contained."""
    save_tensors(network.state_dict(), folder / STUDENT_WEIGHTS)
    write_json(folder / STUDENT_SPEC, asdict(network.spec))
    if env is not None:
        write_json(folder / STUDENT_ENV, env.to_json())


def load_student(folder: Path) -> StudentNetwork:
    """Read a student that `save_student` wrote.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        spec = checked(StudentSpec, read_json(folder / STUDENT_SPEC), folder / STUDENT_SPEC)
        return load_network(partial(StudentNetwork, spec), folder / STUDENT_WEIGHTS).eval()
    except CheckpointError as error:
        raise CheckpointError(f"{error}: `kedro run --pipelines distill` makes the student again") from error


def load_network(make: Callable[[], Network], path: Path) -> Network:
    """Make a network with the weights of a safetensors file.

    It is first made without memory, so wrong sizes cost nothing, however large they are.

    Raises:
        CheckpointError: the file is missing or damaged, or its shapes are not the network's.
    """
    try:
        weights = load_file(path)
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in make().state_dict().items()}
        if shapes != {name: value.shape for name, value in weights.items()}:
            raise ValueError("other names or sizes")
        with torch.random.fork_rng(devices=[]):  # the program's own draws stay what they were
            network = make()
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, ArithmeticError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is missing, damaged or does not fit its network: {first_line(error)}") from error
    return network


def _check_sizes(env: EnvSpec, *specs: NetworkSpec | NoveltySpec) -> None:
    """Refuse networks of another game than `env`, and impossible sizes."""
    for spec in specs:
        sizes = (spec.height, spec.width, spec.num_actions, spec.frame_dtype)
        if sizes != (*env.frame_shape, env.num_actions, env.frame_dtype):
            raise ValueError("env has other sizes than the networks")
        for name, value in asdict(spec).items():
            largest = MOST_BLOCKS if name == "nfnet_blocks" else LARGEST_SIZE
            if isinstance(value, int) and not 0 <= value <= largest:
                raise ValueError(f"{name}={value} is not possible")
