"""What is known about each study from its files: its journal, its trials' leases, and its record."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from meme57.config.fields import STUDY
from meme57.files import read_json
from meme57.tracking.group_overview import GroupOverview, last_change, page_of
from meme57.tracking.overview import LAYERS

WORDS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def studies(project: Path) -> list[GroupOverview]:
    """Describe every study of the project, by name."""
    layers = (project / "data" / LAYERS[layer] for layer in ("output", "reporting"))
    names = {path.parent.name for layer in layers for path in layer.glob(f"{STUDY}*/study.*")}
    return [study_overview(project, name) for name in sorted(names)]


def study_overview(project: Path, name: str) -> GroupOverview:
    """Describe one study, `tune-<study>`; a damaged file is a note, not an error."""
    journal = project / "data" / LAYERS["output"] / name / "study.journal"
    record = project / "data" / LAYERS["reporting"] / name / "study.json"
    page = page_of(project, name)
    try:
        if journal.is_file():
            counts, score, is_working = _from_journal(journal, project / "data" / LAYERS["models"] / name)
        else:  # its storage is a database
            counts, score, is_working = *_from_record(record), False
    except Exception as error:  # Optuna's errors about a foreign journal have no common base class
        return GroupOverview(name, "study", "damaged", page=page, note=" ".join(str(error).split())[:200])
    is_done = page is not None and not {"running", "stopped", "waiting"} & set(counts)
    state = "working" if is_working else "done" if is_done else "stopped"
    return GroupOverview(name, "study", state, counts, score, last_change(journal, record), page=page)


def _from_record(path: Path) -> tuple[dict[str, int], float]:
    record = read_json(path)
    counts = {WORDS[state]: int(count) for state, count in record["states"].items() if count}
    return counts, float(record["best"]["score"])


def _from_journal(journal: Path, trials: Path) -> tuple[dict[str, int], float | None, bool]:
    """Count the trials by state, find the best score, and say whether a living process has a trial."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from meme57.tuning.storage import Leases, latest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
    found = latest(study.get_trials(deepcopy=False))
    leases = Leases(trials) if trials.is_dir() else None  # looking makes no folder
    working = [trial for trial in found if trial.state.name == "RUNNING" and leases and leases.is_held(trial.number)]
    counts = Counter(WORDS[trial.state.name] for trial in found)
    if abandoned := counts["running"] - len(working):
        counts["running"] -= abandoned
        counts["stopped"] += abandoned
    scores = [trial.value for trial in found if trial.state.name == "COMPLETE" and trial.value is not None]
    kept = {state: count for state, count in sorted(counts.items()) if count}
    return kept, max(scores, default=None), bool(working)
