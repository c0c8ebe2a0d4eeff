"""Showing progress: a bar on a terminal, plain lines elsewhere. Both have percentage and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from meme57.learning.trainer import TrainingEvent

BAR_WIDTH, TITLE_WIDTH = 16, 24
"""Columns of the terminal; with them the first line fits into 80, days of elapsed time included."""
SECONDS_BETWEEN_LINES = 30.0
"""A counter that is no bar prints a line so often."""


def show_progress(events: Iterable[TrainingEvent], *, total_frames: int, title: str) -> Iterator[TrainingEvent]:
    """Pass events through and show percentage, time left, frames, speed, updates and last returns."""
    if not sys.stderr.isatty():
        for event in events:
            if line := describe_event(event, total_frames):
                share = describe_share(event.frames, total_frames, seconds_left(event, total_frames))
                print(f"{title}  {share}  {line}", file=sys.stderr, flush=True)
            yield event
        return
    with progress_bar() as progress:
        task = progress.add_task(title, total=total_frames, detail="", left=None)
        for event in events:
            line = describe_event(event, total_frames)
            progress.update(task, completed=event.frames)
            if line:
                progress.update(task, detail=line, left=seconds_left(event, total_frames))
            if event.checkpoint is not None:
                progress.console.print(f"[dim]{title}  saved {event.checkpoint.name}  {line}[/]", highlight=False)
            yield event


@contextmanager
def counter(
    title: str, unit: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that moves a bar on a terminal; elsewhere it prints a line now and then."""
    if not sys.stderr.isatty():
        lines = _Lines(title, unit, clock)
        yield lines
        lines.end()
        return
    with progress_bar() as progress:
        task = progress.add_task(title, total=None, detail="")
        yield lambda done, total: progress.update(
            task, completed=done, total=total, detail=f"{done:,}/{total:,} {unit}"
        )


class _Lines:
    """What a counter prints where there is no terminal: a line each half minute, and the last one."""

    def __init__(self, title: str, unit: str, clock: Callable[[], float]) -> None:
        self._title, self._unit, self._clock = title, unit, clock
        self._begun = self._printed = clock()
        self._done, self._total = 0, 0

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        now = self._clock()
        if 0 < done < total and now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            self._print(describe_share(done, total, (total - done) * (now - self._begun) / done))

    def end(self) -> None:
        if self._total:
            self._print(describe_share(self._done, self._total, None))

    def _print(self, share: str) -> None:
        count = f"{self._done:,}/{self._total:,} {self._unit}"
        print(f"{self._title}  {share}  {count}", file=sys.stderr, flush=True)


class _TwoLines(Progress):
    """The bar on the first line and the details on the next: neither takes the other's room."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {task.fields['detail']}", style="dim")


class _TimeLeftColumn(ProgressColumn):
    """Seconds from the task's field `left`; without that field, rich's estimate."""

    def render(self, task: Task) -> Text:
        return Text(f"{_clock_time(task.fields.get('left', task.time_remaining))} left", style="progress.remaining")


def progress_bar(console: Console | None = None) -> Progress:
    """Make a bar with percentage, elapsed time and time left, by default on stderr. Tasks need the field `detail`."""
    return _TwoLines(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=TITLE_WIDTH)),
        BarColumn(bar_width=BAR_WIDTH),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _TimeLeftColumn(),
        console=console or Console(stderr=True),
    )


def seconds_left(event: TrainingEvent, total_frames: int) -> float | None:
    """Return the rest of the frames over the speed of the last row, as `meme57 status` does; None if unknown."""
    speed = event.rows[-1]["speed/frames_per_second"] if event.rows else 0.0
    return max(total_frames - event.frames, 0) / speed if speed > 0 else None


def describe_share(done: int, total: int, seconds: float | None) -> str:
    """Return percentage and time left, such as `33 %  0:00:35 left`; no time at the end or if it is unknown."""
    share = f"{min(100 * done // total, 100)} %"
    return share if seconds is None or done >= total else f"{share}  {_clock_time(seconds)} left"


def describe_event(event: TrainingEvent, total_frames: int) -> str:
    """Return one line: frames, frames/s, updates, returns; empty when there is nothing new."""
    if not event.rows:
        return ""
    row = event.rows[-1]
    parts = [
        f"{event.frames:,}/{total_frames:,} frames",
        f"{row['speed/frames_per_second']:,.0f} frames/s",
        f"{event.updates:,} updates",
    ]
    if "episodes/return" in row:
        parts.append(f"return {row['episodes/return']:.1f}")
    if "episodes/return_exploit" in row:
        parts.append(f"exploiting {row['episodes/return_exploit']:.1f}")
    if "evaluation/return" in row:
        parts.append(f"evaluated {row['evaluation/return']:.1f}")
    return "  ".join(parts)


def _clock_time(seconds: float | None) -> str:
    """Return hours, minutes and seconds as 1:02:03."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
