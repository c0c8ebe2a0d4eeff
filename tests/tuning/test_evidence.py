"""The comparison on fresh seeds, and the words that go with it."""

from __future__ import annotations

import runpy
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest
from tiny_study import FRAMES, PERIOD, make_parameters

from meme57.config import parse_parameters
from meme57.config.labels import short_hash
from meme57.errors import Interrupted
from meme57.files import write_json
from meme57.intervals import mean_of
from meme57.lock import hold
from meme57.tuning import evidence
from meme57.tuning.learning_run import NORMALISED, RETURN, Health, Unit
from meme57.tuning.objective import constraint_excess
from meme57.tuning.result import environment_text, evidence_lines

RATES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "rates.py"), run_name="rates")
UNITS = [Unit("Corridor", seed) for seed in (101, 102, 103)]


@pytest.mark.parametrize(
    ("tuned", "verdict"),
    [([1.5, 1.6, 1.4], "better"), ([0.5, 0.4, 0.6], "worse"), ([2.0, 0.5, 0.6], "no difference shown")],
)
def test_the_verdict_is_the_intervals(tuned: list[float], verdict: str) -> None:
    parameters = make_parameters(evidence_seeds=[101, 102, 103])
    found = evidence.summarise_evidence(parameters, UNITS, [1.0, 1.0, 1.0], tuned, scale=RETURN)
    assert found["verdict"] == verdict
    low, high = found["difference"]["interval"]
    assert low <= found["difference"]["mean"] <= high
    assert found["difference"]["mean"] == pytest.approx(sum(tuned) / 3 - 1)
    assert found["score"] == "return"
    assert verdict in evidence_lines(found)[1]


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by 10, sides by 1: unpaired, the interval would hold 0."""
    found = evidence.summarise_evidence(make_parameters(), UNITS, [0.0, 10.0, 20.0], [1.0, 11.0, 21.0], scale=RETURN)
    assert found["difference"]["interval"] == pytest.approx([1.0, 1.0])


def test_each_seed_counts_once_with_its_mean_over_games() -> None:
    units = [Unit(game, seed) for game in ("Corridor", "KeyDoor") for seed in (101, 102, 103)]
    tuned = [1.0, 2.0, 3.0, 10.0, 30.0, 20.0]
    found = evidence.summarise_evidence(make_parameters(), units, [0.0] * 6, tuned, scale=RETURN)
    # Seeds' means 5.5, 16, 11.5: mean 11, variance 27.75, error sqrt(27.75 / 3) = 3.0414, t(2) = 4.8487 at 96 %
    reach = 4.848732 * (27.75 / 3) ** 0.5
    assert found["difference"]["interval"] == pytest.approx([11 - reach, 11 + reach], rel=1e-5)
    assert found["difference"]["n"] == 3
    assert found["verdict"] == "no difference shown"


def test_one_seed_shows_nothing() -> None:
    parameters = make_parameters(evidence_seeds=[101])
    found = evidence.summarise_evidence(parameters, UNITS[:1], [1.0], [9.0], scale=RETURN)
    assert found["difference"]["interval"] is None
    assert found["verdict"] == "no difference shown"
    assert "no interval (it takes two seeds): no difference shown." in evidence_lines(found)[1]


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "no difference shown"), (3, "better")])
def test_differences_that_are_all_the_same_count_as_rare_as_chance_makes_them(seeds: int, verdict: str) -> None:
    """Settings that solve the game on half of the seeds differ so with probability 1/16 of two seeds, 1/64 of three."""
    units = [Unit("Corridor", seed) for seed in range(101, 101 + seeds)]
    same = evidence.summarise_evidence(make_parameters(), units, [0.0] * seeds, [1.0] * seeds, scale=RETURN)
    assert same["verdict"] == verdict
    rounded = evidence.summarise_evidence(make_parameters(), units, [0.3] * seeds, [0.1 + 0.2] * seeds, scale=RETURN)
    assert rounded["verdict"] == "no difference shown"


@pytest.mark.parametrize("scores", sorted(RATES["RETURNS"]))
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.0, 10.0)], ids=["one game", "three games"])
def test_equal_settings_are_rarely_called_better(scores: str, scales: tuple[float, ...]) -> None:
    """The percentile bootstrap over three seeds did in 12 % of studies."""
    rng = np.random.default_rng(3)
    share = RATES["false_better"](RATES["RETURNS"][scores], rng, seeds=3, scales=scales, repetitions=20_000)
    assert binomtest(round(share * 20_000), 20_000, 0.025, alternative="greater").pvalue > 1e-4


def test_the_simulation_sees_a_verdict_that_errs() -> None:
    rng = np.random.default_rng(3)
    assert RATES["false_better_before"](RATES["RETURNS"]["Gaussian"], rng, seeds=3, repetitions=500) > 0.06


def test_both_sides_are_learned_on_the_fresh_seeds_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = make_parameters(evidence_seeds=[101])
    seen: list[tuple[int, int]] = []
    values = {"learner.batch_size": 2}
    found = evidence.compare(parameters, values, tmp_path, lambda: False, lambda *at: seen.append(at), scale=RETURN)
    assert found is not None
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert len([*tmp_path.glob("Corridor-s101-*/score.json")]) == 2
    assert not [*tmp_path.rglob("checkpoint-*")]
    monkeypatch.setattr(evidence, "LearningRun", None)  # a second start learns nothing
    assert evidence.compare(parameters, values, tmp_path, lambda: False, scale=RETURN) == found
    as_configured = {"learner.batch_size": 4}
    same = evidence.compare(parameters, as_configured, tmp_path, lambda: False, scale=RETURN)
    assert same is not None
    assert same["configured"] == same["tuned"]


def test_a_kept_score_is_read_by_its_own_scale_alone(tmp_path: Path) -> None:
    """Version 0.1 kept normalised scores of cut games: a later study must not take one for a return."""

    def kept_in(game: str, scale: str) -> Path:
        return evidence._folder(tmp_path, make_parameters(game=game), {}, Unit(game, 101), scale)

    assert kept_in("Asterix", NORMALISED) != kept_in("Asterix", RETURN)
    # `<unit>-<hash of the identity>` as it was before scales; only the name of a return of a cut game is new
    parameters = make_parameters(game="Asterix")
    fresh = evidence._fresh_parameters(parameters, {}, Unit("Asterix", 101))
    identity = [fresh.fingerprint(), FRAMES, "final", "training", PERIOD]
    assert kept_in("Asterix", NORMALISED).name == f"Asterix-s101-{short_hash(identity)}"
    fresh = evidence._fresh_parameters(make_parameters(), {}, Unit("Corridor", 101))
    assert kept_in("Corridor", RETURN).name == f"Corridor-s101-{short_hash([fresh.fingerprint(), *identity[1:]])}"


def test_a_stop_between_two_runs_keeps_what_is_done(tmp_path: Path) -> None:
    parameters = make_parameters(evidence_seeds=[101])

    def one_is_done() -> bool:
        return bool([*tmp_path.rglob("score.json")])

    with pytest.raises(Interrupted, match="the same command resumes"):
        evidence.compare(parameters, {"learner.batch_size": 2}, tmp_path, one_is_done, scale=RETURN)
    assert len([*tmp_path.rglob("score.json")]) == 1


@pytest.mark.parametrize("content", ["", "{}", "[1]", '"1.5"', "NaN", "1e999", "\x00"])
def test_a_damaged_score_is_learned_again(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "score.json"
    path.write_text(content)
    assert evidence._kept_score(path) is None
    assert "score.json is damaged" in caplog.text
    path.write_text("1.5")
    assert evidence._kept_score(path) == 1.5


def test_without_fresh_seeds_the_environment_says_so() -> None:
    parameters = make_parameters(evidence_seeds=[])
    assert evidence.compare(parameters, {}, Path("nowhere"), lambda: False, scale=RETURN) is None
    record = {
        "best": {"trial": 1, "score": 0.5, "values": {"learner.batch_size": 6}},
        "trials": [{}, {}], "frames": 10, "score": "return", "metric": "final",
    }  # fmt: skip
    text = environment_text(parameters, record, None, ["base", "laptop"])
    assert "biased upwards" in text
    tree = yaml.safe_load(text)
    assert tree.pop("extends") == "laptop"
    assert parse_parameters(tree).learner.batch_size == 6
    assert "tune" not in tree


def test_the_command_in_a_second_terminal_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both work on the study, and then both compare; only one process may learn in a folder."""
    asked = threading.Event()  # whether to stop, which only one who waits asks
    monkeypatch.setattr(evidence, "stop_requested", lambda: bool(asked.set()))
    monkeypatch.setattr(evidence, "POLL_SECONDS", 0.05)
    parameters, values = make_parameters(evidence_seeds=[101]), {"learner.batch_size": 2}
    run = evidence.FreshRun(parameters, values, Unit("Corridor", 101), tmp_path / "fresh", RETURN)
    waiting: Future[float]
    with ThreadPoolExecutor() as pool:
        with hold(run.folder):
            waiting = pool.submit(evidence.learn_fresh, run)
            assert asked.wait(60)
            assert not waiting.done()
            write_json(run.folder / evidence.SCORE, 0.25)
        assert waiting.result() == 0.25


def test_a_stop_ends_the_wait_for_another_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "stop_requested", lambda: True)
    run = evidence.FreshRun(make_parameters(), {}, Unit("Corridor", 101), tmp_path, RETURN)
    with hold(tmp_path), pytest.raises(Interrupted, match="the same command resumes"):
        evidence.learn_fresh(run)


def test_two_equal_differences_by_hand() -> None:
    """4^-2 = 0.0625; each end may err with 0.05 at 90 %, and with 0.1 at 80 %."""
    assert int(evidence.shown(mean_of([1.0, 1.0]), 0.9)) == 0
    assert int(evidence.shown(mean_of([1.0, 1.0]), 0.8)) == 1


def test_fresh_runs_are_as_long_as_the_evidence_asks() -> None:
    parameters = make_parameters(evidence_frames=960, evidence_seeds=[101])
    assert parameters.tune.frames != 960
    assert evidence._fresh_parameters(parameters, {}, Unit("Corridor", 101)).run.total_frames == 960


def test_the_speed_of_a_trial_is_the_median() -> None:
    limits = {"min_frames_per_second": 50.0}
    tune = make_parameters(constraints=limits).tune
    assert constraint_excess(Health(frames_per_second=[10.0, 40.0, 90.0]), tune) == {"min_frames_per_second": 10.0}
    assert constraint_excess(Health(), tune) == {"min_frames_per_second": 0.0}
