"""Every command that the README and the docs show can be typed: options, pipelines, environments, parameters exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import configure_project, pipelines

from meme57 import cli
from meme57.config import load_parameters
from meme57.config.parameters import Parameters
from meme57.errors import Meme57Error
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.learning import __main__ as learning_command
from meme57.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("*.md")])]
PROGRAMS = ("kedro", "meme57", "make", "python", "dvc", "mlflow", "optuna-dashboard")
OTHERS = {
    "source",
    "export",
    "mount",
    "xdg-open",
    "chromium",
    "curl",
    "pip",
    "ray",
    "git",
    "docker",
    "kubectl",
    "cd",
    "sbatch",
    "tensorboard",
}
"""Programs of others, whose options are theirs."""
PLACEHOLDER = re.compile(r"\.\.\.|<[a-z]|\b[A-Z]{4,}\b(?!=)")


def shown(page: Path) -> Iterator[str]:
    """Lines of bash blocks with their continuations joined, and code spans that begin with a program of ours."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        block = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", block, flags=re.DOTALL | re.MULTILINE)
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", prose):
        if span.split()[0] in PROGRAMS and " " in span:
            yield span


def words(command: str) -> list[str]:
    """Without comment, prompt and settings in front; `.venv/bin/` and `python -m kedro` are what they stand for."""
    parts = shlex.split(command, comments=True)
    while parts and (re.fullmatch(r"[A-Z_]+=.*", parts[0]) or parts[0] == "$"):
        parts = parts[1:]
    if parts:
        parts[0] = parts[0].removeprefix(".venv/bin/")
    return parts[2:] if parts[:3] == ["python", "-m", "kedro"] else parts


COMMANDS = sorted({(page.name, line.strip()) for page in PAGES for line in shown(page) if words(line)})


def check(parts: list[str]) -> None:
    """Raises what the command would say."""
    program, *arguments = parts
    if program == "kedro" and arguments[:1] == ["run"]:
        check_run(arguments[1:])
    elif program == "kedro":
        assert arguments[0] in ("registry", "viz", "catalog", "ipython", "jupyter"), arguments
    elif program == "meme57":
        check_click(cli.main, arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in arguments if "=" not in word and word not in targets] == []
    elif program == "python":
        check_python(arguments)
    elif program == "dvc":
        check_dvc(arguments)
    else:
        assert program in {*OTHERS, *PROGRAMS}, f"nobody checks {program}"


def check_run(arguments: list[str]) -> None:
    with kedro_run.make_context("run", arguments) as context:
        given = context.params
    names = given["pipelines"] or []
    assert [name for name in names if name not in dict(pipelines)] == []
    environment = given["env"] or "laptop"
    if environment.startswith("tuned-"):  # the user's own, made by `tune`
        environment = "laptop"
    check_parameters(environment, given["params"] or {})


def check_parameters(environment: str, parameters: dict[str, Any]) -> Parameters:
    loader = ProjectConfigLoader(str(ROOT / "conf"), env=environment, runtime_params=parameters, **CONFIG_LOADER_ARGS)
    return load_parameters(loader)


def check_click(command: click.Command, arguments: list[str]) -> None:
    """Goes down to the subcommand and lets it read its options; `--help` ends there."""
    if not isinstance(command, click.Group) or not arguments or arguments[0].startswith("-"):
        try:
            command.make_context(str(command.name), arguments)
        except click.exceptions.Exit:
            return
        return
    context = click.Context(command)
    inner = command.get_command(context, arguments[0])
    assert inner is not None, f"no command {arguments[0]}"
    check_click(inner, arguments[1:])


def check_python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        assert arguments[1] in ("build", "meme57.learning", "mkdocs", "pytest"), arguments
        if arguments[1] == "meme57.learning" and "--help" not in arguments:
            learning_command._parameters(learning_command._parser().parse_args(arguments[2:]))
    elif arguments[0] not in ("-c", "-"):
        assert (ROOT / arguments[0]).exists(), f"no file {arguments[0]}"


def check_dvc(arguments: list[str]) -> None:
    assert arguments[0] in ("repro", "exp", "metrics", "plots", "params", "status", "dag", "push", "pull"), arguments
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    if arguments[0] == "repro":
        targets = [word for word in arguments[1:] if not word.startswith("-")]
        assert [word for word in targets if word not in stages and not (ROOT / word).is_file()] == []
    for position, word in enumerate(arguments):
        if word in ("-S", "--set-param"):
            check_parameters("laptop", nested(arguments[position + 1].rpartition(":")[2]))


def nested(assignment: str) -> dict[str, Any]:
    name, _, value = assignment.partition("=")
    tree: Any = yaml.safe_load(value)
    for part in reversed(name.split(".")):
        tree = {part: tree}
    return dict(tree)


@pytest.fixture(scope="module", autouse=True)
def project() -> None:
    configure_project("meme57")
    pipelines.set_requested(None)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda part: part[:60])
def test_command_can_be_typed(page: str, command: str) -> None:
    if not PLACEHOLDER.search(command):
        check(words(command))


def test_most_commands_are_checked() -> None:
    whole = [command for _, command in COMMANDS if not PLACEHOLDER.search(command)]
    assert len(whole) > 60
    assert len(whole) > 0.8 * len(COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        "kedro run --params env.gmae=Pong",
        "kedro run --params env.game=Pnog",
        "kedro run --params learner.batch_size=0",
        "kedro run --pipelines lern",
        "kedro run --env tset",
        "kedro run --parms env.game=Pong",
        "meme57 dcotor",
        "meme57 doctor --quick-and-dirty",
        "make rnu",
        "python benchmarks/bench_none.py",
        "python -m meme57.learning --set env.gmae=Pong",
        "dvc repro lern",
        "dvc exp run -S conf/laptop/parameters.yml:evaluate.episods=3",
        "rm -rf /",
    ],
)
def test_a_command_that_cannot_be_typed_is_noticed(command: str) -> None:
    with pytest.raises((AssertionError, Meme57Error, click.ClickException, SystemExit)):
        check(words(command))
