"""What cannot be written is one line, and what was there before is whole."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from meme57 import files
from meme57.checkpoints.tensors import save_tensors
from meme57.errors import CheckpointError, StorageError
from meme57.files import read_json, write_bytes, write_json


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_names_folder_and_free_space_and_leaves_the_old_file(tmp_path, monkeypatch, failing: str) -> None:
    path = write_json(tmp_path / "a.json", {"old": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, failing, full)
    with pytest.raises(
        StorageError, match=r"a\.json cannot be written \(No space left on device; [\d,]+ MiB free in /"
    ) as e:
        write_json(path, {"new": 2})
    assert "\n" not in str(e.value)
    assert "what was stored before is whole" in str(e.value)
    assert read_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_real_limit_of_the_system(tmp_path) -> None:
    """RLIMIT_FSIZE: the kernel itself refuses to write more than 4 KiB to a file."""
    code = (
        "import pathlib, sys; from meme57.errors import StorageError; from meme57.files import write_bytes\n"
        "try: write_bytes(pathlib.Path(sys.argv[1]), bytes(1 << 20))\n"
        "except StorageError as error: print(error); sys.exit(7)"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    write_bytes(tmp_path / "large", b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "File too large" in done.stdout
    assert (tmp_path / "large").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_place_of_a_folder(tmp_path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"taken/sub/a\.json cannot be written"):
        write_json(Path(tmp_path / "taken" / "sub" / "a.json"), 1)


def test_what_cannot_be_read_now_is_not_called_damaged(tmp_path) -> None:
    """No file can be opened: the content is whole, so nothing may be made anew in its place."""
    path = write_json(tmp_path / "a.json", {"old": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(StorageError, match=r"a\.json cannot be read \(Too many open files\)"):
            read_json(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_json(path) == {"old": 1}
    for absent in (tmp_path / "b.json", tmp_path, path / "c.json"):
        with pytest.raises(CheckpointError):
            read_json(absent)


@pytest.mark.parametrize("content", ['"\\ud800"', '{"a": ["x\\udfff"]}', '{"\\ud83d": 1}', '"\\uDE00\\uD83D"'])
def test_half_a_character_is_damage(tmp_path: Path, content: str) -> None:
    """It can be read and not be written: a page with it was once a traceback."""
    path = tmp_path / "value.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"value\.json is damaged: .*surrogates not allowed") as info:
        read_json(path)
    assert str(info.value).isascii()


def test_escaped_characters_are_none(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text('"\\ud83d\\ude00 \\u00e9 \\\\ud800"')
    assert read_json(path) == "😀 é \\ud800"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_weights_have_the_mode_of_the_files_beside_them(tmp_path: Path, umask: int, mode: int) -> None:
    """The writer of safetensors makes files that nobody else may read."""
    before = os.umask(umask)
    try:
        text = write_json(tmp_path / "agent.json", {})
        weights = save_tensors({"bias": torch.zeros(1)}, tmp_path / "network.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(weights.stat().st_mode) == stat.S_IMODE(text.stat().st_mode) == mode
