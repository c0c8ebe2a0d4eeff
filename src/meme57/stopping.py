"""A polite stop: the first SIGINT or SIGTERM asks for a checkpoint, the second one ends at once.

Loops ask `stop_requested()` between two steps, write their checkpoint and raise `errors.Interrupted`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_WORDS_SECONDS = 3.0

_requested = threading.Event()
_installed = 0
"""How many handlers of ours are in place, one over another: a suite's member runs a pipeline inside its process."""


def stop_requested() -> bool:
    """Whether somebody asked this process to stop."""
    return _requested.is_set()


def request_stop() -> None:
    """Asks every loop of this process to stop at its next checkpoint."""
    _requested.set()


def install_handlers(on_second: Callable[[], object] | None = None) -> Callable[[], None]:
    """Clears the flag, takes over SIGINT and SIGTERM, and returns the function that gives them back.

    Within handlers of ours that are in place already, a stop that was asked for stays asked for, and a signal that
    they ignore stays ignored.
    The first signal sets the flag and prints one line. The second calls `on_second`, for three seconds at most, and
    leaves with `128 + signal`. Outside the main thread Python allows no handlers: there only the flag is cleared.
    """
    global _installed
    if _installed == 0:
        _requested.clear()
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def handle(number: int, frame: FrameType | None) -> None:
        if not stop_requested():
            request_stop()
            _say(f"{signal.Signals(number).name}: stopping at the next checkpoint; once more to stop at once.")
            return
        if on_second is not None:
            _run_briefly(on_second)
        os._exit(128 + number)

    left_alone = [number for number in SIGNALS if _installed and signal.getsignal(number) is signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in SIGNALS if number not in left_alone}
    _installed += 1

    def restore() -> None:
        global _installed
        _installed = max(0, _installed - 1)
        for number, handler in previous.items():
            if handler is not None:  # None: not installed from Python, cannot be given back
                signal.signal(number, handler)

    return restore


def _say(line: str) -> None:
    # A handler may interrupt a print half-way; only the bare system call is safe there.
    os.write(2, f"\n{line}\n".encode())


def _run_briefly(action: Callable[[], object]) -> None:
    # In a thread: the interrupted main thread may hold the lock that the action waits for.
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(LAST_WORDS_SECONDS)
