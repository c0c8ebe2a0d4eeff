"""Write frames to an H.264 file that every browser plays."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meme57.errors import VideoError, first_line
from meme57.files import write_atomically
from meme57.stopping import kept_from_children

Frame = NDArray[np.uint8]
CONSTANT_RATE_FACTOR = 18
"""H.264's quality: visually lossless, and only kilobytes per second for an Atari game."""
PATIENCE_SECONDS = 10.0
"""Time that ffmpeg has to print its version."""
REMEDY = "`pip install --force-reinstall imageio-ffmpeg` brings one, or set IMAGEIO_FFMPEG_EXE to one that works"


def write_video(
    path: Path, frames: Iterable[Frame], *, frames_per_second: float, scale: int = 1, comment: str = ""
) -> Path:
    """Write `frames` as mp4 (H.264, yuv420p, faststart), atomically, and return `path`.

    Args:
        path: the file; its folder is created.
        frames: uint8 `[H, W, 3]` (RGB) or `[H, W]` (grey), all of one shape; only one is in memory at a time.
        frames_per_second: speed of the film; 60 / frame skip shows an Atari game at its own speed.
        scale: every pixel becomes a block of scale x scale. Odd sizes get one black row or column, since the format
            needs even sizes.
        comment: stored in the file, such as the weights that play.

    Raises:
        VideoError: no frames, frames of another kind or of several shapes, or the encoder is missing or failed. After
            any error there is no file at `path`.
    """
    program = find_ffmpeg()  # before the first frame is played
    stream = iter(frames)
    try:
        first = next(stream)
    except StopIteration:
        raise VideoError(f"no frames for {path.name}: record at least one step.") from None
    if not isinstance(first, np.ndarray):
        raise VideoError(f"a frame is {first!r}: a video needs arrays, [H, W, 3] or [H, W].")
    if not (first.ndim == 2 or (first.ndim == 3 and first.shape[2] == 3)):
        raise VideoError(f"a frame is {first.shape}: a video needs [H, W, 3] or [H, W].")
    pictures = itertools.chain([first], stream)
    options = _output_options(scale, comment)
    return write_atomically(
        path, lambda temporary: _encode(temporary, first, pictures, frames_per_second, options, program)
    )


def find_ffmpeg() -> str:
    """Find the ffmpeg that writes films, and check that it starts; return its path.

    Raises:
        VideoError: there is no ffmpeg, or it does not work.
    """
    program = "imageio-ffmpeg"
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([program, "-version"], capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise VideoError(f"ffmpeg ({program}) does not work: {first_line(error)}: {REMEDY}") from error
    return str(program)


def _encode(
    path: Path, first: Frame, frames: Iterable[Frame], frames_per_second: float, options: list[str], program: str
) -> None:
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        first.shape[1::-1],
        pix_fmt_in="rgb24" if first.ndim == 3 else "gray",
        pix_fmt_out="yuv420p",
        fps=frames_per_second,
        quality=None,
        codec="libx264",
        macro_block_size=1,  # otherwise ffmpeg stretches odd sizes; the filter below pads them
        ffmpeg_log_level="error",
        output_params=options,
    )
    with kept_from_children():
        writer.send(None)
    num_frames = 0
    try:
        for frame in frames:
            writer.send(_checked(frame, first))
            num_frames += 1
    except OSError as error:
        raise VideoError(f"ffmpeg ({program}) stopped at frame {num_frames}: {first_line(error)}: {REMEDY}") from error
    finally:
        writer.close()
    _check_whole(path, num_frames, program)


def _check_whole(path: Path, num_frames: int, program: str) -> None:
    """Count the file's frames, since the encoder's exit status is lost (a full disk looks like success)."""
    import imageio_ffmpeg

    try:
        with kept_from_children():
            written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except (OSError, RuntimeError):
        written = 0
    if written != num_frames:
        raise VideoError(
            f"ffmpeg ({program}) wrote {written} of {num_frames} frames: is there space left on the disk? Else {REMEDY}"
        )


def _output_options(scale: int, comment: str) -> list[str]:
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"
    picture = f"scale=iw*{scale}:ih*{scale}:flags=neighbor,{even}"
    quality, metadata = ["-crf", str(CONSTANT_RATE_FACTOR)], ["-metadata", f"comment={comment}"]
    return ["-vf", picture, *quality, "-movflags", "+faststart", *metadata, "-f", "mp4"]


def _checked(frame: Frame, first: Frame) -> Frame:
    if frame.shape != first.shape:
        raise VideoError(f"a frame is {frame.shape}, the first was {first.shape}: a video needs frames of one size.")
    if frame.dtype != np.uint8:
        raise VideoError(f"a frame is {frame.dtype}: a video needs uint8 frames.")
    return np.ascontiguousarray(frame)
