"""Kills a real training process repeatedly, at random moments: only the newest work may be lost.

Every life is `python -m meme57.learning` on real Pong at a tiny size, ended by SIGINT, SIGTERM or SIGKILL: while it
starts, at a random moment of training, or when the folder of a half-written checkpoint appears. After each life the
script checks three things. The newest checkpoint is never older than before; a polite signal loses nothing; the next
life begins exactly at the newest checkpoint. At the end the run is finished and its samples per insert are counted.

    python benchmarks/chaos.py --kills 60 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDLESS = 100_000_000
MORE_FRAMES = 3_000
PATIENCE_SECONDS = 180.0
BATCH, RATIO, WARM_UP, ENVS, PERIOD, ROUND = 4, 4.0, 16, 2, 8, 10
CONFIG: dict[str, Any] = {
    "run": {"checkpoint_period_frames": 800, "log_period_frames": 200, "name": "chaos"},
    "env": {"game": "Pong", "num_envs": ENVS, "height": 36, "width": 36, "max_episode_frames": 600},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [3, 4]},
    "novelty": {"embedding_size": 4, "channels": [3, 4], "hidden_size": 8, "rnd_size": 4, "memory_size": 100},
    "replay": {"period": PERIOD, "capacity_sequences": 500, "min_sequences": WARM_UP, "samples_per_insert": RATIO},
    "actors": {"weights_period_steps": ROUND},
    "learner": {"batch_size": BATCH},
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOMENTS = ("starting", "training", "writing a checkpoint")
ROUNDS = {"synchronous": 1, "overlapped": 3}
"""Rounds that may enter with a checkpoint: the last one, the one that waits, and the one being played."""
LARGEST_DEBT = {mode: BATCH + RATIO * ENVS * (-(-n * ROUND // PERIOD) + 2) for mode, n in ROUNDS.items()}
"""Draws that may be due: less than a batch, plus those for these rounds and the truncated episodes."""


@dataclass(frozen=True)
class Life:
    """One process, from its start to its end."""

    signal: str
    moment: str
    code: int
    first_frames: float | None
    last_frames: float | None
    before: float
    after: float
    debt: float
    seconds: float

    @property
    def lost(self) -> float:
        """Frames that were reported but are in no checkpoint."""
        return 0.0 if self.last_frames is None else max(0.0, self.last_frames - self.after)


class Victim:
    """A training process and its output so far."""

    def __init__(self, folder: Path, mode: str, total_frames: int) -> None:
        config = folder / "chaos.json"
        config.write_text(json.dumps(CONFIG))
        settings = [f"run.total_frames={total_frames}", f"learner.mode={mode}"]
        line = [sys.executable, "-m", "meme57.learning", "--config", str(config), "--folder", str(folder / "runs")]
        self.process = subprocess.Popen(
            [*line, *(part for setting in settings for part in ("--set", setting))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.frames: list[float] = []
        self.errors = ""
        self._readers = [threading.Thread(target=self._read_rows), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_rows(self) -> None:
        for line in self.process.stdout or ():
            if line.endswith("}\n"):
                self.frames.append(json.loads(line)["frames"])

    def _read_errors(self) -> None:
        for line in self.process.stderr or ():
            self.errors += line

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`; fail if the process ends by itself."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise SystemExit(
                    f"FAILED: a restart did not begin to train (exit {self.process.poll()}):\n{self.errors}"
                )
            time.sleep(0.0005)

    def end(self) -> int:
        """Wait for the process to end, and for all of its output."""
        code = self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join()
        return code


def newest(folder: Path) -> tuple[float, float]:
    """Return the frames of the newest checkpoint, and the draws that are due; zeros before the first."""
    found = sorted((folder / "runs" / "chaos").glob("checkpoint-*"))
    if not found:
        return 0.0, 0.0
    state = json.loads((found[-1] / "state.json").read_text())
    limiter = state["limiter"]
    owed = RATIO * (limiter["inserted"] - WARM_UP) - limiter["drawn"]
    return float(state["frames"]), owed if limiter["drawn"] else 0.0


def live(folder: Path, mode: str, number: int, rng: random.Random) -> Life:
    """Run one life, end it, and check it."""
    which, moment = SIGNALS[number % 3], MOMENTS[number // 3 % 3]
    before, _ = newest(folder)
    start = time.monotonic()
    victim = Victim(folder, mode, ENDLESS)
    wait_for(victim, folder, moment, rng)
    victim.process.send_signal(which)
    code = victim.end()
    after, debt = newest(folder)
    first, last = (victim.frames[0], victim.frames[-1]) if victim.frames else (None, None)
    life = Life(which.name, moment, code, first, last, before, after, debt, time.monotonic() - start)
    check(life, mode, victim.errors)
    return life


def wait_for(victim: Victim, folder: Path, moment: str, rng: random.Random) -> None:
    """Wait until the moment has come."""
    if moment == "starting":
        time.sleep(rng.uniform(0.0, 4.0))
        return
    victim.wait_until(lambda: bool(victim.frames))
    if moment == "training":
        time.sleep(rng.uniform(0.0, 1.5))
        return
    run = folder / "runs" / "chaos"
    for _ in range(rng.randint(1, 2)):
        victim.wait_until(lambda: not list(run.glob(".checkpoint-*.tmp")))
        victim.wait_until(lambda: bool(list(run.glob(".checkpoint-*.tmp"))))
    time.sleep(rng.uniform(0.0, 0.01))


def check(life: Life, mode: str, errors: str) -> None:
    """Fail if anything happened that must not happen."""
    obeyed = life.code == 130
    faults = {
        "the newest checkpoint is older than before": life.after < life.before,
        "it did not resume at the newest checkpoint": life.before > 0 and life.first_frames not in (None, life.before),
        "a polite stop lost frames": obeyed and life.lost > 0,
        "it did not end by the signal": life.code not in (-getattr(signal, life.signal), 130)
        and not (life.moment == "starting" and life.signal == "SIGINT"),
        "a signal in training was not answered": life.moment != "starting" and life.signal != "SIGKILL" and not obeyed,
        "too many draws are due, or they came too early": not 0 <= life.debt <= LARGEST_DEBT[mode],
        "a traceback": "Traceback" in errors and life.moment != "starting",
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise SystemExit(f"FAILED: {'; '.join(found)}: {life}\n{errors}")


def finish(folder: Path, mode: str) -> dict[str, float]:
    """Let the run end, and count."""
    before, _ = newest(folder)
    victim = Victim(folder, mode, int(before) + MORE_FRAMES)
    if code := victim.end():
        raise SystemExit(f"FAILED: the last start ended with {code}:\n{victim.errors}")
    frames, debt = newest(folder)
    limiter = json.loads((max((folder / "runs" / "chaos").glob("checkpoint-*")) / "state.json").read_text())["limiter"]
    ratio = limiter["drawn"] / (limiter["inserted"] - WARM_UP)
    if frames < before + MORE_FRAMES or not 0 <= debt <= LARGEST_DEBT[mode]:
        raise SystemExit(f"FAILED: {frames} frames, {debt} draws due")
    if left := [path.name for path in (folder / "runs" / "chaos").iterdir() if path.name.startswith((".", "damaged-"))]:
        raise SystemExit(f"FAILED: left behind: {left}")
    return {"frames": frames, "samples_per_insert": ratio, "draws_owed": debt}


def chaos(mode: str, kills: int, seed: int) -> dict[str, Any]:
    """Make one run in one mode: `kills` lives, and the one that finishes."""
    rng = random.Random(f"{mode} {seed}")
    with tempfile.TemporaryDirectory() as name:
        lives = [live(Path(name), mode, number, rng) for number in range(kills)]
        return {"mode": mode, "lives": [vars(life) | {"lost": life.lost} for life in lives], **finish(Path(name), mode)}


def table(results: list[dict[str, Any]]) -> str:
    """Format the kills by mode, signal and moment: how many, exit statuses, frames lost."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for life in result["lives"]:
            groups[result["mode"], life["signal"], life["moment"]].append(life)
    lines = [
        "| mode | signal | moment | kills | exit status | reported frames lost, mean (most) |",
        "|---|---|---|---|---|---|",
    ]
    for (mode, name, moment), lives in groups.items():
        codes = ", ".join(str(code) for code in sorted({life["code"] for life in lives}))
        lost = [life["lost"] for life in lives]
        lines.append(
            f"| {mode} | {name} | {moment} | {len(lives)} | {codes} | {sum(lost) / len(lost):.0f} ({max(lost):.0f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run both modes, print a table and a summary, and exit with an error at the first loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="in both modes together")
    parser.add_argument("--modes", nargs="+", choices=ROUNDS, default=list(ROUNDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job and its children would ignore it
    share = -(-arguments.kills // len(arguments.modes))
    results = [chaos(mode, share, arguments.seed) for mode in arguments.modes]
    print(table(results), end="\n\n")
    for result in results:
        print(
            f"{result['mode']}: {len(result['lives'])} kills, every restart resumed from the newest checkpoint; "
            f"{result['frames']:,.0f} frames at the end, samples per insert {result['samples_per_insert']:.3f} "
            f"of {RATIO:g}, {result['draws_owed']:g} draws due (at most {LARGEST_DEBT[result['mode']]:g})"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"seed": arguments.seed, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
