"""meme57 ui: start the three dashboards on loopback, until Ctrl-C."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from meme57.cli.options import project_folder, run_option
from meme57.errors import Meme57Error, TrackingError

HOST = "127.0.0.1"
START_SECONDS = 90.0
END_SECONDS = 10.0
SECONDS_BETWEEN = 0.2
FREE_PORTS = range(20_000, 49_152)
"""Kedro-Viz accepts no port above this one."""

Commands = dict[str, list[str]]


@click.command()
@run_option(help="The run whose tables and plots Kedro-Viz shows; by default the one that was set up last.")
@click.option("--no-mlflow", is_flag=True, help="Without MLflow.")
@click.option("--no-viz", is_flag=True, help="Without Kedro-Viz.")
@click.option("--no-optuna", is_flag=True, help="Without the dashboard of the newest study.")
def ui(run: str | None, no_mlflow: bool, no_viz: bool, no_optuna: bool) -> None:
    """Start the dashboards and print their links.

    Starts MLflow, Kedro-Viz and Optuna's dashboard of the newest study, on loopback only. Ctrl-C ends them.
    """
    from meme57.tracking.overview import known_run, newest_run

    project = project_folder()
    shown = newest_run(project) if run is None else known_run(project, run)
    commands = dashboard_commands(project, shown, mlflow=not no_mlflow, viz=not no_viz, optuna=not no_optuna)
    if not commands:
        raise Meme57Error("nothing to show: every part was switched off or is not there")
    with running(commands, project) as links:
        for name, link in links.items():
            view = training_view(project) if name == "MLflow" else ""
            of = f"  ({shown})" if name == "Kedro-Viz" and shown else ""
            click.echo(f"{name:<10}  {link}{view}{of}")
        click.echo("Ctrl-C ends them.")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def dashboard_commands(project: Path, run: str | None, *, mlflow: bool, viz: bool, optuna: bool) -> Commands:
    """Build the command of each dashboard that can be shown, on a free port; print which ones cannot.

    Where MLflow is a server, it needs no command: its link is printed.
    """
    commands: Commands = {}
    if mlflow:
        with _said("MLflow"):
            uri = _store_uri(project)
            if uri.startswith(("http://", "https://")):
                click.echo(f"{'MLflow':<10}  {uri}{training_view(project)}")
            else:
                commands["MLflow"] = _module(
                    "mlflow", "ui", "--host", HOST, "--workers", "1", "--backend-store-uri", uri, "--port"
                )
    if viz and _installed("kedro_viz", "Kedro-Viz"):
        shown = [] if run is None else ["--params", f"run.name='{run}'"]  # a name may be 007
        commands["Kedro-Viz"] = _module(
            "meme57.cli.viz", "viz", "run", *shown, "--host", HOST, "--no-browser", "--port"
        )
    if optuna and _installed("optuna_dashboard", "Optuna"):
        with _said("Optuna"):
            commands["Optuna"] = _optuna(project)
    return {name: [*command, str(free_port())] for name, command in commands.items()}


def _store_uri(project: Path) -> str:
    from meme57.api.store import existing_store

    return existing_store(project).uri


def training_view(project: Path) -> str:
    """Return the part of MLflow's link that opens the runs of the newest experiment; empty if there is none.

    Without it MLflow opens a page about traces, which are of language models.
    """
    from meme57.api.store import existing_store
    from meme57.tracking.store import newest_experiment

    found = newest_experiment(existing_store(project).client())
    return "" if found is None else f"/#/experiments/{found}/runs?workflowType=machine_learning"


def _optuna(project: Path) -> list[str]:
    found = sorted(project.glob("data/07_model_output/tune-*/study.journal"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise Meme57Error("no study here yet, `kedro run --pipelines tune` makes one")
    dashboard = "from optuna_dashboard._cli import main; main()"
    server = ("--server", "wsgiref")  # the other server, gunicorn, makes a folder under HOME
    return [sys.executable, "-c", dashboard, str(found[-1]), *server, "--host", HOST, "--port"]


@contextlib.contextmanager
def running(commands: Commands, project: Path) -> Iterator[dict[str, str]]:
    """Start the servers and yield name -> link once all answer; end them and all that they started.

    Raises:
        TrackingError: a server ends or does not answer.
    """
    with contextlib.ExitStack() as ended, _stopped_by_signals():
        children = {}
        for name, command in commands.items():
            children[name] = _start(command, project)
            ended.callback(_end, children[name])
        for name, child in children.items():
            _wait(name, child, commands[name])
        yield {name: f"http://{HOST}:{command[-1]}" for name, command in commands.items()}


def free_port() -> int:
    """Find a free port of the loopback interface."""
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise Meme57Error(f"every port from {FREE_PORTS[0]} to {FREE_PORTS[-1]} is taken: end what listens on them")


def _start(command: list[str], project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # its own process group: its workers end with it, and we pass Ctrl-C on
    )


def _wait(name: str, child: subprocess.Popen[bytes], command: list[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise TrackingError(f"{name} ended with status {child.returncode}: `{' '.join(command)}` says why")
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, int(command[-1])), timeout=1).close()
            return
        time.sleep(SECONDS_BETWEEN)
    raise TrackingError(
        f"{name} did not answer within {START_SECONDS:g} s: `meme57 ui --no-{name.lower()}` leaves it out"
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # processes that its leader left behind
    child.wait()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the servers like Ctrl-C; nohup still ignores a closed terminal."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _said(name: str) -> Iterator[None]:
    try:
        yield
    except Meme57Error as error:
        click.echo(f"{name:<10}  not shown: {error}")


def _installed(module: str, name: str) -> bool:
    there = importlib.util.find_spec(module) is not None
    if not there:
        click.echo(f"{name:<10}  not shown: not installed (pip install 'meme57[viz]')")
    return there


def _module(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]
