"""How far rounding moves the differences between action values, and how large real differences are.

    python benchmarks/ties.py data/06_models/Pong-s1/checkpoints/checkpoint-000003 ... [--scale 64]

Plays sixteen games at once for 200 greedy steps, with each policy of the family in turn. --scale multiplies all values,
as if returns were larger. ATEN_CPU_CAPABILITY=default or avx2 measures other vector instructions. The columns are in
units of max(1, |Q|), where |Q| is the largest value of the state:

- rounding: the error of float32, compared with double precision, in the difference between two actions' values;
- equal: the same for actions that should be equal. All have the first action's weights, each of them either as it is or
  at the next float32 number, since equal actions differ in this way after an update;
- gap: the best action's distance from the second best, in double precision.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from meme57.actors import Player
from meme57.actors.player import as_features
from meme57.agent.family import PolicyFamily
from meme57.agent.network import Features, MemeNetwork
from meme57.agent.ties import TIE_TOLERANCE
from meme57.envs import make_env
from meme57.errors import Meme57Error
from meme57.files import read_json
from meme57.learning.policies import Teacher

SEED = 1_700_000_001
GAMES, STEPS = 16, 200


@torch.no_grad()
def values(teacher: Teacher, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute Q_j along play: float32, double precision, and float32 with equal actions.  [M, A] each."""
    env = make_env(teacher.env, num_envs=GAMES)
    player = Player(teacher.network, teacher.novelty, num_envs=GAMES)
    on_values = copy.deepcopy(teacher.network)
    on_values.acting_betas = betas.float()
    exact, equal = copy.deepcopy(on_values).double(), copy.deepcopy(on_values)
    exact.acting_betas = betas
    equalise(equal, teacher.env.num_actions)
    policies = torch.arange(GAMES) % len(betas)
    rows = []
    try:
        player.begin(env.reset(seed=SEED))
        for _ in range(STEPS):
            frames, features = torch.from_numpy(player.observation), as_features(player.inputs, torch.device("cpu"))
            given = (frames, features, player.state, policies)
            single = [network.act(*given)[0] for network in (on_values, equal)]
            rows.append((single[0], act_in_double(exact, *given), single[1]))
            actions = player.preferences(policies.numpy()).argmax(-1).numpy()
            player.observe(actions, env.step(actions))
    finally:
        env.close()
    q, q_exact, q_equal = (torch.cat(column) for column in zip(*rows, strict=True))
    return q, q_exact, q_equal


def act_in_double(network: MemeNetwork, frames: Tensor, features: Features, state: Tensor, policies: Tensor) -> Tensor:
    """Run `MemeNetwork.act` in double precision; return preferences [E, A]."""
    wide = Features(*(value.double() if value.is_floating_point() else value for value in features))
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        return network.act(frames, wide, state.double(), policies)[0]


def enlarge(network: MemeNetwork, scale: float) -> None:
    """Multiply all values by `scale`."""
    for stream in (network.values.value, network.values.advantage):
        stream.weight.mul_(scale)
        stream.bias.mul_(scale)


def equalise(network: MemeNetwork, num_actions: int) -> None:
    """Give every action the weights of the first one, half of them at the next float32 number."""
    generator = torch.Generator().manual_seed(0)
    for parameter in (network.values.advantage.weight, network.values.advantage.bias):
        weights = parameter.view(*parameter.shape[:-1], 2, num_actions)
        weights.copy_(weights[..., :1].clone().expand_as(weights))
        parameter.mul_(1.0 + 2.0**-23 * torch.randint(2, parameter.shape, generator=generator))


def cells(q: Tensor, exact: Tensor, equal: Tensor) -> list[str]:
    """Format one row of the table."""

    def largest(differences: Tensor, scale: Tensor) -> Tensor:
        return (differences.amax(-1) - differences.amin(-1)) / scale.abs().amax(-1).clamp_min(1.0)

    best = exact.topk(2, dim=-1).values
    gap = ((best[..., 0] - best[..., 1]) / exact.abs().amax(-1).clamp_min(1.0)).numpy()
    rounding = largest(q.double() - exact, exact).numpy()
    return [
        f"{exact.abs().amax(-1).median():.2f}",
        *(f"{np.quantile(rounding, share):.1e}" for share in (0.99, 1.0)),
        f"{largest(equal.double(), exact).max():.1e}",
        *(f"{np.quantile(gap, share):.1e}" for share in (0.001, 0.01, 0.5)),
        f"{(gap < TIE_TOLERANCE).mean():.1e}",
    ]


@torch.no_grad()
def main() -> None:
    """Run what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    columns = "rounding, 99 % | largest | equal, largest | gap, 0.1 % | 1 % | median"
    print(f"| checkpoint | instructions | \\|Q\\|, median | {columns} | share of gaps < {TIE_TOLERANCE:g} |")
    print("|---|---|" + "---:|" * 8)
    for folder in options.checkpoints:
        try:
            teacher = Teacher.load(folder)
        except Meme57Error as error:
            parser.error(str(error))
        enlarge(teacher.network, options.scale)
        betas = PolicyFamily.ladder(**read_json(folder / "agent.json")["family"]).betas
        name = "/".join(folder.absolute().parts[-2:])
        row = [name, torch.backends.cpu.get_cpu_capability(), *cells(*values(teacher, betas))]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
