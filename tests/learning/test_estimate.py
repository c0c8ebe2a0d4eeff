"""The estimate by hand where it can be, in the right direction where it cannot, and refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from meme57.agent.network import MemeNetwork
from meme57.blueprint import agent_spec
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.learning.estimate import (
    GIB,
    MIB,
    PROCESS_BYTES,
    Estimate,
    Resources,
    describe,
    estimate_resources,
    replay_bytes,
    shortfall,
    together,
    update_bytes,
)
from meme57.learning.machine import free_memory, free_resources, resident_memory

SMALL: dict[str, Any] = {
    "run": {"total_frames": 1_000_000, "checkpoint_period_frames": 100_000},
    "env": {"game": "Corridor", "num_envs": 4, "height": 36, "width": 36},
    "network": {"torso": "small", "lstm_size": 32, "head_size": 16, "feature_size": 16},
    "replay": {"period": 10, "capacity_sequences": 1_000, "min_sequences": 40},
    "learner": {"batch_size": 4},
}


def small(**groups: dict[str, Any]) -> Parameters:
    return parse_parameters({**SMALL, **{name: {**SMALL.get(name, {}), **group} for name, group in groups.items()}})


def estimated(parameters: Parameters, *, on_device: bool = False) -> Estimate:
    return estimate_resources(parameters, env_spec(parameters.env), on_device=on_device)


def test_networks_are_counted() -> None:
    parameters = small()
    spec = agent_spec(parameters, env_spec(parameters.env)).network
    weights = 4 * sum(tensor.numel() for tensor in MemeNetwork(spec).state_dict().values())
    found = estimated(parameters)
    assert found.memory["acting"] > weights  # and the novelty networks
    novelty = found.memory["acting"] - weights
    assert found.memory["networks"] == 5 * weights + 4 * novelty
    assert found.disk["checkpoints"] == 4 * (4 * weights + 3 * novelty)  # two kept, the best, the one being written
    assert found.disk["checkpoints in MLflow"] == 10 * (weights + novelty)  # 1,000,000 / 100,000


def sized(parameters: Parameters) -> int:
    return replay_bytes(parameters, env_spec(parameters.env))


def test_replay_is_bounded_by_capacity_and_by_the_run() -> None:
    full = sized(small())
    assert sized(small(replay={"capacity_sequences": 2_000})) == pytest.approx(2 * full, rel=0.01)
    # 40,000 frames are 10,000 steps are 1,000 chunks of 10: as many as 1,000 sequences need
    assert sized(small(run={"total_frames": 40_000})) == pytest.approx(full, rel=0.01)
    assert sized(small(run={"total_frames": 4_000})) == pytest.approx(full / 10, rel=0.01)


def test_the_papers_replay_is_what_was_measured() -> None:
    """docs/performance.md: 3.18 to 4.16 GiB grown by the process, 84x84, 200,000 sequences."""
    parameters = parse_parameters({"env": {"height": 84, "width": 84}})
    assert 3.18 * GIB < sized(parameters) < 1.25 * 4.16 * GIB


def test_an_update_grows_with_batch_and_frames() -> None:
    def bytes_of(parameters: Parameters) -> int:
        return update_bytes(parameters, env_spec(parameters.env))

    base = bytes_of(small())
    assert bytes_of(small(learner={"batch_size": 8})) == pytest.approx(2 * base, rel=0.02)
    assert bytes_of(small(env={"height": 72, "width": 72})) > 1.5 * base
    assert bytes_of(small(learner={"precision": "bfloat16"})) < base


def test_a_device_takes_the_update_from_the_host() -> None:
    on_cpu, on_device = estimated(small()), estimated(small(), on_device=True)
    assert on_cpu.device == {}
    assert {"update", "networks"} <= set(on_device.device)
    assert not {"update", "networks"} & set(on_device.memory)


def test_the_episodic_memories_are_where_the_actors_act() -> None:
    settings = [small(novelty={"memory_size": size}) for size in (1_000, 2_000)]
    for on_device, place, part in ((False, "memory", "environments"), (True, "device", "acting")):
        before, after = (getattr(estimated(each, on_device=on_device), place) for each in settings)
        assert after[part] - before[part] == 4 * 4 * 1_000 * settings[0].novelty.embedding_size
        assert {name: after[name] for name in after if name != part} == {
            name: before[name] for name in before if name != part
        }


def test_actors_on_ray_need_processes_here_and_nothing_if_the_cluster_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters = small(actors={"pool": "ray"}, ray={"workers": 3, "object_store_mb": 100})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    local, here = estimated(small()).memory, estimated(parameters).memory
    assert here["actors"] == 3 * PROCESS_BYTES + 100 * MIB
    assert here["acting"] == 3 * local["acting"]
    assert here["environments"] == local["environments"]
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    away = estimated(parameters).memory
    assert away == {name: size for name, size in here.items() if name not in ("environments", "acting", "actors")}
    assert "acting" not in estimated(parameters, on_device=True).device


@pytest.mark.parametrize("kind", ["disk", "memory", "device"])
def test_what_does_not_fit_is_one_line_with_what_to_change(kind: str) -> None:
    parts = {"replay": 3 * GIB, "checkpoints": 2 * GIB}
    needed = Estimate(**{kind: parts})
    free = {"memory": 10 * GIB, "device": 10 * GIB, "disk": 10 * GIB}
    assert shortfall(needed, Resources(**free), run_name="Pong-s1") is None
    line = shortfall(needed, Resources(**{**free, kind: 4 * GIB}), run_name="Pong-s1")
    assert line is not None
    assert "run 'Pong-s1' needs about 5.0 GiB of" in line
    assert "(replay 3.0, checkpoints 2.0), and 4.0 GiB are free: lower replay.capacity_sequences" in line
    assert "run.check_resources=false" in line
    assert "\n" not in line
    assert shortfall(needed, Resources(**{**free, kind: None}), run_name="Pong-s1") is None


def test_the_papers_setting_does_not_fit_a_laptop_and_the_small_one_does() -> None:
    laptop = Resources(memory=16 * GIB, device=None, disk=100 * GIB)
    paper = parse_parameters({"env": {"game": "Corridor"}})
    assert shortfall(estimated(paper), laptop, run_name="paper") is not None
    assert shortfall(estimated(small()), laptop, run_name="small") is None
    assert "GiB of memory" in describe(estimated(small()))


def test_a_run_that_goes_on_needs_disk_for_the_checkpoints_to_come_alone() -> None:
    """Those that MLflow has are on the disk already; counted again, a resumed run would be refused."""
    parameters = small(run={"total_frames": 1_000_000, "checkpoint_period_frames": 100_000})
    whole, late, done, longer = (
        estimate_resources(parameters, env_spec(parameters.env), on_device=False, done_frames=frames).disk
        for frames in (0, 900_012, 1_000_004, 2_000_000)
    )
    part = "checkpoints in MLflow"
    assert (late[part], done[part], longer[part]) == (whole[part] // 10, 0, 0)
    assert {name: size for name, size in late.items() if name != part} == {
        name: size for name, size in whole.items() if name != part
    }


def test_files_that_a_containers_memory_holds_are_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(str(3 * GIB))
    (tmp_path / "memory.current").write_text(str(3 * GIB))
    full = free_memory(tmp_path)
    (tmp_path / "memory.stat").write_text(f"anon 5\nfile 9\ninactive_file {GIB // 2}\nactive_file {GIB // 4}\n")
    assert full is not None
    assert free_memory(tmp_path) == pytest.approx(full + 3 * GIB // 4, abs=GIB // 20)


def test_sums_are_of_the_parts() -> None:
    tree = estimated(small()).to_json()
    for parts in tree.values():
        assert parts["total"] == sum(value for name, value in parts.items() if name != "total")


def test_free_memory_is_the_lesser_of_system_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = free_memory(tmp_path)
    assert plain is not None
    assert plain > GIB // 10
    (tmp_path / "memory.max").write_text(str(3 * GIB))
    (tmp_path / "memory.current").write_text(str(3 * GIB))  # all of it, and some of that is this process's own
    assert free_memory(tmp_path) == pytest.approx(resident_memory(), abs=GIB // 20)
    (tmp_path / "memory.max").write_text("max")
    assert free_memory(tmp_path) == pytest.approx(plain, abs=GIB // 2)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))  # a container without /proc
    assert free_memory(tmp_path) is None


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_job_is_that_of_its_own_group_or_of_one_above(tmp_path: Path, version: int) -> None:
    """Slurm and systemd limit groups far below the root, which has no limit itself."""
    base, kinds = (tmp_path / "memory", "cpu,memory") if version == 1 else (tmp_path, "")
    job = base / "slurm" / "job_7"
    (job / "step_0").mkdir(parents=True)
    limit, used = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    )
    (job / "step_0" / limit).write_text(str(2**60) if version == 1 else "max")
    (job / "step_0" / used).write_text("0")
    (job / limit).write_text(str(3 * GIB))
    (job / used).write_text(str(3 * GIB))
    membership = tmp_path / "membership"
    membership.write_text(f"5:cpuset:/\n4:{kinds}:/slurm/job_7/step_0\n")
    assert free_memory(tmp_path, membership) == pytest.approx(resident_memory(), abs=GIB // 20)


def test_runs_that_fit_alone_may_not_fit_together() -> None:
    needed = estimated(small())
    memory = sum(needed.memory.values())
    enough = Resources(memory=2 * memory, device=None, disk=None)
    assert together(needed, 2, enough, run_name="Pong-s1") is None
    words = together(needed, 3, enough, run_name="Pong-s1")
    assert words is not None
    assert words.startswith("3 runs like 'Pong-s1' at a time need about ")
    assert "lower suite.workers" in words


def test_resident_memory_follows_what_the_process_holds() -> None:
    before = resident_memory()
    held = np.ones(GIB // 16)  # 512 MiB
    assert resident_memory() - before == pytest.approx(held.nbytes, rel=0.1)


def test_a_runs_own_files_count_as_free(tmp_path: Path) -> None:
    before = free_resources(tmp_path / "data" / "not there yet")
    assert before.disk is not None
    assert before.disk > 0
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "checkpoint").open("wb") as stream:
        stream.truncate(GIB)  # sparse: takes no room
    after = free_resources(tmp_path, [folder])
    assert after.disk is not None
    assert after.disk - before.disk == pytest.approx(GIB, abs=GIB // 2)
