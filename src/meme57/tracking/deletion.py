"""Mark a deleted run as deleted in MLflow too; `mlflow gc` frees its artifacts."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.checkpoints import MODEL_TYPE
from meme57.tracking.runs import KIND, PARENT, RUN_NAME
from meme57.tracking.store import first_line


def delete_runs(client: MlflowClient, run_name: str, *, parent: str | None = None) -> int:
    """Mark the parents and pipeline runs of `run_name` deleted in every experiment; return their number.

    Trials, studies and registered policies of that name stay. The uploaded checkpoints are marked with the runs.

    Args:
        parent: id of the run's parent, where other projects share the store: theirs of that name stay.

    Raises:
        TrackingError: the store refuses.
    """
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        named = client.search_runs(experiments, f"tags.`{RUN_NAME}` = '{run_name}'", max_results=1000)
        mine = [run for run in named if run.data.tags.get(KIND) in ("run", "pipeline")]
        if parent is not None:
            mine = [run for run in mine if parent in (run.info.run_id, run.data.tags.get(PARENT))]
        for run in sorted(mine, key=lambda run: PARENT not in run.data.tags):  # children first
            _delete_checkpoints(client, run.info.run_id)
            client.delete_run(run.info.run_id)
    except MlflowException as error:
        raise TrackingError(f"the MLflow runs of {run_name} are not marked deleted: {first_line(error)}") from error
    return len(mine)


def _delete_checkpoints(client: MlflowClient, run_id: str) -> None:
    """Mark what `log_checkpoint` stored: `mlflow gc` frees a LoggedModel only if it is deleted itself."""
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else []:
        try:
            if client.get_logged_model(output.model_id).model_type == MODEL_TYPE:
                client.delete_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # else an earlier try got so far
                raise
