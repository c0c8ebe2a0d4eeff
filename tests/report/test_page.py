"""The page's structure: whole, self-contained, escaped, with every section that has data."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from meme57.evaluation.statistics import summarise_returns
from meme57.report.page import EXPLANATIONS, build_report

HOSTILE = "<script>alert('x')</script>&\"{{ 7 * 7 }}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, headings, ids and script texts; checks that tags close in order."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.scripts, self._open = [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.text.append((self._open[-1] if self._open else "", data))

    def words(self):
        return " ".join(" ".join(data for _, data in self.text).split())

    def headings(self):
        return [data for tag, data in self.text if tag in ("h1", "h2")]


@pytest.fixture
def scores(episodes):
    agents = {
        agent: summarise_returns(
            episodes.loc[episodes["agent"] == agent, "return"], "Pong", confidence=0.95, repetitions=50, seed=0
        )
        for agent in ("random", "teacher", "student")
    }
    return {
        "run": "Pong-s1",
        "game": "Pong",
        "frames": 1_234_567,
        "confidence": 0.95,
        "protocol": {"sticky_action_probability": 0.25, "max_pool": True},
        "agents": agents,
        "reference": {"random": -20.7, "human": 14.6, "record": 21.0, "source": "a table"},
    }


@pytest.fixture
def arguments(scores, learning_curve, episodes):
    return {
        "run_name": "Pong-s1",
        "scores": scores,
        "learning_curve": learning_curve,
        "episodes": episodes,
        "fidelity": {"agreement": 0.937, "kl": 0.04123456, "parameters_student": 91_204, "odd_one": 2.5},
        "video": b"not really a film",
        "lineage": {
            "commit": "3f9c2d1",
            "configuration_fingerprint": "a81b0c",
            "seeds": {"run": 1, "evaluate": 1000003},
            "versions": {"torch": "2.13.0"},
        },
    }


def test_every_section_is_there_in_order(arguments):
    page = Page(build_report(**arguments))
    assert page.headings() == [
        "MEME on Pong",
        "Scores",
        "The trained agent at play",
        "Return per episode while learning",
        "Return of every evaluation episode",
        "Which policies played",
        "Health of the learner",
        "Novelty",
        "Speed and replay",
        "The student against its teacher",
        "Where this comes from",
    ]
    words = page.words()
    for explanation in EXPLANATIONS.values():
        assert explanation in words
    for detail in ("Pong-s1", "1,234,567 frames", "sticky action probability 0.25", "max pool yes", "3f9c2d1",
                   "configuration fingerprint", "evaluate 1000003", "torch 2.13.0", "95 % interval"):  # fmt: skip
        assert detail in words


def test_the_page_asks_for_nothing_outside_itself(arguments):
    page = Page(build_report(**arguments))
    for _tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:")
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    ours = [script for script in page.scripts if script != get_plotlyjs()]
    assert len(ours) == len(page.scripts) - 1  # plotly.js is there, once and whole
    styles = re.findall(r"<style>(.*?)</style>", build_report(**arguments), re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|https?:", styles[0] + "".join(ours))


def test_every_plot_has_a_place_and_data(arguments):
    html = build_report(**arguments)
    page = Page(html)
    places = [a["id"].removeprefix("plot-") for _, a in page.elements if a.get("class") == "plot"]
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])
    assert places == list(figures) == list(EXPLANATIONS)
    for figure in figures.values():
        assert figure["data"]
        assert "title" not in figure["layout"]
        assert {"font", "xaxis", "yaxis"} <= set(figure["layout"]["template"]["layout"])  # what the script re-colours


def test_score_table_by_hand(arguments):
    html = build_report(**arguments)
    table = re.search(r'<table class="scores">.*?</table>', html, re.DOTALL)[0]
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", table)]
    # teacher: 10 to 14, mean 12, and (12 + 20.7) / 35.3 = 92.6 %; IQM: (11 + 12 + 13) / 3 = 12
    assert rows[3][:4] == ["teacher", "5", "episodes", "12.0"]
    assert rows[3][6:9] == ["12.0", "92.6", "%"]
    assert rows[2] == ["human", "published", "14.6", "–", "100.0", "%"]
    assert [row[0] for row in rows] == ["Agent", "random", "human", "teacher", "student"]


def test_games_that_were_cut_stand_beside_no_published_score(arguments, scores, episodes):
    whole = build_report(**arguments)
    assert "100 % the published human score, 14.6; the human record is 21" in Page(whole).words()
    assert human_lines(whole) == ["learning_curve", "returns"]
    returns = episodes.groupby("agent")["return"]
    scores |= {"cut_at": 600, "protocol": {"max_episode_frames": 600}}
    scores["agents"] = {
        agent: summarise_returns(returns.get_group(agent), "Pong", confidence=0.95, repetitions=50, seed=0, cut_short=5)
        for agent in ("random", "teacher", "student")
    }
    html = build_report(**arguments)
    table = re.search(r'<table class="scores">.*?</table>', html, re.DOTALL)[0]
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", table)]
    assert [row[0] for row in rows] == ["Agent", "random", "teacher", "student"]
    assert [row[-1] for row in rows[1:]] == ["–"] * 3
    words = Page(html).words()
    assert "Games were cut at 600 frames (random 5 of 5, teacher 5 of 5, student 5 of 5)." in words
    assert "100 % the published human score" not in words
    assert "There are no published random and human scores" not in words  # there are, for whole games
    assert human_lines(html) == []


def human_lines(html):
    """The figures that name the human score, at a line or at the edge."""
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])
    notes = {
        name: [note["text"] for note in figure["layout"].get("annotations", ())] for name, figure in figures.items()
    }
    return [name for name, texts in notes.items() if any("human" in text for text in texts)]


def test_fidelity_is_readable_and_unknown_numbers_are_kept(arguments):
    words = Page(build_report(**arguments)).words()
    assert "Steps on which both choose the same action 93.7 %" in words
    assert "KL divergence of the student from the teacher, nats 0.04123" in words
    assert "Parameters of the student 91,204" in words
    assert "odd one 2.5" in words


def test_what_is_missing_is_left_out(arguments, scores):
    scores["reference"] = None
    scores["agents"] = {"teacher": {**scores["agents"]["teacher"], "human_normalised": None}}
    arguments |= {
        "learning_curve": pd.DataFrame({"frames": []}),
        "episodes": arguments["episodes"].iloc[:0],
        "fidelity": None,
        "video": None,
    }
    page = Page(build_report(**arguments))
    assert page.headings() == ["MEME on Pong", "Scores", "Where this comes from"]
    assert "no published random and human scores" in page.words()
    assert "human-normalised" not in page.words()
    assert not any(tag == "video" for tag, _ in page.elements)


def test_text_is_never_markup(arguments, scores):
    scores["game"] = HOSTILE
    changed = {HOSTILE: {"training": HOSTILE, "evaluation": HOSTILE}}
    told = {"protocol": HOSTILE, "departures": [HOSTILE], "changed_since_training": changed}
    scores["protocol"] = {HOSTILE: HOSTILE, **told}
    scores["reference"]["source"] = HOSTILE
    scores["agents"][HOSTILE] = scores["agents"].pop("student") | {"std": 0.0}
    arguments["run_name"] = HOSTILE
    arguments["lineage"] = {HOSTILE: {HOSTILE: [HOSTILE]}}
    arguments["fidelity"] = {HOSTILE: 1.0}
    arguments["episodes"] = arguments["episodes"].replace({"agent": {"student": HOSTILE}})
    html = build_report(**arguments)
    assert "<script>alert" not in html
    figures = re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1]
    assert HOSTILE in {trace["name"] for trace in json.loads(figures)["returns"]["data"]}
    assert not set("<>&") & set(figures)
    assert sum(tag == "script" for tag, _ in Page(html).elements) == 3  # plotly.js, the figures, ours
    # 2 in the title, heading, run; protocol, departure, 3 of what changed; 2 of the settings; tile, row, note, source;
    # 1 of the student's numbers; 3 of the lineage
    assert Page(html).words().count(HOSTILE) == 19


def test_the_film_is_inside(arguments):
    page = Page(build_report(**arguments))
    film = next(attributes for tag, attributes in page.elements if tag == "video")
    assert film["src"] == "data:video/mp4;base64,bm90IHJlYWxseSBhIGZpbG0="
    assert "autoplay" not in film


def test_light_and_dark_follow_the_reader(arguments):
    html = build_report(**arguments)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert 'dark.addEventListener("change", draw)' in html
