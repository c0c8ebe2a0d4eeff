"""Showing progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from meme57.learning.trainer import TrainingEvent


def show_progress(events: Iterable[TrainingEvent], *, total_frames: int, title: str) -> Iterator[TrainingEvent]:
    """Pass events through and show frames, speed, updates, last returns and the time left."""
    if not sys.stderr.isatty():
        for event in events:
            if line := describe_event(event, total_frames):
                print(f"{title}  {line}", file=sys.stderr, flush=True)
            yield event
        return
    with progress_bar() as progress:
        task = progress.add_task(title, total=total_frames, detail="")
        for event in events:
            line = describe_event(event, total_frames)
            progress.update(task, completed=event.frames)
            if line:
                progress.update(task, detail=line.split("  ", 1)[-1])
            if event.checkpoint is not None:
                progress.console.print(f"[dim]{title}  saved {event.checkpoint.name}  {line}[/]", highlight=False)
            yield event


@contextmanager
def counter(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that moves a bar on a terminal; elsewhere print one line at the end."""
    if not sys.stderr.isatty():
        last = [0, 0]
        yield lambda done, total: last.__setitem__(slice(None), [done, total])
        if last[1]:
            print(f"{title}  {last[0]:,}/{last[1]:,} {unit}", file=sys.stderr, flush=True)
        return
    with progress_bar() as progress:
        task = progress.add_task(title, total=None, detail="")
        yield lambda done, total: progress.update(
            task, completed=done, total=total, detail=f"{done:,}/{total:,} {unit}"
        )


def progress_bar() -> Progress:
    """Make a bar with elapsed and remaining time, on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True),
    )


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
