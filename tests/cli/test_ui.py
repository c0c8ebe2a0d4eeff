"""`meme57 ui`: real servers on loopback, and none of them left after Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from meme57.cli.ui import Commands, _stopped_by_signals, free_port, running, training_view
from meme57.errors import Meme57Error, TrackingError
from meme57.files import write_json
from meme57.tracking.overview import run_folder
from meme57.tracking.run_record import record_path
from meme57.tracking.store import create_store, experiment_id


def _processes() -> Iterator[tuple[str, int, int]]:
    """State, parent and process group of every process there is."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, group = path.read_text().rpartition(")")[2].split()[:3]
            yield state, int(parent), int(group)


def _groups_below(pid: int) -> set[int]:
    """Process groups of the children of `pid`."""
    return {group for _, parent, group in _processes() if parent == pid}


def _is_alive(group: int) -> bool:
    """Whether a process of the group runs; the dead ones whose parent has not looked yet do not."""
    return any(found == group and state not in "ZX" for state, _, found in _processes())


@contextmanager
def dashboards(
    folder: Path, environment: dict[str, str], *options: str
) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """The command once its servers answer, and its links."""
    command = [sys.executable, "-c", "from meme57.cli import main; main()", "ui", *options]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    links = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.fullmatch(r"(\S+) +(http://127\.0\.0\.1:\d+)(/#\S+)?(?:  \(\S+\))?\n", line):
                links[found[1]] = found[2]
            if line.startswith("Ctrl-C"):
                break
        yield process, links
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_mlflow_answers_on_loopback_and_goes_with_ctrl_c(empty: Path, environment: dict[str, str]) -> None:
    project = empty / "a%20b?c#d"
    project.mkdir()
    (empty / "pyproject.toml").rename(project / "pyproject.toml")
    number = experiment_id(create_store(project), "of this project")
    assert training_view(project) == f"/#/experiments/{number}/runs?workflowType=machine_learning"
    with dashboards(project, environment, "--no-viz", "--no-optuna") as (process, links):
        assert set(links) == {"MLflow"}
        assert b"MLflow" in urllib.request.urlopen(links["MLflow"], timeout=60).read()
        assert MlflowClient(links["MLflow"]).get_experiment_by_name("of this project") is not None
        groups = _groups_below(process.pid)
        assert len(groups) == 1
    assert process.returncode == 0
    assert not any(_is_alive(group) for group in groups)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(links["MLflow"].rpartition(":")[2])), timeout=2)


def test_kedro_viz_takes_every_free_port() -> None:
    from kedro_viz.launchers.utils import _find_available_port

    assert all(_find_available_port("127.0.0.1", port) == port for port in {free_port() for _ in range(30)})


@pytest.mark.slow
def test_all_three_answer_and_go(here: Path, environment: dict[str, str]) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    here = here.rename(here.with_name("a%20b?c#d"))
    study = here / "data" / "07_model_output" / "tune-Pong"
    study.mkdir()
    optuna.create_study(storage=JournalStorage(JournalFileBackend(str(study / "study.journal"))), study_name="Pong")
    with dashboards(here, environment) as (process, links):
        assert set(links) == {"MLflow", "Kedro-Viz", "Optuna"}
        for link in links.values():
            assert urllib.request.urlopen(link, timeout=60).status == 200
        assert len(_previewed_curve(links["Kedro-Viz"])) > 0
        groups = _groups_below(process.pid)
        assert len(groups) == 3
    assert not any(_is_alive(group) for group in groups)


def _previewed_curve(link: str) -> list[object]:
    """The rows of the learning curve that Kedro-Viz shows."""

    def read(path: str) -> Any:
        return json.loads(urllib.request.urlopen(f"{link}/api/{path}", timeout=60).read())

    [node] = [node["id"] for node in read("main")["nodes"] if node["name"] == "learning_curve"]
    rows: list[object] = read(f"nodes/{node}")["preview"]["data"]
    return rows


@pytest.mark.parametrize(("options", "shown"), [(("--run", "named"), -7.0), ((), -21.0)], ids=["named", "newest"])
def test_kedro_viz_previews_the_run_that_is_named(
    project: Any, meme57, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], shown: float
) -> None:
    """Up to the server, which is slow: the command that would start it, and the loader that it calls."""
    from kedro.framework.cli.utils import _split_params
    from kedro_viz.integrations.kedro.data_loader import load_data

    for seconds, (name, value) in enumerate({"named": -7.0, "newest": -21.0}.items()):
        write_json(record_path(project.folder, name), {})
        os.utime(record_path(project.folder, name), (seconds, seconds))
        curve = run_folder(project.folder, "reporting", name) / "learning_curve.csv"
        curve.parent.mkdir(parents=True)
        curve.write_text(f"frames,episodes/return\n100,{value}\n")
    monkeypatch.chdir(project.folder)
    started: list[list[str]] = []

    def start_nothing(commands: Commands, folder: Path) -> None:
        started.extend(commands.values())
        raise Meme57Error("nothing is started")

    monkeypatch.setattr("meme57.cli.ui.running", start_nothing)
    meme57("ui", "--no-mlflow", "--no-optuna", *options)
    [command] = started
    given = _split_params(None, None, command[command.index("--params") + 1])
    catalog, *_ = load_data(project.folder, package_name="meme57", extra_params=given)
    assert catalog["learning_curve"].preview()["data"] == [[100, shown]]


def test_an_unknown_run_is_one_line(empty: Path, meme57) -> None:
    result = meme57("ui", "--run", "Pong-s9")
    assert result.exit_code == 1
    assert "there is no run 'Pong-s9': no run is set up here yet" in result.output


def test_a_server_that_ends_at_once_takes_the_others_with_it(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", str(free_port())]
    before = _groups_below(os.getpid())
    commands = {"Broken": [sys.executable, "-c", "raise SystemExit(3)", str(free_port())], "Sleeper": sleeper}
    with pytest.raises(TrackingError, match="Broken ended with status 3"), running(commands, tmp_path):
        pass
    assert _groups_below(os.getpid()) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_ends_the_servers_too(number: int) -> None:
    """They have groups of their own, so nobody else would tell them."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), _stopped_by_signals():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
