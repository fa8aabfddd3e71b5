"""What happens to a training while MLflow does not answer."""

import logging

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from kedro_dcgan import tracking
from kedro_dcgan.hooks.runs import TrackingHooks

HISTORY = pd.DataFrame(
    {"images_seen": [8, 16], "generator_loss": [1.0, 2.0], "validation": [None, 3.0], "health": "ok"}
)


@pytest.fixture
def hooks():
    made = TrackingHooks()
    made._run_is_open, made._has_warned, made._reported_until, made._run_id = True, False, 0, "run"
    return made


@pytest.mark.parametrize("error", [MlflowException("database is locked"), ConnectionError("refused")])
def test_training_goes_on_with_one_warning(hooks, monkeypatch, caplog, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(tracking, "log_metrics", fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            hooks.after_dataset_saved("training_history", HISTORY)
    assert [record.getMessage() for record in caplog.records] == [
        f"MLflow takes no records ({error}). Training goes on; its files have them all."
    ]


def test_a_report_that_is_more_than_a_tick_must_arrive(hooks, monkeypatch):
    def fail(*arguments):
        raise ConnectionError("refused")

    monkeypatch.setattr(tracking, "log_metrics", fail)
    with pytest.raises(ConnectionError):
        hooks.after_dataset_saved("evaluation", {"metrics": {}, "images_seen": 8})


def test_records_that_did_not_arrive_are_sent_with_the_next_and_none_is_sent_twice(hooks, monkeypatch):
    sent = []
    monkeypatch.setattr(tracking, "log_metrics", lambda metrics, step: sent.append((step, metrics)))
    hooks.after_dataset_saved("training_history", HISTORY)
    hooks.after_dataset_saved("training_history", HISTORY)
    assert sent == [(8, {"generator_loss": 1.0}), (16, {"generator_loss": 2.0, "validation": 3.0})]
