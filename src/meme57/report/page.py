"""The report page of a run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meme57.report.figures import all_figures, reference_lines
from meme57.report.rendering import number, percent, render_page, text, words
from meme57.report.summary import cut_short_line, one_value_line, protocol_line, reference_of_scores

if TYPE_CHECKING:
    import pandas as pd

EXPLANATIONS = {
    "learning_curve": (
        "What you see: the mean undiscounted return of the episodes that ended in each log period. The strong lines "
        "are running means weighted by episodes, in a band of 1.96 standard errors over log periods. Policy 0 only "
        "exploits. Dashed lines are the published random and human scores. They are of whole games, so games that are "
        "cut before their end have none."
    ),
    "returns": (
        "What you see: one point per evaluation episode. The box spans the middle half; its solid line is the median "
        "and its dashed line is the mean."
    ),
    "bandit": (
        "What you see: how often each policy of the family played an episode, from the far-sighted exploiting "
        "policy 0 to the short-sighted one that explores most. With the bandit, a growing share means better recent "
        "returns of that policy. Without the bandit, all policies are drawn evenly."
    ),
    "diagnostics": (
        "What you see: the health of the learner. A healthy one drops few steps, keeps its traces well above 0, and "
        "its gradient norm mostly below the clipping limit. Sigma follows the scale of the game's TD errors."
    ),
    "novelty": (
        "What you see: the intrinsic reward, its lifelong factor, and the losses of the two networks that measure "
        "novelty. The factor falls towards 1 as the game becomes familiar."
    ),
    "throughput": (
        "What you see: frames and updates per second, the size of the replay and its bytes per step, and how often a "
        "stored sequence was drawn. The rate limiter holds this last number at its target after the warm-up."
    ),
}
FIDELITY_LABELS = {
    "agreement": "Steps on which both choose the same action",
    "kl": "KL divergence of the student from the teacher, nats",
    "return_teacher": "Return of the teacher",
    "return_student": "Return of the student",
    "parameters_teacher": "Parameters of the teacher",
    "parameters_student": "Parameters of the student",
}
FRACTIONS = ("agreement",)


def build_report(
    *,
    run_name: str,
    scores: Mapping[str, Any],
    learning_curve: pd.DataFrame,
    episodes: pd.DataFrame,
    fidelity: Mapping[str, Any] | None,
    video: bytes | None,
    lineage: Mapping[str, Any],
    state: str | None = None,
    refresh_seconds: int | None = None,
) -> str:
    """Build the whole page as text.

    Args:
        run_name: the run's name, as in the paths.
        scores: `game`, `frames`, `confidence`, `protocol`, `agents` (name to a summary of `summarise_returns`) and
            `reference` (`random`, `human`, `record`, `source`) or None.
        learning_curve: the columns of `meme57.report.figures`; a figure with missing columns is left out.
        episodes: `agent`, `episode`, `return`, `length_steps`, `seed`.
        fidelity: flat numbers of the distillation, or None.
        video: an mp4, or None.
        lineage: where the run comes from (commit, fingerprint, seeds, versions ...); values may be nested.
        state: how far the run is, in words, if the page is not the last one.
        refresh_seconds: how often a browser loads the page again; None for never.
    """
    above = ("protocol", "departures", "changed_since_training")
    return _page(
        run_name=run_name,
        game=scores["game"],
        frames=scores["frames"],
        figures=all_figures(learning_curve, episodes, **reference_lines(scores)),
        lineage=lineage,
        scores=scores,
        reference=reference_of_scores(scores),
        has_reference=scores.get("reference") is not None,
        judged=protocol_line(scores),
        settings={key: value for key, value in scores["protocol"].items() if key not in above},
        cut_short=cut_short_line(scores),
        same_return=one_value_line(scores),
        video=None if video is None else base64.b64encode(video).decode(),
        fidelity=[
            (FIDELITY_LABELS.get(key, words(key)), percent(value) if key in FRACTIONS else number(value))
            for key, value in (fidelity or {}).items()
        ],
        state=state,
        refresh_seconds=refresh_seconds,
    )


def build_progress_page(
    *,
    run_name: str,
    game: str,
    frames: int,
    state: str,
    facts: Sequence[tuple[str, str, str]],
    learning_curve: pd.DataFrame,
    reference: Mapping[str, Any] | None,
    lineage: Mapping[str, Any],
    refresh_seconds: int | None,
) -> str:
    """Build the same page for a run without scores: it learns, or was stopped.

    Args:
        state, refresh_seconds: as above.
        facts: tiles of the page, each a name, a value and a note.
        learning_curve: as above; without rows, the page has no figure.
    """
    import pandas as pd

    nobody = pd.DataFrame(columns=["agent", "episode", "return"])
    return _page(
        run_name=run_name,
        game=game,
        frames=frames,
        figures=all_figures(learning_curve, nobody, training=reference, evaluation=None) if len(learning_curve) else {},
        lineage=lineage,
        state=state,
        facts=facts,
        refresh_seconds=refresh_seconds,
    )


def _page(*, figures: Mapping[str, Any], lineage: Mapping[str, Any], **values: Any) -> str:
    known: dict[str, Any] = {
        "scores": None,
        "video": None,
        "fidelity": [],
        "state": None,
        "facts": [],
        "refresh_seconds": None,
    }
    footer = [(words(key), text(value)) for key, value in lineage.items()]
    return render_page("run.html", figures, EXPLANATIONS, lineage=footer, **{**known, **values})
