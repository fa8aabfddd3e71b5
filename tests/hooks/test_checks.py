"""What is refused when the images are known: by a run that makes the report, whoever made the manifest."""

from types import SimpleNamespace

import pandas as pd
import pytest

from kedro_dcgan.errors import SourceError
from kedro_dcgan.hooks.checks import CheckHooks
from kedro_dcgan.images.verdicts import Reason


def manifest_of(accepted, **skipped):
    """Accepted images in the train split, and so many inputs that were skipped for each reason."""
    rows = [("accepted", None, "train")] * accepted
    rows += [("skipped", str(Reason(reason)), None) for reason, count in skipped.items() for _ in range(count)]
    # As it comes from the catalog.
    return pd.DataFrame(rows, columns=["verdict", "reason", "split"], dtype="string[pyarrow]")


def checks_of(*outputs, most=0.5):
    """The hooks, at the begin of a run that makes `outputs`, none of which is checked before it runs."""
    checks = CheckHooks()
    checks._parameters = SimpleNamespace(
        ingestion=SimpleNamespace(max_skipped_fraction=most), training=SimpleNamespace(batch_size=4)
    )
    checks.before_pipeline_run(SimpleNamespace(all_outputs=lambda: set(outputs)), None)
    return checks


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
    checks.before_pipeline_run(SimpleNamespace(all_outputs=lambda: {"dataset_report"}), None)
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
