"""Runs, checkpoints and policies in MLflow; the only import of mlflow."""

import logging
import os

SETTINGS = {
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its log lines go through conf/logging.yml
    "MLFLOW_UV_AUTO_DETECT": "false",  # a policy's requirements are listed, not inferred
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default waits for minutes, while the learner stands still
}


def settle_mlflow() -> None:
    """Set how MLflow behaves in programs of this project, before it is imported; one that only uses the API is its own.

    What the environment says already stays.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # An error of the database is raised and shown in one line; this logger would also print a traceback.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
