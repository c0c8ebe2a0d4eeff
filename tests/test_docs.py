"""The documentation site builds without a broken link, fetches nothing from elsewhere, and says what the code says."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from meme57.checkpoints.store import newest_replay_index
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.evaluation.reference import reference_score
from meme57.learning import distillation
from meme57.learning.trainer import learn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
PAGES = sorted(DOCS.rglob("*.md"))
LARGEST_IMAGE = 150_000
CARD = ROOT / "src" / "meme57" / "pretrained" / "Pong" / "card.json"
TINY: dict[str, Any] = {
    "run": {"total_frames": 2_400, "checkpoint_period_frames": 2_400, "log_period_frames": 1_200},
    "env": {"game": "Corridor", "num_envs": 4, "height": 16, "width": 16},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "dynamics_size": 4},
    "novelty": {"channels": [2, 4], "rnd_size": 8, "hidden_size": 8},
    "replay": {"period": 10, "capacity_sequences": 200, "min_sequences": 30},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 4},
    "distill": {"updates": 2, "batch_size": 2, "num_envs": 2, "lstm_size": 4, "channels": [2, 4], "fidelity_steps": 20},
}


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    return loaded


def nav_pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in nav_pages(part)]


def test_every_page_is_built_and_in_the_navigation_once(site: Path) -> None:
    names = [page.relative_to(DOCS).as_posix() for page in PAGES]
    assert sorted(nav_pages(settings()["nav"])) == names
    for name in names:
        assert (site / name).with_suffix(".html").is_file()


def test_each_kind_of_broken_link_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump({**settings(), "nav": ["index.md"]}))
    broken = "# A\n\n[a](gone.md) [b](index.md#gone) [c](/absolute.md) [d](../outside/)\n"
    (tmp_path / "docs" / "index.md").write_text(broken)
    (tmp_path / "docs" / "forgotten.md").write_text("# B\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 5, done.stderr
    for name in ("gone.md", "#gone", "/absolute.md", "../outside/"):
        assert any(name in line for line in warnings), name
    assert "not included in the" in done.stderr
    assert "forgotten.md" in done.stderr


class Fetched(HTMLParser):
    """What a browser fetches by itself for a page; links to click on are not."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes |= set(given.get("class", "").split())
        self.addresses += [given[name] for name in ("src", "srcset", "poster", "data") if name in given]
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given["href"])


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    assert settings()["theme"]["font"] is False
    assert "repo_url" not in settings()  # the theme would ask the forge for its stars
    for page in site.rglob("*.html"):
        found = Fetched()
        found.feed(page.read_text(encoding="utf-8"))
        assert found.addresses, page
        assert [address for address in found.addresses if re.match(r"(?i)([a-z]+:)?//", address)] == [], page
        assert "mermaid" not in found.classes, f"{page}: the theme would fetch mermaid"
    for style in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = style.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert re.findall(r"(?:url\(|@import|href=)\W*(?:https?:)?//[^)]*", text) == [], style


def test_generated_parts_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_stale_parts_are_noticed(tmp_path: Path) -> None:
    import shutil

    for name in ("docs", "conf", "experiments", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("local", "__pycache__"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(readme.replace("| Pong |", "| Pogn |"), encoding="utf-8")
    for path in (tmp_path / "docs/parameters.md", tmp_path / "docs/images/pipelines/learn.svg"):
        path.write_text(path.read_text().replace("3.0", "3.5").replace("seed_replay", "other_replay"))
    page = tmp_path / "docs/pipelines/learn.md"
    page.write_text(page.read_text().replace("learning_curve.csv", "other.csv"))
    done = subprocess.run(
        [sys.executable, "docs/generate", "--check"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert sorted(done.stderr.strip().rpartition(": ")[2].split(", ")) == [
        "README.md", "docs/images/pipelines/learn.svg", "docs/parameters.md", "docs/pipelines/learn.md",
    ]  # fmt: skip


def test_the_readme_says_what_the_card_of_its_moving_picture_says() -> None:
    card, text = json.loads(CARD.read_text()), (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("pong.gif")[1].split("\n## ")[0]
    for agent in ("teacher", "random"):
        assert f"{card['agents'][agent]['mean']:,.1f}" in shown
    assert f"{reference_score('Pong').human:,.1f}" in shown
    assert round(card["frames"], -6) == 2_000_000
    page = (CARD.parent / "card.md").read_text(encoding="utf-8")
    assert re.findall(r"learned for (\d+) minutes", page) == re.findall(r"took (\d+) minutes", shown) != []


@pytest.mark.parametrize(
    ("page", "words"),
    [("laptop.md", "{mean:.1f} [{low:.1f}, {high:.1f}]"), ("tutorial.md", "{mean:.1f} {low:.1f} to {high:.1f}")],
)
def test_pages_have_the_scores_of_the_card(page: str, words: str) -> None:
    text = re.sub(" +", " ", (DOCS / page).read_text(encoding="utf-8"))
    for agent in json.loads(CARD.read_text())["agents"].values():
        low, high = agent["interval"]
        assert words.format(mean=agent["mean"], low=low, high=high) in text


def test_the_readme_has_the_estimated_medians_of_the_table() -> None:
    page, readme = (path.read_text(encoding="utf-8") for path in (DOCS / "benchmarks.md", ROOT / "README.md"))
    (names,), (medians,) = (
        re.findall(rf"^\| {first} \|(.*)\|$", page.split("<!-- atari5 -->")[1].split("<!-- /atari5 -->")[0], re.M)
        for first in ("game", r"\*estimated median over 57 games\*")
    )
    found = dict(zip(*([cell.strip() for cell in row.split("|")] for row in (names, medians)), strict=True))
    (words,) = re.findall(r"On Atari-5 .*?MR\.Q [\d.]+ %", readme, re.S)
    assert re.findall(r"[\d.]+ %", words) == [found[agent] for agent in ("ours, mean", "DreamerV3", "PPO", "MR.Q")]


def test_a_picture_is_the_one_that_its_note_says() -> None:
    notes = json.loads((IMAGES / "pictures.json").read_text())
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in taken_pictures()}
    assert {name: note["sha256"] for name, note in notes.items()} == digests, "python docs/generate/pictures.py"
    card = json.loads(CARD.read_text())
    assert notes["pong.gif"].items() >= {"of": [card["run"]], "commit": card["commit"]}.items()


def taken_pictures() -> list[Path]:
    """What was photographed, not drawn."""
    return [*IMAGES.glob("*.png"), *IMAGES.glob("*.gif")]


def test_pictures_are_small_and_all_of_them_are_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "README.md"])
    for picture in [*DOCS.rglob("*.png"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.gif")]:
        assert picture.stat().st_size <= LARGEST_IMAGE, picture
        assert picture.relative_to(DOCS).as_posix() in text, f"{picture} is on no page"


def test_every_parameter_has_an_anchor_and_each_preset_its_values() -> None:
    """The rows of the page, read back: `conf` as Kedro loads it says the same."""
    from meme57.config import load_parameters
    from meme57.config.tree import flatten
    from meme57.hooks.configuration import ProjectConfigLoader
    from meme57.settings import CONFIG_LOADER_ARGS

    text = (DOCS / "parameters.md").read_text(encoding="utf-8")
    found = re.findall(r'^<tr id="(.+?)">(.*)</tr>\n<tr><td colspan="\d">(?!</td>)', text, re.MULTILINE)
    rows = {name: re.sub(r"</?(?!/?td)[^>]+>", "", cells)[4:-5].split("</td><td>") for name, cells in found}
    assert len(rows) == len(found) == text.count("<tr id=")
    for column, preset in enumerate(("laptop", "gpu", "paper"), start=3):
        parameters = load_parameters(ProjectConfigLoader(str(ROOT / "conf"), env=preset, **CONFIG_LOADER_ARGS))
        for name, value in flatten(parameters.model_dump(by_alias=True, mode="json")).items():
            if name == "tune.space" or name not in rows:
                continue
            shown = rows[name][column] or rows[name][2]
            assert shown == ("none" if value is None or value == [] or value == {} else json.dumps(value)), (
                preset,
                name,
            )
    assert rows["env.height"] == ["env.height", "int", "210", "52", "84", ""]


COST = r"[+-]\d+\.\d \[[^]]+\]|x \d\.\d\d \[[^]]+\]|\d+ of \d+"
"""A difference or a ratio with its interval, or a number of solved runs."""


def rows_with(text: str) -> list[set[str]]:
    return [set(re.findall(COST, line)) for line in text.splitlines() if line.startswith("| ")]


def test_the_costs_of_the_six_ideas_are_those_of_the_results() -> None:
    """Each row has the figures of one row of the ablations, and of one of the ladder."""
    page = (DOCS / "ten-minutes.md").read_text(encoding="utf-8")
    measured = [row for name in ("results", "notebook") for row in rows_with((DOCS / f"{name}.md").read_text())]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 10
    for row in rows:
        _, pong, ladder = row.strip("| ").split(" | ")
        assert "[" in pong
        for cell in (pong, re.sub(r" in place of \d+ of \d+", "", ladder)):
            assert any(set(re.findall(COST, cell)) <= figures for figures in measured), cell
    whole = next(row for row in (DOCS / "results.md").read_text().splitlines() if row.startswith("| full | 10 of 10"))
    assert set(re.findall(r"in place of (\d+ of \d+)", page)) <= set(re.findall(COST, whole))
    assert {"-9.2 [-17.8, -0.5]", "-12.0 [-19.8, -4.1]"} <= set(re.findall(COST, page))


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


@functools.cache
def defined(path: Path) -> set[str]:
    """Functions, classes, and methods both by their own name and as `Class.method`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


def references() -> list[tuple[str, str, str]]:
    """(row, path, name) for every name behind a file in the last two columns of the tables."""
    found = []
    for line in (DOCS / "paper-to-code.md").read_text(encoding="utf-8").splitlines():
        cells = line.strip("|").split(" | ")
        if len(cells) != 3 or "`" not in line:
            continue
        for base, cell in zip(("src/meme57", "tests"), cells[1:], strict=True):
            file = ""
            for span in re.findall(r"`([^`]+)`", cell):
                if span.endswith(".py"):
                    file = f"{base}/{span}"
                    found.append((cells[0], file, ""))
                else:
                    found.append((cells[0], file, span))
    return found


def test_every_reference_from_the_paper_to_the_code_exists() -> None:
    listed = references()
    assert sum(bool(name) for *_, name in listed) > 150
    missing = [
        f"{row}: {file} {name}"
        for row, file, name in listed
        if not (ROOT / file).is_file() or (name and name not in defined(ROOT / file))
    ]
    assert missing == []


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What a real run writes: metrics of learning, and those of distillation."""
    parameters, folder = parse_parameters(TINY), tmp_path_factory.mktemp("run")
    spec = env_spec(parameters.env)
    events = list(learn(parameters, spec, folder / "run", evaluate=lambda network, novelty: 0.0))
    rows = {name for event in events for row in event.rows for name in row}
    newest = next(event.checkpoint for event in reversed(events) if event.checkpoint is not None).folder
    fidelity = distillation.distill(
        parameters,
        checkpoint=newest,
        replay_folder=folder / "run" / "replay",
        replay_index=newest_replay_index(newest),
        folder=folder / "student",
    )
    return {"learn": {re.sub(r"/\d+$", "/<j>", name) for name in rows}, "distill": set(fidelity)}


def explained(start: str, end: str = "\n## ") -> set[str]:
    """First column of the tables of metrics.md from one heading to what follows."""
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {start}\n", 1)[1].split(end, 1)[0]
    return {
        name for row in re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }


def test_every_metric_of_learning_is_explained_and_no_other(emitted: dict[str, set[str]]) -> None:
    assert emitted["learn"] == explained("Progress and speed", "\n## What one run looked like\n")


def test_every_figure_of_distillation_is_explained(emitted: dict[str, set[str]]) -> None:
    added_by_the_node = {"onnx_difference", "return_teacher", "return_student"}
    assert emitted["distill"] | added_by_the_node <= explained("After learning")


def test_what_is_in_mlflow_only_is_explained() -> None:
    from meme57.evaluation.agents import AGENTS
    from meme57.evaluation.scores import score_metrics
    from meme57.evaluation.statistics import summarise_returns

    summary = summarise_returns([1.0, 2.0], "Pong", confidence=0.95, repetitions=10, seed=0)  # type: ignore[arg-type]
    names = {
        re.sub(rf"/({'|'.join(AGENTS)})_", "/<agent>_", name) for name in score_metrics(dict.fromkeys(AGENTS, summary))
    }
    assert names <= explained("In MLflow only")


def code_spans(pattern: str) -> set[tuple[str, str]]:
    """(page, match) in the code spans of the README and of every page."""
    pages = [ROOT / "README.md", *PAGES]
    return {(page.name, found) for page in pages for found in re.findall(pattern, page.read_text(encoding="utf-8"))}


def test_parameters_named_in_the_docs_exist() -> None:
    tree = parse_parameters({}).model_dump(by_alias=True)
    named = code_spans(rf"`(?:--params )?((?:{'|'.join(tree)})\.[a-z_]+)")
    assert len(named) > 100
    assert [(page, name) for page, name in named if name.split(".")[1] not in tree[name.split(".")[0]]] == []


def test_files_named_in_the_docs_exist() -> None:
    named = code_spans(r"`((?:src|tests|docs|conf|experiments|benchmarks)/[\w/.-]+\.\w+)")
    assert len(named) > 15
    made_by_the_user = ("conf/local/", "conf/tuned-")
    assert [(page, n) for page, n in named if not n.startswith(made_by_the_user) and not (ROOT / n).exists()] == []


def test_every_environment_is_in_the_table() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    there = {path.name for place in ("conf", "experiments") for path in (ROOT / place).iterdir() if path.is_dir()}
    shipped = {name for name in there if name != "local" and not name.startswith(("tuned-", "capsule-"))}
    assert shipped == set(
        re.findall(r"^\| `(\w+)` \|", page.split("## Environments")[1].split("\n## ")[0], re.MULTILINE)
    )
