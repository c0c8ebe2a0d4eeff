"""Write the generated parts of the docs: `python docs/generate`. With `--check` it names stale pages, status 1.

Diagrams go to docs/images/pipelines, and the parameter reference is docs/parameters.md. A table stands in its page
between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import beside
import catalog
import diagram
import healthy
import needs
import peers_table
import reference
import results

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LEARNED = {"cartpole": 475.0, "minigrid": 0.8}
"""Experiment -> the greedy return from which a seed counts as learned."""
SUITES = ("five", "atari5", "atari100k")
"""Suites of small budgets, beside published agents."""
CURVE = DOCS / "data" / "results" / "pong_s1_curve.csv"


def generated() -> dict[Path, str]:
    """Map each generated file to its text."""
    pipelines, entries = catalog.pipelines(), catalog.entries(ROOT)
    metrics = DOCS / "metrics.md"
    files = {
        DOCS / "parameters.md": reference.page(ROOT / "conf"),
        metrics: between(metrics, "healthy", healthy.table(CURVE)),
        DOCS / "evaluation.md": between(DOCS / "evaluation.md", "needs", needs.needs_table(ROOT / "conf")),
        DOCS / "registry.md": between(DOCS / "registry.md", "costs", needs.costs_table(ROOT / "conf")),
    }
    for name, pipeline in pipelines.items():
        files[DOCS / "images" / "pipelines" / f"{name}.svg"] = diagram.draw(catalog.node_rows(pipeline), name)
        page = DOCS / "pipelines" / f"{name}.md"
        files[page] = between(page, "catalog", catalog.table(pipeline, entries))
    files |= results_pages()
    flow = diagram.draw(catalog.pipeline_rows(pipelines, entries), "the flow")
    return {**files, DOCS / "images" / "pipelines" / "flow.svg": flow}


def results_pages() -> dict[Path, str]:
    """Make docs/results.md (today's agent), docs/notebook.md (earlier agents and trials), and their plots."""
    tried = results.read(DOCS / "data" / "results" / "choices.csv")
    curves, published = measured("games", "games_curves"), measured("games", "dopamine")
    small, before = (measured("ladder", name) for name in ("exploration", "exploration_one_checkpoint"))
    ablations = {name: measured("ablations", f"{name}_curves") for name in ("ablations", "ablations_48")}
    today = {
        "games": results.games_table(curves, published),
        "sticky": results.games_table(measured("games", "games_sticky_curves"), published),
        "greedy": results.greedy_table(measured("games", "games") + measured("games", "games_sticky")),
        "ablations": results.ablations_table(ablations["ablations"]),
        "ladder": results.ladder_table(small, "exploration"),
    }
    history = {
        "choices": results.choices_table(tried, "Pong"),
        "games_48": results.games_table(measured("games", "games_48_curves"), published),
        "greedy_48": results.greedy_table(measured("games", "games_48")),
        "ladder_one_checkpoint": results.ladder_table(before, "exploration"),
        "learning_one_checkpoint": results.ladder_table(before, "learning"),
        "choices_boxing": results.choices_table(tried, "Boxing"),
        "ablations_48": results.ablations_table(ablations["ablations_48"]),
        "boxing": results.greedy_table(measured("boxing", "boxing")),
        "learning": results.ladder_table(small, "learning"),
        "choices_breakout": results.choices_table(tried, "Breakout"),
    }
    pages = {DOCS / "results.md": with_tables(DOCS / "results.md", today)}
    pages |= {DOCS / "notebook.md": with_tables(DOCS / "notebook.md", history)}
    learned = {name: results.learned_table(measured(name, name), LEARNED[name]) for name in LEARNED}
    pages |= {DOCS / "gymnasium.md": with_tables(DOCS / "gymnasium.md", learned)}
    five, before = measured("five", "five"), measured("games", "games")
    pages[ROOT / "README.md"] = with_tables(ROOT / "README.md", {"scores": results.readme_table(five)})
    budgets = {name: beside.suite_table(ROOT / "conf", name, measured(name, name)) for name in SUITES}
    budgets["five_before"] = beside.side_by_side(before + results.read(DOCS / "data" / "laptop" / "mspacman.csv"), five)
    pages[DOCS / "benchmarks.md"] = with_tables(DOCS / "benchmarks.md", budgets)
    peers = results.read(ROOT / "benchmarks" / "peers" / "data" / "rows.csv")
    pages[DOCS / "performance.md"] = with_tables(DOCS / "performance.md", {"peers": peers_table.table(peers)})
    published_page = DOCS / "published.md"
    pages |= {published_page: with_tables(published_page, {"published-agents": results.published_table()})}
    plots = {DOCS / "images" / "games.svg": results.games_plot(curves, published)} if curves else {}
    plots |= {DOCS / "images" / f"{name}.svg": results.ablations_plot(rows) for name, rows in ablations.items() if rows}
    if peers:
        plots[DOCS / "images" / "peers.svg"] = peers_table.plot(peers)
    for name, threshold in LEARNED.items():
        if rows := measured(name, f"{name}_curves"):
            plots[DOCS / "images" / f"{name}.svg"] = results.learned_plot(rows, threshold)
    return {**pages, **plots}


def with_tables(page: Path, tables: dict[str, str]) -> str:
    """Put each of these tables between its marks in the page."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = between(page, name, table, text)
    return text


def measured(experiment: str, name: str) -> list[results.Row]:
    """Read the rows of `experiments/<experiment>/data/<name>.csv`."""
    return results.read(ROOT / "experiments" / experiment / "data" / f"{name}.csv")


def between(page: Path, name: str, table: str, text: str | None = None) -> str:
    """Replace the table between its two marks in the page, or in `text`."""
    if text is None:
        text = page.read_text(encoding="utf-8") if page.exists() else ""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        place = f"lines <!-- {name} --> and <!-- /{name} -->"
        raise SystemExit(
            f"{page.relative_to(ROOT)} is missing, or has no place for its table: write it with the {place}"
        )
    return pattern.sub(lambda match: f"{match[1]}\n{table}\n{match[2]}", text)


def main() -> None:
    """Write the files, or check them."""
    files = generated()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise SystemExit(f"out of date, type `python docs/generate`: {names}" if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


main()
