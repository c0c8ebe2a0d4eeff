"""`meme57 runs show`: the page of `report`, or one from whatever is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from meme57.lock import hold
from meme57.report.run_page import renew_page

RUN = "Pong-s1"
REFRESH = 'http-equiv="refresh"'


def reporting(project: Path) -> Path:
    return project / "data" / "08_reporting" / RUN


def shown(meme57) -> str:
    done = meme57("runs", "show", RUN)
    assert done.exit_code == 0, done.output
    return Path(done.output.strip()).read_text()


def test_a_run_that_went_to_its_end_has_the_page_of_report(here: Path, meme57) -> None:
    assert meme57("runs", "show", RUN).output == f"{reporting(here) / 'report.html'}\n"


def test_a_run_without_scores_has_its_curve_and_says_how_far_it_is(here: Path, meme57) -> None:
    for name in ("report.html", "scores.json"):
        (reporting(here) / name).unlink()
    page = shown(meme57)
    assert f"Run <strong>{RUN}</strong>, learned: 12,0" in page
    assert 'id="plot-diagnostics"' in page
    assert "<h2>Scores</h2>" not in page
    assert REFRESH not in page
    assert "Random play" not in page  # `--env test` cuts games, so no published score stands beside its returns
    with hold(here / "data" / "06_models" / RUN / "checkpoints"):
        page = shown(meme57)
    assert ", learning: 12,0" in page
    assert REFRESH in page


def test_whole_games_have_the_published_scores_beside_them(here: Path, meme57) -> None:
    (reporting(here) / "report.html").unlink()
    (reporting(here) / "scores.json").unlink()
    path = here / "data" / "02_intermediate" / RUN / "run_record.json"
    record = json.loads(path.read_text())
    record["configuration"]["env"]["max_episode_frames"] = 108_000
    path.write_text(json.dumps(record))
    page = shown(meme57)
    assert "<span>Random play</span><b>-20.7</b>" in page
    assert "<span>Human</span><b>14.6</b>" in page


def test_a_run_that_learned_on_shows_its_earlier_scores_and_how_far_it_is_now(here: Path, meme57) -> None:
    newer = (reporting(here) / "report.html").stat().st_mtime + 10
    os.utime(reporting(here) / "learning_curve.csv", (newer, newer))
    page = shown(meme57)
    assert "<h2>Scores</h2>" in page
    assert "<br>Now evaluated: 12,0" in page


def test_what_is_missing_or_damaged_is_left_out(here: Path, meme57) -> None:
    shutil.rmtree(reporting(here))
    assert 'class="plot"' not in shown(meme57)
    (reporting(here) / "learning_curve.csv").write_bytes(b"\xff\x00")
    (reporting(here) / "scores.json").write_text("{")
    assert 'class="plot"' not in shown(meme57)
    (here / "data" / "02_intermediate" / RUN / "run_record.json").write_text("{")
    done = meme57("runs", "show", RUN)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert f"{RUN} has no page: " in done.output


def test_a_page_that_nobody_asked_for_is_not_written(here: Path, meme57) -> None:
    page = reporting(here) / "progress.html"
    renew_page(here, RUN)
    assert not page.exists()
    page.write_text("")
    renew_page(here, RUN)
    assert RUN in page.read_text()
