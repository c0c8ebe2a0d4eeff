"""The plots of a study: all are drawn, and numbers on their axes read as people write them."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from meme57.tuning.plots import PLOTS, _format, _log_ticks, _mixed, _written, study_figures, study_page

SPACE = {
    "learner.learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
    "replay.capacity_sequences": IntDistribution(10_000, 2_000_000),
    "loss.trust_region": CategoricalDistribution([True, False]),
}


@pytest.fixture
def figures() -> dict[str, Any]:
    study = optuna.create_study(direction="maximize")
    study.set_metric_names(["return (final)"])
    for number in range(8):
        values = {
            "learner.learning_rate": 1e-5 * 1.9**number,
            "replay.capacity_sequences": 50_000 * (8 - number),
            "loss.trust_region": number % 2 == 0,
        }
        score = 1e-4 * number
        study.add_trial(
            create_trial(params=values, distributions=SPACE, value=score, intermediate_values={1_000_000: score})
        )
    return study_figures(study)


def test_every_plot_is_drawn_and_names_the_score(figures: dict[str, Any]) -> None:
    assert [figure.layout.title.text for figure in figures.values()] == [title for title, _ in PLOTS.values()]
    assert all(len(figure.data) for figure in figures.values())
    assert figures["history"].layout.yaxis.title.text == "return (final)"
    assert figures["intermediate"].layout.yaxis.title.text == "return (final)"
    assert figures["intermediate"].layout.xaxis.title.text == "frames"


def test_the_page_says_why_cut_games_are_scored_by_their_return(figures: dict[str, Any]) -> None:
    record = {
        "study": "Asterix", "score": "return", "cut_at": 600, "games": ["Asterix"], "frames": 5_600, "trials": [{}],
        "states": {"COMPLETE": 1}, "best": {"trial": 0, "score": 120.0, "values": {}},
    }  # fmt: skip
    line = "Games were cut at 600 frames."
    assert line in study_page(record, None, figures)
    for whole in ({**record, "cut_at": None}, {key: record[key] for key in record if key != "cut_at"}):
        assert line not in study_page(whole, None, figures)


def test_trials_without_anything_in_common_leave_plots_empty() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(params={}, distributions={}, value=1.0))
    titles = {name: figure.layout.title.text for name, figure in study_figures(study).items()}
    assert titles["history"] == "Score of every trial"
    assert titles["slices"] == "Score against each parameter: not enough trials"
    assert titles["intermediate"] == "Score while learning: not enough trials"


def test_each_slice_has_a_panel_of_its_own(figures: dict[str, Any]) -> None:
    layout = figures["slices"].layout
    domains = [layout[f"yaxis{number}"].domain for number in ("", "2", "3")]
    assert all(low < high <= 1 for low, high in domains)
    assert domains[0][0] > domains[1][1] > domains[1][0] > domains[2][1]
    assert domains[2][0] == 0
    assert layout.width is None
    assert {layout[f"xaxis{number}"].domain for number in ("", "2", "3")} == {(0, 1)}
    assert layout.xaxis.ticktext == ("1e-5", "1e-4")
    assert layout.xaxis3.tickformat == "~s"
    assert layout.yaxis.tickformat == "~g"


def test_a_line_has_the_colour_of_its_score(figures: dict[str, Any]) -> None:
    lines = sorted(figures["parallel"].data, key=lambda line: line.y[0])
    assert lines[0].line.color == _mixed(0) == "rgb(47,128,216)"
    assert lines[-1].line.color == _mixed(1) == "rgb(217,99,30)"
    labels = ("score", "learning_rate", "trust_region", "capacity_sequences")
    assert figures["parallel"].layout.xaxis.ticktext == labels
    for line in lines:  # the rate rises with the score, the capacity falls
        assert line.y[1] == pytest.approx(line.y[0])
        assert line.y[2] in (0, 1)
        assert line.y[3] == pytest.approx(1 - line.y[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"), (0.00034724311698254795, "3.47e-4"), (0.001, "0.001"), (0.25, "0.25"), (0.0, "0"),
        (-2e-5, "-2e-5"),
        (4, "4"), (9999, "9999"), (20_000, "20k"), (1_000_000, "1M"), (2.5e9, "2.5G"), ("1e+06", "1M"),
        (True, "True"), ("[16, 32]", "[16, 32]"), (None, "None"), (float("inf"), "inf"), ("Infinity", "Infinity"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_do(value: Any, text: str) -> None:
    assert _written(value) == text


def test_an_axis_writes_large_numbers_short_and_small_ones_in_full() -> None:
    assert _format([0.0001, None, -0.2]) == _format([]) == "~g"
    assert _format([5.0, -20_000.0]) == "~s"


def test_ticks_of_a_logarithmic_axis() -> None:
    assert _log_ticks([1e-5, 3e-4, 1e-3]) == pytest.approx([1e-5, 1e-4, 1e-3])
    assert _log_ticks([15, 90]) == pytest.approx([20, 50])
    assert _log_ticks([6, 7]) == [6, 7]
