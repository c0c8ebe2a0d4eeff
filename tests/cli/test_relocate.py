"""`meme57 relocate` on a trained project that was copied, and then moved: it works on, and its policies load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from meme57.addresses import sqlite_address
from meme57.tracking.pyfunc import load_policy_model
from meme57.tracking.store import create_store

MODEL = "meme57-pong-student"
ENOUGH = ("--env", "test", "--pipelines", "setup,register")


def kedro(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "run", *ENOUGH]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_moved_project_is_refused_relocated_and_works_on(
    here: Path, environment: dict[str, str], meme57: Any, monkeypatch: Any
) -> None:
    assert meme57("relocate", "--yes").exit_code == 0
    moved = here.with_name("moved%20 here?")
    here.rename(moved)  # from now on nothing lies in the old folder
    monkeypatch.chdir(moved)

    refused = kedro(moved, environment)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    for words in (str(here / "mlruns" / "artifacts"), str(moved / "mlruns" / "artifacts"), "`meme57 relocate`"):
        assert words in refused.stderr
    played = meme57("play", f"models:/{MODEL}@challenger", "--episodes", "1")
    assert (played.exit_code, "`meme57 relocate`" in played.output) == (1, True)

    unsure = meme57("relocate", input="n\n")
    assert (unsure.exit_code, unsure.output.count("addresses from")) == (1, 1)
    assert kedro(moved, environment).returncode == 1
    done = meme57("relocate", "--yes")
    assert done.exit_code == 0, done.output
    assert f"addresses lead to {moved / 'mlruns'} now" in done.output
    assert "nothing to do" in meme57("relocate").output

    worked = kedro(moved, environment)
    assert worked.returncode == 0, worked.stderr
    store = create_store(moved)
    assert store.uri == sqlite_address(moved / "mlruns" / "mlflow.db")
    assert load_policy_model(store, MODEL, alias="challenger").metadata.signature is not None
    assert not here.exists()
