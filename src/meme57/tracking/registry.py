"""The model registry: `challenger` is the newest registered policy, `champion` the one that passed the rule of
`promotion`.

Models are `meme57-<rom_id>` and `meme57-<rom_id>-student`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.checkpoints import logged_model_name, upload_folder
from meme57.tracking.promotion import PolicyScore, decide_promotion
from meme57.tracking.store import first_line, locked_registry, suppress_existing, was_not_found
from meme57.tracking.version_files import CODE, CONTENT, code_checksum, content_checksum
from meme57.tracking.version_tags import score_from_tags, version_tags

CHALLENGER = "challenger"
CHAMPION = "champion"
CARD = "README.md"
PROMOTION = "meme57.promotion"
DEMOTED = "meme57.demoted"

log = logging.getLogger(__name__)


class DanglingAliasError(TrackingError):
    """An alias names a version that does not exist."""


@dataclass(frozen=True)
class Registration:
    """A registered policy; goes to `model_versions.json` through `dataclasses.asdict`."""

    model: str
    version: str
    source: str
    champion: bool
    champion_version: str | None
    reason: str


def model_name(rom_id: str, *, student: bool = False) -> str:
    """Return the model's name: `meme57-montezuma_revenge`, `meme57-montezuma_revenge-student`."""
    return f"meme57-{rom_id}-student" if student else f"meme57-{rom_id}"


def register_policy(
    client: MlflowClient,
    *,
    name: str,
    folder: Path,
    run_id: str,
    score: PolicyScore,
    margin: float = 0.0,
    tags: Mapping[str, str] | None = None,
    lineage: Mapping[str, str] | None = None,
    about: str | None = None,
) -> Registration:
    """Register a folder that `pyfunc.save_policy_model` made, move the aliases, and say why.

    Registering the same data with the same score again makes no new version. The champion's alias moves last. If the
    registry does not say which version has it, it stays.

    Args:
        tags: what people read first, such as the run.
        lineage: where the policy comes from, for programs.
        about: the model's description, in Markdown; a version's is its card.

    Raises:
        TrackingError: the folder is not an MLflow model, or the registry refuses or does not answer.
    """
    if not (folder / "MLmodel").is_file():
        raise TrackingError(f"{folder} is not an MLflow model: it has no MLmodel file")
    content = content_checksum(folder)
    facts = {**(tags or {}), **version_tags(score, lineage or {}), CONTENT: content, CODE: code_checksum(folder)}
    try:
        with locked_registry(client):
            by_alias(client, name, CHAMPION)  # a damaged registry is refused before anything is written
            challenger = _challenger(client, name)
            if challenger is None or not _same(challenger, content, score):
                challenger = _new_version(client, name, folder, run_id, facts)
                client.set_registered_model_alias(name, CHALLENGER, challenger.version)
            if about is not None:
                client.update_registered_model(name, about)
            return _promote(client, name, challenger, score, margin)
    except MlflowException as error:
        raise TrackingError(f"policy {name} cannot be registered: {first_line(error)}") from error


def _challenger(client: MlflowClient, name: str) -> ModelVersion | None:
    """Find the challenger; None if there is none, or if it was deleted, since the new version takes its alias."""
    try:
        return by_alias(client, name, CHALLENGER)
    except DanglingAliasError as error:
        log.warning("%s; the new version is the challenger", error)
        return None


def _promote(
    client: MlflowClient, name: str, challenger: ModelVersion, score: PolicyScore, margin: float
) -> Registration:
    champion = by_alias(client, name, CHAMPION)
    if champion is not None and champion.version == challenger.version:
        promoted, reason = True, "is the champion already"
    elif DEMOTED in challenger.tags:
        promoted, reason = False, f"demoted by hand ({challenger.tags[DEMOTED]}): `meme57 promote {name}` takes it back"
    else:
        promoted, reason = _compare(champion, challenger, score, margin)
    client.set_model_version_tag(name, challenger.version, PROMOTION, reason)
    if promoted:
        client.set_registered_model_alias(name, CHAMPION, challenger.version)
        champion = challenger
    return Registration(
        model=name,
        version=str(challenger.version),
        source=str(challenger.source),
        champion=promoted,
        champion_version=None if champion is None else str(champion.version),
        reason=reason,
    )


def _compare(
    champion: ModelVersion | None, challenger: ModelVersion, score: PolicyScore, margin: float
) -> tuple[bool, str]:
    """Apply the champion rule. Every version after the champion's counts as a challenge, this one included."""
    best = None if champion is None else score_from_tags(champion.tags)
    if champion is not None and best is None:
        return False, (
            f"not compared: champion version {champion.version} carries no score, or none with the standard deviation "
            f"that the rule needs (older releases kept none): `meme57 promote {challenger.name} --reason WHY` decides"
        )
    if best is not None and best.protocol != score.protocol:
        return False, f"not compared: champion measured under {best.protocol}, challenger under {score.protocol}"
    crowned = 0 if champion is None else int(champion.version)
    return decide_promotion(score, best, challenge=max(1, int(challenger.version) - crowned), margin=margin)


def _new_version(client: MlflowClient, name: str, folder: Path, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        with suppress_existing():
            client.create_registered_model(name)
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, logged_model_name(name), run_id, model_type="policy")
    upload_folder(client, model.model_id, folder)
    card = folder / CARD
    # By location: the SQL store would look `models:/<id>` up in the process's global store, not in this client's.
    return client.create_model_version(
        name,
        source=model.artifact_location,
        run_id=run_id,
        tags=dict(tags),
        description=card.read_text(encoding="utf-8") if card.is_file() else None,
        model_id=model.model_id,
    )


def by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Find the version behind an alias; None if the registry says that it has no such model or alias.

    Raises:
        DanglingAliasError: the alias names a version that does not exist.
        TrackingError: the registry does not answer.
    """
    number = alias_number(client, name, alias)
    if number is None:
        return None
    try:
        return client.get_model_version(name, number)
    except MlflowException as error:
        if was_not_found(error):
            raise DanglingAliasError(
                f"{name}@{alias} leads to version {number}, which is not there, so that the registry is damaged: "
                f"`meme57 promote {name} --version N --reason WHY` names another champion"
            ) from error
        raise _unanswered(name, alias, error) from error


def alias_number(client: MlflowClient, name: str, alias: str) -> str | None:
    """Find the version number that an alias names, even if that version is missing; None as in `by_alias`.

    Raises:
        TrackingError: the registry does not answer.
    """
    try:
        number = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if was_not_found(error):
            return None
        raise _unanswered(name, alias, error) from error
    return None if number is None else str(number)


def _unanswered(name: str, alias: str, error: MlflowException) -> TrackingError:
    return TrackingError(
        f"whether there is a {name}@{alias} could not be found out ({first_line(error)}): try again when the "
        "registry answers"
    )


def _same(version: ModelVersion, content: str, score: PolicyScore) -> bool:
    return version.tags.get(CONTENT) == content and score_from_tags(version.tags) == score
