"""Environment variables in configuration files: `${env:NAME}` and `${env:NAME,default}`."""

from __future__ import annotations

import os
import re

from meme57.errors import ConfigurationError

VARIABLE = re.compile(r"\$\{env:\s*([^,}\s]+)\s*(?:,\s*([^}]*?)\s*)?\}")


def environment_variable(name: str, default: str | None = None) -> str | None:
    """Resolve `${env:NAME}` or `${env:NAME,default}`.

    Raises:
        ConfigurationError: the variable is not set and there is no default.
    """
    value = os.environ.get(name, default)
    if value is None and default is None:
        raise ConfigurationError(f"the environment variable {name} is not set: type `export {name}=...`")
    return value


def expand(text: str) -> str:
    """Put the variables' values into a text, as Kedro's loader does with `environment_variable` as its resolver.

    Raises:
        ConfigurationError: as `environment_variable`.
    """
    return VARIABLE.sub(lambda match: str(environment_variable(*match.groups())), text)
