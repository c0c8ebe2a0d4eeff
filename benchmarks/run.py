"""Runs the benchmarks, each in its own process, and writes their tables into docs/performance.md.

    python benchmarks/run.py [NAME ...]          all of them without a name; `peer` and `update` only with --peer and
                                                 --before, each with a FOLDER
    python benchmarks/run.py --write             only write the tables again, from the figures of the last runs

Figures go to docs/data/performance/NAME.json. A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from presets import ROOT

NAMES = ("collection", "learner", "update", "peer", "modes", "replay", "memory", "growth")
FIGURES, PAGE = ROOT / "docs/data/performance", ROOT / "docs/performance.md"


def run(name: str, options: list[str]) -> None:
    """Run one benchmark; it also prints its table."""
    print(f"\n{name}", flush=True)
    FIGURES.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name(f"bench_{name}.py")
    if code := subprocess.run([sys.executable, script, "--json", FIGURES / f"{name}.json", *options]).returncode:
        raise SystemExit(code)


def write_page() -> None:
    """Write every table for which there are figures."""
    page = PAGE.read_text()
    for name in NAMES:
        path = FIGURES / f"{name}.json"
        if path.exists():
            figures = json.loads(path.read_text())
            text = f"{importlib.import_module(f'bench_{name}').table(figures)}\n\n{_machine(figures['machine'])}"
            page = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", partial(_filled, text),
                page, flags=re.DOTALL,
            )  # fmt: skip
    PAGE.write_text(page)


def _filled(text: str, found: re.Match[str]) -> str:
    return f"{found[1]}{text}\n{found[2]}"


def _machine(machine: dict[str, Any]) -> str:
    gpu = f", {machine['gpu']}" if machine["gpu"] else ", no GPU"
    versions = f"torch {machine['torch']}, ale-py {machine['ale-py']}, commit {machine['commit']}"
    return f"*{machine['processor']}, {machine['cores']} cores{gpu}; {versions}.*"


def main() -> None:
    """Run what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help="only write the tables again")
    parser.add_argument("--runs", nargs="+", default=[], help="folders of finished runs, to measure their replays")
    parser.add_argument("--peer", help="folder of a clone of deep_rl_zoo (bench_peer.py)")
    parser.add_argument("--before", help="folder of a clone of this project at an earlier commit (bench_update.py)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: take {', '.join(NAMES)}")
    options = {
        "replay": ["--runs", *arguments.runs] if arguments.runs else [],
        "peer": ["--peer", arguments.peer] if arguments.peer else [],
        "update": ["--before", arguments.before] if arguments.before else [],
    }
    names = arguments.names or [name for name in NAMES if name not in ("peer", "update") or options[name]]
    for name in () if arguments.write else names:
        run(name, options.get(name, []))
    write_page()


if __name__ == "__main__":
    main()
