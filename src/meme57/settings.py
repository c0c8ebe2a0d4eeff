"""Kedro's settings: how configuration is found, and which hooks run."""

from meme57 import streams
from meme57.config.variables import environment_variable
from meme57.hooks import SessionHooks
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.hooks.selection import ProjectSession
from meme57.tracking import settle_mlflow

streams.never_fail()
settle_mlflow()

HOOKS = (SessionHooks(),)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-mlflow")

SESSION_CLASS = ProjectSession

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    # By default an environment's file would replace whole groups instead of single keys.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*"]},
    "custom_resolvers": {"env": environment_variable},
}
