"""Which environment applies, what it extends, and where it lies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_registry

from meme57.config import Parameters, load_parameters, parse_parameters
from meme57.errors import ConfigurationError
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.hooks.one_line import OneLineError
from meme57.settings import CONFIG_LOADER_ARGS

Go = Callable[..., None]


def loader(project: Path, name: str | None = None, **parameters: Any) -> ProjectConfigLoader:
    return ProjectConfigLoader(project / "conf", env=name, runtime_params=parameters, **CONFIG_LOADER_ARGS)


def parameters(project: Path, name: str | None = None, **given: Any) -> Parameters:
    return load_parameters(loader(project, name, **given))


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.yml").write_text(text)
    return folder


def test_without_a_name_the_laptop_applies(project: Path) -> None:
    assert list(loader(project).chain) == ["base", "laptop"]
    assert parameters(project) == parameters(project, "laptop")
    assert parameters(project).env.num_envs == 4


def test_base_alone_is_every_default(project: Path) -> None:
    assert parameters(project, "base") == parse_parameters({})
    assert parameters(project, "base", env={"game": "Pong"}) == parse_parameters({"env": {"game": "Pong"}})


def test_local_takes_the_place_of_the_laptop_and_extends_it(project: Path, caplog) -> None:
    write(project / "conf" / "local", "env: {height: 42}\n")
    assert list(loader(project).chain) == ["base", "laptop", "local"]
    env = parameters(project).env
    assert (env.game, env.num_envs, env.height) == ("Pong", 4, 42)
    assert caplog.records == []


def test_local_may_extend_another(project: Path) -> None:
    write(project / "conf" / "local", "extends: base\nenv: {height: 42}\n")
    assert parameters(project) == parse_parameters({"env": {"height": 42}})


def test_local_without_parameters_is_the_laptop(project: Path) -> None:
    (project / "conf" / "local").mkdir()
    assert parameters(project) == parameters(project, "laptop")


def test_a_chain_is_laid_over_key_by_key(project: Path) -> None:
    write(project / "conf" / "a", "extends: test\nenv: {height: 42}\nsuite: {variants: {x: {loss.kappa: 1.0}}}\n")
    write(project / "conf" / "b", "extends: a\nenv: {width: 21}\n")
    assert list(loader(project, "b").chain) == ["base", "laptop", "test", "a", "b"]
    found = parameters(project, "b", env={"height": 43})
    env = found.env
    assert (env.game, env.num_envs, env.height, env.width, found.run.total_frames) == ("Pong", 2, 43, 21, 1000)
    assert found.suite.variants == {"x": {"loss.kappa": 1.0}}


def test_the_old_name_of_a_parameter_is_laid_over_the_new_one(project: Path) -> None:
    write(project / "conf" / "a", "extends: test\nevaluate: {bandit_policy: false}\n")
    write(project / "conf" / "b", "extends: a\nevaluate: {favourite: true}\n")
    write(project / "conf" / "c", "extends: b\nevaluate: {bandit_policy: false}\n")
    assert [parameters(project, name).evaluate.bandit_policy for name in "abc"] == [False, True, False]
    assert parameters(project, "c", evaluate={"favourite": True}).evaluate.bandit_policy is True
    assert parameters(project, "b", evaluate={"bandit_policy": False}).evaluate.bandit_policy is False


def test_other_files_follow_the_chain(project: Path) -> None:
    entry = "type: meme57.datasets.JsonDataset\n  filepath: {0}.json\n"
    (project / "conf" / "test" / "catalog.yml").write_text("scores:\n  " + entry.format("mine"))
    (project / "conf" / "test" / "mlflow.yml").write_text("server: {mlflow_tracking_uri: 'sqlite:///own.db'}\n")
    write(project / "conf" / "a", "extends: test\n")
    found = loader(project, "a")
    assert found["catalog"]["scores"]["filepath"] == "mine.json"
    assert found["catalog"]["report"]["filepath"] == "data/08_reporting/Pong-s1/report.html"
    assert found["mlflow"]["server"]["mlflow_tracking_uri"] == "sqlite:///own.db"
    assert loader(project)["catalog"]["scores"]["filepath"] == "data/08_reporting/Pong-s1/scores.json"


def test_a_run_takes_the_chain(go: Go, project: Path) -> None:
    write(project / "conf" / "a", "extends: test\nenv: {height: 42}\n")
    go("setup", environment="a")
    env = parse_parameters(toy_registry.received["parameters"]).env
    assert (env.num_envs, env.height) == (2, 42)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": "a"}, "a extends a: "),
        ({"a": "b", "b": "c", "c": "b"}, "b extends c extends b: remove one"),
        ({"a": "lptop"}, r"conf/a extends 'lptop', which is no environment: .* one of a, base, laptop, test$"),
        ({"a": "[x]"}, r"conf/a extends .*, which is no environment"),
    ],
)
def test_a_chain_without_end_is_one_line(project: Path, go: Go, files: dict[str, str], words: str) -> None:
    for name, extended in files.items():
        write(project / "conf" / name, f"extends: {extended}\n")
    with pytest.raises(ConfigurationError, match=words):
        parameters(project, "a")
    with pytest.raises(OneLineError, match=words) as info:
        go("setup", environment="a")
    assert "\n" not in info.value.message


def test_extends_is_no_parameter(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown parameter extends"):
        parameters(project, extends="base")
    write(project / "conf" / "base", "extends: laptop\n")
    with pytest.raises(ConfigurationError, match="unknown parameter extends"):
        parameters(project)


def test_an_older_environment_is_told_its_base_once(project: Path, caplog) -> None:
    write(project / "conf" / "older", "env: {height: 42}\n")
    with caplog.at_level(logging.WARNING):
        assert parameters(project, "older") == parse_parameters({"env": {"height": 42}})
        parameters(project, "older")
    (line,) = caplog.messages
    assert "older has no `extends`, so it extends base, the specification's agent" in line
    assert "write `extends: laptop`" in line
    assert "\n" not in line
    caplog.clear()
    for name in ("laptop", "test", "base"):
        parameters(project, name)
    assert caplog.messages == []


def test_an_experiment_is_an_environment(project: Path, go: Go) -> None:
    folder = write(project / "experiments" / "mine", "extends: test\nenv: {height: 42}\n")
    (folder / "data").mkdir()
    (folder / "catalog.yml").write_text("scores: {type: meme57.datasets.JsonDataset, filepath: mine.json}\n")
    found = loader(project, "mine")
    assert list(found.chain) == ["base", "laptop", "test", "mine"]
    assert (load_parameters(found).env.num_envs, load_parameters(found).env.height) == (2, 42)
    assert found["catalog"]["scores"]["filepath"] == "mine.json"
    write(project / "conf" / "a", "extends: mine\n")
    assert parameters(project, "a") == parameters(project, "mine")
    go("setup", environment="mine")
    assert parse_parameters(toy_registry.received["parameters"]).env.height == 42


def test_the_same_name_in_both_places_is_one_line(project: Path, go: Go) -> None:
    write(project / "experiments" / "test", "extends: laptop\n")
    words = "conf/test and .*experiments/test have the same name: rename one"
    with pytest.raises(OneLineError, match=words) as info:
        go("setup", environment="test")
    assert "\n" not in info.value.message
    assert parameters(project).env.num_envs == 4  # the others are not touched


def test_an_unknown_name_lists_both_places(project: Path) -> None:
    write(project / "experiments" / "mine", "extends: laptop\n")
    with pytest.raises(ConfigurationError, match=r"no environment 'nope'.* one of base, laptop, mine, test$"):
        parameters(project, "nope")


def test_an_experiment_lies_in_a_folder_that_is_no_pattern(project: Path) -> None:
    for name, height in (("a?b", 42), ("axb", 43)):
        write(project / name / "conf" / "base", "")
        write(project / name / "experiments" / "mine", f"extends: base\nenv: {{height: {height}}}\n")
    assert parameters(project / "a?b", "mine").env.height == 42
