"""What is said of a run, from files that were written by hand; nothing is trained and no store is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meme57.config import parse_parameters
from meme57.errors import Meme57Error
from meme57.files import write_json
from meme57.lock import hold
from meme57.tracking.overview import AgentScore, configuration, known_run, overview, read_curve, run_folder, run_names
from meme57.tracking.run_record import TrackingRun, new_record, record_path

RUN = "Pong-s1"
SETTINGS = parse_parameters({"env": {"game": "Pong"}, "run": {"total_frames": 1_000}})
GIVEN = TrackingRun(run_id="c", parent_run_id="p", experiment_id="1", tracking_uri="u", created="then", commit="abc")
TEACHER = {"mean": 3.0, "std": 1.5, "interval": [2.0, 4.0], "episodes": 9}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A run of 1,000 frames that was set up."""
    write_json(record_path(tmp_path, RUN), new_record(SETTINGS, GIVEN))
    return tmp_path


def learn(project: Path, frames: int, *, speed: float = 100.0) -> None:
    path = run_folder(project, "reporting", RUN) / "learning_curve.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"frames,speed/frames_per_second,episodes/return\n100,,-2\n{frames},{speed},\n")


def judge(project: Path, **agents: dict[str, Any]) -> None:
    scores = {"protocol": {"name": "as_trained"}, "agents": agents}
    write_json(run_folder(project, "reporting", RUN) / "scores.json", scores)


def checkpoint(project: Path, frames: int, manifest: Any) -> None:
    write_json(
        run_folder(project, "models", RUN) / "checkpoints" / f"checkpoint-{frames:06}" / "manifest.json", manifest
    )


def test_the_state_is_what_a_run_has_come_to(project: Path) -> None:
    def state() -> str:
        return overview(project, RUN).state

    assert state() == "set up"
    with hold(run_folder(project, "primary", RUN) / "seed_replay"):
        assert state() == "collecting"
    learn(project, 999)
    assert state() == "stopped"
    with hold(run_folder(project, "models", RUN) / "checkpoints"):
        assert state() == "learning"
    judge(project, teacher=TEACHER)
    assert state() == "stopped"  # scores of before it was made longer
    learn(project, 1_000)
    assert state() == "evaluated"
    (run_folder(project, "reporting", RUN) / "scores.json").unlink()
    assert state() == "learned"


def test_a_run_of_unknown_length_is_evaluated_or_stopped_and_has_no_time_left(project: Path) -> None:
    """The first records did not say how long the run was asked to be."""
    record = dict(new_record(SETTINGS, GIVEN))
    del record["total_frames"], record["configuration"]
    write_json(record_path(project, RUN), record)
    learn(project, 5_000)
    assert overview(project, RUN).state == "stopped"
    with hold(run_folder(project, "models", RUN) / "checkpoints"):
        assert overview(project, RUN).remaining_seconds is None
    judge(project, teacher=TEACHER)
    assert overview(project, RUN).state == "evaluated"
    assert configuration(project, RUN) == {}


def test_what_is_known_comes_from_record_curve_and_scores(project: Path) -> None:
    learn(project, 400, speed=50.0)
    single = {"mean": 7.0, "std": 0.0, "interval": None, "episodes": 1}
    judge(project, teacher=TEACHER, student=single)
    found = overview(project, RUN, measure_size=True)
    assert (found.game, found.seed, found.frames, found.total_frames) == ("Pong", 1, 400, 1_000)
    assert (found.frames_per_second, found.training_return) == (50.0, -2.0)  # each from the last row that has it
    assert found.scores == {
        "teacher": AgentScore(3.0, 1.5, 2.0, 4.0, 9),
        "student": AgentScore(7.0, 0.0, None, None, 1),
    }
    assert (found.protocol, found.holder, found.note) == ("as_trained", None, None)
    assert found.size_bytes == sum(path.stat().st_size for path in (project / "data").rglob("*") if path.is_file()) > 0
    assert overview(project, RUN).size_bytes == 0
    assert configuration(project, RUN) == SETTINGS.configuration()
    assert run_folder(project, "reporting", RUN) == project / "data" / "08_reporting" / RUN


def test_time_left_is_said_while_it_learns(project: Path) -> None:
    learn(project, 400, speed=50.0)
    assert overview(project, RUN).remaining_seconds is None  # nothing runs
    with hold(run_folder(project, "models", RUN) / "checkpoints"):
        assert overview(project, RUN).remaining_seconds == 12.0  # 600 frames at 50 a second
        learn(project, 1_001)
        assert overview(project, RUN).remaining_seconds == 0.0
        learn(project, 400, speed=0.0)
        assert overview(project, RUN).remaining_seconds is None


@pytest.mark.parametrize("spoilt", [{}, {"frames": None}, {"frames": "many"}, [], "text"], ids=str)
def test_frames_are_those_of_the_newest_manifest_that_can_be_read(project: Path, spoilt: Any) -> None:
    checkpoint(project, 200, {"frames": 200})
    checkpoint(project, 400, {"frames": 400})
    checkpoint(project, 600, spoilt)
    assert overview(project, RUN).frames == 400
    learn(project, 450)
    assert overview(project, RUN).frames == 450


@pytest.mark.parametrize(
    "spoilt", [{}, {"agents": {}}, {"agents": {"teacher": {}}, "protocol": {"name": "x"}}, []], ids=str
)
def test_scores_that_say_nothing_are_none(project: Path, spoilt: Any) -> None:
    learn(project, 1_000)
    write_json(run_folder(project, "reporting", RUN) / "scores.json", spoilt)
    found = overview(project, RUN)
    assert (found.state, found.scores, found.protocol) == ("learned", {}, None)


def test_what_was_not_measured_is_left_out_of_a_curve(project: Path) -> None:
    assert read_curve(project, RUN) == []
    path = run_folder(project, "reporting", RUN) / "learning_curve.csv"
    path.parent.mkdir(parents=True)
    path.write_text("frames,loss,other\n100,,nan\n200,0.5,inf\n")
    assert read_curve(project, RUN) == [{"frames": 100.0}, {"frames": 200.0, "loss": 0.5}]
    path.write_text("frames,loss\n100,no number\n")
    assert read_curve(project, RUN) == []


def test_a_run_without_a_record_is_damaged(project: Path) -> None:
    assert (overview(project, "Pong-s2").state, overview(project, "Pong-s2").note) == (
        "damaged",
        "it has no run record",
    )
    record_path(project, RUN).write_text("{")
    found = overview(project, RUN)
    assert found.state == "damaged"
    assert "run.fresh=true" in str(found.note)


def test_a_run_that_is_not_there_is_told_which_there_are(project: Path, tmp_path: Path) -> None:
    assert run_names(project) == [RUN]
    assert known_run(project, RUN) == RUN
    with pytest.raises(Meme57Error, match=rf"there is no run 'Pong-s2': there are {RUN}$"):
        known_run(project, "Pong-s2")
    with pytest.raises(Meme57Error, match="no run is set up here yet, `kedro run` makes one"):
        known_run(tmp_path / "elsewhere", RUN)
