"""Every agent on every game and seed, one run a core; whole runs are added to the rows, and those there are skipped.

    python benchmarks/peers/all.py --sb3 .venv-peers/bin/python --pqn .venv-pqn/bin/python \\
      --script pqn_atari_envpool_lstm.py --cores 0 1

It can be stopped: a run that is not whole leaves nothing, and begins anew with the same command. An agent whose Python
is not named is left out.
"""

from __future__ import annotations

import argparse
import csv
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROWS = HERE / "data" / "rows.csv"
GAMES = ("Pong", "Breakout", "Boxing", "Freeway")
SEEDS = (1, 2)
Run = tuple[str, str, int]


def runs(rows: Path, agents: Sequence[str]) -> Iterator[Run]:
    """Yield agent, game and seed of what is to be done: game by game, seed by seed."""
    done = set()
    if rows.exists():
        with rows.open(newline="", encoding="utf-8") as stream:
            done = {(row["agent"], row["game"], int(row["seed"])) for row in csv.DictReader(stream)}
    everything = ((agent, game, seed) for game in GAMES for seed in SEEDS for agent in agents)
    return (run for run in everything if run not in done)


def command(run: Run, options: argparse.Namespace, out: Path) -> list[str]:
    """Return the words that make one run."""
    agent, game, seed = run
    starts = {
        "meme57": [sys.executable, str(HERE / "ours.py")],
        "ppo": [options.sb3, str(HERE / "sb3.py"), "--agent", "ppo"],
        "qrdqn": [options.sb3, str(HERE / "sb3.py"), "--agent", "qrdqn"],
        "pqn": [options.pqn, str(HERE / "pqn.py"), options.script],
    }
    return [*starts[agent], "--game", game, "--seed", str(seed), "--minutes", str(options.minutes), "--out", str(out)]


def work(core: int, waiting: queue.Queue[Run], options: argparse.Namespace, lock: threading.Lock) -> None:
    """Make runs on one core until none is left."""
    while True:
        try:
            run = waiting.get_nowait()
        except queue.Empty:
            return
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.csv"
            words = ["taskset", "--cpu-list", str(core), *command(run, options, out)]
            log = options.out.with_name("-".join(map(str, run)) + ".log")
            with log.open("w") as stream:
                status = subprocess.run(
                    words,
                    stdout=stream,
                    stderr=stream,
                    cwd=folder,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    check=False,
                ).returncode
            if status or not out.exists():
                print(
                    f"{run} ended with status {status}{'' if out.exists() else ' and no score'}: see {log}", flush=True
                )
                continue
            head, *rows = out.read_text(encoding="utf-8").splitlines()
            log.unlink()
            with lock, options.out.open("a", encoding="utf-8") as stream:
                stream.write("".join(f"{line}\n" for line in ([] if stream.tell() else [head]) + rows))
            print(*run, rows[-1], flush=True)


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sb3", type=Path, help="the Python of requirements.txt: PPO and QR-DQN")
    parser.add_argument("--pqn", type=Path, help="the Python of requirements-pqn.txt")
    parser.add_argument("--script", type=Path, help="CleanRL's script")
    parser.add_argument("--cores", type=int, nargs="+", default=[0, 1], help="one run at a time on each")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=ROWS)
    options = parser.parse_args()
    if (options.pqn is None) != (options.script is None):
        parser.error("--pqn and --script belong together")
    for name in ("sb3", "pqn", "script", "out"):  # each run has a working directory of its own
        if (path := getattr(options, name)) is not None:
            setattr(options, name, path.absolute())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    agents = ["meme57", *(["ppo", "qrdqn"] if options.sb3 else []), *(["pqn"] if options.pqn else [])]
    waiting: queue.Queue[Run] = queue.Queue()
    for run in runs(options.out, agents):
        waiting.put(run)
    lock = threading.Lock()
    workers = [threading.Thread(target=work, args=(core, waiting, options, lock)) for core in options.cores]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:  # it reached the runs as well; their workers must not begin others
        with waiting.mutex:
            waiting.queue.clear()
        raise SystemExit("stopped: the same command makes what is missing") from None


if __name__ == "__main__":
    main()
