"""What the presets need, computed from their parameters: memory, disk, and multiply-adds of an acting step."""

from __future__ import annotations

from pathlib import Path

from reference import read_preset

from meme57.agent.cost import novelty_step, student_step, teacher_step
from meme57.agent.student import StudentNetwork
from meme57.blueprint import agent_spec, make_networks
from meme57.envs import env_spec
from meme57.learning.distillation import student_spec
from meme57.learning.estimate import GIB, estimate_resources

PRESETS = ("laptop", "base", "gpu", "paper")
WORTH_NAMING = 0.4
"""Share of the whole from which its largest part is named."""


def needs_table(conf: Path) -> str:
    """Tabulate memory and disk of each preset's run."""
    rows = ["| environment | memory, if the CPU learns | disk |", "|---|---|---|"]
    for preset in PRESETS:
        parameters = read_preset(conf, preset)
        needed = estimate_resources(parameters, env_spec(parameters.env), on_device=False)
        rows.append(f"| `{preset}` | {_size(needed.memory)} | {_size(needed.disk)} |")
    return "\n".join([*rows, ""])


def costs_table(conf: Path) -> str:
    """Tabulate the multiply-adds of teacher, novelty and student in one acting step."""
    rows = ["| preset | teacher | novelty | student | share of the teacher |", "|---|---:|---:|---|---:|"]
    for preset in PRESETS:
        parameters = read_preset(conf, preset)
        env, size = env_spec(parameters.env), parameters.distill
        network, novelty = make_networks(agent_spec(parameters, env), seed=0)
        student, teacher = student_step(StudentNetwork(student_spec(parameters, env))), teacher_step(network)
        of = f"channels {size.channels[0]} and {size.channels[1]}, LSTM {size.lstm_size}"
        share = f"{student / teacher:.1%}".replace("%", " %")
        rows.append(f"| `{preset}` | {teacher:,} | {novelty_step(novelty):,} | {student:,} ({of}) | {share} |")
    return "\n".join([*rows, ""])


def _size(parts: dict[str, int]) -> str:
    total, name = sum(parts.values()), max(parts, key=lambda part: parts[part])
    if total < 2 * GIB or parts[name] < WORTH_NAMING * total:
        return f"{total / GIB:.1f} GiB"
    return f"{total / GIB:.0f} GiB ({name}: {parts[name] / GIB:.0f} GiB)"
