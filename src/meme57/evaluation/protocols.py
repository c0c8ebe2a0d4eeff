"""Evaluation protocols as data: the game's settings while an agent is evaluated.

`as_trained` changes nothing; the others are published. The agent keeps the image size and the action set of its
training. If a protocol has others, the result lists that as a departure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from meme57.envs import EnvSpec
from meme57.evaluation.reference import WHOLE_GAME_FRAMES, is_cut

AS_TRAINED = "as_trained"
AGENTS_OWN = ("height", "width", "full_action_space")


@dataclass(frozen=True)
class EvaluationProtocol:
    """A published way to evaluate an Atari agent."""

    name: str
    source: str
    settings: Mapping[str, Any]
    """Fields of `EnvSpec` and their values; other fields are as in training."""


def _protocol(name: str, source: str, **settings: Any) -> EvaluationProtocol:
    common = {"frame_skip": 4, "max_pool": True, "max_episode_frames": WHOLE_GAME_FRAMES}
    return EvaluationProtocol(name, source, MappingProxyType(common | settings))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol(AS_TRAINED, "the run's own env settings", MappingProxyType({})),
        _protocol(
            "paper",
            "MEME's setting: no sticky actions, up to 30 no-ops, full 210x160 image (reported through RECODE)",
            sticky_action_probability=0.0,
            noop_max=30,
            full_action_space=True,
            height=210,
            width=160,
        ),
        _protocol(
            "sticky",
            "Machado et al. 2018: sticky actions 0.25, 18 actions, no no-ops "
            "(their frame skip of 5 is 4 here, as in Dopamine)",
            sticky_action_probability=0.25,
            noop_max=0,
            full_action_space=True,
        ),
        _protocol(
            "noop30",
            "DQN, 30 no-op starts: up to 30 no-ops, no sticky actions; no action set or image size prescribed",
            sticky_action_probability=0.0,
            noop_max=30,
        ),
    )
}


def evaluation_spec(trained: EnvSpec, name: str) -> EnvSpec:
    """Return the game under protocol `name`, for an agent that learned `trained`.

    Only Atari games have protocols: for others the rules are those of training.
    """
    if not trained.has_protocols:
        return trained
    settings = PROTOCOLS[name].settings
    return replace(trained, **{key: value for key, value in settings.items() if key not in AGENTS_OWN})


def cut_at(spec: EnvSpec) -> int | None:
    """Return the frames after which games are cut, if that is before the 30 minutes of published scores; else None."""
    return spec.max_episode_frames if spec.has_protocols and is_cut(spec.max_episode_frames) else None


def departures(trained: EnvSpec, name: str) -> list[str]:
    """List where the result departs from the protocol, since an agent keeps its image size and action set."""
    settings = PROTOCOLS[name].settings
    if not trained.has_protocols:
        return [f"{trained.game} is no Atari game: same rules as in training"] if settings else []
    found = []
    if settings.get("full_action_space") and not trained.full_action_space:
        found.append(f"{trained.num_actions} actions (the minimal set), the protocol has 18")
    size = (trained.height, trained.width)
    if "height" in settings and size != (settings["height"], settings["width"]):
        found.append(f"image {size[0]}x{size[1]}, the protocol has {settings['height']}x{settings['width']}")
    return found


def changed_settings(trained: EnvSpec, evaluated: EnvSpec) -> dict[str, dict[str, Any]]:
    """Map each setting that differs between training and evaluation to `{training, evaluation}`."""
    before, after = trained.to_json(), evaluated.to_json()
    return {key: {"training": before[key], "evaluation": after[key]} for key in before if before[key] != after[key]}


def protocol_label(name: str, spec_departures: list[str]) -> str:
    """Return the protocol's name for a table; an asterisk marks departures."""
    return f"{name}*" if spec_departures else name
