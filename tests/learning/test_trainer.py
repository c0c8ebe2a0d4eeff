"""Whole runs, on the corridor and on Pong: reproducible, resumable bit for bit, and honest about frames and draws."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meme57.actors import Collected, LocalPool
from meme57.checkpoints.manifest import read_manifest
from meme57.config import Parameters
from meme57.envs import env_spec
from meme57.errors import CheckpointError, ConfigurationError, Interrupted, ReplayError
from meme57.learning import run_state
from meme57.learning.seed_replay import collect_seed_replay
from meme57.learning.staleness import Staleness
from meme57.learning.trainer import Trainer, TrainingEvent, learn

SHORT = {"total_frames": 2_400, "checkpoint_period_frames": 1_200, "log_period_frames": 400}
PONG = {"game": "Pong", "num_envs": 2, "height": 36, "width": 36, "noop_max": 4}


def parameters_for(make_parameters: Callable[..., Parameters], game: str, **groups: dict[str, Any]) -> Parameters:
    run = {**SHORT, **groups.pop("run", {})}
    if game == "Pong":
        groups = {"env": PONG, "replay": {"min_sequences": 4}, **groups}
    return make_parameters(run=run, **groups)


class Run:
    """A trainer, its events, and all that it knows at the end, as plain bytes and numbers."""

    def __init__(self, parameters: Parameters, folder: Path, **options: Any) -> None:
        self.trainer = Trainer(parameters, env_spec(parameters.env), folder, **options)
        self.events: list[TrainingEvent] = []

    def until(self, done: Callable[[TrainingEvent], bool] = lambda event: False, **options: Any) -> Run:
        stream: Iterator[TrainingEvent] = self.trainer.run(**options)
        for event in stream:
            self.events.append(event)
            if done(event):
                stream.close()  # type: ignore[attr-defined]  # as if killed: nothing is written any more
                break
        return self

    def rows(self, *, first: int = 0) -> list[dict[str, float]]:
        kept = [row for event in self.events[first:] for row in event.rows]
        return [{k: v for k, v in row.items() if not k.startswith(("speed/", "elapsed"))} for row in kept]

    def knowledge(self) -> dict[str, bytes]:
        tensors = {
            f"{name}.{key}": value.contiguous().numpy().tobytes()
            for name, file in self.trainer.state.learner.tensors().items()
            for key, value in file.items()
        }
        replay = self.trainer.state.replay
        tensors["priorities"] = replay.priorities().tobytes()
        tensors["ids"] = replay.sequence_ids().tobytes()
        tensors["chunks"] = replay.contents()[0]["chunk_checksums"].tobytes()
        return tensors


def differing(left: Run, right: Run) -> list[str]:
    a, b = left.knowledge(), right.knowledge()
    assert a.keys() == b.keys()
    return [name for name, value in a.items() if b[name] != value]


def at_first_checkpoint(event: TrainingEvent) -> bool:
    return event.checkpoint is not None


# ---- reproducible


@pytest.mark.parametrize("game", ["Corridor", "Pong"])
def test_the_same_seed_twice_is_the_same_run_bit_for_bit(make_parameters, tmp_path, game: str) -> None:
    parameters = parameters_for(make_parameters, game, run={"total_frames": 1_600})
    runs = [Run(parameters, tmp_path / str(i)).until() for i in range(2)]
    assert runs[0].trainer.state.learner.num_updates > 5
    assert differing(*runs) == []
    assert runs[0].rows() == runs[1].rows()


def test_another_seed_is_another_run(make_parameters, tmp_path) -> None:
    runs = [
        Run(parameters_for(make_parameters, "Corridor", run={"seed": seed}), tmp_path / str(seed)).until()
        for seed in (1, 2)
    ]
    assert "network.lstm.weight_ih_l0" in differing(*runs)


# ---- resumed


@pytest.mark.parametrize("game", ["Corridor", "Pong"])
def test_killed_after_a_checkpoint_and_resumed_equals_uninterrupted(make_parameters, tmp_path, game: str) -> None:
    parameters = parameters_for(make_parameters, game, run={"exact_resume": True, "total_frames": 2_000})
    whole = Run(parameters, tmp_path / "whole").until()
    killed = Run(parameters, tmp_path / "killed").until(at_first_checkpoint)
    assert killed.events[-1].frames < 1_400  # one checkpoint of two
    assert killed.trainer.state.learner.num_updates > 3
    resumed = Run(parameters, tmp_path / "killed").until()
    assert resumed.events[0].checkpoint == killed.events[-1].checkpoint
    assert killed.rows()[:-1] + resumed.rows() == whole.rows()  # it begins with the row of its checkpoint
    assert differing(whole, resumed) == []


def test_killed_between_checkpoints_and_resumed_equals_uninterrupted(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"exact_resume": True})
    whole = Run(parameters, tmp_path / "whole").until()
    Run(parameters, tmp_path / "killed").until(lambda event: event.frames >= 1_600)
    resumed = Run(parameters, tmp_path / "killed").until()
    assert resumed.events[1].frames < 1_800
    assert differing(whole, resumed) == []


def test_stopped_between_checkpoints_and_resumed_equals_uninterrupted(make_parameters, tmp_path) -> None:
    """`run.exact_resume`: every run, interrupted or not, is the same; a polite stop is an interruption too."""
    parameters = parameters_for(make_parameters, "Corridor", run={"exact_resume": True})
    whole = Run(parameters, tmp_path / "whole").until()
    asked: list[bool] = []
    stopped = Run(parameters, tmp_path / "stopped", stop=lambda: bool(asked))
    with pytest.raises(Interrupted):
        stopped.until(lambda event: asked.append(True) if event.frames >= 500 else False)
    resumed = Run(parameters, tmp_path / "stopped").until()
    assert resumed.events[-1].frames == whole.events[-1].frames
    assert differing(whole, resumed) == []


def test_a_longer_run_goes_on_from_a_finished_one(make_parameters, tmp_path) -> None:
    short = parameters_for(make_parameters, "Corridor", run={"exact_resume": True, "total_frames": 1_200})
    long = parameters_for(make_parameters, "Corridor", run={"exact_resume": True, "total_frames": 2_400})
    whole = Run(long, tmp_path / "whole").until()
    Run(short, tmp_path / "parts").until()
    resumed = Run(long, tmp_path / "parts").until()
    assert differing(whole, resumed) == []


def test_a_stop_writes_a_checkpoint_and_the_run_goes_on_from_there(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor")
    asked: list[bool] = []
    run = Run(parameters, tmp_path, stop=lambda: bool(asked))
    with pytest.raises(Interrupted, match=r"stopped at [\d,]+ frames: the same command resumes") as caught:
        run.until(lambda event: asked.append(True))  # asked at the first event
    assert "\n" not in str(caught.value)
    last = run.events[-1]
    assert last.checkpoint is not None
    assert last.frames < 1_200
    assert run.trainer.state.replay.num_pending == 0  # its episodes were ended
    before = run.knowledge()
    resumed = Run(parameters, tmp_path)
    stream = resumed.trainer.run()
    assert next(stream).rows == last.rows
    first = next(stream)
    assert first.frames > last.frames
    assert first.updates >= last.updates
    assert resumed.trainer.state.replay.num_inserted >= len(np.frombuffer(before["ids"], np.int64))
    rest = [first, *stream]
    assert rest[-1].frames >= 2_400
    assert rest[-1].checkpoint is not None


def test_a_finished_run_yields_once(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"total_frames": 1_200})
    first = Run(parameters, tmp_path).until()
    again = Run(parameters, tmp_path).until()
    assert len(again.events) == 1
    event = again.events[0]
    assert event.rows == first.events[-1].rows
    assert event.checkpoint == first.events[-1].checkpoint
    assert (event.frames, event.updates) == (first.events[-1].frames, first.events[-1].updates)
    assert differing(first, again) == []


def test_another_configuration_is_refused(make_parameters, tmp_path) -> None:
    run = {"total_frames": 400, "checkpoint_period_frames": 400}
    Run(parameters_for(make_parameters, "Corridor", run=run), tmp_path).until()
    names = sorted(path.name for path in tmp_path.iterdir())
    other = parameters_for(make_parameters, "Corridor", run=run, learner={"learning_rate": 0.1})
    with pytest.raises(CheckpointError, match=r"was made by configuration"):
        Run(other, tmp_path).until()
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("part", ["network.safetensors", "replay"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(make_parameters, tmp_path, part: str) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"exact_resume": True})
    whole = Run(parameters, tmp_path).until()
    newest = whole.events[-1].checkpoint.folder
    if part == "replay":
        index = whole.trainer.state._replay_index
        (tmp_path / "replay" / index["tables"]["file"]).write_bytes(b"damaged")
    else:
        (newest / part).write_bytes(b"damaged")
    resumed = Run(parameters, tmp_path).until()
    assert resumed.events[0].checkpoint == next(event.checkpoint for event in whole.events if event.checkpoint)
    assert len(resumed.events) > 1  # went on from the first checkpoint
    assert differing(whole, resumed) == []


# ---- rows, frames and draws


def test_rows_and_checkpoints_come_at_their_periods(make_parameters, tmp_path) -> None:
    run = Run(parameters_for(make_parameters, "Corridor"), tmp_path).until()
    frames = [event.frames for event in run.events]
    assert frames == sorted(set(frames))
    assert {event.frames // 400 for event in run.events} == set(range(1, 7))
    checkpoints = [event for event in run.events if event.checkpoint]
    assert [event.frames // 1_200 for event in checkpoints] == [1, 2]
    assert checkpoints[-1] is run.events[-1]
    for event in run.events:
        assert [row["frames"] for row in event.rows] == [float(event.frames)]
        assert all(np.isfinite(value) for row in event.rows for value in row.values())
    assert run.events[0].frames % 4 == 0


def test_samples_per_insert_is_held_whatever_the_round(make_parameters, tmp_path) -> None:
    for steps in (3, 40):
        parameters = parameters_for(make_parameters, "Corridor", actors={"weights_period_steps": steps})
        run = Run(parameters, tmp_path / str(steps)).until()
        drawn = 4 * run.trainer.state.learner.num_updates
        owed = 2.0 * (run.trainer.state.replay.num_inserted - 12)
        # outstanding: less than a batch, and what the last round of four environments and the final cut brought
        assert owed - 4 - 2.0 * (4 * steps / 8 + 8) < drawn <= owed
        assert drawn > 0
        assert max(row["replay/samples_per_insert"] for row in run.rows()) <= 2.0


def test_chosen_by_evaluation_the_best_checkpoint_is_kept(make_parameters, tmp_path) -> None:
    scores = itertools.chain([7.0], itertools.repeat(1.0))
    parameters = parameters_for(
        make_parameters, "Corridor",
        run={"total_frames": 1_200, "checkpoint_period_frames": 300, "keep_checkpoints": 1},
    )  # fmt: skip
    run = Run(parameters, tmp_path, evaluate=lambda network, novelty: next(scores)).until()
    records = [event.checkpoint for event in run.events if event.checkpoint]
    assert [record.is_best for record in records] == [True, False, False, False]
    assert [record.score for record in records] == [7.0, 1.0, 1.0, 1.0]
    assert [row["evaluation/return"] for row in run.rows() if "evaluation/return" in row] == [7.0, 1.0, 1.0, 1.0]
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-000001", "checkpoint-000004"]


def test_a_checkpoint_whose_evaluation_was_left_out_has_no_score(make_parameters, tmp_path) -> None:
    """Training returns are no measure beside greedy ones: a stopped run's checkpoint ranks last."""
    parameters = parameters_for(make_parameters, "Corridor", run={"checkpoint_period_frames": 300})
    asked: list[bool] = []
    run = Run(parameters, tmp_path, stop=lambda: bool(asked), evaluate=lambda network, novelty: -7.0)
    with pytest.raises(Interrupted):
        run.until(lambda event: asked.append(True) if event.frames >= 1_200 and not event.checkpoint else False)
    evaluated, *_, last = [event.checkpoint for event in run.events if event.checkpoint]
    assert (evaluated.score, evaluated.is_best) == (-7.0, True)
    assert run.trainer.state.statistics.exploit_score is not None
    assert (last.score, last.is_best) == (None, False)


def test_an_evaluation_that_fails_costs_no_frame(make_parameters, tmp_path) -> None:
    """Its games need memory of their own, and an environment may fail: the checkpoint is there before them."""
    parameters = parameters_for(make_parameters, "Corridor", run={"checkpoint_period_frames": 600})

    def fail(network: object, novelty: object) -> float:
        raise MemoryError("no room for 32 more games")

    failed = Run(parameters, tmp_path, evaluate=fail)
    with pytest.raises(MemoryError):
        failed.until()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-000001"]
    again = Run(parameters, tmp_path, evaluate=lambda network, novelty: 3.0).until()
    first, second = [event.checkpoint for event in again.events if event.checkpoint][:2]
    assert (first.frames, first.score) == (failed.trainer.state.frames, None)
    assert (second.score, second.is_best) == (3.0, True)
    assert second.frames > first.frames


def test_scores_at_two_temperatures_do_not_compete(make_parameters, tmp_path) -> None:
    short = {"total_frames": 1_200, "checkpoint_period_frames": 600}
    Run(parameters_for(make_parameters, "Corridor", run=short), tmp_path, evaluate=lambda *_: 9.0).until()
    drawn = parameters_for(
        make_parameters, "Corridor", run={**short, "total_frames": 1_800}, evaluate={"temperature": 0.5}
    )
    run = Run(drawn, tmp_path, evaluate=lambda *_: 1.0).until()
    last = run.events[-1].checkpoint
    assert (last.score, last.is_best, last.measure) == (1.0, True, "episodes drawn at temperature 0.5")


def test_a_stop_of_a_fresh_run_does_not_ask_for_the_command_that_would_remove_it(make_parameters, tmp_path) -> None:
    for fresh, words in ((False, "the same command resumes"), (True, "the same command without run.fresh resumes")):
        parameters = parameters_for(make_parameters, "Corridor", run={"fresh": fresh})
        with pytest.raises(Interrupted, match=f"{words} from there"):
            Run(parameters, tmp_path / str(fresh), stop=lambda: True).until()


def test_the_newest_checkpoint_is_selected_where_that_is_asked_for(make_parameters, tmp_path) -> None:
    parameters = parameters_for(
        make_parameters, "Corridor", run={"checkpoint_period_frames": 600}, learner={"select_checkpoint": "newest"}
    )
    scores = itertools.chain([7.0], itertools.repeat(1.0))
    run = Run(parameters, tmp_path, evaluate=lambda network, novelty: next(scores)).until()
    records = [event.checkpoint for event in run.events if event.checkpoint]
    assert len(records) > 1
    assert all(record.is_best and record.score is None for record in records)
    assert [row["evaluation/return"] for row in run.rows() if "evaluation/return" in row][:2] == [7.0, 1.0]


# ---- the seed replay


def test_the_seed_replay_is_taken_in_once_and_its_frames_are_counted_once(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"exact_resume": True})
    record = collect_seed_replay(parameters, env_spec(parameters.env), tmp_path / "seed")
    whole = Run(parameters, tmp_path / "whole").until(seed_replay=tmp_path / "seed")
    assert record["frames"] < whole.events[0].frames < record["frames"] + 800
    killed = Run(parameters, tmp_path / "killed").until(at_first_checkpoint, seed_replay=tmp_path / "seed")
    resumed = Run(parameters, tmp_path / "killed").until(seed_replay=tmp_path / "seed")
    assert killed.rows()[:-1] + resumed.rows() == whole.rows()
    assert differing(whole, resumed) == []


def test_a_run_no_longer_than_its_seed_replay_is_refused(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"total_frames": 100})
    enough = parameters_for(make_parameters, "Corridor")
    frames = collect_seed_replay(enough, env_spec(parameters.env), tmp_path / "seed")["frames"]
    assert frames >= 100
    with pytest.raises(ConfigurationError, match=r"run.total_frames=100 leaves none.*raise run.total_frames"):
        Run(parameters, tmp_path / "run").until(seed_replay=tmp_path / "seed")
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    longer = parameters_for(make_parameters, "Corridor", run={"total_frames": frames + 400})
    assert Run(longer, tmp_path / "run").until(seed_replay=tmp_path / "seed").events[-1].frames >= frames + 400


def test_a_foreign_seed_replay_is_refused(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor")
    collect_seed_replay(parameters, env_spec(parameters.env), tmp_path / "seed")
    other = parameters_for(make_parameters, "Corridor", run={"seed": 5})
    with pytest.raises(ReplayError, match=r"collected with other settings"):
        Run(other, tmp_path / "run").until(seed_replay=tmp_path / "seed")


# ---- beside the learner


@pytest.mark.timeout(120)
def test_overlapped_runs_to_the_end_holds_the_ratio_and_resumes(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", learner={"mode": "overlapped"})
    run = Run(parameters, tmp_path).until(at_first_checkpoint)
    resumed = Run(parameters, tmp_path).until()
    assert resumed.events[1].frames > run.events[-1].frames
    last = resumed.events[-1]
    assert last.frames >= 2_400
    assert last.checkpoint is not None
    warm_up, updates = parameters.replay.min_sequences, resumed.trainer.state.learner.num_updates
    assert updates == last.updates > 10
    assert 4 * updates <= 2.0 * (resumed.trainer.state.replay.num_inserted - warm_up)
    assert resumed.rows()[-1]["replay/samples_per_insert"] > 1.3


@pytest.mark.timeout(120)
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
def test_resumes_neither_burst_nor_warm_up_again(make_parameters, tmp_path, mode: str, exact: bool) -> None:
    """Killed after every checkpoint: in each segment and over the whole, drawn / inserted is samples per insert."""
    parameters = parameters_for(
        make_parameters, "Corridor",
        run={"total_frames": 6_000, "exact_resume": exact},
        replay={"capacity_sequences": 2_000},
        learner={"mode": mode},
    )  # fmt: skip
    limits, seen = [], []
    while not seen or seen[-1] < 6_000:
        run = Run(parameters, tmp_path).until(lambda event: event.checkpoint is not None and event.frames not in seen)
        seen.append(run.events[-1].frames)
        limits.append(run.trainer.state.limiter.state_dict())
    assert len(seen) == 5
    assert [limit["drawn"] for limit in limits] == sorted(limit["drawn"] for limit in limits)
    rounds = 1 if mode == "synchronous" else 3  # the last, the one that waits, the one in play
    slack = 4 + 2.0 * 4 * (rounds * 10 / 8 + 2)  # a batch, and what these and the cuts of four environments brought
    for before, after in itertools.pairwise(limits):
        drawn, inserted = after["drawn"] - before["drawn"], after["inserted"] - before["inserted"]
        assert inserted > 20
        assert abs(drawn - 2.0 * inserted) <= slack
    owed = 2.0 * (limits[-1]["inserted"] - 12) - limits[-1]["drawn"]
    assert 0 <= owed <= slack
    assert limits[-1]["drawn"] == 4 * run.trainer.state.learner.num_updates


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
def test_an_error_of_the_actors_surfaces(make_parameters, tmp_path, monkeypatch, mode: str) -> None:
    class Breaking(LocalPool):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            play, rounds = self.collect, itertools.count()

            def collect(num_vector_steps: int, **options: Any):
                if next(rounds) == 4:
                    raise OSError("the emulator broke")
                return play(num_vector_steps, **options)

            self.collect = collect

    monkeypatch.setattr(run_state, "make_pool", Breaking)
    parameters = parameters_for(make_parameters, "Corridor", learner={"mode": mode})
    with pytest.raises(OSError, match="the emulator broke"):
        list(learn(parameters, env_spec(parameters.env), tmp_path))


def test_the_generator_can_be_dropped(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", learner={"mode": "overlapped"})
    stream = learn(parameters, env_spec(parameters.env), tmp_path)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "meme57-actors"]


def test_global_random_numbers_do_not_matter(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"total_frames": 1_200})
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        runs.append(Run(parameters, tmp_path / str(seed)).until())
    assert differing(*runs) == []


def test_an_episode_whose_last_chunk_is_too_stale_waits_no_longer(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor")
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    collected = trainer.state.pool.collect(100)
    trainer.state.pool.close()
    last = next(chunk for chunk in collected.chunks if chunk.is_last and chunk.index > 0)
    before = next(chunk for chunk in collected.chunks if (chunk.episode, chunk.index) == (last.episode, last.index - 1))
    trainer.state.take(Collected(chunks=[before]))
    assert trainer.state.replay.num_pending == 1
    trainer.state._staleness = Staleness(-1.0)
    trainer.state.take(Collected(chunks=[last]))
    assert trainer.state.replay.num_pending == 0


# ---- rounds


HOURS = {"weights_period_steps": 10_000_000}
VECTOR_STEP = 4 * 4
"""Frames: four environments, four frames a step."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
@pytest.mark.parametrize("exact", [False, True])
def test_rounds_end_at_checkpoints_and_at_the_last_frame(make_parameters, tmp_path, mode: str, exact: bool) -> None:
    run = {"total_frames": 1_000, "checkpoint_period_frames": 400, "exact_resume": exact}
    parameters = parameters_for(make_parameters, "Corridor", run=run, actors=HOURS, learner={"mode": mode})
    frames = [event.frames for event in Run(parameters, tmp_path).until().events if event.checkpoint]
    assert 1_000 <= frames[-1] < 1_000 + VECTOR_STEP
    if mode == "synchronous":
        assert all(0 <= got - asked < VECTOR_STEP for got, asked in zip(frames, (400, 800, 1_000), strict=True))


@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
def test_a_run_is_no_longer_than_asked_for_whatever_the_round(make_parameters, tmp_path, mode: str) -> None:
    parameters = parameters_for(make_parameters, "Corridor", run={"total_frames": 1_300}, learner={"mode": mode})
    assert 1_300 <= Run(parameters, tmp_path).until().events[-1].frames < 1_300 + VECTOR_STEP


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
def test_a_round_of_hours_is_stopped_between_two_steps(make_parameters, tmp_path, mode: str) -> None:
    run = {"total_frames": 10**9, "checkpoint_period_frames": 10**9, "log_period_frames": 10**9}
    parameters = parameters_for(make_parameters, "Corridor", run=run, actors=HOURS, learner={"mode": mode})
    calls = itertools.count()
    stopped = Run(parameters, tmp_path, stop=lambda: next(calls) > 300)
    with pytest.raises(Interrupted, match="the same command resumes"):
        stopped.until()
    last = stopped.events[-1]
    assert last.checkpoint is not None
    assert 0 < last.frames <= 300 * VECTOR_STEP
    assert next(Run(parameters, tmp_path).trainer.run()).frames == last.frames


def test_a_stop_in_a_round_of_hours_does_not_change_an_exact_run(make_parameters, tmp_path) -> None:
    """Under `run.exact_resume` it waits for the checkpoint, at which the round ends anyway."""
    parameters = parameters_for(make_parameters, "Corridor", run={"exact_resume": True}, actors=HOURS)
    whole = Run(parameters, tmp_path / "whole").until()
    calls = itertools.count()
    stopped = Run(parameters, tmp_path / "stopped", stop=lambda: next(calls) > 0)
    with pytest.raises(Interrupted):
        stopped.until()
    resumed = Run(parameters, tmp_path / "stopped").until()
    first, _ = (event for event in whole.events if event.checkpoint)
    assert stopped.events[-1].frames == resumed.events[0].frames == first.frames
    assert differing(whole, resumed) == []


def test_a_stop_while_a_checkpoint_is_evaluated_costs_its_score_alone(make_parameters, tmp_path) -> None:
    parameters = parameters_for(make_parameters, "Corridor")
    asked: list[bool] = []

    def evaluate(network: Any, novelty: Any) -> float:
        asked.append(True)
        raise Interrupted("stopped while evaluating")

    run = Run(parameters, tmp_path, stop=lambda: bool(asked), evaluate=evaluate)
    with pytest.raises(Interrupted, match="the same command resumes"):
        run.until()
    assert (run.events[-1].checkpoint.score, len(asked)) == (None, 1)


@pytest.mark.parametrize("exact", [False, True])
def test_a_score_that_a_stop_left_out_is_made_when_it_will_be_needed(make_parameters, tmp_path, exact: bool) -> None:
    """Of a run's last checkpoint, and under `run.exact_resume` of any: another one would be selected otherwise."""
    run = {"total_frames": 1_600, "checkpoint_period_frames": 800, "exact_resume": exact}
    parameters = parameters_for(make_parameters, "Corridor", run=run)
    stops, calls, stopping = ({1, 2} if exact else {2, 3}), itertools.count(1), threading.Event()

    def evaluate(network: Any, novelty: Any) -> float:
        if (call := next(calls)) in stops:
            stopping.set()
            raise Interrupted("stopped while evaluating")
        return float(call)

    def scores() -> list[float | None]:
        stopping.clear()
        events = Run(parameters, tmp_path, stop=stopping.is_set, evaluate=evaluate).until().events
        return [event.checkpoint.score for event in events if event.checkpoint]

    for _ in stops:
        with pytest.raises(Interrupted, match="the same command resumes"):
            scores()
    assert scores() == ([3.0, 4.0] if exact else [4.0])
    assert scores() == [4.0]  # nothing is left to do
    assert next(calls) == 5
    without = Run(parameters_for(make_parameters, "Corridor", run=run), tmp_path / "without").until()
    again = Run(
        parameters, tmp_path / "without", evaluate=evaluate
    ).until()  # no stop left out what was never asked for
    assert [event.checkpoint for event in again.events] == [without.events[-1].checkpoint]


def test_a_score_that_was_made_up_for_changes_nothing_else(make_parameters, tmp_path) -> None:
    """Stopped in its first evaluation, killed after that was made up for, and gone on: as if nothing had happened."""
    parameters, stopping = parameters_for(make_parameters, "Corridor", run={"exact_resume": True}), threading.Event()

    def interrupted(network: Any, novelty: Any) -> float:
        stopping.set()
        raise Interrupted("stopped while evaluating")

    def evaluate(network: Any, novelty: Any) -> float:
        return float(sum(parameter.detach().double().sum() for parameter in network.parameters()))

    whole = Run(parameters, tmp_path / "whole", evaluate=evaluate).until()
    with pytest.raises(Interrupted):
        Run(parameters, tmp_path / "stopped", stop=stopping.is_set, evaluate=interrupted).until()
    Run(parameters, tmp_path / "stopped", evaluate=evaluate).until(at_first_checkpoint)
    resumed = Run(parameters, tmp_path / "stopped", evaluate=evaluate).until()
    assert differing(whole, resumed) == []
    for folder in ("checkpoint-000001", "checkpoint-000002"):
        manifests = [read_manifest(tmp_path / run / folder) for run in ("whole", "stopped")]
        assert manifests[0].score == manifests[1].score is not None
        assert manifests[0].is_best == manifests[1].is_best
    told = [[row["evaluation/return"] for row in run.rows() if "evaluation/return" in row] for run in (whole, resumed)]
    assert told[0] == told[1]
    assert len(told[0]) == 2


def counts(trainer: Trainer) -> tuple[float, int]:
    """Sequences that the rate limiter and the replay have counted."""
    return trainer.state.limiter.state_dict()["inserted"], trainer.state.replay.num_inserted


def test_every_sequence_of_the_replay_counts_as_inserted(make_parameters, tmp_path: Path) -> None:
    """Also those that a lost actor or a stop ends early: the rate limiter counts what the replay counts."""

    parameters = parameters_for(make_parameters, "Corridor")
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    collected = trainer.state.pool.collect(100)
    trainer.state.pool.close()
    first = next(chunk for chunk in collected.chunks if chunk.index == 0 and not chunk.is_last)
    trainer.state.take(Collected(chunks=[first]))
    assert counts(trainer) == (0, 0)
    trainer.state.save(trainer.state.row(), score=None, measure=None)
    trainer.state.take(Collected(lost_actors=[first.actor]))
    assert counts(trainer) == (1, 1)
    again = Trainer(parameters, env_spec(parameters.env), tmp_path)
    again.state.resume()
    again.state.pool.close()
    assert counts(again) == (1, 1)  # what was open at the checkpoint is a sequence


def test_a_sequence_that_a_seed_replay_leaves_open_counts_too(make_parameters, tmp_path: Path, monkeypatch) -> None:
    parameters = parameters_for(make_parameters, "Corridor")
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    chunks = trainer.state.pool.collect(100).chunks
    trainer.state.pool.close()
    first = next(chunk for chunk in chunks if chunk.index == 0 and not chunk.is_last)
    monkeypatch.setattr(run_state, "load_seed_replay", lambda parameters, folder: ([first], {"frames": 40}))
    trainer.state.take_seed_replay(tmp_path)
    assert counts(trainer) == (1, 1)
