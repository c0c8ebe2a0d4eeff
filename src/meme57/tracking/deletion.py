"""Mark a deleted run as deleted in MLflow too; `mlflow gc` frees its artifacts."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.runs import KIND, PARENT, RUN_NAME
from meme57.tracking.store import first_line


def delete_runs(client: MlflowClient, run_name: str) -> int:
    """Mark the parents and pipeline runs of `run_name` deleted in every experiment; return their number.

    Trials and studies of that name stay.

    Raises:
        TrackingError: the store refuses.
    """
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        named = client.search_runs(experiments, f"tags.`{RUN_NAME}` = '{run_name}'", max_results=1000)
        mine = [run for run in named if run.data.tags.get(KIND) in ("run", "pipeline")]
        for run in sorted(mine, key=lambda run: PARENT not in run.data.tags):  # children first
            client.delete_run(run.info.run_id)
    except MlflowException as error:
        raise TrackingError(f"the MLflow runs of {run_name} are not marked deleted: {first_line(error)}") from error
    return len(mine)
