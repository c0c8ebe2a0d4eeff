"""The pages in a real browser: everything drawn, nothing asked for, readable on a phone and in the dark."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from chromium import find_browser, look_at

from meme57.config import parse_parameters
from meme57.evaluation.statistics import summarise_returns
from meme57.evaluation.video import write_video
from meme57.report.compared import RETURN, TrainedRun, compared_page
from meme57.report.page import build_progress_page, build_report
from meme57.report.suite_figures import suite_figures
from meme57.report.suite_page import suite_page
from meme57.tuning.plots import PLOTS, study_figures, study_page
from meme57.tuning.result import study_record

PHONE, DESKTOP = 390, 1200
REFERENCE = {"random": -20.7, "human": 14.6, "record": 21.0, "source": "a table"}
LONGEST_NAME = "ALE-MontezumaRevenge-without_trust_region_and_cross_mixture-s1234567890"


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    find_browser()


@pytest.fixture
def run_page(learning_curve: Any, episodes: Any, tmp_path: Path) -> str:
    generator = np.random.default_rng(0)
    film = write_video(
        tmp_path / "film.mp4", generator.integers(0, 255, (20, 84, 84), np.uint8), frames_per_second=15, scale=2
    )
    agents = {
        agent: summarise_returns(rows["return"], "Pong", confidence=0.95, repetitions=50, seed=0)
        for agent, rows in episodes.groupby("agent")
    }
    return build_report(
        run_name=LONGEST_NAME,
        scores={
            "run": "Pong-s1", "game": "Pong", "frames": 1_234_567, "confidence": 0.95, "agents": agents,
            "reference": REFERENCE,
            "protocol": {
                "protocol": "sticky", "departures": ["6 actions (the minimal set), the protocol has 18"],
                "changed_since_training": {"noop_max": {"training": 30, "evaluation": 0}},
                "name": "sticky0.25-noop0-skip4-full-actions-108000-frames-84x84-eps0-greedy-policy0",
            },
        },
        learning_curve=learning_curve,
        episodes=episodes,
        fidelity={"agreement": 0.937, "kl": 0.04, "parameters_student": 91_204},
        video=film.read_bytes(),
        lineage={"commit": "3f9c2d1", "fingerprint": "a81b0c" * 20, "versions": {"torch": "2.13.0"}},
    )  # fmt: skip


@pytest.fixture
def suite_text(suite_record: dict[str, Any], suite_settings: dict[str, Any], suite_table: Any) -> str:
    results, scores = suite_table
    figures = suite_figures(suite_record, scores, results, **{**suite_settings, "repetitions": 50})
    return suite_page(suite_record, scores, results, figures)


SPACE: list[dict[str, Any]] = [
    {"name": "learner.learning_rate", "type": "log_float", "low": 1e-5, "high": 1e-3},
    {"name": "replay.capacity_sequences", "type": "int", "low": 10_000, "high": 1_000_000},
    {"name": "loss.trust_region", "type": "categorical", "choices": [True, False]},
    {"name": "loss.trust_region_alpha", "type": "float", "low": 1.0, "high": 5.0, "when": {"loss.trust_region": True}},
]


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    """Trials whose score depends on the learning rate, with some noise between two seeds."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.set_metric_names(["human-normalised score (final)"])
    rng = np.random.default_rng(0)
    for _ in range(20):
        trial = study.ask()
        rate = trial.suggest_float("learner.learning_rate", 1e-5, 1e-3, log=True)
        trial.suggest_int("replay.capacity_sequences", 10_000, 1_000_000)
        if trial.suggest_categorical("loss.trust_region", [True, False]):
            trial.suggest_float("loss.trust_region_alpha", 1.0, 5.0)
        scores = np.sin(np.log10(rate)) + 0.02 * rng.normal(size=2)
        trial.set_user_attr(
            "scores", {f"Pong-s{seed}": float(score) for seed, score in zip((1, 2), scores, strict=True)}
        )
        for frames in (1_000_000, 2_000_000):
            trial.report(float(scores.mean()) * frames / 2e6, frames)
        study.tell(trial, float(scores.mean()))
    return study


@pytest.fixture
def study_text(study: optuna.Study) -> str:
    tune = {"space": SPACE, "games": ["Pong"], "seeds": [1, 2], "study": LONGEST_NAME, "pruner": "none"}
    record = study_record(study, parse_parameters({"tune": tune}))
    text = study_page(record, None, study_figures(study))
    assert "not enough trials" not in text
    assert "better than a constant" in text
    return text


@pytest.fixture
def progress_page(learning_curve: Any) -> str:
    return build_progress_page(
        run_name=LONGEST_NAME, game="Pong", frames=1_234_567, state="learning",
        facts=[("Frames", "1,234,567", "of 2,000,000"), ("Speed", "1,500", "frames a second")],
        learning_curve=learning_curve, reference=REFERENCE, lineage={"commit": "3f9c2d1"}, refresh_seconds=None,
    )  # fmt: skip


@pytest.fixture
def compared_text() -> str:
    """The page of `meme57 plot --by seed`: a line with its band, a line alone, published scores."""
    frames = range(100_000, 1_000_001, 100_000)
    runs = [
        TrainedRun(
            f"{LONGEST_NAME}{seed}", "Pong", seed, {"learner": {"batch_size": size}, "seed": seed},
            [{"frames": at, RETURN: at / 50_000 - 20 + seed, "episodes/finished": 3.0} for at in frames],
        )
        for seed, size in ((1, 16), (2, 16), (3, 32))
    ]  # fmt: skip
    return compared_page(runs, by_seed=True, published=["dreamerv3_200M"])[0]


def pages(name: str) -> list[str]:
    if name == "study_text":
        return [f"plot-{plot}" for plot in PLOTS]
    if name == "compared_text":
        return ["plot-curves"]
    if name == "progress_page":
        return ["plot-learning_curve", "plot-bandit", "plot-diagnostics", "plot-novelty", "plot-throughput"]
    runs = ["plot-learning_curve", "plot-returns", "plot-bandit", "plot-diagnostics", "plot-novelty", "plot-throughput"]
    return runs if name == "run_page" else ["plot-games", "plot-profile", "plot-curves"]


@pytest.fixture
def look() -> Callable[..., dict[str, Any]]:
    def call(page: str, **options: Any) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return look_at(page, Path(folder), **options)

    return call


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("run_page", PHONE, False),
        ("run_page", DESKTOP, True),
        ("suite_text", PHONE, True),
        ("suite_text", DESKTOP, False),
        ("study_text", PHONE, False),
        ("study_text", PHONE, True),
        ("study_text", DESKTOP, False),
        ("study_text", DESKTOP, True),
        ("progress_page", PHONE, True),
        ("progress_page", DESKTOP, False),
        ("compared_text", PHONE, False),
        ("compared_text", DESKTOP, True),
    ],
)
def test_the_page_is_whole(
    name: str, width: int, dark: bool, look: Callable[..., dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    seen = look(request.getfixturevalue(name), width=width, dark=dark)
    assert seen["errors"] == []
    assert seen["refused"] == []
    assert seen["requests"] == []
    assert seen["width"] == width
    assert seen["overflow"] == 0
    assert list(seen["plots"]) == pages(name)
    for plot, drawn in seen["plots"].items():
        assert drawn["drawings"] >= 1, plot
        assert drawn["marks"] >= 3, plot
        assert drawn["labels"] >= 5, plot
        assert 0.6 * min(width, 600) < drawn["width"] <= width, plot
        assert drawn["height"] > 150, plot
    assert is_dark(seen["background"]) is dark
    assert is_dark(seen["ink"]) is not dark
    assert seen["faint"] == []
    if name == "run_page":
        assert seen["film"] == {"state": seen["film"]["state"], "width": 168, "error": None}
        assert seen["film"]["state"] >= 1  # its size and length are known: the browser can decode it


def test_the_probe_sees_what_is_wrong(look: Callable[..., dict[str, Any]]) -> None:
    """Else the test above could not fail."""
    page = (
        "<!doctype html><html><head><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'\"></head><body>"
        "<img src='http://127.0.0.1:9/a.png'><div style='width:900px;color:#888'>wide</div>"
        "<div class='plot' id='plot-a'></div>"
        "<script>console.error('oh'); nothing.there;</script></body></html>"
    )
    seen = look(page, width=PHONE)
    assert seen["overflow"] > 400
    assert "oh" in seen["errors"]
    assert any("nothing is not defined" in error for error in seen["errors"])
    assert seen["refused"] == ["http://127.0.0.1:9/a.png"]
    assert seen["plots"]["plot-a"]["drawings"] == 0
    assert not is_dark(seen["background"])
    assert seen["faint"] == ["wide: 3.54"]


def is_dark(colour: str) -> bool:
    """Of `rgb(r, g, b)`; one that is transparent shows the light page under it."""
    values = [float(value) for value in re.findall(r"[\d.]+", colour)]
    return sum(values[:3]) < 3 * 128 and (len(values) == 3 or values[3] > 0)
