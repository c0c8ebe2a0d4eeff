"""What happens around a pipeline run: parameters are checked before it, and MLflow records it."""

from meme57.hooks.parameters import ParametersHook
from meme57.hooks.session import SessionHooks
from meme57.hooks.tracking import TrackingHook

__all__ = ["ParametersHook", "SessionHooks", "TrackingHook"]
