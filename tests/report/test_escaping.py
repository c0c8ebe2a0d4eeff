"""What comes from a run is text on every page: names with markup in them change no element."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from plotly.graph_objects import Figure
from test_page import Page

import meme57
from meme57.report.style import apply_style
from meme57.report.suite_figures import suite_figures
from meme57.report.suite_page import suite_page
from meme57.tuning.plots import PLOTS, study_page

SOURCE = Path(meme57.__file__).parent


def hostile(place: str) -> str:
    return f"<script>'{place}'</script>&\"{{{{ 7 * 7 }}}}"


def harmless(place: str) -> str:
    return place


def same_elements(tame: Page, wild: Page) -> bool:
    return [tag for tag, _ in tame.elements] == [tag for tag, _ in wild.elements]


@pytest.fixture
def named_suite(suite_record: dict[str, Any], suite_settings: dict[str, Any], suite_table: Any) -> Any:
    """Makes the suite's page with every text value given by a function of its place."""
    results, scores = suite_table
    figures = suite_figures(suite_record, scores, results, **{**suite_settings, "repetitions": 20})

    def page(text: Any) -> Page:
        record, told, table = copy.deepcopy(suite_record), copy.deepcopy(scores), results.copy()
        record["suite"] = text("suite")
        record["members"][0] |= {"name": text("failed"), "error": text("error")}
        record["members"][1]["name"] = text("member")
        record["members"][2] |= {"name": text("lost"), "state": text("state")}
        table["run"] = table["run"].replace({suite_record["members"][1]["name"]: text("member")})
        table["run"] = table["run"].replace({suite_record["members"][2]["name"]: "not here"})
        table["game"] = table["game"].replace({"Corridor": text("game")})
        table["variant"] = table["variant"].replace({"changed": text("game's variant")})
        table["protocol"] = text("label")
        told["games"] = ["Pong", text("game")]
        told |= {"without_reference": [text("plain")], "notes": [text("note")], "protocols": [text("protocol")]}
        told["aggregates"][text("variant")] = told["aggregates"].pop("changed")
        told["aggregates"]["baseline"][text("agent")] = told["aggregates"]["baseline"]["student"]
        told["comparisons"][0] |= {"variant": text("over"), "against": text("first"), "agent": text("judged")}
        del told["comparisons"][0]["probability"]
        told["comparisons"][0]["reason"] = text("reason")
        return Page(suite_page(record, told, table, figures))

    return page


def test_the_suites_page_has_no_markup_from_outside(named_suite: Any) -> None:
    tame, wild = named_suite(harmless), named_suite(hostile)
    assert same_elements(tame, wild)
    for place in (
        "suite", "failed", "error", "member", "lost", "state", "game", "game's variant", "label", "plain", "note",
        "protocol", "variant", "agent", "over", "first", "judged", "reason",
    ):  # fmt: skip
        assert hostile(place) in wild.words(), place
    links = [attributes["href"] for tag, attributes in wild.elements if tag == "a"]
    assert links[0] == f"../{hostile('member')}/report.html"


def test_the_studys_page_has_no_markup_from_outside() -> None:
    def page(text: Any) -> Page:
        figures = {name: apply_style(Figure(), text(f"title of {name}"), height=440) for name in PLOTS}
        record = {
            "study": text("study"), "games": [text("game")], "score": text("score"), "frames": 10, "trials": [{}],
            "states": {"COMPLETE": 1}, "best": {"trial": 0, "score": 1.0, "values": {text("name"): text("value")}},
            "trust": {"verdict": text("trust"), "sampler": text("sampler")},
        }  # fmt: skip
        means = {"configured": {"mean": 1.0}, "tuned": {"mean": 2.0}, "difference": {"mean": 1.0, "interval": None}}
        return Page(study_page(record, {"frames": 10, "seeds": [1], "verdict": text("verdict"), **means}, figures))

    tame, wild = page(harmless), page(hostile)
    assert same_elements(tame, wild)
    for place in (
        "study",
        "game",
        "score",
        "name",
        "value",
        "verdict",
        "trust",
        *(f"title of {name}" for name in PLOTS),
    ):
        assert hostile(place) in wild.words(), place


def test_one_value_alone_is_not_escaped() -> None:
    templates = "".join(path.read_text() for path in (SOURCE / "report" / "templates").glob("*.html"))
    assert templates.count("|safe") == templates.count("{{ plotly|safe }}") == 1
    assert "autoescape" not in templates
    assert not [path for path in SOURCE.rglob("*.py") if "markupsafe" in path.read_text()]
