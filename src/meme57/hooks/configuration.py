"""Read the configuration: parameters into the typed tree, other files as plain mappings."""

from __future__ import annotations

import functools
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

from meme57.config import load_parameters
from meme57.config.renames import PARAMETERS, renamed
from meme57.errors import ConfigurationError

LOCAL = "local"
LAPTOP = "laptop"
EXPERIMENTS = "experiments"
EXTENDS = "extends"
NAMES = ("run_name", "study_name", "suite_name")

_RESOLVING = threading.RLock()

log = logging.getLogger(__name__)


class LiteralFolders(LocalFileSystem):  # type: ignore[misc]
    """Finds configuration by pattern in the given folders; `*`, `?` and `[` in the folders' own paths are literal."""

    def __init__(self, *folders: str) -> None:
        super().__init__()
        self._folders = folders

    def glob(self, path: str, **_: Any) -> list[str]:
        """List the files and folders that match; `path` is one of the folders followed by a pattern."""
        folder = next(folder for folder in self._folders if Path(path).is_relative_to(folder))
        pattern = str(Path(path).relative_to(folder))
        return [str(Path(folder, found)) for found in glob.glob(pattern, root_dir=folder, recursive=True)]


class ProjectConfigLoader(OmegaConfigLoader):  # type: ignore[misc]
    """A chain of environments: base, those that the selected one extends, and the selected one.

    `--env` selects it; without that, `conf/local` if it exists, else the laptop. An environment is a folder of `conf/`,
    or of `experiments/` beside it. The loader also registers the resolvers `${run_name:}`, `${study_name:}` and
    `${suite_name:}` for catalog paths. A hook could not do that, because Kedro-Viz runs no hooks.
    """

    def __init__(self, conf_source: str | Path, env: str | None = None, **arguments: Any) -> None:
        has_local = (Path(conf_source) / LOCAL).is_dir()
        arguments["default_run_env"] = LOCAL if has_local else LAPTOP
        arguments["runtime_params"] = renamed(arguments.get("runtime_params") or {}, PARAMETERS)
        super().__init__(conf_source, env=env, **arguments)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Merge the files of one kind. OmegaConf has one set of resolvers per process, so each call sets its own."""
        with _RESOLVING:
            for name in NAMES:
                OmegaConf.register_new_resolver(name, partial(self._name, name), replace=True)
            if key in self or key not in self.config_patterns or key == "globals":  # globals are read before any chain
                given: dict[str, Any] = super().__getitem__(key)
                return given
            self._register_runtime_params_resolver()
            return self._merged(key)

    @functools.cached_property
    def chain(self) -> dict[str, str]:
        """The folder of each environment, by name; base is first, the selected one is last.

        Raises:
            ConfigurationError: an environment is unknown, exists twice, or extends itself through others.
        """
        folders: dict[str, str] = {}
        name, above = self.env or self.default_run_env, ""
        while name != self.base_env:
            if name in folders:
                circle = " extends ".join([*list(folders)[list(folders).index(name) :], name])
                raise ConfigurationError(f"environments extend each other in a circle: {circle}: remove one `extends`")
            folders[name] = self._folder(name, above)
            name, above = self._extended(name, folders[name]), folders[name]
        return {name: self._folder(name, above), **dict(reversed(folders.items()))}

    def _merged(self, key: str) -> dict[str, Any]:
        merged = dict(self.runtime_params) if key == "parameters" else {}
        files: set[Path] = set()
        for name, folder in self.chain.items():
            patterns, is_secret = self.config_patterns[key], key == "credentials"
            found = self.load_and_merge_dir_config(folder, patterns, key, files, is_secret)
            if key == "parameters" and name != self.base_env and EXTENDS not in self.runtime_params:
                found.pop(EXTENDS, None)
            if key == "parameters":
                found = renamed(found, PARAMETERS)
            merged = self._merge_configs(merged, found, key, folder)
        if not files and key != "parameters":  # without parameter files, the defaults apply
            raise MissingConfigException(f"no {key} in {', '.join(self.chain.values())}")
        return merged

    def _folder(self, name: str, above: str) -> str:
        """Find the folder of an environment; `above` is the folder of the environment that extends it."""
        places = (self._get_conf_env_path(name), str(_experiments(self.conf_source) / name))
        found = [place for place in places if self._fs.isdir(place)]
        if len(found) > 1:
            raise ConfigurationError(f"{found[0]} and {found[1]} have the same name: rename one")
        if not found:
            raise ConfigurationError(_unknown(self.conf_source, name, above))
        return str(found[0])

    def _extended(self, name: str, folder: str) -> str:
        files = self._read_dir_configs(folder, self.config_patterns["parameters"], "parameters", set())
        for tree in files.values():
            if EXTENDS in tree:
                return str(tree[EXTENDS])
        if name == LOCAL:
            return LAPTOP
        _warn_of_base(folder)
        return str(self.base_env)

    def _name(self, name: str) -> str:
        return str(getattr(load_parameters(self), name))

    @staticmethod
    def _initialise_filesystem_and_protocol(conf_source: str) -> tuple[Any, str]:
        found, protocol = OmegaConfigLoader._initialise_filesystem_and_protocol(conf_source)
        folders = (conf_source, str(_experiments(conf_source)))
        return (LiteralFolders(*folders) if protocol == "file" else found), protocol


def load_optional(loader: OmegaConfigLoader, name: str) -> dict[str, Any]:
    """Load `conf/<environment>/<name>.yml`, or an empty mapping if there is no such file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return dict(loader[name])
    except MissingConfigException:
        return {}
    except Exception as error:  # as above
        raise ConfigurationError(f"{name}.yml cannot be read: {' '.join(str(error).split())}") from error


def rich_on_terminal() -> None:
    """Log through Rich on a terminal, instead of the plain lines of `conf/logging.yml`."""
    if sys.stdout.isatty() and not os.environ.get("KEDRO_LOGGING_CONFIG"):
        handler = RichHandler(show_path=False, log_time_format="[%X]")
        logging.getLogger().handlers = [handler]


def _experiments(conf_source: str) -> Path:
    return Path(conf_source).parent / EXPERIMENTS


def _unknown(conf_source: str, name: str, above: str) -> str:
    places = (Path(conf_source), _experiments(conf_source))
    folders = [path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()]
    known = ", ".join(sorted(folders)) or "none"
    if above:
        return f"{above} extends {name!r}, which is no environment: write `extends` with one of {known}"
    return f"there is no environment {name!r} in {places[0]} or {places[1]}: type `--env` with one of {known}"


@functools.cache
def _warn_of_base(folder: str) -> None:
    """Warn once per process: before version 0.2 every environment extended the laptop's."""
    log.warning(
        "%s has no `extends`, so it extends base, the specification's agent: write `extends: laptop` into its "
        "parameters.yml to extend the laptop, as before version 0.2, or `extends: base` to keep this",
        folder,
    )
