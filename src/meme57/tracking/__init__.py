"""Runs, checkpoints and policies in MLflow; the only import of mlflow.

MLflow reads these settings when it is imported, so they are set here, before any module of this package imports it.
"""

import logging
import os

_SETTINGS = {
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its log lines go through conf/base/logging.yml
    "MLFLOW_UV_AUTO_DETECT": "false",  # a policy's requirements are listed, not inferred
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default waits for minutes, while the learner stands still
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
# An error of the database is raised and shown in one line; this logger would also print a traceback.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
