"""A polite stop: a signal asks for a checkpoint; a second Ctrl-C or SIGTERM ends the process immediately.

Loops ask `stop_requested()` between two steps, write their checkpoint and raise `errors.Interrupted`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

DEMANDS = (signal.SIGINT, signal.SIGTERM)
"""Sent by a person or a supervisor, who may lose patience: the second one ends the process immediately."""
NOTICES = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Sent by a terminal that closes (often twice: by the kernel and by the shell) and by Slurm before it pre-empts."""
TO_ALL = (signal.SIGINT, *NOTICES)
"""What terminals and schedulers send to every process of a group: workers ignore these, their parent handles them."""
LAST_WORDS_SECONDS = 3.0

_requested = False
"""No `threading.Event`: a signal that comes while another's handler sets that would wait for its lock for ever."""
_installed = 0
"""How many of our handlers are installed, one over another: a suite's member runs a pipeline inside its process."""
_is_worker = False


def stop_requested() -> bool:
    """Return whether this process was asked to stop."""
    return _requested


def request_stop() -> None:
    """Ask every loop of this process to stop at its next checkpoint."""
    global _requested
    _requested = True


def never() -> bool:
    """Return False, for loops that must not be stopped."""
    return False


def install_handlers(on_second: Callable[[], object] | None = None) -> Callable[[], None]:
    """Clear the flag, handle `DEMANDS` and `NOTICES`, and return the function that restores the previous handlers.

    An ignored notice stays ignored (`nohup`). If our handlers are already installed, a requested stop stays requested,
    and every signal that they ignore stays ignored. A worker keeps only its own handlers.
    The first signal sets the flag and prints one line. The second demand calls `on_second`, for three seconds at most,
    and exits with `128 + signal`. Outside the main thread Python allows no handlers: there only the flag is cleared.
    """
    global _installed, _requested
    if _is_worker:
        return lambda: None
    if _installed == 0:
        _requested = False
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    demanded = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal demanded
        name, is_demand = signal.Signals(number).name, number in DEMANDS
        if is_demand and demanded:
            if on_second is not None:
                _run_briefly(on_second)
            os._exit(128 + number)
        if is_demand or not stop_requested():
            _say(f"{name}: stopping at the next checkpoint{'; once more to stop at once' if is_demand else ''}.")
        demanded = demanded or is_demand
        request_stop()

    ignored = {number for number in (*DEMANDS, *NOTICES) if signal.getsignal(number) is signal.SIG_IGN}
    left_alone = ignored if _installed else ignored - set(DEMANDS)
    give_back = _take_over(dict.fromkeys({*DEMANDS, *NOTICES} - left_alone, handle))
    _installed += 1

    def restore() -> None:
        global _installed
        _installed = max(0, _installed - 1)
        give_back()

    return restore


def obey_parent(number: signal.Signals) -> Callable[[], None]:
    """Make this process a worker: `number`, sent by its parent, asks it to stop, however often it comes.

    Signals to the whole group are ignored: the parent gets them too, and passes them on. Returns the function that
    restores the previous handlers.
    """
    global _is_worker, _requested
    _requested = False
    give_back = _take_over({**dict.fromkeys(TO_ALL, signal.SIG_IGN), number: lambda *_: request_stop()})
    _is_worker = True

    def restore() -> None:
        global _is_worker
        _is_worker = False
        give_back()

    return restore


@contextlib.contextmanager
def kept_from_children() -> Iterator[None]:
    """Keep `TO_ALL` from processes that this thread starts inside; this thread gets those signals afterwards.

    A child inherits the mask of blocked signals and keeps it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_over(handlers: Mapping[signal.Signals, Handler]) -> Callable[[], None]:
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def give_back() -> None:
        for number, handler in previous.items():
            if handler is not None:  # None: not installed from Python, cannot be restored
                signal.signal(number, handler)

    return give_back


def _say(line: str) -> None:
    # A handler may interrupt a print half-way; only the bare system call is safe there. The reader may be gone.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())


def _run_briefly(action: Callable[[], object]) -> None:
    # In a thread: the interrupted main thread may hold the lock that the action waits for.
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(LAST_WORDS_SECONDS)
