"""Our learner compared with a public Agent57 learner, in turn, on the same batch size.

    git clone https://github.com/michaelnny/deep_rl_zoo
    pip install --target zoo-needs python-snappy
    PYTHONPATH=zoo-needs python benchmarks/bench_peer.py --peer deep_rl_zoo [--repetitions 8] [--json PATH]

Theirs is `Learner._update_q_network` of deep_rl_zoo's Agent57: two recurrent networks on 84 x 84 frames, online and
target passes, Retrace, backward, Adam. Ours is `Learner.update` without novelty: the 16-policy MEME agent of
`bench_learner.py` on the Nature torso. Both take 8 sequences of 40 learned steps; the clock is CPU time on one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench_learner import SETTINGS, Update, parameters_of
from timing import command, in_turn, show, spread

BATCH, STEPS, ACTIONS, POLICIES = 8, 40, 18, 16


def agent57(folder: Path) -> tuple[Callable[[], object], int]:
    """Return a function that updates the peer's Q networks on random transitions, and its number of weights."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        from deep_rl_zoo.agent57 import agent
        from deep_rl_zoo.networks.curiosity import NguEmbeddingConvNet, RndConvNet
        from deep_rl_zoo.networks.value import Agent57Conv2dNet
    except ImportError as error:
        raise SystemExit(f"{folder}: {error}: the first lines of {Path(__file__).name} say how to get it") from error
    network = Agent57Conv2dNet((1, 84, 84), ACTIONS, POLICIES)
    curiosity = [NguEmbeddingConvNet((1, 84, 84), ACTIONS), RndConvNet((1, 84, 84)), RndConvNet((1, 84, 84))]
    learner = agent.Learner(
        network, torch.optim.Adam(network.parameters(), lr=1e-4), *curiosity,
        intrinsic_optimizer=torch.optim.Adam(curiosity[0].parameters()), replay=None, target_net_update_interval=1_500,
        min_replay_size=1, batch_size=BATCH, unroll_length=STEPS, burn_in=0, retrace_lambda=0.95,
        transformed_retrace=True, priority_eta=0.9, clip_grad=True, max_grad_norm=40.0, device=torch.device("cpu"),
        shared_params={},
    )  # fmt: skip
    transitions, weights = _transitions(agent.Agent57Transition), np.ones(BATCH, np.float32)
    num_weights = sum(p.numel() for p in network.parameters())
    return lambda: learner._update_q_network(transitions, weights), num_weights


def _transitions(kind: Any) -> Any:
    """Make random unrolls of the shapes of the peer's replay: [T+1, B, ...]."""
    rng, shape = np.random.default_rng(0), (STEPS + 1, BATCH)
    state = np.zeros((STEPS + 1, BATCH, 1, 512), np.float32)
    fields = {
        "s_t": rng.integers(0, 256, (*shape, 1, 84, 84), dtype=np.uint8),
        "a_t": rng.integers(ACTIONS, size=shape),
        "q_t": rng.normal(size=(*shape, ACTIONS)).astype(np.float32),
        "prob_a_t": np.full(shape, 0.5, np.float32),
        "last_action": rng.integers(ACTIONS, size=shape),
        "ext_r_t": rng.random(shape).astype(np.float32),
        "int_r_t": rng.random(shape).astype(np.float32),
        "policy_index": rng.integers(POLICIES, size=shape),
        "beta": np.full(shape, 0.1, np.float32),
        "discount": np.full(shape, 0.99, np.float32),
        "done": np.zeros(shape, np.bool_),
        "ext_init_h": state, "ext_init_c": state, "int_init_h": state, "int_init_c": state,
    }  # fmt: skip
    return kind(**{name: fields[name] for name in kind._fields})


def measure(peer: str, repetitions: int) -> dict[str, Any]:
    """Measure both learners, ours in both precisions, in turn."""
    torch.set_num_threads(1)
    theirs, num_weights = agent57(Path(peer))
    ours = {p: Update(parameters_of(SETTINGS["nature 8 x 40"], p)) for p in ("bfloat16", "float32")}
    times = in_turn({"peer": theirs, **ours}, repetitions, clock=time.process_time)
    names = {"peer": "deep_rl_zoo Agent57", "bfloat16": "meme57, bfloat16", "float32": "meme57, float32"}
    weights = {"peer": num_weights, **{p: update.num_weights for p, update in ours.items()}}
    rows = [
        {
            "learner": name,
            "weights": weights[key],
            "steps_per_second": spread(BATCH * STEPS / times[key]),
            "over_peer": spread(times["peer"] / times[key]),
        }
        for key, name in names.items()
    ]
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = ["| learner | weights | learned steps / CPU s | over the peer |", "|---|---|---|---|"]
    for row in figures["rows"]:
        lines.append(
            f"| {row['learner']} | {row['weights'] / 1e6:.1f} M | {show(row['steps_per_second'], 0)} "
            f"| {show(row['over_peer'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, peer="deep_rl_zoo", repetitions=8)
