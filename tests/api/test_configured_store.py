"""The store that commands use: `conf/base/mlflow.yml`, whatever is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from meme57.api.store import configured_store
from meme57.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "conf" / "base").mkdir(parents=True)
    return tmp_path / "conf" / "base" / "mlflow.yml"


@pytest.mark.parametrize("text", ["", "server:", "server: {mlflow_tracking_uri: null}", "tracking: {run: {name: a}}"])
def test_nothing_is_configured(file: Path, text: str) -> None:
    assert configured_store(file.parents[2]) is None
    file.write_text(text)
    assert configured_store(file.parents[2]) is None


def test_an_address_is_text(file: Path) -> None:
    file.write_text("server: {mlflow_tracking_uri: 'sqlite:///own.db'}")
    assert configured_store(file.parents[2]) == "sqlite:///own.db"
    file.write_text("server: {mlflow_tracking_uri: 3}")
    assert configured_store(file.parents[2]) == "3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"server: [", r"mlflow\.yml cannot be read: .*expected"),
        (b"server: \xff", r"mlflow\.yml cannot be read: .*utf-8"),
        (b"- a", r"conf/base/mlflow\.yml: \['a'\] is not a group: write `server: \.\.\.`"),
        (b"server: x", r"server='x' is not a group: write `server: {mlflow_tracking_uri: \.\.\.}`"),
    ],
)
def test_a_damaged_file_is_one_line(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        configured_store(file.parents[2])
    assert "\n" not in str(caught.value)


def test_a_run_without_env_and_the_commands_read_the_same_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("server: {mlflow_tracking_uri: 'sqlite:///own.db'}")
    for name in ("laptop", "local"):
        folder = file.parents[1] / name
        folder.mkdir()
        (folder / "mlflow.yml").write_text(f"server: {{mlflow_tracking_uri: 'sqlite:///{name}.db'}}")
        assert configured_store(file.parents[2]) == f"sqlite:///{name}.db"
    (folder / "mlflow.yml").write_text("server: {mlflow_tracking_uri: '${env:MY_STORE}'}")
    with pytest.raises(ConfigurationError, match="MY_STORE is not set"):
        configured_store(file.parents[2])
    monkeypatch.setenv("MY_STORE", "http://127.0.0.1:5000")
    assert configured_store(file.parents[2]) == "http://127.0.0.1:5000"
    (folder / "mlflow.yml").write_text("server: {mlflow_tracking_uri: 'http://${env:HOST_NAME, here}:1'}")
    assert configured_store(file.parents[2]) == "http://here:1"
