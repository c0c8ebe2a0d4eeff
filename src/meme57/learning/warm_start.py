"""Warm start: begin a run with the weights of another policy (`run.init_from`).

`setup` keeps a copy of them in the run's own folder. So the run can be repeated and resumed when its source is gone, or
when the alias of a registered model has moved on.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.blueprint import AgentSpec, make_networks
from meme57.checkpoints.manifest import AGENT, MANIFEST
from meme57.checkpoints.source import checkpoint_source
from meme57.errors import CheckpointError, ConfigurationError
from meme57.files import checksum, commit_folder, read_json, storage_errors, write_json
from meme57.learning.learner import Learner, copy_state
from meme57.learning.policies import NETWORK, NOVELTY, TEACHER_FILES

RECORD = "record.json"
SCALES = "scales.safetensors"
FILES = (*TEACHER_FILES, SCALES)
"""What is kept of a policy; a registered model has no scales."""

logger = logging.getLogger(__name__)


def keep_initial_policy(find: Callable[[], Path], folder: Path, *, named: str) -> dict[str, Any]:
    """Copy a checkpoint's weights to `folder`, after checking them; an earlier copy from the same source stays.

    Args:
        find: returns the folder of a checkpoint, or the data of a registered teacher; not called if there is a copy.
        named: what the user calls it.

    Returns:
        The record, also written to `folder`: source, game, checkpoint, files with their SHA-256; for a folder with a
        manifest also the manifest's `sha256`.

    Raises:
        CheckpointError: the source is damaged.
        ConfigurationError: the source is no teacher.
        StorageError: the folder cannot be written to.
    """
    if (folder / RECORD).is_file() and (kept := _checked_record(folder))["source"] == named:
        return kept
    source = find()
    if not (source / NETWORK).is_file() or not (source / AGENT).is_file():
        raise ConfigurationError(
            f"run.init_from={named} is no teacher ({source} lacks {NETWORK}): "
            "give a run, a checkpoint-000123 folder, or the address of a registered teacher"
        )
    # A registered model and a shipped policy have no manifest: their checksums were compared where they were found.
    origin = checkpoint_source(source) if (source / MANIFEST).is_file() else {"checkpoint": source.name}
    try:
        game = str(read_json(source / AGENT)["env"]["game"])
    except (LookupError, TypeError) as error:
        raise CheckpointError(f"{source / AGENT} is damaged: it names no game") from error
    files = [name for name in FILES if (source / name).is_file()]
    temporary = folder.with_name(f".{folder.name}.tmp")
    with storage_errors(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name in files:
            shutil.copyfile(source / name, temporary / name)
        record = {
            "source": named,
            "game": game,
            **origin,
            "files": {name: checksum(temporary / name) for name in files},
        }
        write_json(temporary / RECORD, record)
        commit_folder(temporary, folder)
    return record


def start_networks(network: MemeNetwork, novelty: NoveltyNetworks, folder: Path) -> dict[str, Any]:
    """Load what fits into the networks of a run that begins, and say in one line what does not.

    A tensor fits if the network has one of the same name and shape. The rest keeps its random values.

    Returns:
        The record of `keep_initial_policy`.

    Raises:
        CheckpointError: the copy in `folder` is damaged.
        ConfigurationError: no matrix and no kernel fits.
    """
    record = _checked_record(folder)
    fresh = _load_what_fits(network, _tensors(folder / NETWORK))
    if {name for name, _ in network.named_parameters() if name.endswith("weight")} <= set(fresh):
        raise ConfigurationError(
            f"run.init_from={record['source']}: no matrix of its network fits this one: "
            "take the same network.torso and sizes, or leave run.init_from out"
        )
    if NOVELTY in record["files"]:
        fresh += [f"novelty.{name}" for name in _load_what_fits(novelty, _tensors(folder / NOVELTY))]
    what = f"starts with the weights of {record['source']} ({record['game']}, {record['checkpoint']})"
    logger.info("%s%s", what, f"; these do not fit and start anew: {_parts(fresh)}" if fresh else "")
    return record


def initial_weights(spec: AgentSpec, folder: Path, *, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights with which a run's actors begin, before there is a learner: network, novelty networks."""
    network, novelty = make_networks(spec, seed=seed)
    start_networks(network, novelty, folder)
    return copy_state(network), copy_state(novelty)


def start_learner(learner: Learner, folder: Path) -> None:
    """Run `start_networks` on a learner that made no update yet; also load the scales, if they fit.

    Raises:
        CheckpointError, ConfigurationError: as for `start_networks`.
    """
    record = start_networks(learner.network, learner.novelty, folder)
    learner.target.load_state_dict(learner.network.state_dict())
    if SCALES not in record["files"]:
        return
    try:
        learner.load_scales(_tensors(folder / SCALES))
    except (KeyError, ValueError) as error:
        logger.info("the scales of the TD errors start anew: %s", error)


def _load_what_fits(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load the tensors of the same name and shape; return the names of the module's others."""
    own = module.state_dict()
    fitting = {name: tensors[name] for name in own if name in tensors and tensors[name].shape == own[name].shape}
    module.load_state_dict(own | fitting)
    return [name for name in own if name not in fitting]


def _parts(names: list[str]) -> str:
    """Count names by the module that they begin with: `torso (4 tensors), heads (2 tensors)`."""
    counts = Counter(name.split(".")[0] for name in names)
    return ", ".join(f"{part} ({count} tensors)" for part, count in counts.items())


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {error}: {_remedy(path.parent)}") from error


def _checked_record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / RECORD)
    try:
        files = {name: str(digest) for name, digest in record["files"].items() if name in FILES}
        changed = [name for name, digest in files.items() if checksum(folder / name) != digest]
        if changed or NETWORK not in files:
            raise ValueError(f"{', '.join(changed) or NETWORK} is not what was kept")
        return {**record, **{key: str(record[key]) for key in ("source", "game", "checkpoint")}, "files": files}
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} is damaged ({error!r}): {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    return f"delete {folder} and `kedro run --pipelines setup` (same options)"
