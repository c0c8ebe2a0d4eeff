"""The tests pass as a shell's background job (`make test &`), which is started with SIGINT ignored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEED_SIGINT = (
    "tests/hooks/test_stopping.py::test_restored_handlers_work_as_before",
    "tests/cli/test_command.py::test_ctrl_c_is_status_130_and_no_traceback",
)


def test_ctrl_c_reaches_the_tests_of_a_background_job() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *NEED_SIGINT], cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
