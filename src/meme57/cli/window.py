"""A window that shows frames at the game's own speed; it uses the toolkit that comes with Python."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from meme57.errors import Meme57Error

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SCALE = 3


def show_frames(frames: Iterable[npt.NDArray[np.uint8]], *, frames_per_second: float, title: str) -> None:
    """Show `frames` until they end or the window is closed.

    Raises:
        Meme57Error: there is no display, or Python was built without tkinter.
    """
    try:
        import tkinter

        window = tkinter.Tk()
    except Exception as error:  # ImportError or TclError, which exists only where tkinter does
        raise Meme57Error(f"no window can be opened here ({error}): `--video FILE.mp4` writes a film instead") from None
    window.title(title)
    label = tkinter.Label(window)
    label.pack()
    try:
        for frame in frames:
            started = time.perf_counter()
            picture = tkinter.PhotoImage(data=portable_pixmap(frame)).zoom(SCALE)
            label.configure(image=picture)
            window.update()
            time.sleep(max(0.0, 1.0 / frames_per_second - (time.perf_counter() - started)))
    except tkinter.TclError:  # the window was closed
        return
    window.destroy()


def portable_pixmap(frame: npt.NDArray[np.uint8]) -> bytes:
    """Encode a frame [H, W, 3] or [H, W] as binary PPM or PGM, which Tk reads."""
    height, width = frame.shape[:2]
    kind = "P6" if frame.ndim == 3 else "P5"
    return f"{kind} {width} {height} 255\n".encode() + frame.tobytes()
