"""Reads the configuration: parameters into the typed tree, other files as plain mappings."""

from __future__ import annotations

import glob
import logging
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import OmegaConf
from rich.logging import RichHandler

from meme57.config import Parameters, parse_parameters
from meme57.errors import ConfigurationError

LOCAL = "local"
NAMES = ("run_name", "study_name", "suite_name")

_RESOLVING = threading.RLock()


class LiteralFolder(LocalFileSystem):  # type: ignore[misc]
    """Finds configuration by pattern in one folder; `*`, `?` and `[` in that folder's own path are plain letters."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def glob(self, path: str, **_: Any) -> list[str]:
        """The files and folders that fit; `path` is the folder with a pattern behind it."""
        pattern = str(Path(path).relative_to(self._folder))
        return [str(Path(self._folder, found)) for found in glob.glob(pattern, root_dir=self._folder, recursive=True)]


class ProjectConfigLoader(OmegaConfigLoader):  # type: ignore[misc]
    """One environment over base: the one asked for, else `conf/local` where a machine has one, else base alone.

    Gives catalog paths the resolvers `${run_name:}`, `${study_name:}` and `${suite_name:}`; here and not in a hook,
    because Kedro-Viz runs no hooks.
    """

    def __init__(self, conf_source: str | Path, env: str | None = None, **arguments: Any) -> None:
        has_local = (Path(conf_source) / LOCAL).is_dir()
        arguments["default_run_env"] = LOCAL if has_local else arguments.get("base_env", "base")
        super().__init__(conf_source, env=env, **arguments)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """The merged files of one kind; OmegaConf has one set of resolvers a process, so each reading sets its own."""
        with _RESOLVING:
            for name in NAMES:
                OmegaConf.register_new_resolver(name, partial(self._name, name), replace=True)
            tree: dict[str, Any] = super().__getitem__(key)
            return tree

    def _name(self, name: str) -> str:
        return str(getattr(load_parameters(self), name))

    @staticmethod
    def _initialise_filesystem_and_protocol(conf_source: str) -> tuple[Any, str]:
        found, protocol = OmegaConfigLoader._initialise_filesystem_and_protocol(conf_source)
        return (LiteralFolder(conf_source) if protocol == "file" else found), protocol


def environment_variable(name: str, default: str | None = None) -> str | None:
    """The resolver `${env:NAME}` or `${env:NAME,default}`.

    Raises:
        ConfigurationError: the variable is not set and there is no default.
    """
    value = os.environ.get(name, default)
    if value is None and default is None:
        raise ConfigurationError(f"the environment variable {name} is not set: type `export {name}=...`")
    return value


def load_parameters(loader: OmegaConfigLoader) -> Parameters:
    """The whole tree of the chosen environment with `--params` over it, validated.

    Raises:
        ConfigurationError: one line for the first fault.
    """
    try:
        tree = loader["parameters"]
    except MissingConfigException:
        raise ConfigurationError(_missing(loader)) from None
    except Exception as error:  # what the YAML reader and the resolvers raise has no common base
        words = " ".join(str(error).split())
        raise ConfigurationError(f"the parameters cannot be read: {words}") from error
    return parse_parameters(tree)


def load_optional(loader: OmegaConfigLoader, name: str) -> dict[str, Any]:
    """`conf/<environment>/<name>.yml`, or an empty mapping.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return dict(loader[name])
    except MissingConfigException:
        return {}
    except Exception as error:  # as above
        raise ConfigurationError(f"{name}.yml cannot be read: {' '.join(str(error).split())}") from error


def rich_on_terminal() -> None:
    """Puts Rich in the place of the plain lines of `conf/logging.yml` where a person watches."""
    if sys.stdout.isatty() and not os.environ.get("KEDRO_LOGGING_CONFIG"):
        handler = RichHandler(show_path=False, log_time_format="[%X]")
        logging.getLogger().handlers = [handler]


def _missing(loader: OmegaConfigLoader) -> str:
    source = Path(loader.conf_source)
    known = sorted(path.name for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    asked = loader.env or loader.base_env
    if asked in known:
        return f"{source / asked} holds no parameters*.yml, and neither does {source / loader.base_env}"
    return f"there is no environment {asked!r} in {source}: type `--env` with one of {', '.join(known) or 'none'}"
