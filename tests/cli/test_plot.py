"""`meme57 plot` on a trained project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

RUN = "Pong-s1"


def test_a_run_and_its_suite_are_drawn_to_a_file(here: Path, meme57) -> None:
    done = meme57("plot", RUN, "--out", "curve.html")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{RUN} on Pong: ")
    assert RUN in (here / "curve.html").read_text()
    folder = here / "data" / "07_model_output" / "suite-one"
    folder.mkdir()
    (folder / f"{RUN}.json").write_text(json.dumps({"name": RUN, "state": "done"}))
    assert meme57("plot", "suite-one", "--by", "seed").output.startswith("Pong on Pong: ")
    assert (here / "plot.html").is_file()


def test_what_cannot_be_drawn_is_one_line(here: Path, meme57) -> None:
    curve = here / "data" / "08_reporting" / RUN / "learning_curve.csv"
    curve.write_text("frames,episodes/return\n1000,\n")
    for words, message in (
        ((RUN,), "has no learning curve yet, since no episode has ended"),
        (("tune-small",), "its page is data/08_reporting/tune-small/report.html"),
        (("suite-x",), "there is no suite 'suite-x': there is none"),
        (("Pong-s9",), "there is no run 'Pong-s9': there are Pong-s1"),
    ):
        done = meme57("plot", *words)
        assert (done.exit_code, done.output.count("\n")) == (1, 1)
        assert message in done.output
    assert not (here / "plot.html").exists()
    shutil.rmtree(here / "data" / "08_reporting" / RUN)
    assert meme57("plot", RUN).exit_code == 1
