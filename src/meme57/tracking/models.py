"""What the registry holds: models, their versions, aliases and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.registry import PROMOTION
from meme57.tracking.store import first_line
from meme57.tracking.version_tags import FRAMES, PROTOCOL, RUN, VersionScore, score_from_tags, shown_score


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    model: str
    version: str
    aliases: tuple[str, ...]
    score: VersionScore
    protocol: str | None
    """`evaluate.protocol`; the whole name of the protocol in versions of older releases."""
    run: str | None
    frames: int | None
    created: str
    """When it was registered, in ISO 8601."""
    decision: str | None
    """Why it is, or is not, the champion."""

    def age(self, now: datetime) -> str:
        """Say how long ago it was registered: `3 d`, `5 h` or `12 min`."""
        minutes = max(0, int((now - datetime.fromisoformat(self.created)).total_seconds() // 60))
        return (
            f"{minutes // 1440} d" if minutes >= 1440 else f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
        )


def registered_versions(client: MlflowClient, name: str | None = None) -> list[RegisteredVersion]:
    """List the versions of the model `name`, the newest first; of every model those that have an alias.

    Raises:
        TrackingError: there is no such model (the message lists those that exist), or the registry cannot be read.
    """
    try:
        models = {model.name: dict(model.aliases) for model in client.search_registered_models(max_results=1000)}
        if name is not None and name not in models:
            there = (
                f"there are {', '.join(sorted(models))}"
                if models
                else "none is registered yet, `kedro run` registers one"
            )
            raise TrackingError(f"there is no model {name!r}: {there}")
        found = [
            _described(version, models[model])
            for model in ([name] if name else sorted(models))
            for version in _newest_first(client, model)
        ]
    except MlflowException as error:
        raise TrackingError(f"the registry cannot be read: {first_line(error)}") from error
    return found if name else [version for version in found if version.aliases]


def _newest_first(client: MlflowClient, name: str) -> list[ModelVersion]:
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return sorted(found, key=lambda version: -int(version.version))


def _described(version: ModelVersion, aliases: Mapping[str, str]) -> RegisteredVersion:
    tags = version.tags
    score = score_from_tags(tags)
    frames = tags.get(FRAMES, "")
    return RegisteredVersion(
        model=version.name,
        version=str(version.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))),
        score=shown_score(tags),
        protocol=tags.get(PROTOCOL) or (None if score is None else score.protocol),
        run=tags.get(RUN),
        frames=int(frames) if frames.isdecimal() else None,
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        decision=tags.get(PROMOTION),
    )
