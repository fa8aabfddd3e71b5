"""CheckHooks: checks of memory before a training, and of the images once the manifest is known."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from recipes import tiny_training

from kedro_dcgan.data import Reason
from kedro_dcgan.errors import DataError, ParameterError, SourceError
from kedro_dcgan.hooks.checks import CheckHooks
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.costs import training_bytes


def manifest_of(accepted, **skipped):
    """Return a manifest with accepted images in the train split, and a number of skipped files per reason."""
    rows = [("accepted", None, "train")] * accepted
    rows += [("skipped", str(Reason(reason)), None) for reason, count in skipped.items() for _ in range(count)]
    # The types are those of the catalog's dataset.
    return pd.DataFrame(rows, columns=["verdict", "reason", "split"], dtype="string[pyarrow]")


def checks_of(*outputs, max_skipped=0.5):
    """Return the hooks at the start of a run with these outputs, which need no check before the run."""
    checks = CheckHooks()
    checks._requested_source = None
    checks._parameters = SimpleNamespace(
        ingestion=SimpleNamespace(max_skipped_fraction=max_skipped), training=SimpleNamespace(batch_size=4)
    )
    checks.before_pipeline_run(pipeline_of(*outputs), None)
    return checks


def pipeline_of(*outputs, inputs=()):
    return SimpleNamespace(all_outputs=lambda: set(outputs), inputs=lambda: set(inputs))


def test_gradient_accumulation_makes_a_training_fit_into_memory(monkeypatch):
    checks, configs = CheckHooks(), network_configs(16, 1, tiny_training())
    needed = training_bytes(*configs, 64, torch.device("cpu"), "float32")
    monkeypatch.setattr("kedro_dcgan.training.costs.free_bytes", lambda device: needed - 1)
    monkeypatch.setattr("kedro_dcgan.hooks.checks.path_of", lambda *_: Path())

    def check(**changes):
        checks._parameters = SimpleNamespace(
            preprocessing=SimpleNamespace(image_size=16, channels=1), training=tiny_training(batch_size=64, **changes)
        )
        checks.before_pipeline_run(pipeline_of("generator"), None)

    with pytest.raises(ParameterError, match="memory of cpu"):
        check()
    check(gradient_accumulation=2)


def test_report_of_an_earlier_manifest_is_checked():
    checks = checks_of("dataset_report")
    checks.after_dataset_loaded("manifest", manifest_of(3, empty=1))
    checks.after_dataset_saved("dataset_report", "")
    checks.after_dataset_loaded("manifest", manifest_of(1, empty=3))
    with pytest.raises(SourceError, match=r"0\.5 \(got 0\.75"):
        checks.after_dataset_saved("dataset_report", "")


def test_manifest_of_an_earlier_run_is_not_checked_again():
    checks = checks_of("dataset_report")
    checks.after_dataset_saved("manifest", manifest_of(1, empty=3))
    checks.before_pipeline_run(pipeline_of("dataset_report"), None)
    checks.after_dataset_saved("dataset_report", "")


def test_hidden_files_links_and_special_files_do_not_count_as_skipped():
    # A zip of 20 photos made on a Mac.
    checks = checks_of("dataset_report")
    checks.after_dataset_saved("manifest", manifest_of(20, hidden=21, link=2, not_a_file=1))
    checks.after_dataset_saved("dataset_report", "")


def test_side_files_of_webdataset_shards_do_not_count_as_skipped():
    checks = checks_of("dataset_report", max_skipped=0)
    checks.after_dataset_saved("manifest", manifest_of(4, side_file=8))
    checks.after_dataset_saved("dataset_report", "")
    checks.after_dataset_saved("manifest", manifest_of(4, side_file=8, corrupt=1))
    with pytest.raises(SourceError, match=r"0\.20"):
        checks.after_dataset_saved("dataset_report", "")


def test_hidden_files_do_not_dilute_the_skipped_fraction():
    checks = checks_of("dataset_report", max_skipped=0.4)
    checks.after_dataset_saved("manifest", manifest_of(5, corrupt=5, hidden=100))
    with pytest.raises(SourceError, match=r"max_skipped_fraction` 0\.4.*0\.50.*110"):
        checks.after_dataset_saved("dataset_report", "")


def test_source_without_usable_image_is_rejected_with_the_most_frequent_reason():
    checks = checks_of("dataset_report", max_skipped=1)
    checks.after_dataset_saved("manifest", manifest_of(0, not_an_image=2, empty=1))
    with pytest.raises(SourceError, match=r"usable image.*\(got none of 3.*not_an_image"):
        checks.after_dataset_saved("dataset_report", "")


def test_images_that_fail_the_checks_also_stop_a_later_run():
    checks = checks_of("images", max_skipped=1)
    with pytest.raises(SourceError, match="usable image"):
        checks.after_dataset_loaded("manifest", manifest_of(0, empty=1))
    with pytest.raises(SourceError, match=r"`ingestion.max_skipped_fraction` 0\.5"):
        checks_of("images").after_dataset_loaded("manifest", manifest_of(1, empty=2))


@pytest.mark.parametrize(
    ("requested", "refused"), [("~/photos", False), ("~/photos/", False), (None, False), ("b", True)]
)
def test_shards_of_another_source_than_requested_are_rejected(requested, refused):
    checks = checks_of("images")
    checks._requested_source = requested
    catalog = SimpleNamespace(load=lambda name: SimpleNamespace(source="~/photos"))
    if refused:
        with pytest.raises(DataError, match=r"`ingestion.source` .*, ~/photos \(got b\)"):
            checks.before_pipeline_run(pipeline_of("images", inputs=["image_shards"]), catalog)
    else:
        checks.before_pipeline_run(pipeline_of("images", inputs=["image_shards"]), catalog)
