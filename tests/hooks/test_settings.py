from __future__ import annotations

import subprocess
import sys

import pytest
from kedro.framework.project import pipelines
from omegaconf import OmegaConf

from meme57.config.variables import environment_variable
from meme57.errors import ConfigurationError
from meme57.settings import CONFIG_LOADER_ARGS


def test_kedro_starts_without_mlflow_and_torch() -> None:
    script = "import sys, meme57.settings, meme57.pipeline_registry; print({'mlflow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_environment_variable_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEME57_SET", "here")
    monkeypatch.delenv("MEME57_UNSET", raising=False)
    assert environment_variable("MEME57_SET") == "here"
    assert environment_variable("MEME57_UNSET", "default") == "default"
    with pytest.raises(ConfigurationError, match="export MEME57_UNSET="):
        environment_variable("MEME57_UNSET")


def test_resolver_is_registered_for_configuration_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEME57_SET", "here")
    resolver = CONFIG_LOADER_ARGS["custom_resolvers"]["env"]  # type: ignore[index]
    OmegaConf.register_new_resolver("env", resolver, replace=True)
    assert OmegaConf.create({"a": "${env:MEME57_SET}", "b": "${env:NO_SUCH,x}"})["a"] == "here"


def test_default_pipeline_is_the_flow_without_tuning() -> None:
    from meme57.pipeline_registry import FLOW, register_pipelines

    pipelines.set_requested(None)
    registered = register_pipelines()
    expected = {node.name for name in FLOW if name in registered for node in registered[name].nodes}
    assert {node.name for node in registered["__default__"].nodes} == expected
    assert "tune" not in FLOW
