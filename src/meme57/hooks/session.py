"""Separate hooks for every Kedro session: Kedro shares the objects of `settings.HOOKS` among a process's sessions."""

from __future__ import annotations

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from meme57.hooks.parameters import ParametersHook
from meme57.hooks.tracking import TrackingHook

NAME = "meme57"


class SessionHooks:
    """Registers a `ParametersHook` and a `TrackingHook` with the session of each context; has no state itself."""

    @hook_impl(tryfirst=True)  # type: ignore[untyped-decorator]
    def after_context_created(self, context: KedroContext) -> None:
        """Make the hooks for the session's first context; pluggy calls them for later contexts and other events."""
        manager = context._hook_manager
        if manager.has_plugin(NAME):
            return
        parameters = ParametersHook()
        tracking = TrackingHook(parameters)
        manager.register(parameters, name=NAME)
        manager.register(tracking)
        parameters.after_context_created(context)
        tracking.after_context_created(context)
