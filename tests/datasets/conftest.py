"""A real MLflow run, active in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meme57.tracking.runs import ActiveRun, open_run, set_active_run
from meme57.tracking.store import Store, create_store, experiment_id


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return create_store(tmp_path_factory.mktemp("project"))


@pytest.fixture
def active(store: Store) -> Iterator[ActiveRun]:
    run = open_run(
        store.client(),
        experiment_id(store, "datasets"),
        run_name="Pong-s1",
        pipeline="learn",
        parent_run_id=None,
        tags={},
        parameters={},
    )
    set_active_run(run)
    yield run
    set_active_run(None)
