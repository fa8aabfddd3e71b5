"""What is refused when the images are known: by a run that makes the report, whoever made the manifest."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from recipes import tiny_training

from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import DataError, ParameterError, SourceError
from kedro_dcgan.hooks.checks import CheckHooks
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.costs import checkpoint_bytes


def manifest_of(accepted, **skipped):
    """Accepted images in the train split, and so many inputs that were skipped for each reason."""
    rows = [("accepted", None, "train")] * accepted
    rows += [("skipped", str(Reason(reason)), None) for reason, count in skipped.items() for _ in range(count)]
    # As it comes from the catalog.
    return pd.DataFrame(rows, columns=["verdict", "reason", "split"], dtype="string[pyarrow]")


def checks_of(*outputs, most=0.5):
    """The hooks, at the begin of a run that makes `outputs`, none of which is checked before it runs."""
    checks = CheckHooks()
    checks._asked_source = None
    checks._parameters = SimpleNamespace(
        ingestion=SimpleNamespace(max_skipped_fraction=most), training=SimpleNamespace(batch_size=4)
    )
    checks.before_pipeline_run(pipeline_of(*outputs), None)
    return checks


def pipeline_of(*outputs, inputs=()):
    return SimpleNamespace(all_outputs=lambda: set(outputs), inputs=lambda: set(inputs))


def test_a_training_that_fits_in_parts_of_a_batch_is_not_refused(monkeypatch):
    checks, configs = CheckHooks(), network_configs(16, 1, tiny_training())
    needed = sum(describe(config, 4).training_bytes for config in configs) + checkpoint_bytes(*configs)
    monkeypatch.setattr("kedro_dcgan.training.costs.free_bytes", lambda device: needed)
    monkeypatch.setattr("kedro_dcgan.hooks.checks.saved_at", lambda *_: Path())

    def check(**changes):
        checks._parameters = SimpleNamespace(
            preprocessing=SimpleNamespace(image_size=16, channels=1), training=tiny_training(**changes)
        )
        checks.before_pipeline_run(pipeline_of("generator"), None)

    with pytest.raises(ParameterError, match="must fit into the memory of cpu"):
        check()
    check(gradient_accumulation=2)


def test_a_report_made_by_itself_is_checked_against_the_manifest_that_it_was_made_from():
    checks = checks_of("dataset_report")
    checks.after_dataset_loaded("manifest", manifest_of(3, empty=1))
    checks.after_dataset_saved("dataset_report", "")
    checks.after_dataset_loaded("manifest", manifest_of(1, empty=3))
    with pytest.raises(SourceError, match=r"0\.5 \(got 0\.75"):
        checks.after_dataset_saved("dataset_report", "")


def test_a_report_without_a_manifest_is_not_checked_against_that_of_an_earlier_run():
    checks = checks_of("dataset_report")
    checks.after_dataset_saved("manifest", manifest_of(1, empty=3))
    checks.before_pipeline_run(pipeline_of("dataset_report"), None)
    checks.after_dataset_saved("dataset_report", "")


def test_what_nobody_meant_as_a_picture_does_not_count_as_skipped():
    # What a zip of 20 photos holds that was made on a Mac.
    checks = checks_of("dataset_report")
    checks.after_dataset_saved("manifest", manifest_of(20, hidden=21, link=2, not_a_file=1))
    checks.after_dataset_saved("dataset_report", "")


def test_what_nobody_meant_as_a_picture_does_not_make_up_for_what_was_skipped():
    checks = checks_of("dataset_report", most=0.4)
    checks.after_dataset_saved("manifest", manifest_of(5, corrupt=5, hidden=100))
    with pytest.raises(SourceError, match=r"0\.4 \(got 0\.50: 110 images scanned"):
        checks.after_dataset_saved("dataset_report", "")


def test_a_source_without_a_usable_image_is_refused_with_what_is_wrong_with_most():
    checks = checks_of("dataset_report", most=1)
    checks.after_dataset_saved("manifest", manifest_of(0, not_an_image=2, empty=1))
    with pytest.raises(
        SourceError, match=r"at least one usable image \(got none of 3; most are not_an_image: something else than"
    ):
        checks.after_dataset_saved("dataset_report", "")


def test_what_a_run_was_stopped_for_stops_the_next_one_too():
    checks = checks_of("images", most=1)
    with pytest.raises(SourceError, match="at least one usable image"):
        checks.after_dataset_loaded("manifest", manifest_of(0, empty=1))
    with pytest.raises(SourceError, match=r"`ingestion.max_skipped_fraction` 0\.5"):
        checks_of("images").after_dataset_loaded("manifest", manifest_of(1, empty=2))


@pytest.mark.parametrize(("asked", "refused"), [("~/photos", False), ("~/photos/", False), (None, False), ("b", True)])
def test_shards_of_another_source_than_is_asked_for_are_refused(asked, refused):
    checks = checks_of("images")
    checks._asked_source = asked
    catalog = SimpleNamespace(load=lambda name: SimpleNamespace(source="~/photos"))
    if refused:
        with pytest.raises(DataError, match=r"made from \(~/photos; got b\)"):
            checks.before_pipeline_run(pipeline_of("images", inputs=["image_shards"]), catalog)
    else:
        checks.before_pipeline_run(pipeline_of("images", inputs=["image_shards"]), catalog)
