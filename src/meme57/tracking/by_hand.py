"""Move the alias `champion` by hand; the versions keep the change and the reason."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.models import RegisteredVersion, registered_versions
from meme57.tracking.registry import CHALLENGER, CHAMPION, DEMOTED, PROMOTION, alias_number, by_alias
from meme57.tracking.store import first_line, locked_registry
from meme57.tracking.version_tags import shown_score


@dataclass(frozen=True)
class AliasChange:
    """What changes, or would change."""

    model: str
    before: str | None
    """The champion's version before; None if there was none."""
    after: str | None
    score: str
    """Score of the version that is promoted or demoted."""


def plan_promotion(client: MlflowClient, model: str, version: str | None, run: str | None) -> AliasChange:
    """Plan what `promote` would change: to `version`, else the newest one of `run`, else the challenger.

    Raises:
        TrackingError: there is no such model or version; the message lists those that exist.
    """
    selected = _selected(client, model, version, run)
    return AliasChange(model, alias_number(client, model, CHAMPION), selected.version, str(selected.score))


def promote(client: MlflowClient, change: AliasChange, reason: str) -> None:
    """Make `change.after` the champion; the champion rule does not apply.

    Raises:
        TrackingError: the registry refuses.
    """
    assert change.after is not None
    instead = f", in place of version {change.before}" if change.before not in (None, change.after) else ""
    try:
        with locked_registry(client):
            client.set_registered_model_alias(change.model, CHAMPION, change.after)
            client.set_model_version_tag(change.model, change.after, PROMOTION, f"by hand{instead}: {reason}")
            if DEMOTED in client.get_model_version(change.model, change.after).tags:
                client.delete_model_version_tag(change.model, change.after, DEMOTED)
    except MlflowException as error:
        raise TrackingError(f"{change.model} is not promoted: {first_line(error)}") from error


def plan_demotion(client: MlflowClient, model: str) -> AliasChange:
    """Plan what `demote` would change.

    Raises:
        TrackingError: there is no such model, or it has no champion.
    """
    registered_versions(client, model)
    champion = by_alias(client, model, CHAMPION)
    if champion is None:
        raise TrackingError(f"{model} has no champion: there is nothing to demote")
    return AliasChange(model, str(champion.version), None, str(shown_score(champion.tags)))


def demote(client: MlflowClient, change: AliasChange, reason: str) -> None:
    """Take the alias `champion` away; `register` never gives it back to this version.

    Raises:
        TrackingError: the registry refuses.
    """
    assert change.before is not None
    try:
        with locked_registry(client):
            client.set_model_version_tag(change.model, change.before, DEMOTED, reason)
            client.delete_registered_model_alias(change.model, CHAMPION)
    except MlflowException as error:
        raise TrackingError(f"{change.model} is not demoted: {first_line(error)}") from error


def _selected(client: MlflowClient, model: str, version: str | None, run: str | None) -> RegisteredVersion:
    versions = registered_versions(client, model)[::-1]
    there = ", ".join(found.version for found in versions)
    if version is not None:
        fitting = [found for found in versions if found.version == version]
        what = f"no version {version}"
    elif run is not None:
        fitting = [found for found in versions if found.run == run]
        what = f"no version of run {run!r}"
    else:
        challenger = by_alias(client, model, CHALLENGER)
        fitting = [found for found in versions if challenger and found.version == str(challenger.version)]
        what = "no challenger"
    if not fitting:
        raise TrackingError(f"{model} has {what}: there are {there}")
    return fitting[-1]
