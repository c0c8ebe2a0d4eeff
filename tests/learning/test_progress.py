"""The bar fits into 80 columns with percentage and time left; output that is no terminal has both in plain lines."""

from __future__ import annotations

import io
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from meme57.learning import progress
from meme57.learning.trainer import TrainingEvent

ROW = {
    "speed/frames_per_second": 2_000.0, "episodes/return": 1_234.5, "episodes/return_exploit": 2_345.6,
    "evaluation/return": 3_456.7,
}  # fmt: skip
EVENTS = [
    TrainingEvent(frames=400_000, updates=12_345, rows=[ROW]),
    TrainingEvent(frames=400_100, updates=12_346),
    TrainingEvent(frames=1_000_000, updates=34_567, rows=[ROW]),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rendered(title: str, width: int, **fields: object) -> list[str]:
    """The lines of a bar that stands at 40 per cent."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = progress.progress_bar(console)
    bar.add_task(title, total=1_000_000, completed=400_000, **fields)
    console.print(bar.get_renderable())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("title", ["learn MsPacman-s2", "learn a-run-with-a-name-of-many-words-s2"])
@pytest.mark.parametrize("width", [80, 200])
def test_bar_percentage_and_time_left_are_on_the_first_line(title: str, width: int) -> None:
    detail = progress.describe_event(EVENTS[0], 1_000_000)
    first, *rest = rendered(title, width, detail=detail, left=300.0)
    assert cell_len(first.rstrip()) <= 80
    assert first.startswith(title[:20])
    assert " ━━━━━━" in first
    assert "  40% " in first
    assert first.rstrip().endswith("0:05:00 left")  # 600,000 frames at 2,000 a second
    words = " ".join(" ".join(rest).split())
    assert words == " ".join(detail.split())  # nothing of the details is cut off


def test_days_fit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    bar = progress.progress_bar(console)
    bar.add_task("learn a-run-with-a-name-of-many-words-s2", total=100, completed=1, detail="", left=500 * 3600)
    bar.get_time = lambda: 1e6  # type: ignore[method-assign]
    bar.tasks[0].start_time, bar.tasks[0]._get_time = 0.0, bar.get_time
    console.print(bar.get_renderable())
    first = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert "11 days, 13:46:40" in first
    assert "500:00:00 left" in first


def test_a_terminal_shows_the_bar_and_passes_events_through(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.show_progress(EVENTS, total_frames=1_000_000, title="learn try")) == EVENTS
    last = Text.from_ansi(terminal.getvalue()).plain
    assert "100%" in last
    assert "0:00:00 left" in last
    assert "1,000,000/1,000,000 frames" in last


def test_plain_lines_have_percentage_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.show_progress(EVENTS, total_frames=1_000_000, title="learn try")) == EVENTS
    returns = "return 1234.5  exploiting 2345.6  evaluated 3456.7"
    assert capsys.readouterr().err.splitlines() == [
        f"learn try  40 %  0:05:00 left  400,000/1,000,000 frames  2,000 frames/s  12,345 updates  {returns}",
        f"learn try  100 %  1,000,000/1,000,000 frames  2,000 frames/s  34,567 updates  {returns}",
    ]


def test_a_speed_of_nothing_gives_no_time() -> None:
    still = TrainingEvent(frames=10, updates=0, rows=[{"speed/frames_per_second": 0.0}])
    assert progress.seconds_left(still, 100) is None
    assert progress.describe_share(10, 100, None) == "10 %"
    assert rendered("learn", 80, detail="", left=None)[0].rstrip().endswith("-:--:-- left")


def test_a_counter_prints_a_line_each_half_minute_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 10.0, 31.0, 40.0, 90.0])
    with progress.counter("distill", "updates", clock=lambda: next(times)) as count:
        for done in (100, 250, 300, 1_000):
            count(done, 1_000)
    assert capsys.readouterr().err.splitlines() == [
        "distill  25 %  0:01:33 left  250/1,000 updates",  # 750 updates at 250 in 31 seconds
        "distill  100 %  1,000/1,000 updates",
    ]


def test_a_counter_that_never_counted_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counter("collect", "sequences"):
        pass
    assert capsys.readouterr().err == ""
