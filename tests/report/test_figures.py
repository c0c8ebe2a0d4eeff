"""What the figures show, read from the figures themselves."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from meme57.report import figures, style
from meme57.report.panels import PANELS, small_multiples

REFERENCE = {"random": -20.7, "human": 14.6, "record": 21.0, "source": "a table"}


def traces(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def panels_figure(name, curve):
    title, panels = PANELS[name]
    return small_multiples(title, curve, panels)


def texts(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#fcfcfa", "#17191c"])
@pytest.mark.parametrize("colour", style.PALETTE)
def test_every_colour_stands_out_on_a_light_and_on_a_dark_page(colour, ground):
    dark, light = sorted([luminance(colour), luminance(ground)])
    assert (light + 0.05) / (dark + 0.05) >= 3.0  # WCAG 1.4.11


def test_running_mean_equals_the_naive_loop():
    generator = np.random.default_rng(1)
    values, weights = generator.normal(size=23), generator.integers(0, 4, size=23).astype(float)
    weights[7] = np.nan
    for window in (1, 2, 5, 50):
        expected = []
        for i in range(23):
            rows = [k for k in range(i - window // 2, i + (window + 1) // 2) if 0 <= k < 23 and weights[k] > 0]
            weight = sum(weights[k] for k in rows)
            expected.append(sum(weights[k] * values[k] for k in rows) / weight if rows else np.nan)
        np.testing.assert_allclose(figures.running_mean(values, weights, window), expected, atol=1e-12)


def test_running_mean_by_hand():
    # window 3, weights 1, 3, 0: (1*2 + 3*6) / 4 = 5; the same, the last weighs nothing; (3*6) / 3 = 6
    smooth = figures.running_mean(np.array([2.0, 6.0, 100.0]), np.array([1.0, 3.0, 0.0]), 3)
    np.testing.assert_allclose(smooth, [5.0, 5.0, 6.0])


def test_learning_curve_smooths_what_was_logged_and_marks_evaluations(learning_curve):
    figure = figures.learning_curve_figure(learning_curve, REFERENCE)
    drawn = traces(figure)
    assert set(drawn) == {"all policies", "policy 0, exploiting", "evaluation"}
    assert len(drawn["policy 0, exploiting"].x) == 32  # 40 rows, every fifth NaN
    assert list(drawn["evaluation"].x) == [10_000, 20_000, 30_000, 40_000]
    assert len([trace for trace in figure.data if trace.opacity == 0.3]) == 1  # 40 / 25 rounds to 2, 32 / 25 to 1
    assert texts(figure) == ["random -20.7", "human 14.6"]
    assert [line.y0 for line in figure.layout.shapes] == [-20.7, 14.6]
    assert set(figure.layout.yaxis.autorangeoptions.include) == {-20.7, 14.6}


def test_a_distant_human_score_is_named_and_does_not_flatten_the_curve(learning_curve):
    figure = figures.learning_curve_figure(learning_curve, {"random": -20.7, "human": 42054.7})
    assert texts(figure) == ["random -20.7", "human 42,054.7, above this plot"]
    assert len(figure.layout.shapes) == 1
    assert max(figure.layout.yaxis.autorangeoptions.include) < 20


def test_no_reference_no_lines(learning_curve):
    figure = figures.learning_curve_figure(learning_curve, None)
    assert not figure.layout.shapes
    assert not figure.layout.annotations


def test_returns_show_each_episode_in_a_fixed_order(episodes):
    figure = figures.returns_figure(episodes, REFERENCE)
    assert [box.name for box in figure.data] == ["random", "teacher", "student"]
    assert list(figure.data[1].y) == [10, 11, 12, 13, 14]
    assert figure.data[1].boxpoints == "all"
    assert figure.data[1].marker.color == figures.AGENT_COLOURS["teacher"]


def test_bandit_shares_are_those_of_the_counts(learning_curve):
    figure = figures.bandit_figure(learning_curve)
    assert [bar.name for bar in figure.data] == [
        "policy 0 (exploits)",
        "policy 1",
        "policy 2",
        "policy 3 (explores most)",
    ]
    shares = np.array([bar.y for bar in figure.data])
    np.testing.assert_allclose(shares, np.repeat([[0.1], [0.2], [0.3], [0.4]], 40, axis=1))  # counts 1, 2, 3, 4 of 10
    first = figure.data[0]
    assert (first.x[0], first.width[0]) == (500, 1_000)  # the first period is frames 0 to 1000


def test_bandit_bins_join_periods_and_leave_empty_ones_out():
    rows = 4 * figures.NUM_BANDIT_BARS
    counts = np.ones(rows)
    counts[:4] = np.nan  # the first bin of four periods saw no episode
    curve = pd.DataFrame(
        {"frames": np.arange(1, rows + 1) * 10.0, "policy_episodes/10": counts, "policy_episodes/9": 3.0}
    )
    curve.loc[:3, "policy_episodes/9"] = np.nan
    figure = figures.bandit_figure(curve)
    assert [bar.name for bar in figure.data] == ["policy 9 (exploits)", "policy 10 (explores most)"]  # 9 before 10
    assert len(figure.data[0].y) == figures.NUM_BANDIT_BARS - 1
    assert (figure.data[0].x[0], figure.data[0].width[0]) == (60, 40)  # frames 40 to 80
    assert set(figure.data[0].y) == {0.75}


def test_one_policy_exploits_and_no_episode_is_no_figure():
    curve = pd.DataFrame({"frames": [10.0], "policy_episodes/0": [2.0]})
    assert figures.bandit_figure(curve).data[0].name == "policy 0 (exploits)"
    assert figures.bandit_figure(curve * [1, 0]) is None


def test_diagnostics_have_a_titled_panel_with_units_for_each_measure(learning_curve):
    figure = panels_figure("diagnostics", learning_curve)
    titles = [re.sub("<.*", "", text) for text in texts(figure)]
    assert titles == [
        "Loss",
        "Steps dropped by the trust region",
        "Steps dropped by the KL limit",
        "Trace coefficient c",
        "TD scale sigma, mean over policies",
        "Gradient norm before clipping",
    ]
    assert len(figure.data) == 9  # three losses, two sigmas, four single
    assert "share of steps" in texts(figure)[1]
    assert figure.layout.xaxis6.title.text == "ALE frames"


def test_absent_or_empty_columns_leave_their_panel_out(learning_curve):
    curve = learning_curve.drop(columns=["learner/kl_rate", "learner/sigma_intrinsic"])
    curve["learner/trace"] = np.nan
    figure = panels_figure("diagnostics", curve)
    shown = " ".join(texts(figure))
    assert len(texts(figure)) == 4
    assert "KL limit" not in shown
    assert "Trace" not in shown
    assert "extrinsic" in shown
    assert "intrinsic" not in shown.replace("extrinsic", "")


def test_novelty_off_is_no_figure(learning_curve):
    assert panels_figure("novelty", learning_curve) is not None
    assert panels_figure("novelty", learning_curve.drop(columns=learning_curve.filter(like="novelty/").columns)) is None


def test_infinite_values_are_gaps(learning_curve):
    learning_curve.loc[3, "loss/total"] = np.inf
    assert len(traces(panels_figure("diagnostics", learning_curve))["total"].y) == 39


def test_all_figures_have_titles_and_follow_the_report(learning_curve, episodes):
    drawn = figures.all_figures(learning_curve, episodes, training=REFERENCE, evaluation=REFERENCE)
    assert list(drawn) == ["learning_curve", "returns", "bandit", "diagnostics", "novelty", "throughput"]
    assert len({figure.layout.title.text for figure in drawn.values()}) == 6
    for figure in drawn.values():
        assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_a_run_that_logged_nothing_has_no_figures(episodes):
    nothing = pd.DataFrame({"frames": []})
    assert figures.all_figures(nothing, episodes.iloc[:0], training=None, evaluation=None) == {}


CUT, WHOLE = {"cut_short": 1}, {"cut_short": 0}


@pytest.mark.parametrize(
    ("protocol", "agent", "training", "evaluation"),
    [
        ({"max_episode_frames": 108_000, "changed_since_training": {}}, WHOLE, REFERENCE, REFERENCE),
        ({"max_episode_frames": 600, "changed_since_training": {}}, CUT, None, None),
        ({"max_episode_frames": 600, "changed_since_training": {}}, WHOLE, None, REFERENCE),  # all ended before
        (
            {
                "max_episode_frames": 108_000,
                "changed_since_training": {"max_episode_frames": {"training": 600, "evaluation": 108_000}},
            },
            WHOLE,
            None,
            REFERENCE,
        ),
        ({}, {}, REFERENCE, REFERENCE),  # an older version
    ],
)
def test_returns_of_cut_games_have_no_published_lines(protocol, agent, training, evaluation):
    scores = {"protocol": protocol, "agents": {"random": WHOLE, "teacher": agent}, "reference": REFERENCE}
    assert figures.reference_lines(scores) == {"training": training, "evaluation": evaluation}


def test_plotly_waits_until_a_figure_is_drawn():
    code = "import sys, meme57.report.page; sys.exit(bool({'plotly', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_band_is_the_standard_error_of_the_running_mean():
    values, weights = np.array([1.0, 3.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0, 1.0])
    error = figures.running_error(values, weights, 3)
    # around row 2: values 3, 2, 6 with weights 1, 2, 1: mean 13/4, variance 53/4 - (13/4)^2 = 43/16, effective 16/6
    assert error[2] == pytest.approx((43 / 16 / (16 / 6)) ** 0.5)
    assert (figures.running_error(np.full(5, 2.0), np.ones(5), 3) == 0).all()
