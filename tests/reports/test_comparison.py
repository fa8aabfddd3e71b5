import json
from dataclasses import replace

import pytest

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, evaluation_record
from kedro_dcgan.reports.comparison import compare, read_evaluation

PROTOCOL = MeasurementProtocol("efflite0_128", "57", 1280, "bicubic", "float32", 2000, 373, "test", 0, "digest")


def evaluation(distance, recall, protocol=PROTOCOL):
    numbers = [
        MetricValue("fd", protocol, Estimate(distance, distance - 2, distance + 2)),
        MetricValue("recall", protocol, Estimate(recall, recall - 0.1, recall + 0.1)),
    ]
    return {**evaluation_record(numbers), "verdict": "sharp"}


def test_the_best_is_bold_if_intervals_do_not_overlap():
    lines = compare({"a": evaluation(40.0, 0.5), "b": evaluation(30.0, 0.55)}).splitlines()
    assert lines[0] == "| | a | b |"
    assert lines[2] == "| `fd_efflite0_128_2k_test` | 40 [38, 42] | **30 [28, 32]** |"
    assert "**" not in lines[3]
    assert lines[-1] == "| verdict | sharp | sharp |"


def test_cells_are_empty_where_a_metric_is_missing():
    classes = MetricValue("class_agreement", PROTOCOL, Estimate(0.9, 0.89, 0.91))
    conditional = evaluation(40.0, 0.5)
    conditional["numbers"] += evaluation_record([classes])["numbers"]
    better = {**conditional, "numbers": [{**one} for one in conditional["numbers"]]}
    better["numbers"][-1] |= {"value": 0.99, "low": 0.98, "high": 1.0}
    rows = compare({"plain": evaluation(40.0, 0.5), "a": conditional, "b": better}).splitlines()
    assert rows[4] == "| `class_agreement_efflite0_128_2k_test` |  | 0.900 [0.890, 0.910] | **0.990 [0.980, 1]** |"
    assert "**" not in compare({"plain": evaluation(40.0, 0.5), "a": conditional}).splitlines()[4]


def test_protocols_of_all_pairs_are_compared():
    def both(seed):
        on_inception = replace(PROTOCOL, extractor="inception", seed=seed)
        distance = MetricValue("fd", on_inception, Estimate(3.0, 2.0, 4.0))
        added, plain = evaluation_record([distance]), evaluation(40.0, 0.5)
        return {**plain, **{key: plain[key] + added[key] for key in ("numbers", "protocols")}}

    with pytest.raises(ComparisonError, match="seed"):
        compare({"plain": evaluation(40.0, 0.5), "a": both(0), "b": both(1)})


@pytest.mark.parametrize("change", [{"generated": 1000}, {"dataset_digest": "other"}, {"seed": 1}, {"real": 100}])
def test_different_protocols_are_rejected_with_the_field(change):
    (name,) = change
    with pytest.raises(ComparisonError, match=name):
        compare({"a": evaluation(40.0, 0.5), "b": evaluation(30.0, 0.5, replace(PROTOCOL, **change))})


def test_evaluations_without_a_common_extractor_are_rejected():
    on_inception = replace(PROTOCOL, extractor="inception")
    other = evaluation_record([MetricValue("fd", on_inception, Estimate(3.0, 2.0, 4.0))])
    with pytest.raises(ComparisonError, match="one extractor"):
        compare({"a": evaluation(40.0, 0.5), "b": other})


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"numbers": [], "protocols": []}', '{"numbers": [{}], "protocols": [{"seed": 0}]}', "\0"],
)
def test_a_file_that_is_not_an_evaluation_is_rejected(tmp_path, content):
    file = tmp_path / "metrics.json"
    file.write_text(content)
    with pytest.raises(ComparisonError, match=r"metrics\.json"):
        read_evaluation(file)


@pytest.mark.parametrize("change", [{"value": "x"}, {"value": None}, {"low": "x"}, {"metric": "other"}, {"name": 3}])
def test_a_damaged_number_is_rejected(tmp_path, change):
    file, damaged = tmp_path / "metrics.json", evaluation(40.0, 0.5)
    damaged["numbers"][1] |= change
    file.write_text(json.dumps(damaged))
    with pytest.raises(ComparisonError, match="must be an evaluation"):
        read_evaluation(file)


def test_a_single_evaluation_has_no_best_values():
    assert "**" not in compare({"a": evaluation(40.0, 0.5)})


def test_an_evaluation_is_read_from_its_file(tmp_path):
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps(evaluation(40.0, 0.5)))
    assert compare({"a": read_evaluation(file)}) == compare({"a": evaluation(40.0, 0.5)})
