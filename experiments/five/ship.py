"""Puts policies with their cards into the package: of the suite `five`, one of each game that is done, or of one run.

    kedro run --env five; python experiments/five/ship.py
    make run; python experiments/five/ship.py --run Pong-s2 --command "make run"

Of several seeds it takes the suite's first, whatever it scored, and of its checkpoints the one that was evaluated.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path
from typing import Any

from meme57.api.pretrained import CARD, CARD_PAGE, FOLDER
from meme57.checkpoints.store import best_checkpoint
from meme57.files import checksum, read_json, write_bytes, write_json
from meme57.learning.policies import TEACHER_FILES

ROOT = Path(__file__).parents[2]
MOST_BYTES = 15 * 2**20
"""Of all teachers together."""
BEST = "the best of its checkpoints, by eight greedy games each"

PAGE = """\
# {game}

A policy for {game}, which comes with meme57: the trained network (teacher), and a small one that imitates it (student).

| agent | mean return | 95 % | episodes | human-normalised |
|---|---:|---|---:|---:|
{rows}

- **Protocol.** {protocol}, evaluation seeds from {seed} on.
- **Learned from** {frames:,} ALE frames of the game, seed {training_seed}, at commit {commit}: `{command}`,
  run `{run}`, which learned for {minutes:.0f} minutes on two shared cores.
{student}- **Selected**: {selected}. The games above are on fresh seeds.
{still}- **Limits.** It knows this game, {size} pictures and the minimal set of actions, and nothing else. Without
  sticky actions, games differ by their start alone, so a part of the score may be a routine. One seed says little about
  the agent that learned it.
- **Licence.** Apache-2.0. The files are data: no code, no ROM.

```bash
meme57 play {name} --episodes {episodes}                   # the teacher's score, where a checkout is installed
meme57 play {name} --episodes {episodes} --agent student
```
"""


def main() -> None:
    """Ship every game that is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=ROOT, help="where the suite ran")
    parser.add_argument("--run", help="ship this run of the project")
    parser.add_argument("--command", default="kedro run --env five", help="what trained it, for the card")
    parser.add_argument("--student", help="commit and command of a student that was made again, for the card")
    options = parser.parse_args()
    project = options.project
    if options.run:
        ship(project, run_note(project, options.run), options.command, student_made=options.student)
        return
    notes = map(read_json, sorted((project / "data/07_model_output/suite-five").glob("*.json")))
    done = [note for note in notes if note["state"] == "done"]
    for game in sorted({note["game"] for note in done}):
        mine = [note for note in done if note["game"] == game]
        ship(project, min(mine, key=lambda note: note["seed"]), options.command)
    size = sum(path.stat().st_size for path in FOLDER.glob("*/teacher/*"))
    if size > MOST_BYTES:
        raise SystemExit(f"the teachers need {size:,} bytes, more than {MOST_BYTES:,}: leave a game out")


def run_note(project: Path, run: str) -> dict[str, Any]:
    """Say of a run what a suite notes about its members."""
    record = read_json(project / "data/02_intermediate" / run / "run_record.json")
    scores = read_json(project / "data/08_reporting" / run / "scores.json")
    return {"name": run, **{name: record[name] for name in ("game", "seed", "commit")}, "scores": scores}


def ship(project: Path, note: dict[str, Any], command: str, *, student_made: str | None = None) -> None:
    """Copy teacher and student of a member, and write the card.

    Args:
        student_made: how the student was made, if not by `command`.
    """
    name, game = note["name"], note["game"]
    best, student = _best(project, name), project / "data/06_models" / name / "student"
    folder = FOLDER / game
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(student, folder / "student")
    (folder / "teacher").mkdir()
    for file in TEACHER_FILES:
        shutil.copyfile(best.folder / file, folder / "teacher" / file)
    scores = note["scores"]
    card = {
        "game": game,
        "run": name,
        "seed": note["seed"],
        "commit": note["commit"],
        "command": command,
        **({"student_made": student_made} if student_made else {}),
        "frames": scores["frames"],
        "protocol": scores["protocol"]["name"],
        "evaluation_seed": 1_500_000_001,
        "agents": {agent: _score(scores["agents"][agent]) for agent in ("random", "teacher", "student")},
        "files": {str(path.relative_to(folder)): checksum(path) for path in sorted(folder.glob("*/*"))},
    }
    write_json(folder / CARD, card)
    write_bytes(folder / CARD_PAGE, page(card, project).encode())
    print(f"{game}: {name}, " + ", ".join(f"{agent} {score['mean']:,.1f}" for agent, score in card["agents"].items()))


def page(card: dict[str, Any], project: Path) -> str:
    """Write the card for people."""
    curve = (project / "data/08_reporting" / card["run"] / "learning_curve.csv").read_text().splitlines()
    last = dict(zip(curve[0].split(","), curve[-1].split(","), strict=True))
    env = read_json(project / "data/02_intermediate" / card["run"] / "env_spec.json")
    facts = {name: card[name] for name in ("game", "run", "commit", "command", "protocol", "frames")}
    return PAGE.format(
        **facts,
        name=card["game"].lower(),
        seed=f"{card['evaluation_seed']:,}",
        training_seed=card["seed"],
        minutes=float(last["elapsed_seconds"]) / 60,
        size=f"{env['height']} x {env['width']}",
        still=_standing_still(project, card["run"]),
        student=f"- **The student** was made again: {made}.\n" if (made := card.get("student_made")) else "",
        selected="nothing was; it is the last checkpoint" if _best(project, card["run"]).score is None else BEST,
        episodes=card["agents"]["teacher"]["episodes"],
        rows="\n".join(_row(agent, score) for agent, score in card["agents"].items()),
    )


def _standing_still(project: Path, run: str) -> str:
    """Say how many games went on until their limit, if any did."""
    with (project / "data/07_model_output" / run / "episodes.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["truncated"] == "True"]
    counts = {agent: sum(row["agent"] == agent for row in rows) for agent in ("teacher", "student")}
    if not any(counts.values()):
        return ""
    of_both = f"{counts['teacher']} of the teacher's games and {counts['student']} of the student's"
    return f"- **Standing still.** {of_both} went on until their limit.\n"


def _score(summary: dict[str, Any]) -> dict[str, Any]:
    human = (summary.get("human_normalised") or {}).get("mean")
    return {**{key: summary[key] for key in ("mean", "interval", "episodes")}, "human_normalised": human}


def _row(agent: str, score: dict[str, Any]) -> str:
    low, high = score["interval"]
    human = "-" if (value := score["human_normalised"]) is None else f"{100 * value:.1f} %"
    return f"| {agent} | {score['mean']:,.1f} | {low:,.1f} to {high:,.1f} | {score['episodes']} | {human} |"


def _best(project: Path, run: str) -> Any:
    best = best_checkpoint(project / "data/06_models" / run / "checkpoints")
    assert best is not None, f"{run} has no checkpoint"
    return best


if __name__ == "__main__":
    main()
