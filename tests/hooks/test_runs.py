"""TrackingHooks: the end of a run in MLflow."""

from types import SimpleNamespace

import pytest

from kedro_dcgan.hooks.runs import TrackingHooks


def test_run_whose_generator_cannot_be_registered_is_closed():
    # Kedro calls no other hook after an error in this one.
    hooks, statuses = TrackingHooks(), []
    hooks._run = SimpleNamespace(close=statuses.append)
    hooks._outputs, hooks._catalog = {"exported_generator"}, {"exported_generator": object()}
    with pytest.raises(AttributeError):
        hooks.after_pipeline_run()
    assert statuses == ["FINISHED"]
    assert hooks._run is None
