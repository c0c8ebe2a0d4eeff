"""Which positions a torso's features of one frame tell after some updates; append a row to data/positions.csv.

    python experiments/screen/positions.py NAME [--env laptop] [--game Pong] [--seed 1] [--set network.torso=impala ...]

Frames are of random play, one in four, while a ball is there. A torso and a linear layer on its standardised features
are taught the positions by the squared error. The game's memory has them (addresses: Anand et al., 2019). The row has
R2 on frames of other games. It runs on a CPU, in one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ale_py import ALEInterface, LoggerMode, roms
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from meme57.agent.frames import FrameNormaliser  # noqa: E402
from meme57.agent.torso import Torso, make_torso  # noqa: E402
from meme57.blueprint import agent_spec  # noqa: E402
from meme57.config import rom_id  # noqa: E402
from meme57.envs import env_spec  # noqa: E402
from presets import preset, with_settings  # noqa: E402
from rows import append_row, commit  # noqa: E402

ROWS = Path(__file__).parent / "data" / "positions.csv"
POSITIONS = {
    "Breakout": {"ball_x": 99, "ball_y": 101, "paddle": 72},
    "Pong": {"ball_x": 49, "ball_y": 54, "paddle": 51},
}
"""Where in the memory each position is. The ball's y is 0 where there is no ball."""
TEACH, TEST, BATCH = 12_000, 3_000, 320
TEACH_SEED, TEST_SEED = 1, 2


class Probe(nn.Module):
    """A torso and a linear layer: normalised frames [B, 1, H, W] -> positions [B, P]."""

    def __init__(self, torso: Torso, num_positions: int) -> None:
        super().__init__()
        self.torso = torso
        self.torso.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.linear = nn.Linear(torso.num_features, num_positions)

    def forward(self, images: Tensor) -> Tensor:
        """Read the positions as the agent's LSTM reads features: standardised per frame."""
        features = self.torso(images)
        out: Tensor = self.linear(functional.layer_norm(features, features.shape[1:]))
        return out


def labelled_frames(game: str, shape: tuple[int, int], *, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Play at random: frames [count, H, W] uint8 and positions [count, P] float."""
    addresses = list(POSITIONS[game].values())
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setInt("random_seed", seed)
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(roms.get_rom_path(rom_id(game)))
    actions, rng = emulator.getMinimalActionSet(), np.random.default_rng(seed)
    frames, positions = torch.empty(count, *shape, dtype=torch.uint8), torch.empty(count, len(addresses))
    found = 0
    while found < count:
        if emulator.game_over():
            emulator.reset_game()
        action = actions[rng.integers(len(actions))]
        for _ in range(4):
            emulator.act(action)
        memory = emulator.getRAM()
        if memory[POSITIONS[game]["ball_y"]] == 0:
            continue
        screen = torch.from_numpy(emulator.getScreenGrayscale()).float()
        frames[found] = functional.interpolate(screen[None, None], shape, mode="area")[0, 0].round()
        positions[found] = torch.tensor([float(memory[address]) for address in addresses])
        found += 1
    return frames, positions


def explained(probe: Probe, images: Tensor, positions: Tensor) -> Tensor:
    """Return R2 of each position [P]."""
    probe.eval()
    with torch.no_grad():
        found = torch.cat([probe(part) for part in torch.split(images, BATCH)])
    return 1.0 - (positions - found).square().mean(0) / positions.var(0, correction=0)


def learn(probe: Probe, images: Tensor, positions: Tensor, *, updates: int, rate: float) -> None:
    """Teach the probe by Adam on batches drawn with replacement."""
    optimiser = torch.optim.Adam(probe.train().parameters(), lr=rate, fused=True)
    for _ in range(updates):
        drawn = torch.randint(len(images), (BATCH,))
        loss = functional.mse_loss(probe(images[drawn]), positions[drawn])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def main() -> None:
    """Teach one torso, and append the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--env", default="laptop", help="the environment of conf/ whose network and frames these are")
    parser.add_argument("--game", default="Breakout", choices=POSITIONS)
    parser.add_argument("--seed", type=int, default=1, help="of weights and batches; the frames are always the same")
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parameters = with_settings(preset(options.env), {"env.game": options.game}, options.set)
    spec = agent_spec(parameters, env_spec(parameters.env)).network
    shape, names = (spec.height, spec.width), POSITIONS[options.game]
    frames, positions = labelled_frames(options.game, shape, count=TEACH, seed=TEACH_SEED)
    test_frames, test_positions = labelled_frames(options.game, shape, count=TEST, seed=TEST_SEED)
    centre = FrameNormaliser(*shape)
    centre.fit(frames)
    mean, deviation = positions.mean(0), positions.std(0)
    torch.manual_seed(options.seed)
    probe = Probe(make_torso(spec), len(names))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        probe.torso(centre(frames[:1]))
    started = time.process_time()
    rate = parameters.learner.learning_rate
    learn(probe, centre(frames), (positions - mean) / deviation, updates=options.updates, rate=rate)
    seconds = time.process_time() - started
    found = explained(probe, centre(test_frames), (test_positions - mean) / deviation)
    row = {
        "name": options.name,
        "game": options.game,
        "seed": options.seed,
        "environment": options.env,
        "settings": "; ".join(options.set),
        "commit": commit(),
        "updates": options.updates,
        **{name: round(value, 3) for name, value in zip(names, found.tolist(), strict=True)},
        "features": probe.torso.num_features,
        "multiply_adds": int(counter.get_total_flops()) // 2,
        "cpu_ms_an_update": round(1e3 * seconds / options.updates, 1),
    }
    append_row(ROWS, row)
    print(row)


if __name__ == "__main__":
    main()
