"""Identity survives change: a new parameter, and a setting that only says how to run, orphan nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import create_model

from meme57.config import Parameters, parse_parameters
from meme57.config import labels as labels_module
from meme57.config.groups import LossParameters
from meme57.config.identity import (
    changes,
    completed,
    former_fingerprint,
    former_member_digest,
    former_seed_fingerprint,
    is_same,
    seed_settings,
)
from meme57.config.labels import MEANT_BEFORE, digest
from meme57.config.members import former_suite_fingerprint, member_parameters, member_settings, suite_members
from meme57.config.parameters import OPERATIONAL_NAMES
from meme57.config.renames import PARAMETERS, renamed
from meme57.config.tree import flatten
from meme57.tuning.identity import former_study_fingerprint, study_settings

OLD = Path(__file__).parents[1] / "data" / "fd8d2c1"
TREE = yaml.safe_load((OLD / "parameters.yml").read_text())
RUN, SUITE, STUDY = (OLD / f"{kind}.zip" for kind in ("run", "suite", "study"))
RECORD = "data/02_intermediate/stopped/run_record.json"


def old_json(archive: Path, name: str) -> Any:
    with zipfile.ZipFile(archive) as files:
        return json.loads(files.read(name))


def old_parameters(**groups: Any) -> Parameters:
    """What made the stopped run, suite and study of fd8d2c1, changed by `groups`."""
    changed = {group: {**TREE[group], **values} for group, values in groups.items()}
    return parse_parameters({**TREE, **changed})


def test_labels_of_fd8d2c1_are_made_again() -> None:
    parameters = old_parameters()
    assert former_fingerprint(parameters) == old_json(RUN, RECORD)["fingerprint"] == "f3fb3550233a"
    replay = old_json(RUN, "data/03_primary/stopped/seed_replay/record.json")
    assert former_seed_fingerprint(parameters) == replay["fingerprint"]
    member = member_parameters(parameters, suite_members(parameters)[0])
    assert former_member_digest(member) == old_json(SUITE, "data/07_model_output/suite-Pong/Pong-s1.json")["digest"]
    with zipfile.ZipFile(STUDY) as files:
        journal = files.read("data/07_model_output/tune-stopped/study.journal").decode()
    assert f'"fingerprint":"{former_study_fingerprint(parameters)}"' in journal
    assert former_suite_fingerprint(parameters) == "68c087fd8125"


def test_the_old_configuration_is_todays() -> None:
    assert changes(old_json(RUN, RECORD)["configuration"], old_parameters().configuration()) == ""


@pytest.mark.parametrize(
    "operational",
    [
        {"env": {"num_threads": 2}},
        {"learner": {"torch_threads": 2}},
        {"learner": {"max_bad_updates": 3}},
        {"learner": {"evaluation_episodes": 2}},
    ],
    ids=str,
)
def test_an_operational_setting_may_change_while_a_run_goes_on(operational: dict[str, Any]) -> None:
    assert changes(old_json(RUN, RECORD)["configuration"], old_parameters(**operational).configuration()) == ""


def test_a_learning_setting_is_named_with_both_values() -> None:
    other = old_parameters(learner={"batch_size": 8}).configuration()
    assert changes(old_json(RUN, RECORD)["configuration"], other) == "learner.batch_size 4, now 8"


def test_every_parameter_of_an_identity_was_there_or_has_a_meaning_before() -> None:
    """The test that fails when a parameter is added without a word on the runs that exist."""
    known = {PARAMETERS.get(name, name) for name in flatten(TREE)} | set(MEANT_BEFORE)
    parameters = Parameters()
    trees = [member_settings(parameters), study_settings(parameters), seed_settings(parameters)]
    ours = {"seed", "exact_resume", "total_frames", "ranked_by_episodes", "games", "suite.variants"}
    for tree in trees:
        missing = set(flatten(tree)) - known - ours
        assert not missing, f"say in config.labels.MEANT_BEFORE what {sorted(missing)} meant before it existed"


def test_every_meaning_before_is_of_a_parameter_that_shapes_something() -> None:
    names = set(flatten(Parameters().tree()))
    assert set(MEANT_BEFORE) <= names - OPERATIONAL_NAMES - set(flatten(TREE))


class Later:
    """A later version, in which the loss has one coefficient more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meant_before: float) -> None:
        monkeypatch.setitem(labels_module.MEANT_BEFORE, "loss.new_coefficient", meant_before)
        loss = create_model("Loss", __base__=LossParameters, new_coefficient=(float, meant_before))
        self.model = create_model("Tree", __base__=Parameters, loss=(loss, loss()))

    def parameters(self, **groups: Any) -> Any:
        tree = {**TREE, **{key: {**TREE[key], **groups[key]} for key in groups}}
        return self.model.model_validate(renamed(tree, PARAMETERS))


def test_a_new_coefficient_with_its_old_meaning_orphans_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = old_parameters()
    kinds = {
        "run": (Parameters.configuration, former_fingerprint),
        "member": (member_settings, former_member_digest),
        "seed replay": (seed_settings, former_seed_fingerprint),
        "study": (study_settings, former_study_fingerprint),
    }
    stored = {kind: (settings(before), former(before)) for kind, (settings, former) in kinds.items()}
    later = Later(monkeypatch, 0.0).parameters()
    for kind, (settings, former) in kinds.items():
        tree, label = stored[kind]
        assert changes(tree, settings(later)) == "", kind
        assert digest(tree) == digest(settings(later)), kind
        assert is_same(None, label, settings(later), former(later)), f"{kind}: by its former label"
        assert is_same(None, digest(tree), settings(later), former(later)), f"{kind}: by its label"
    assert completed(stored["run"][0], later.configuration())["loss.new_coefficient"] == 0.0
    assert "loss.new_coefficient" not in completed(stored["seed replay"][0], seed_settings(later))


def test_a_new_coefficient_with_another_value_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = old_parameters().configuration()
    later = Later(monkeypatch, 0.0).parameters(loss={"new_coefficient": 0.5})
    assert changes(stored, later.configuration()) == "loss.new_coefficient 0.0, now 0.5"
    assert not is_same(None, digest(stored), later.configuration(), former_fingerprint(later))


def test_what_a_later_version_stored_is_read_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Later(monkeypatch, 0.0)
    stored = later.parameters(loss={"new_coefficient": 0.5}).configuration()
    assert changes(stored, later.parameters(loss={"new_coefficient": 0.5}).configuration()) == ""
    assert changes(stored, later.parameters().configuration()) == "loss.new_coefficient 0.5, now 0.0"


def test_an_earlier_version_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stored = Later(patch, 0.0).parameters(loss={"new_coefficient": 0.5}).configuration()
    assert changes(stored, old_parameters().configuration()) == "loss.new_coefficient 0.5, now not set"
