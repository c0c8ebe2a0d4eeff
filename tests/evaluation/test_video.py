"""The film is read back by ffmpeg: as many frames, of the size, in the colours that went in."""

import imageio_ffmpeg
import numpy as np
import pytest

from meme57.errors import VideoError
from meme57.evaluation.video import write_video


def read_back(path):
    """The film's metadata and its frames [T, H, W, 3]."""
    reader = imageio_ffmpeg.read_frames(str(path))
    metadata = next(reader)
    width, height = metadata["size"]
    frames = np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])
    return metadata, frames


def test_colour_film_has_its_frames_size_speed_and_colours(tmp_path):
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
    frames = (np.full((210, 160, 3), colours[t // 4], np.uint8) for t in range(12))
    path = write_video(tmp_path / "deep" / "film.mp4", frames, frames_per_second=15.0)
    assert path == tmp_path / "deep" / "film.mp4"
    metadata, film = read_back(path)
    assert film.shape == (12, 210, 160, 3)
    assert metadata["codec"] == "h264"
    assert metadata["pix_fmt"].startswith("yuv420p")
    assert metadata["fps"] == pytest.approx(15.0)
    for t in (1, 5, 9):
        np.testing.assert_allclose(film[t, 105, 80], colours[t // 4], atol=12)
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]


def test_grey_frames_are_scaled_by_pixels_and_padded_to_even_sizes(tmp_path):
    frame = np.zeros((7, 9), np.uint8)
    frame[:, 5:] = 255
    path = write_video(tmp_path / "grey.mp4", [frame] * 5, frames_per_second=4, scale=3)
    _, film = read_back(path)
    assert film.shape == (5, 22, 28, 3)  # 7 * 3 = 21 and 9 * 3 = 27, each one more to be even
    assert film[2, 10, 14].max() < 40  # the edge lies at 5 * 3 = 15, and is not blurred
    assert film[2, 10, 15].min() > 215
    assert film[2, 21].max() < 40  # the padding is black
    assert film[2, :, 27].max() < 40


def test_the_index_comes_first_so_that_a_browser_can_start(tmp_path):
    path = write_video(tmp_path / "film.mp4", [np.zeros((16, 16), np.uint8)] * 3, frames_per_second=15)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_failure_leaves_the_old_film_and_nothing_else(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")

    def frames():
        yield np.zeros((16, 16, 3), np.uint8)
        raise RuntimeError("the game crashed")

    with pytest.raises(RuntimeError, match="crashed"):
        write_video(path, frames(), frames_per_second=15)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames for film.mp4"),
        ([np.zeros((16, 16, 4), np.uint8)], r"\(16, 16, 4\)"),
        ([np.zeros((16, 16), np.uint8), np.zeros((16, 18), np.uint8)], r"\(16, 18\)"),
        ([np.zeros((16, 16), np.float32)], "float32"),
        ([np.zeros((3, 16, 16), np.uint8)], r"\(3, 16, 16\)"),
        ([None], "a frame is None"),  # what an environment without pictures draws
        ([np.str_("+--+")], "a frame is .*: a video needs arrays"),
    ],
)
def test_impossible_frames_are_named(tmp_path, frames, message):
    with pytest.raises(VideoError, match=message):  # which costs a run its film and nothing else
        write_video(tmp_path / "film.mp4", frames, frames_per_second=15)
    assert not list(tmp_path.iterdir())
