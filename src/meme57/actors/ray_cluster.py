"""Connecting to a Ray cluster: the one at RAY_ADDRESS, or else a new one here. Importing this does not import Ray."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from meme57.errors import ActorError, ResourceError
from meme57.privacy import NOWHERE
from meme57.stopping import kept_from_children

CLOUDS = ("http://169.254.169.254", "http://metadata.google.internal")
"""Addresses that Ray's head asks which cloud it runs in, even when its reports are off. Ray has no switch for that."""


def import_ray(wish: str) -> Any:
    """Import Ray.

    Raises:
        ResourceError: Ray is not installed; `wish` is the parameter that needs it.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ResourceError(f"{wish} needs Ray: install it with `pip install 'meme57[ray]'` ({error})") from error


def connect(ray: Any, *, num_cpus: int | None = None, object_store_mb: int | None = None) -> bool:
    """Connect to RAY_ADDRESS, or else start a cluster on this machine. Return False if Ray was already connected.

    Signal handlers stay as they are: Ray would replace SIGTERM's, and a run could not write its last checkpoint.

    Raises:
        ResourceError: there is no cluster at RAY_ADDRESS.
        ActorError: Ray cannot start on this machine.
    """
    if ray.is_initialized():
        return False
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        address = "local"
        settings |= {"num_cpus": num_cpus, "include_dashboard": False, "dashboard_host": "127.0.0.1"}
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
            os.environ.pop("RAY_AUTH_MODE", None)  # without it Ray asks everyone for a token, in a cluster of its own
        settings |= {"object_store_memory": object_store_mb * 2**20} if object_store_mb else {}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        # without it, closing the terminal would end the processes that Ray starts here
        with _no_cloud_asked(), kept_from_children() if address == "local" else nullcontext():
            ray.init(address=address, **settings)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error)[:200]
        if address == "local":
            raise ActorError(
                f"Ray could not start on this machine ({reason}): the same command tries again, and actors.pool=local "
                "with another run.name does without Ray"
            ) from error
        raise ResourceError(
            f"could not reach a Ray cluster at {address}: start one with `ray start --head`, give its token "
            f"(RAY_AUTH_MODE=token, ~/.ray/auth_token), or unset RAY_ADDRESS to play on this machine ({reason})"
        ) from error
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
    return True


def machines(ray: Any) -> list[str]:
    """Return Ray's names of the connected cluster's machines that can run a task."""
    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


@contextlib.contextmanager
def _no_cloud_asked() -> Iterator[None]:
    """Make processes that start meanwhile ask a closed port instead of `CLOUDS`: it is their proxy to these only."""
    proxies = {f"{url}_proxy": NOWHERE for url in CLOUDS}
    os.environ.update(proxies)
    try:
        yield
    finally:
        for name in proxies:
            del os.environ[name]
