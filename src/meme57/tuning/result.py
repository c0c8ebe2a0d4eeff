"""The results of a study: a record of its trials, and an environment that trains with the best one's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import yaml

from meme57.config import Parameters, parse_parameters
from meme57.config.fields import LONGEST_NAME, joined
from meme57.config.games import game_settings
from meme57.config.tree import assign, plain
from meme57.evaluation.reference import has_reference
from meme57.tuning.identity import study_fingerprint
from meme57.tuning.learning_run import RETURN
from meme57.tuning.space import suggest
from meme57.tuning.storage import CAUSE, latest, origin
from meme57.tuning.study import best_trial, study_scale
from meme57.tuning.trust import study_trust


def study_record(study: optuna.Study, parameters: Parameters) -> dict[str, Any]:
    """Make the study's record for JSON: its settings, each trial once, the frames spent, the best trial's values.

    `cut_at` is the length of games that were too short to be normalised, else None. `trust` says whether the model of
    the scores predicts; it takes some seconds.

    Raises:
        TuningError: no trial is complete.
    """
    best = best_trial(study)
    trials = [_trial(trial, parameters) for trial in latest(study.trials)]
    scale = study_scale(study, parameters)
    is_too_short = scale == RETURN and has_reference(parameters.tune_games[0])
    return {
        "study": study.study_name,
        "fingerprint": study_fingerprint(parameters),
        "games": list(parameters.tune_games),
        "score": scale,
        "cut_at": parameters.env.max_episode_frames if is_too_short else None,
        "metric": parameters.tune.metric,
        "sampler": parameters.tune.sampler,
        "pruner": parameters.tune.pruner,
        "frames": sum(trial["frames"] for trial in trials),
        "states": {state: sum(trial["state"] == state for trial in trials) for state in ("COMPLETE", "PRUNED", "FAIL")},
        "best": {"trial": origin(best), "score": best.value, "values": plain(trial_values(best, parameters))},
        "trials": trials,
        "trust": study_trust(study, parameters),
    }


def trial_values(trial: optuna.trial.FrozenTrial, parameters: Parameters) -> dict[str, Any]:
    """Map dotted names to values; a choice that Optuna stores as text is converted back."""
    return suggest(optuna.trial.FixedTrial(trial.params), parameters.tune.space)


def environment_text(
    parameters: Parameters, record: Mapping[str, Any], evidence: Mapping[str, Any] | None, chain: Sequence[str]
) -> str:
    """Write `parameters.yml` of the tuned environment: every value resolved, with the evidence as a comment above.

    It is validated here, so that it can be run. It extends the last environment of `chain`, in which the study ran. If
    that is the environment that is written now, or extends it, the file extends the one below instead.
    """
    games, name = parameters.tune_games, parameters.study_name
    tree = parameters.model_dump(mode="json", by_alias=True)
    seed = f"-s{parameters.run.seed}"
    settings = {"run.name": joined([f"tuned-{name}"], LONGEST_NAME - len(seed)) + seed, "run.fresh": False}
    game = game_settings(games[0], parameters.env.game)
    tree = assign(tree, {**record["best"]["values"], **settings, **game})
    del tree["tune"]
    parse_parameters(tree)
    written = f"tuned-{name}"
    head = [
        f"Study {name}: trial {record['best']['trial']} of {len(record['trials'])}, "
        f"{record['frames']:,} frames; score {record['best']['score']:.4f} ({record['score']}, {record['metric']}).",
        f"Varied: {', '.join(dimension.name for dimension in parameters.tune.space)}.",
        *evidence_lines(evidence),
        f"`kedro run --env {written}` trains with it.",
    ]
    below = chain[chain.index(written) - 1] if written in chain else chain[-1]
    text = yaml.safe_dump({"extends": below, **tree}, sort_keys=False)
    return "".join(f"# {line}\n" for line in head) + text


def evidence_lines(evidence: Mapping[str, Any] | None) -> list[str]:
    """Describe the comparison on fresh seeds, in lines of text."""
    if evidence is None:
        return ["Not compared on fresh seeds (tune.evidence_seeds is empty): the score above is biased upwards."]
    difference = evidence["difference"]
    interval = "no interval (it takes two seeds)"
    if difference["interval"] is not None:
        low, high = difference["interval"]
        interval = f"{100 * difference['confidence']:g} % interval [{low:.4f}, {high:.4f}] (n {len(evidence['seeds'])})"
    return [
        f"On {len(evidence['seeds'])} fresh seeds, {evidence['frames']:,} frames each: "
        f"configured {evidence['configured']['mean']:.4f}, tuned {evidence['tuned']['mean']:.4f}.",
        f"Difference {difference['mean']:.4f}, {interval}: {evidence['verdict']}.",
    ]


def _trial(trial: optuna.trial.FrozenTrial, parameters: Parameters) -> dict[str, Any]:
    return {
        "trial": origin(trial),
        "state": trial.state.name,
        "score": trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None,
        "frames": int(trial.user_attrs.get("frames", 0)),
        "scores": trial.user_attrs.get("scores", {}),
        "cause": trial.user_attrs.get(CAUSE),
        "values": plain(_values(trial, parameters)),
    }


def _values(trial: optuna.trial.FrozenTrial, parameters: Parameters) -> dict[str, Any]:
    """Return the values of a trial; it has only some if its worker died while they were drawn."""
    drawn = trial.state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return trial_values(trial, parameters) if drawn else dict(trial.params)
