"""Published scores: complete, equal to published aggregates, and beside a suite's own."""

import copy
import math

import numpy as np
import pytest

from meme57.config.games import rom_ids
from meme57.config.suite import game_lists
from meme57.errors import ConfigurationError
from meme57.evaluation.beside_published import OURS, beside_published
from meme57.evaluation.published import (
    ATARI5,
    estimated_median,
    published_agent,
    published_agents,
    published_scores,
)
from meme57.evaluation.statistics import capped_human_normalised, human_normalised
from meme57.evaluation.suite_scores import result_rows


@pytest.mark.parametrize(
    ("agent", "mean", "median", "capped", "above_human"),
    [
        ("agent57_final", 4766.25, 1933.49, 100.0, 57),  # Agent57, table 1
        ("r2d2_bandit_final", 5461.66, 2357.92, 96.93, 54),  # Agent57, table 1
    ],
)
def test_published_aggregates_follow_from_the_per_game_scores(agent, mean, median, capped, above_human):
    scores = published_scores(agent)
    normalised = 100 * np.array([human_normalised(score, game) for game, score in scores.items()])
    assert len(normalised) == 57
    assert normalised.mean() == pytest.approx(mean, abs=0.05)
    assert np.median(normalised) == pytest.approx(median, abs=0.005)
    assert 100 * np.mean([capped_human_normalised(s, g) for g, s in scores.items()]) == pytest.approx(capped, abs=0.005)
    assert (normalised >= 100).sum() == above_human


def test_an_unknown_agent_is_refused_with_the_known_ones():
    assert "muesli_200M" in published_agents()
    with pytest.raises(ConfigurationError, match=r"muesli_200M.*spr_400k"):
        published_scores("meme")


def test_published_scores_are_a_copy():
    published_scores("muesli_200M").clear()
    assert len(published_scores("muesli_200M")) == 57


def test_every_agent_says_where_its_scores_are_from_and_has_games_that_exist():
    for key in published_agents():
        agent = published_agent(key)
        assert agent.scores
        assert agent.source
        assert set(agent.scores) <= set(rom_ids())
        assert all(math.isfinite(score.mean) for score in agent.scores.values())


def test_atari100k_agents_have_its_26_games():
    games = set(game_lists()["atari100k"])
    agents = [published_agent(key) for key in published_agents()]
    whole = [agent for agent in agents if agent.frames == 400_000 and agent.sticky == 0.0]
    assert len(whole) == 15
    assert all(set(agent.scores) == games for agent in whole)


@pytest.mark.parametrize(
    ("agent", "mean"),
    [("bbf_400k", 2.247), ("iris_400k", 1.046), ("diamond_400k", 1.459), ("efficientzero_400k", 1.943)],
)
def test_the_means_that_the_papers_print_follow_from_the_per_game_scores(agent, mean):
    human = [human_normalised(score, game) for game, score in published_scores(agent).items()]
    assert np.mean(human) == pytest.approx(mean, abs=0.0005)


def test_results_whose_licence_allows_no_more_are_cited_by_their_means():
    scores = published_agent("mrq_2M").scores
    assert scores["Boxing"].mean == 93.73
    assert all(score.deviation is None and score.interval(0.95) is None for score in scores.values())


def test_the_interval_of_a_published_mean_by_hand():
    score = published_agent("bbf_rr2_2M").scores["BattleZone"]
    assert (score.mean, score.deviation, score.runs) == (28186.667, 5256.808, 6)
    reach = 2.570582 * 5256.808 / math.sqrt(6)  # Student, 5 degrees of freedom
    assert score.interval(0.95) == pytest.approx((28186.667 - reach, 28186.667 + reach), rel=1e-6)


def test_the_median_that_atari5_predicts_by_hand():
    assert estimated_median({"BattleZone": 1.0}) is None
    human = dict.fromkeys(ATARI5, 1.0)
    assert estimated_median(human) == pytest.approx((101 ** sum(ATARI5.values()) - 1) / 100)
    below = estimated_median({**human, "Qbert": -3.0})  # below random play counts as 0
    assert below == pytest.approx((101 ** (sum(ATARI5.values()) - 0.0805) - 1) / 100)
    assert below == estimated_median({**human, "Qbert": 0.0})


def test_a_suite_beside_published_agents(suite_record):
    rows, games = result_rows(suite_record["members"]), ["Pong", "Breakout"]
    found = beside_published(rows, games, "changed", ["mrq_2M", "spr_400k"], confidence=0.95)
    ours, mrq = found["columns"][OURS], found["columns"]["mrq_2M"]
    # seeds at 1.2 and 1.3 of human
    assert ours["games"]["Pong"]["mean"] == pytest.approx(-20.7 + 1.25 * 35.3)
    assert ours["games"]["Pong"]["runs"] == 2
    assert ours["over_games"]["mean"] == pytest.approx(1.25)
    assert mrq["games"] == {
        "Pong": {"mean": 11.25, "runs": None, "interval": None},
        "Breakout": {"mean": 18.83, "runs": None, "interval": None},
    }
    expected = [human_normalised(11.25, "Pong"), human_normalised(18.83, "Breakout")]
    assert mrq["over_games"] == {
        "iqm": pytest.approx(np.mean(expected)), "median": pytest.approx(np.mean(expected)),
        "mean": pytest.approx(np.mean(expected)), "estimated_median": None,
    }  # fmt: skip
    assert beside_published(rows, games, "changed", [], confidence=0.95) is None


def test_a_partial_list_has_no_aggregate(suite_record):
    rows = result_rows(suite_record["members"])
    found = beside_published(rows, ["Pong", "Qbert"], "changed", ["spr_400k", "muesli_200M"], confidence=0.95)
    assert found["missing"] == ["Qbert"]
    assert found["columns"][OURS]["over_games"] is None
    assert found["columns"]["spr_400k"]["over_games"] is not None
    other = beside_published(rows, ["Pong", "Zaxxon"], "changed", ["spr_400k"], confidence=0.95)
    assert other["columns"]["spr_400k"]["over_games"] is None  # it was not measured on Zaxxon
    assert "Zaxxon" not in other["columns"]["spr_400k"]["games"]


def test_games_that_were_cut_have_no_aggregate(suite_record):
    record = copy.deepcopy(suite_record)
    for member in record["members"]:
        for summary in member.get("scores", {}).get("agents", {}).values():
            summary["cut_short"] = 1
    found = beside_published(result_rows(record["members"]), ["Pong"], "changed", ["spr_400k"], confidence=0.95)
    assert found["columns"][OURS]["games"]["Pong"]["runs"] == 2
    assert found["columns"][OURS]["over_games"] is None
