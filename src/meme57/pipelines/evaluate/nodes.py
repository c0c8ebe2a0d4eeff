"""Nodes of `evaluate`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import parse_parameters
from meme57.errors import StorageError, VideoError
from meme57.stopping import stop_requested

if TYPE_CHECKING:
    import pandas as pd

SECONDS_OF_EMULATION = 60
"""The console draws 60 frames per second."""

log = logging.getLogger(__name__)


def play(
    parameters: dict[str, Any],
    checkpoints: dict[str, Any],
    student: dict[str, Any],
    student_folder: Path,
    episodes_folder: Path,
) -> pd.DataFrame:
    """Play whole episodes of each agent on the same seeds; each row names the weights and the protocol.

    `student` is empty if there is none; then everybody else plays.

    Raises:
        CheckpointError: the student was distilled from another checkpoint.
    """
    import pandas as pd

    from meme57.checkpoints.source import checkpoint_source
    from meme57.envs import env_spec
    from meme57.evaluation.agents import play_agents
    from meme57.evaluation.protocol import protocol_text
    from meme57.evaluation.protocols import evaluation_spec
    from meme57.evaluation.scores import NO_STUDENT, run_protocol
    from meme57.learning.progress import counter
    from meme57.learning.student_record import check_student

    settings = parse_parameters(parameters)
    spec = evaluation_spec(env_spec(settings.env), settings.evaluate.protocol)
    teacher_folder = Path(checkpoints["best"]["folder"])
    source = checkpoint_source(teacher_folder)
    if student:
        check_student(student, student_folder, source)
    else:
        log.info("there is no student, so it is not scored: `kedro run --pipelines distill` makes one")
    folder = student_folder if student else None
    rows = play_agents(
        settings, spec, teacher_folder, folder, kept=episodes_folder, counter=counter, stop=stop_requested
    )
    protocol, sha256 = protocol_text(run_protocol(settings)), student.get("weights_sha256", NO_STUDENT)
    return pd.DataFrame(rows).assign(**source, student_sha256=sha256, protocol=protocol)


def score(parameters: dict[str, Any], checkpoints: dict[str, Any], episodes: pd.DataFrame) -> dict[str, Any]:
    """Compute means, intervals and human-normalised scores, for a file and MLflow.

    Raises:
        CheckpointError: the episodes are of other weights, or were played under another protocol.
    """
    from meme57.evaluation.scores import make_scores, score_metrics
    from meme57.tracking.results import score_results
    from meme57.tracking.runs import active_run, log_metrics, log_results, tag_parent

    settings = parse_parameters(parameters)
    scores = make_scores(settings, checkpoints["best"], episodes)
    if (active := active_run()) is not None:
        log_metrics(active, score_metrics(scores["agents"]), step=checkpoints["best"]["frames"])
        log_results(active, score_results(scores["agents"]), step=checkpoints["best"]["frames"])
        tag_parent(active, "meme57.protocol", settings.evaluate.protocol)  # these scores have taken the place of others
    return scores


def film(parameters: dict[str, Any], checkpoints: dict[str, Any]) -> bytes:
    """Film the start of one teacher episode as H.264 video; if that fails, warn and return empty bytes."""
    import tempfile
    from functools import partial
    from itertools import islice

    from meme57.checkpoints.source import as_text, checkpoint_source
    from meme57.envs import env_spec
    from meme57.evaluation.protocol import protocol_name
    from meme57.evaluation.protocols import evaluation_spec
    from meme57.evaluation.video import write_video
    from meme57.evaluation.watch import watch
    from meme57.learning.policies import Teacher

    settings = parse_parameters(parameters)
    spec = evaluation_spec(env_spec(settings.env), settings.evaluate.protocol)
    teacher = Teacher.load(Path(checkpoints["best"]["folder"]), torso=settings.network.torso)
    steps_a_second = SECONDS_OF_EMULATION / spec.frame_skip
    num_steps = max(1, int(settings.evaluate.video_seconds * steps_a_second))
    frames = watch(
        partial(teacher.player, temperature=settings.evaluate.temperature),
        spec,
        episodes=1,
        seed=settings.evaluate.seed,
        finished=[],
        epsilon=settings.evaluate.epsilon,
        stop=stop_requested,
    )
    source = checkpoint_source(Path(checkpoints["best"]["folder"]))
    chosen = settings.evaluate
    comment = as_text(source, protocol_name(spec, epsilon=chosen.epsilon, temperature=chosen.temperature))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        try:
            write_video(path, islice(frames, num_steps + 1), frames_per_second=steps_a_second, scale=2, comment=comment)
        except (VideoError, StorageError) as error:
            log.warning("there is no film: %s", error)
            return b""
        return path.read_bytes()
