"""The members of a suite: one run for each game, seed and variant, and its parameters."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meme57.config.games import file_name, game_settings
from meme57.config.identity import former_member_digest
from meme57.config.labels import digest, short_hash
from meme57.config.parameters import LEARNING_GROUPS, OPERATIONAL_NAMES, Parameters
from meme57.config.parse import parse_parameters
from meme57.config.tree import assign, without
from meme57.errors import ConfigurationError

CONFIGURED = "configured"
"""The only variant of a suite that names none."""
VARIED = (*LEARNING_GROUPS, "distill")
"""The groups that a variant may set. The suite sets games and seeds, and one protocol evaluates all members."""
RUN_LENGTH = "run.total_frames"


@dataclass(frozen=True)
class Member:
    """One run of a suite."""

    game: str
    seed: int
    variant: str
    name: str
    """The run's name."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the variant sets, by dotted names."""


def suite_members(parameters: Parameters) -> tuple[Member, ...]:
    """List the members seed by seed, so that a suite that is stopped early still has whole comparisons."""
    suite = parameters.suite
    return tuple(
        Member(game, seed, variant, _run_name(suite.prefix, game, variant, seed), values)
        for seed in suite.seeds
        for game in suite.game_names
        for variant, values in variants(parameters).items()
    )


def variants(parameters: Parameters) -> dict[str, dict[str, Any]]:
    """Map each variant's name to its dotted values; without variants, the configured agent is the only one."""
    return dict(parameters.suite.variants) or {CONFIGURED: {}}


def member_parameters(parameters: Parameters, member: Member) -> Parameters:
    """Build the whole parameter tree of one member's run.

    Raises:
        ConfigurationError: the variant's values are impossible for this game.
    """
    tree = parameters.model_dump(mode="json", by_alias=True)
    own = {**game_settings(member.game, parameters.env.game), "run.seed": member.seed, "run.name": member.name}
    return parse_parameters(assign(tree, {**member.values, **own}))


def member_settings(parameters: Parameters) -> dict[str, Any]:
    """Collect all that shapes a member's result: learning, length, choice of checkpoint, distillation, evaluation."""
    tree = without(parameters.tree(), OPERATIONAL_NAMES)
    return {
        **parameters.configuration(),
        "distill": tree["distill"],
        "evaluate": tree["evaluate"],
        "total_frames": parameters.run.total_frames,
        "ranked_by_episodes": parameters.learner.evaluation_episodes,
    }


def suite_fingerprint(parameters: Parameters) -> str:
    """Compute a short label of what makes a suite's scores comparable; games and seeds may be added later."""
    return short_hash({"agent": digest(member_settings(_any_agent(parameters))), "variants": variants(parameters)})


def former_suite_fingerprint(parameters: Parameters) -> str:
    """Compute the label that commit fd8d2c1 gave."""
    return short_hash({"agent": former_member_digest(_any_agent(parameters)), "variants": variants(parameters)})


def _any_agent(parameters: Parameters) -> Parameters:
    """Return the suite's agent with a fixed game and seed, which its label ignores."""
    return parameters.model_copy(
        update={
            "run": parameters.run.model_copy(update={"seed": 0}),
            "env": parameters.env.model_copy(update={"game": "Pong"}),
        }
    )


def check_suite(parameters: Parameters) -> None:
    """Refuse a suite if one of its members could not run.

    Raises:
        ConfigurationError: one line for the first fault.
    """
    tree = parameters.model_dump(mode="json", by_alias=True)
    for variant, values in parameters.suite.variants.items():
        for name in values:
            _check_name(variant, name, tree)
    names = [member.name.lower() for member in suite_members(parameters)]  # one folder where case is ignored
    if repeated := [member.name for member in suite_members(parameters) if names.count(member.name.lower()) > 1]:
        raise ConfigurationError(f"two members of the suite are called {repeated[0]}: name the variants differently")
    first = parameters.suite.seeds[0]
    for member in suite_members(parameters):
        if member.seed == first:
            try:
                member_parameters(parameters, member)
            except ConfigurationError as error:
                raise ConfigurationError(f"suite.variants.{member.variant}: {error}") from None


def _check_name(variant: str, name: str, tree: Mapping[str, Any]) -> None:
    known = [RUN_LENGTH, *(f"{group}.{key}" for group in VARIED for key in tree[group])]
    if name in known and name != "env.game":
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = (
        f"did you mean {near[0]}?"
        if near and near[0] != name
        else f"a variant sets {', '.join(VARIED)} or {RUN_LENGTH}"
    )
    raise ConfigurationError(f"suite.variants.{variant} sets {name}, which a variant cannot set: {hint}")


def _run_name(prefix: str, game: str, variant: str, seed: int) -> str:
    parts = [prefix, file_name(game), "" if variant == CONFIGURED else variant, f"s{seed}"]
    return "-".join(part for part in parts if part)
