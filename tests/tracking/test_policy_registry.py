from __future__ import annotations

import contextlib
import importlib.util
import json
import py_compile
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from meme57.addresses import local_path
from meme57.errors import RefusalError, TrackingError
from meme57.files import write_json
from meme57.tracking import registry
from meme57.tracking.by_hand import AliasChange, demote, plan_promotion, promote
from meme57.tracking.models import registered_versions
from meme57.tracking.promotion import PolicyScore
from meme57.tracking.pyfunc import load_policy_model, policy_data, save_policy_model
from meme57.tracking.registry import CHAMPION, Registration, by_alias, model_name, register_policy
from meme57.tracking.runs import ActiveRun
from meme57.tracking.store import Store
from meme57.tracking.version_files import CODE, check_files, code_checksum
from meme57.tracking.version_tags import FACTS, SCORE, score_from_tags

FRAMES = np.zeros((1, 4, 4), dtype=np.uint8)


def _policy(folder: Path, bias: float) -> Path:
    write_json(folder / "policy" / "policy.json", {"bias": bias})
    return save_policy_model(
        folder / f"model-{bias}",
        data_path=folder / "policy",
        loader_module="toy_policy_loader",
        inputs={"frame": FRAMES},
        outputs={"action": np.zeros(1)},
        pip_requirements=["numpy"],
        code=[Path(__file__).with_name("toy_policy_loader.py")],
        metadata={"game": "Pong"},
    )


def _score(low: float, mean: float, protocol: str = "p1") -> PolicyScore:
    """Ten episodes whose 95 % interval begins at `low`: t(9) = 2.2622; random play makes 0 with deviation 0.5."""
    std = (mean - low) / 2.2622 * 9**0.5
    return PolicyScore(
        mean=mean, std=std, low=low, high=2 * mean - low, episodes=10, protocol=protocol, random_mean=0.0,
        random_std=0.5, random_episodes=10,
    )  # fmt: skip


def as_before(client: MlflowClient, made: Registration, *, leave_out: tuple[str, ...] = ()) -> None:
    """Give the version the tags of an older release, one for each fact of its score."""
    score = score_from_tags(client.get_model_version(made.model, made.version).tags)
    assert score is not None
    for key, value in asdict(score).items():
        if key not in leave_out:
            client.set_model_version_tag(made.model, made.version, f"meme57.score.{key}", str(value))
    for tag in (SCORE, FACTS):
        client.delete_model_version_tag(made.model, made.version, tag)


@pytest.fixture
def register(active: ActiveRun, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Registration]:
    name = "meme57-" + re.sub(r"\W", "-", request.node.name)

    def call(bias: float, score: PolicyScore, margin: float = 0.0, about: str | None = None) -> Registration:
        folder = tmp_path / f"model-{bias}"
        if not folder.exists():
            _policy(tmp_path, bias)
        return register_policy(
            active.client, name=name, folder=folder, run_id=active.run_id, score=score, margin=margin, about=about
        )

    return call


def test_names() -> None:
    assert model_name("montezuma_revenge") == "meme57-montezuma_revenge"
    assert model_name("pong", student=True) == "meme57-pong-student"


def test_promotion_through_the_registry(
    register: Callable[..., Registration], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = register(1.0, _score(low=0.5, mean=2.0))
    assert (first.version, first.champion) == ("1", True)
    second = register(2.0, _score(low=2.1, mean=3.0))  # its interval is above the champion's mean: no longer enough
    assert (second.champion, second.champion_version) == (False, "1")
    assert "challenge 1" in second.reason
    third = register(3.0, _score(low=5.6, mean=6.0), margin=3.0)
    assert not third.champion
    assert "difference +4, 99.17 % interval" in third.reason
    assert "challenge 2); needed: more than " in third.reason
    assert "(margin 3)" in third.reason
    fourth = register(4.0, _score(low=8.6, mean=9.0), margin=3.0)
    assert (fourth.champion, fourth.champion_version) == (True, "4")
    assert "challenge 3" in fourth.reason
    assert "challenge 1)" in register(5.0, _score(low=8.6, mean=9.0)).reason  # the new champion's count begins anew

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    champion = mlflow.pyfunc.load_model(f"models:/{first.model}@champion")
    frames = np.stack([FRAMES[0], FRAMES[0] + 10])  # the batch may have any size
    np.testing.assert_allclose(champion.predict({"frame": frames})["action"], [4.0, 14.0])
    newest = load_policy_model(store, first.model, alias="challenger")
    np.testing.assert_allclose(newest.predict({"frame": FRAMES})["action"], [5.0])


def test_challenger_is_the_newest_although_not_champion(register: Callable[..., Registration], store: Store) -> None:
    register(1.0, _score(low=0.5, mean=2.0))
    second = register(2.0, _score(low=0.1, mean=1.0))
    newest = load_policy_model(store, second.model, alias="challenger")
    np.testing.assert_allclose(newest.predict({"frame": FRAMES})["action"], [2.0])
    champion = load_policy_model(store, second.model)
    np.testing.assert_allclose(champion.predict({"frame": FRAMES})["action"], [1.0])


def test_no_champion_until_random_play_is_cleared(register: Callable[..., Registration], store: Store) -> None:
    first = register(1.0, _score(low=-0.5, mean=2.0))
    assert (first.champion, first.champion_version) == (False, None)
    with pytest.raises(TrackingError, match="@champion"):
        load_policy_model(store, first.model)
    assert register(2.0, _score(low=1.0, mean=2.0)).champion


def test_a_champion_of_an_older_release_is_not_compared(register: Callable[..., Registration], store: Store) -> None:
    first = register(1.0, _score(low=0.5, mean=2.0))
    as_before(store.client(), first, leave_out=("std",))
    second = register(2.0, _score(low=99.0, mean=100.0))
    assert (second.champion, second.champion_version) == (False, "1")
    assert f"`meme57 promote {first.model} --reason WHY` decides" in second.reason


def test_the_tags_of_older_releases_are_still_read(register: Callable[..., Registration], store: Store) -> None:
    first = register(1.0, _score(low=0.5, mean=2.0))
    as_before(store.client(), first)
    assert register(1.0, _score(low=0.5, mean=2.0)).version == "1"  # the same score: no second version
    second = register(2.0, _score(low=0.1, mean=1.0))
    assert "not shown to be better than the champion" in second.reason
    newest, oldest = registered_versions(store.client(), first.model)
    assert (str(oldest.score), oldest.aliases, oldest.protocol) == ("2.0 [0.5, 3.5], n 10", ("champion",), "p1")
    assert (str(newest.score), newest.aliases) == ("1.0 [0.1, 1.9], n 10", ("challenger",))
    assert newest.decision == second.reason


def test_a_model_has_a_description(register: Callable[..., Registration], store: Store) -> None:
    made = register(1.0, _score(low=0.5, mean=2.0), about="Teachers of Pong")
    assert store.client().get_registered_model(made.model).description == "Teachers of Pong"


def test_other_protocols_are_not_compared(register: Callable[..., Registration]) -> None:
    register(1.0, _score(low=0.5, mean=2.0))
    other = register(2.0, _score(low=9.0, mean=10.0, protocol="p2"))
    assert not other.champion
    assert "p1" in other.reason
    assert "p2" in other.reason


def test_the_same_policy_makes_no_new_version(register: Callable[..., Registration]) -> None:
    first = register(1.0, _score(low=0.5, mean=2.0))
    again = register(1.0, _score(low=0.5, mean=2.0))
    assert (again.version, again.champion) == (first.version, True)
    assert register(1.0, _score(low=0.6, mean=2.0)).version == "2"  # measured again


def test_facts_are_stored_with_the_version(register: Callable[..., Registration], store: Store) -> None:
    made = register(1.0, _score(low=0.5, mean=2.0))
    version = store.client().get_model_version(made.model, made.version)
    assert version.tags["meme57.score"] == "2.0 [0.5, 3.5], n 10"
    assert score_from_tags(version.tags) == _score(low=0.5, mean=2.0)
    assert version.tags["meme57.promotion"] == made.reason


def test_no_pickle_and_nothing_guessed(tmp_path: Path) -> None:
    folder = _policy(tmp_path, 1.0)
    requirements = (folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == ["mlflow", "numpy"]
    assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pt", ".pth")]


def test_a_folder_that_is_no_model_is_refused(active: ActiveRun, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="MLmodel"):
        register_policy(active.client, name="x", folder=tmp_path, run_id=active.run_id, score=_score(1, 2))


def test_a_registry_that_refuses_is_one_line(
    register: Callable[..., Registration], active: ActiveRun, tmp_path: Path
) -> None:
    folder = _policy(tmp_path, 1.0)
    with pytest.raises(TrackingError, match="policy meme57-x cannot be registered") as info:
        register_policy(active.client, name="meme57-x", folder=folder, run_id="0" * 32, score=_score(1, 2))
    assert "\n" not in str(info.value)


def test_a_model_folder_is_written_once_and_without_advice(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        folder = _policy(tmp_path, 1.0)
    assert [str(warning.message) for warning in told if "input example" in str(warning.message)] == []
    with pytest.raises(TrackingError, match=rf"the policy model {folder} cannot be written"):
        _policy(tmp_path, 1.0)


def test_the_data_of_an_address_are_the_policys(register: Callable[..., Registration], store: Store) -> None:
    name = register(1.0, _score(low=0.5, mean=2.0)).model
    register(2.0, _score(low=0.1, mean=1.0))
    for address, bias in ((f"{name}@champion", 1.0), (f"{name}/2", 2.0)):
        assert json.loads((policy_data(store, f"models:/{address}") / "policy.json").read_text()) == {"bias": bias}
    for unknown in (f"{name}@nobody", f"{name}/3"):
        with pytest.raises(RefusalError, match=rf"models:/{unknown} cannot be read from"):
            policy_data(store, f"models:/{unknown}")
    for wrong in (f"models:/{name}", f"{name}@champion", f"models:/{name}/1/..", f"models:/{name}@a/b"):
        with pytest.raises(RefusalError, match="is no address of a policy: type models:/NAME@champion"):
            policy_data(store, wrong)


def _stored(store: Store, name: str) -> Path:
    """The files of the first version, where the store keeps them."""
    place = local_path(store.client().get_model_version(name, "1").source)
    assert place is not None
    return place


def test_data_outside_the_models_folder_are_not_read(register: Callable[..., Registration], store: Store) -> None:
    name = register(1.0, _score(low=0.5, mean=2.0)).model
    description = _stored(store, name) / "MLmodel"
    for data in ("..", "/etc", "data/../../x"):
        description.write_text(re.sub(r"(?m)^( +data:) .*$", rf"\1 {data}", description.read_text()))
        store.client().set_model_version_tag(
            name, "1", CODE, code_checksum(description.parent)
        )  # by whoever changed it
        with pytest.raises(TrackingError, match=rf"names data outside its own folder \({data}\)"):
            policy_data(store, f"models:/{name}/1")


def test_files_that_are_gone_are_one_line(register: Callable[..., Registration], store: Store) -> None:
    name = register(1.0, _score(low=0.5, mean=2.0)).model
    shutil.rmtree(_stored(store, name))
    with pytest.raises(TrackingError, match=rf"models:/{name}/1 cannot be read from") as info:
        policy_data(store, f"models:/{name}/1")
    assert "\n" not in str(info.value)


def test_a_change_that_the_registry_refuses_is_one_line(
    register: Callable[..., Registration], active: ActiveRun
) -> None:
    name = register(1.0, _score(low=0.5, mean=2.0)).model
    change = AliasChange(name, before="9", after="9", score="")  # there is no such version
    for act, words in ((promote, "is not promoted"), (demote, "is not demoted")):
        with pytest.raises(TrackingError, match=f"{name} {words}") as info:
            act(active.client, change, "why")
        assert "\n" not in str(info.value)


def test_a_version_without_a_score_says_so(register: Callable[..., Registration], active: ActiveRun) -> None:
    name = register(1.0, _score(low=0.5, mean=2.0)).model
    assert plan_promotion(active.client, name, "1", None).score == "2.0 [0.5, 3.5], n 10"
    active.client.delete_model_version_tag(name, "1", FACTS)
    assert plan_promotion(active.client, name, "1", None).score == "no score"


def _add_a_line(folder: Path) -> None:
    with (folder / "code" / "toy_policy_loader.py").open("a") as stream:
        stream.write(f"{TROJAN}\n")


def _add_a_module(folder: Path) -> None:
    (folder / "code" / "numpy.py").write_text(TROJAN)


def _name_another_loader(folder: Path) -> None:
    path = folder / "MLmodel"
    path.write_text(path.read_text().replace("loader_module: toy_policy_loader", "loader_module: mlflow.pyfunc.model"))


def _name_other_code(folder: Path) -> None:
    path = folder / "MLmodel"
    path.write_text(path.read_text().replace("code: code", "code: data"))


TROJAN = "raise SystemExit('foreign code was run')"


@pytest.mark.parametrize("spoil", [_add_a_line, _add_a_module, _name_another_loader, _name_other_code])
def test_code_that_was_not_registered_is_not_run(
    register: Callable[..., Registration], store: Store, spoil: Callable[[Path], None]
) -> None:
    made = register(1.0, _score(low=0.5, mean=2.0))
    spoil(_stored(store, made.model))
    for load in (load_policy_model, lambda store, name: policy_data(store, f"models:/{name}@champion")):
        with pytest.raises(TrackingError, match=r"the code of .* version 1 is not what was registered") as info:
            load(store, made.model)
        assert "\n" not in str(info.value)


def test_data_that_were_not_registered_are_not_used(register: Callable[..., Registration], store: Store) -> None:
    made = register(1.0, _score(low=0.5, mean=2.0))
    write_json(_stored(store, made.model) / "data" / "policy" / "policy.json", {"bias": 9.0})
    for load in (load_policy_model, lambda store, name: policy_data(store, f"models:/{name}/1")):
        with pytest.raises(TrackingError, match=r"the data of .* version 1 are not what was registered"):
            load(store, made.model)


def test_compiled_code_in_the_store_is_not_run(register: Callable[..., Registration], store: Store) -> None:
    """Python would take it for what it compiled itself, if it names the source's time and size."""
    made = register(1.0, _score(low=0.5, mean=2.0))
    source = _stored(store, made.model) / "code" / "toy_policy_loader.py"
    trojan = source.with_name("trojan.py")
    trojan.write_text(TROJAN)
    compiled = Path(py_compile.compile(str(trojan), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))
    trojan.unlink()
    compiled.rename(importlib.util.cache_from_source(str(source)))
    for name in ("toy_policy_loader", *[known for known in sys.modules if known.startswith("toy_policy")]):
        sys.modules.pop(name, None)
    policy = load_policy_model(store, made.model)
    np.testing.assert_allclose(policy.predict({"frame": FRAMES})["action"], [1.0])


def test_a_version_of_an_older_release_has_the_loader_of_then_and_no_code(
    register: Callable[..., Registration], store: Store, tmp_path: Path
) -> None:
    made = register(1.0, _score(low=0.5, mean=2.0))
    store.client().delete_model_version_tag(made.model, made.version, CODE)
    with pytest.raises(TrackingError, match=r"the code of .* is not what was registered"):
        load_policy_model(store, made.model)
    version = store.client().get_model_version(made.model, made.version)
    version.tags.clear()
    old = tmp_path / "old"
    old.mkdir()
    (old / "MLmodel").write_text("flavors: {python_function: {loader_module: meme57.export.pyfunc, code: null}}")
    check_files(version, old)


def test_two_processes_that_register_at_once_crown_the_better_one(
    active: ActiveRun, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two members of a suite that end together; both would find no model, and then no champion."""
    compare, waiting = registry._compare, threading.Barrier(2)

    def meet(champion: Any, challenger: Any, score: PolicyScore, margin: float) -> Any:
        verdict = compare(champion, challenger, score, margin)
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one waits for the registry
            waiting.wait(timeout=1)
        time.sleep(0.5 if score.mean == 5.0 else 0.0)  # the worse one would take the title last
        return verdict

    monkeypatch.setattr(registry, "_compare", meet)
    scores = {1.0: _score(low=19.5, mean=20.0), 2.0: _score(low=4.5, mean=5.0)}
    for bias in scores:
        _policy(tmp_path, bias)

    def register(bias: float) -> Registration:
        folder, score = tmp_path / f"model-{bias}", scores[bias]
        return register_policy(store.client(), name="meme57-both", folder=folder, run_id=active.run_id, score=score)

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(register, scores))
    assert {registration.version for registration in made} == {"1", "2"}
    champion = by_alias(store.client(), "meme57-both", CHAMPION)
    assert champion is not None
    assert score_from_tags(champion.tags) == scores[1.0]
