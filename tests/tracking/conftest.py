"""A real SQLite store, created once; every test has an experiment of its own."""

from __future__ import annotations

import itertools

import pytest

from meme57.tracking.runs import ActiveRun, open_run
from meme57.tracking.store import Store, create_store, experiment_id

_numbers = itertools.count()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return create_store(tmp_path_factory.mktemp("project"))


@pytest.fixture
def experiment(store: Store) -> str:
    return experiment_id(store, f"experiment-{next(_numbers)}")


@pytest.fixture
def active(store: Store, experiment: str) -> ActiveRun:
    return open_run(
        store.client(),
        experiment,
        run_name="Pong-s1",
        pipeline="learn",
        parent_run_id=None,
        tags={"meme57.fingerprint": "abc"},
        parameters={"learner": {"batch_size": 8}},
    )
