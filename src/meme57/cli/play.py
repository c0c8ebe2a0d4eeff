"""meme57 play: a policy plays whole episodes, shown as numbers, in a film or in a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meme57.cli.options import RunName, code_option, json_option, print_json, torso_option
from meme57.seeds import EVALUATION_SEED

if TYPE_CHECKING:
    from meme57.envs import EnvSpec
    from meme57.evaluation.protocol import Episode
    from meme57.export.policy_folder import PlayablePolicy

CONFIDENCE, REPETITIONS = 0.95, 2_000
CONSOLE_FRAMES_PER_SECOND = 60


@click.command()
@click.argument("source", type=RunName(), metavar="SOURCE")
@click.option(
    "--agent",
    type=click.Choice(["teacher", "student"]),
    help="Of a run or a game, by default the teacher; of a game the student, where the teacher is not installed. "
    "A student plays through ONNX Runtime.",
)
@click.option("--episodes", type=click.IntRange(1), default=1, show_default=True, help="Whole episodes.")
@click.option("--sticky", type=click.FloatRange(0, 1), metavar="P", help="Repeat the last action with probability P.")
@click.option(
    "--noops", type=click.IntRange(0, 30), metavar="N", help="Fewer than N no-ops at the start of an episode."
)
@click.option(
    "--epsilon", type=click.FloatRange(0, 1), default=0.0, metavar="P", help="Act at random with probability P."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 10_000), default=EVALUATION_SEED, show_default=True, help="Of the game."
)
@torso_option
@code_option
@click.option("--video", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.mp4", help="Write a film.")
@click.option("--seconds", type=click.FloatRange(1), metavar="S", help="Of a film or a window: end it after S seconds.")
@click.option("--window", is_flag=True, help="Show a window.")
@json_option
def play(
    source: str,
    agent: str | None,
    episodes: int,
    sticky: float | None,
    noops: int | None,
    epsilon: float,
    seed: int,
    torso: str | None,
    code: tuple[str, ...],
    video: Path | None,
    seconds: float | None,
    window: bool,
    as_json: bool,
) -> None:
    """Let a policy play, and print its scores.

    SOURCE is a run's name, a folder with a checkpoint or a student, models:/meme57-pong@champion, or a game whose
    policy comes with meme57, such as pong. The policy plays by the protocol of its training; --sticky, --noops and
    --epsilon change it. Dopamine's agents are scored with an epsilon of 0.001.
    """
    from meme57.api.find import find_policy
    from meme57.envs import refuse_code

    if video and window:
        raise click.UsageError("--video or --window, not both.")
    if video and video.suffix != ".mp4":
        raise click.BadParameter(f"{video.name!r} does not end in .mp4.", param_hint="--video")
    if seconds and not (video or window):
        raise click.UsageError("--seconds is for --video and --window: numbers are of whole episodes.")
    policy = find_policy(source, agent, torso=torso)
    refuse_code(policy.env, code)
    spec = _changed(policy.env, sticky, noops)
    if video or window:
        finished = _show(policy, spec, episodes, seed, epsilon, video, seconds, source, as_json)
    else:
        finished = _play(policy, spec, episodes, seed, epsilon, source, as_json)
    _report(source, policy, spec, finished, epsilon, video, as_json)


def _changed(env: EnvSpec, sticky: float | None, noops: int | None) -> EnvSpec:
    if not env.has_protocols and (sticky is not None or noops is not None):
        raise click.UsageError(f"--sticky and --noops are for Atari games, and {env.game} is none.")
    if sticky is not None:
        env = replace(env, sticky_action_probability=sticky)
    return env if noops is None else replace(env, noop_max=noops)


def _play(
    policy: PlayablePolicy, spec: EnvSpec, episodes: int, seed: int, epsilon: float, title: str, as_json: bool
) -> list[Episode]:
    """Play many episodes at once, with a progress bar unless one is over at once or a program reads the output."""
    import torch

    from meme57.evaluation.protocol import MOST_ENVS, play_episodes
    from meme57.learning.progress import counter

    torch.set_num_threads(1)
    num_envs, quiet = min(episodes, MOST_ENVS), as_json or episodes == 1
    with nullcontext(ignore) if quiet else counter(f"play {title}", "episodes") as progress:
        return play_episodes(
            policy.make, spec, episodes=episodes, num_envs=num_envs, seed=seed, epsilon=epsilon, progress=progress
        )


def ignore(done: int, total: int) -> None:
    """Show no progress."""


def _show(
    policy: PlayablePolicy,
    spec: EnvSpec,
    episodes: int,
    seed: int,
    epsilon: float,
    video: Path | None,
    seconds: float | None,
    title: str,
    quiet: bool,
) -> list[Episode]:
    """Play one episode after the other, into a film, with a progress bar, or in a window; return those that ended."""
    import torch

    from meme57.cli.window import show_frames
    from meme57.evaluation.video import write_video
    from meme57.evaluation.watch import watch
    from meme57.learning.progress import counter

    torch.set_num_threads(1)
    finished: list[Episode] = []
    frames = watch(policy.make, spec, episodes=episodes, seed=seed, epsilon=epsilon, finished=finished)
    speed = CONSOLE_FRAMES_PER_SECOND / spec.frame_skip
    most = episodes * (spec.max_episode_frames // spec.frame_skip + 1)
    if seconds is not None:
        most = min(most, int(seconds * speed))
        frames = islice(frames, most)
    if video is None:
        show_frames(frames, frames_per_second=speed, title=f"meme57 {title}")
        return finished
    with nullcontext(ignore) if quiet else counter(f"film {title}", "pictures at most") as progress:
        write_video(video, _counted(frames, most, progress), frames_per_second=speed, scale=2)
    return finished


def _counted(frames: Iterator[Any], most: int, progress: Callable[[int, int], None]) -> Iterator[Any]:
    for number, frame in enumerate(frames, start=1):
        progress(number, most)
        yield frame


def _report(
    source: str,
    policy: PlayablePolicy,
    spec: EnvSpec,
    finished: list[Episode],
    epsilon: float,
    video: Path | None,
    as_json: bool,
) -> None:
    from meme57.evaluation.protocol import protocol_name
    from meme57.evaluation.statistics import mean_interval

    agent = policy.agent
    returns = [episode.extrinsic_return for episode in finished]
    interval = mean_interval(returns, repetitions=REPETITIONS, confidence=CONFIDENCE, seed=0) if returns else None
    facts: dict[str, Any] = {
        "source": source,
        "agent": agent,
        "runtime": "onnxruntime" if agent == "student" else "torch",
        "game": spec.game,
        "protocol": protocol_name(spec, epsilon=epsilon, temperature=policy.temperature),
        "returns": returns,
        "mean": sum(returns) / len(returns) if returns else None,
        "interval": interval,
        "length_steps": [episode.num_steps for episode in finished],
        "video": None if video is None else str(video),
    }
    if as_json:
        print_json(facts)
        return
    click.echo(f"{spec.game}, {agent} of {source} ({facts['runtime']})\nprotocol  {facts['protocol']}")
    for number, episode in enumerate(finished, start=1):
        end = ", cut by the frame limit" if episode.truncated else ""
        click.echo(f"episode {number}  return {episode.extrinsic_return:,.1f}  {episode.num_steps:,} steps{end}")
    if returns:
        around = "" if interval is None else f", {CONFIDENCE:.0%} interval {interval.low:,.1f} to {interval.high:,.1f}"
        click.echo(f"mean  {facts['mean']:,.1f} over {len(returns)} episodes{around}")
    if video is not None:
        click.echo(f"film  {video}")
