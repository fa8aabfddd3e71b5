from dataclasses import replace

import pytest

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, require_comparable, short_count

PROTOCOL = MeasurementProtocol("efflite0_128", "57", 1280, "bicubic", "float32", 10_000, 373, "test", 0, "digest")


def name_of(metric, protocol):
    return MetricValue(metric, protocol, Estimate(1.0)).name


def test_names_contain_the_protocol_and_only_inception_gives_fid():
    assert name_of("fd", PROTOCOL) == "fd_efflite0_128_10k_test"
    assert name_of("recall", PROTOCOL) == "recall_efflite0_128_10k_test"
    on_inception = replace(PROTOCOL, extractor="inception", split="train")
    assert name_of("fd", on_inception) == "fid10k_train"
    assert (short_count(373), short_count(2000)) == ("373", "2k")


@pytest.mark.parametrize(
    "change",
    [{"generated": 500}, {"dataset_digest": "other"}, {"weights_sha256": "58"}, {"resize": "tf1"}, {"seed": 1}],
)
def test_results_of_different_protocols_cannot_be_compared(change):
    require_comparable(PROTOCOL, replace(PROTOCOL))
    (name,) = change
    with pytest.raises(ComparisonError, match=rf"they differ: {name} .* and {change[name]}\)"):
        require_comparable(PROTOCOL, replace(PROTOCOL, **change))
