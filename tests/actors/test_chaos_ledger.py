"""benchmarks/chaos_ray.py: its account of a run in which nothing breaks; the real one needs root and minutes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from meme57.envs import env_spec
from meme57.learning.trainer import Trainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RUN = {"total_frames": 2_400, "checkpoint_period_frames": 1_200, "log_period_frames": 600}


def test_the_ledger_follows_a_run_and_sees_a_chunk_that_is_missing(
    make_parameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    chaos = runpy.run_path(str(BENCHMARKS / "chaos_ray.py"), run_name="chaos_ray")
    parameters = make_parameters(run=RUN)
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    ledger = chaos["Ledger"](trainer)
    rows = [row for event in trainer.run() for row in event.rows]
    account = ledger.check(trainer, rows[-1])
    assert account["acknowledged chunks"] == len(trainer.state.replay.contents()[1]) > 0
    assert account["steps in open chunks of lost actors"] == 0
    ledger.checksums[(9, 9, 9)] = 1
    with pytest.raises(SystemExit, match="acknowledged chunks that are not in replay"):
        ledger.check(trainer, rows[-1])
